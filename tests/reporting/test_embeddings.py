"""Figures of Experiment 3, drawn from tables that look like its own."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from thesislib.reporting.figures import embedding_curves, embedding_maps, embeddings
from thesislib.reporting.labels import ARM_LABELS, PEOPLE_LABELS

RUN = {
    "profile": "quick",
    "seed": 0,
    "backbone": "resnet18",
    "input_px": 96,
    "command": "make figures",
    "dataset": "synthetic",
    "arm": "normalised",
}
# d' of each group; all else follows from it.
GROUPS = {
    "seen": 3.1,
    "unseen": 1.9,
    "unseen_apart": 1.7,
    "lfw": 1.2,
    "two_stage": 1.6,
    "untrained": 0.5,
    "shuffled": 0.0,
}
ARMS = tuple(ARM_LABELS)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def measures(dprime):
    """Values of Experiment 3 at a d', and half the width of their intervals."""
    share = 1 / (1 + np.exp(-1.7 * (dprime - 1)))
    return {
        "verification_accuracy": (0.5 + 0.48 * np.tanh(0.45 * dprime), 0.02),
        "tar_at_far_1e2": (0.01 + 0.98 * share**2, 0.05),
        "equal_error_rate": (0.5 - 0.48 * np.tanh(0.45 * dprime), 0.02),
        "precision_at_1": (0.06 + 0.93 * share, 0.04),
        "map_at_r": (0.04 + 0.8 * share, 0.04),
        "fnir_at_fpir_1e1": (0.9 - 0.85 * share, 0.06),
        "dprime": (dprime, 0.12),
        "silhouette": (-0.1 + 0.16 * dprime, 0.03),
        "compactness_ratio": (2.4 - 0.55 * dprime, 0.08),
    }


def results(groups=tuple(GROUPS), arms=("normalised",), seeds=(0,), datasets=("synthetic",)):
    random = np.random.default_rng(1)
    rows = []
    for dataset in datasets:
        for people in groups:
            for at, arm in enumerate(arms):
                for seed in seeds:
                    dprime = GROUPS.get(people, 1.4) + 0.08 * at + 0.1 * random.normal()
                    for metric, (value, half) in measures(max(0.01, dprime)).items():
                        rows.append(
                            RUN
                            | {
                                "dataset": dataset,
                                "people": people,
                                "arm": arm,
                                "seed": seed,
                                "metric": metric,
                                "value": value,
                                "low": value - half,
                                "high": value + half * 0.8,
                                "n": 240,
                            }
                        )
    return pd.DataFrame(rows)


def curve_points(groups=tuple(GROUPS), seeds=(0,)):
    random = np.random.default_rng(2)
    rows = []
    for people in groups:
        for seed in seeds:
            genuine = np.sort(random.normal(GROUPS[people] / 3, 0.33, 300))[::-1]
            impostor = random.normal(0, 0.33, 3000)
            unknown = random.normal(0.35, 0.25, 120)
            thresholds = np.concatenate([genuine, impostor[::30], unknown])
            thresholds = np.sort(thresholds)[::-1]
            tar = (genuine >= thresholds[:, None]).mean(axis=1)
            points = {
                "roc": ((impostor >= thresholds[:, None]).mean(axis=1), tar, 10 / 3000),
                "open_set": ((unknown >= thresholds[:, None]).mean(axis=1), 1 - tar, 10 / 120),
                "cmc": (
                    np.arange(1, 25),
                    1 - (0.8 - 0.25 * GROUPS[people]) * 0.8 ** np.arange(24),
                    np.nan,
                ),
            }
            if people in ("seen", "unseen"):
                false = 3 * (unknown >= thresholds[:, None]).mean(axis=1)
                points["joint_open_set"] = (false, 0.93 * tar, 10 / 160)
            for curve, (xs, ys, supported) in points.items():
                own = {"people": people, "seed": seed, "curve": curve, "supported": supported}
                rows += [RUN | own | {"x": x, "y": y} for x, y in zip(xs, ys, strict=True)]
    return pd.DataFrame(rows)


def similarity_bins(groups=tuple(GROUPS), seeds=(0,)):
    random = np.random.default_rng(3)
    edges = np.linspace(-1, 1, 51)
    rows = []
    for people in groups:
        for seed in seeds:
            for pairs, middle, spread, count in (
                ("inter", 0.05, 0.16, 20000),
                ("intra", 0.05 + 0.16 * GROUPS[people], 0.17, 900),
            ):
                drawn = np.clip(random.normal(middle, spread, count), -1, 1)
                counts, _ = np.histogram(drawn, edges)
                rows += [
                    RUN
                    | {
                        "people": people,
                        "seed": seed,
                        "pairs": pairs,
                        "low": low,
                        "high": high,
                        "share": share,
                    }
                    for low, high, share in zip(edges[:-1], edges[1:], counts / count, strict=True)
                ]
    return pd.DataFrame(rows)


def map_points(map_seeds=(0, 1), people=(20, 20), photos=8):
    random = np.random.default_rng(4)
    rows = []
    for method, scale in (("umap", 8.0), ("tsne", 30.0)):
        for map_seed in map_seeds:
            for group, count, spread in (
                ("seen", people[0], 0.05),
                ("unseen", people[1], 0.12),
            ):
                for person in range(count):
                    middle = random.uniform(-1, 1, 2)
                    for photo in range(photos):
                        x, y = scale * (middle + spread * random.normal(size=2))
                        rows.append(
                            RUN
                            | {
                                "method": method,
                                "map_seed": map_seed,
                                "photo": f"{group}/{person:04d}/{photo}.png",
                                "identity": f"{group[:1]}{person:04d}",
                                "people": group,
                                "x": x,
                                "y": y,
                                "factor_yaw": random.uniform(-60, 60),
                                "factor_light_azimuth": random.uniform(-65, 65),
                                "session": photo // 4,
                                "trustworthiness": 0.94 - 0.01 * map_seed,
                                "continuity": 0.96,
                            }
                        )
    return pd.DataFrame(rows)


def factor_bins(groups=("seen", "unseen"), seeds=(0,), factors=("yaw", "light", "session")):
    random = np.random.default_rng(5)
    rows = []
    for people in groups:
        for seed in seeds:
            for factor in factors:
                edges = np.array(
                    {"session": [0, 1, 2], "light": [0, 10, 20, 30, 45, 60, 90, 180]}.get(
                        factor, [0, 5, 10, 15, 20, 30, 40, 60, 120]
                    )
                )
                fall = {"yaw": 0.006, "light": 0.0018, "session": 0.14}[factor]
                for low, high in itertools.pairwise(edges):
                    for pairs, top in (("intra", 0.2 + 0.17 * GROUPS[people]), ("inter", 0.07)):
                        difference = low if factor == "session" else (low + high) / 2
                        mean = top - fall * difference * (1 if pairs == "intra" else 0.1)
                        mean += 0.008 * random.normal()
                        half = 0.03 if pairs == "intra" else np.nan
                        rows.append(
                            RUN
                            | {
                                "people": people,
                                "seed": seed,
                                "factor": factor,
                                "pairs": pairs,
                                "low": low,
                                "high": high,
                                "mean": mean,
                                "interval_low": mean - half,
                                "interval_high": mean + half,
                                "n": 90,
                            }
                        )
    return pd.DataFrame(rows)


def faces(map_table):
    """A flat colour a person, with a darker disc."""
    random = np.random.default_rng(6)
    shades = {name: random.uniform(90, 230, 3) for name in sorted(set(map_table["identity"]))}
    grid = np.hypot(*np.mgrid[-1:1:48j, -1:1:48j])[..., None]
    return {
        row.photo: (shades[row.identity] * np.where(grid < 0.7, 0.6, 1)).astype(np.uint8)
        for row in map_table.itertuples()
    }


def texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


# --- measures -------------------------------------------------------------------------------------


def test_compactness_shows_each_value_and_interval():
    rows = results(("seen", "unseen"), seeds=(0, 1))
    figure = embeddings.compactness(rows)
    assert [axis.get_title() for axis in figure.axes] == [
        "verification\naccuracy",
        "MAP@R",
        "precision@1",
        "d′",
        "silhouette",
        "intra / nearest\ninter distance",
    ]
    own = rows[rows["metric"] == "map_at_r"]
    lines = figure.axes[1].lines
    dots = [line.get_xdata()[0] for line in lines if line.get_marker() in ("o", "^")]
    assert dots == pytest.approx(list(100 * own["value"]))
    ends = [tuple(line.get_xdata()) for line in lines if line.get_linestyle() == "-"]
    assert ends == [pytest.approx(pair) for pair in zip(100 * own.low, 100 * own.high, strict=True)]


def test_compactness_marks_chance_and_the_better_side():
    figure = embeddings.compactness(results())
    accuracy, retrieval, *_, ratio = figure.axes
    dotted = [line for line in accuracy.lines if line.get_linestyle() == ":"]
    assert [line.get_xdata()[0] for line in dotted] == [50]
    assert not [line for line in retrieval.lines if line.get_linestyle() == ":"]
    assert (accuracy.get_xlabel(), ratio.get_xlabel()) == ("%, better →", "← better")
    labels = [label.get_text() for label in accuracy.get_yticklabels()]
    assert labels == [PEOPLE_LABELS[name] for name in GROUPS]


def test_compactness_of_little():
    rows = results(("unseen", "my_photos")).assign(low=np.nan, high=np.nan)
    figure = embeddings.compactness(rows[rows["metric"] == "dprime"])
    assert len(figure.axes) == 1
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["never seen", "my_photos"]
    two = pd.concat([rows, rows.assign(dataset="ytf")])
    labels = embeddings.compactness(two).axes[0].get_yticklabels()
    assert {"synthetic, quick:", "ytf, quick:"} <= {label.get_text() for label in labels}


def test_compactness_of_a_measure_it_does_not_know():
    rows = results(("unseen",)).replace({"metric": {"dprime": "odd_measure"}})
    figure = embeddings.compactness(rows, metrics=("odd_measure",))
    assert figure.axes[0].get_title() == "odd measure"


def test_a_difference_that_means_nothing_does_not_fill_a_panel():
    rows = results(("unseen",), arms=("linear", "normalised"))
    rows = rows[rows["metric"] == "verification_accuracy"].assign(low=np.nan, high=np.nan)
    rows["value"] = [0.73, 0.74]
    axis = embeddings.ablation(rows).axes[0]
    assert np.ptp(axis.get_xlim()) == pytest.approx(10)
    assert "too few for intervals" in axis.get_xlabel()


def test_ablation_has_a_line_an_arm_and_two_references():
    rows = results(("unseen", "seen"), arms=(*ARMS, "another"), seeds=(0, 1, 2))
    figure = embeddings.ablation(rows)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [*ARM_LABELS.values(), "another"]
    own = rows[(rows["people"] == "unseen") & (rows["metric"] == "map_at_r")]
    drawn = [line for line in figure.axes[1].lines if line.get_marker() == "^"]
    assert len(drawn) == 3 * len(labels)
    reference = [line for line in figure.axes[1].lines if line.get_color() == "#AAAAAA"]
    for line, arm in zip(reference, ("linear", "normalised"), strict=True):
        wanted = 100 * own.loc[own["arm"] == arm, "value"].mean()
        assert line.get_xdata()[0] == pytest.approx(wanted)
    assert texts(figure) == ["cross-entropy (thesis)", "normalised softmax"]


def test_ablation_without_references_and_with_one_measure():
    rows = results(("unseen",), arms=("dim64",))
    embeddings.ablation(rows[rows["metric"] == "dprime"])


def test_compactness_and_ablation_say_what_is_missing():
    rows = results(("seen",))
    for draw in (embeddings.compactness, embeddings.ablation):
        with pytest.raises(ValueError, match="experiment3: no rows"):
            draw(pd.DataFrame())
    with pytest.raises(ValueError, match="no rows of arm box; there are normalised"):
        embeddings.compactness(rows, arm="roi")
    with pytest.raises(ValueError, match="arm normalised: no rows of fps"):
        embeddings.compactness(rows, metrics=("fps",))
    with pytest.raises(ValueError, match="no rows of people unseen; there are seen"):
        embeddings.ablation(rows)
    with pytest.raises(ValueError, match=r"several in column dataset \(a, b\); choose one"):
        two = results(("unseen",), datasets=("a", "b"))
        embeddings.ablation(two)


# --- curves ---------------------------------------------------------------------------------------


def test_curves_are_dotted_where_the_data_do_not_support_them():
    rows = curve_points(("unseen",))
    axis = embedding_curves.curves(rows).axes[0]
    own = rows[rows["curve"] == "roc"].sort_values("x", kind="stable")
    solid, dotted, _ = axis.lines
    assert dotted.get_linestyle() == ":"
    few = int((own["x"] < 10 / 3000).sum())  # and the first that is supported, to join them
    assert dotted.get_xdata() == pytest.approx(100 * own["x"].to_numpy()[: few + 1])
    well = own[own["x"] >= 10 / 3000]
    assert solid.get_xdata() == pytest.approx(100 * well["x"].to_numpy())
    assert solid.get_ydata() == pytest.approx(100 * well["y"].to_numpy())


def test_curves_that_were_not_measured_say_so():
    rows = curve_points(("unseen", "lfw"), seeds=(0, 1))
    figure = embedding_curves.curves(rows[rows["curve"] != "joint_open_set"])
    assert [text.get_text() for text in figure.axes[3].texts] == ["not measured"]
    assert texts(figure)[:2] == ["never seen", "LFW, another collection"]
    embedding_curves.curves(rows[rows["curve"] == "cmc"])


# --- similarities ---------------------------------------------------------------------------------


def test_histograms_show_shares_and_print_dprime():
    rows, measured = similarity_bins(("seen", "unseen")), results(("seen",))
    figure = embedding_curves.similarity_histograms(rows, measured)
    dprime = measured[measured["metric"] == "dprime"].iloc[0]
    printed = f"d′ = {dprime.value:.2f} ({dprime.low:.2f} to {dprime.high:.2f})"
    assert figure.axes[0].get_title() == f"seen in training\n{printed}"
    assert figure.axes[1].get_title() == "never seen"
    inter = rows[(rows["people"] == "seen") & (rows["pairs"] == "inter")]
    assert figure.axes[0].patches[0].get_data().values == pytest.approx(100 * inter["share"])


def test_histograms_average_seeds_and_print_their_range():
    rows, measured = similarity_bins(("seen",), (0, 1)), results(("seen",), seeds=(0, 1))
    figure = embedding_curves.similarity_histograms(rows, measured)
    intra = rows[rows["pairs"] == "intra"]
    wanted = (intra[intra["seed"] == 0]["share"].array + intra[intra["seed"] == 1]["share"]) / 2
    assert figure.axes[0].patches[2].get_data().values == pytest.approx(100 * wanted)
    low, high = sorted(measured.loc[measured["metric"] == "dprime", "value"])
    assert f"({low:.2f} to {high:.2f})" in figure.axes[0].get_title()


def test_histograms_of_one_kind_of_pairs_without_results():
    rows = similarity_bins(("seen", "unseen", "lfw", "shuffled"))
    embedding_curves.similarity_histograms(rows[rows["pairs"] == "inter"], pd.DataFrame())


# --- factors --------------------------------------------------------------------------------------


def test_factor_curves_stand_at_the_middle_of_their_bins():
    rows = factor_bins(("unseen",))
    figure = embedding_curves.factor_curves(rows)
    own = rows[(rows["factor"] == "yaw") & (rows["pairs"] == "intra")]
    line = next(line for line in figure.axes[0].lines if line.get_marker() == "^")
    assert line.get_xdata() == pytest.approx(((own["low"] + own["high"]) / 2).to_numpy())
    assert line.get_ydata() == pytest.approx(own["mean"].to_numpy())
    assert [axis.get_xlabel() for axis in figure.axes] == [
        "difference in yaw, degrees",
        "difference in light, degrees",
        "session",
    ]
    assert [t.get_text() for t in figure.axes[2].get_xticklabels()] == ["the same", "another"]


def test_bins_of_few_pairs_are_left_out():
    rows = factor_bins(("unseen",))
    yaw = (rows["factor"] == "yaw") & (rows["pairs"] == "intra")
    few = yaw & (rows["low"] == rows["low"].min())
    figure = embedding_curves.factor_curves(rows.assign(n=np.where(few, 19, 20)))
    line = next(line for line in figure.axes[0].lines if line.get_marker() == "^")
    own = rows[yaw & ~few]
    assert line.get_ydata() == pytest.approx(own["mean"].to_numpy())


def test_factor_curves_of_a_single_factor():
    figure = embedding_curves.factor_curves(factor_bins(factors=("session",), seeds=(0, 1)))
    assert len(figure.axes) == 1
    with pytest.raises(ValueError, match="no rows of yaw, light, session"):
        embedding_curves.factor_curves(factor_bins().assign(factor="age"))


# --- maps -----------------------------------------------------------------------------------------


def test_map_prints_what_it_is_worth_and_names_those_in_colour():
    figure = embedding_maps.embedding_map(map_points(people=(8, 3), photos=3))
    assert [axis.get_title() for axis in figure.axes] == [
        "UMAP, map seed 0",
        "t-SNE, map seed 0",
        "UMAP, map seed 1",
        "t-SNE, map seed 1",
    ]
    assert figure.axes[3].get_xlabel() == "trustworthiness 0.930, continuity 0.960"
    shown = texts(figure)
    assert {"s0000", "s0005", "u0002", "others never seen"} <= set(shown)
    assert "s0006" not in shown


def test_map_draws_every_photo_once():
    figure = embedding_maps.embedding_map(map_points((0,), (8, 3), 4))
    assert [sum(len(c.get_offsets()) for c in axis.collections) for axis in figure.axes] == [44, 44]


def test_thumbnails_of_a_map_do_not_overlap():
    rows = map_points((0,))
    figure = embedding_maps.embedding_map(rows, faces(rows))
    figure.draw_without_rendering()
    for axis in figure.axes:
        boxes = [artist.offsetbox.get_window_extent() for artist in axis.artists]
        assert len(boxes) > 6
        for at, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:at])


def test_map_of_one_method_and_group_with_a_thumbnail_that_is_missing():
    rows = map_points((0,), (2, 0), 3)
    rows = rows[rows["method"] == "tsne"]
    shown = faces(rows)
    shown.pop("seen/0000/0.png")
    embedding_maps.embedding_map(rows, shown)
    embedding_maps.embedding_map(pd.concat([rows, map_points((1,), (2, 0), 3)]))


# --- what all have in common ----------------------------------------------------------------------

DRAW = {
    "experiment3_curves": (embedding_curves.curves, curve_points),
    "experiment3_similarities": (
        lambda table, arm="normalised": embedding_curves.similarity_histograms(
            table, pd.DataFrame(), arm
        ),
        similarity_bins,
    ),
    "experiment3_factors": (embedding_curves.factor_curves, factor_bins),
    "experiment3_map": (
        lambda table, arm="normalised": embedding_maps.embedding_map(table, arm=arm),
        lambda: map_points((0,), (2, 2), 3),
    ),
}


@pytest.mark.parametrize("name", DRAW)
def test_rows_that_are_missing_or_of_two_datasets_are_an_error(name):
    draw, make = DRAW[name]
    rows = make()
    with pytest.raises(ValueError, match=f"{name}: no rows$"):
        draw(pd.DataFrame())
    with pytest.raises(ValueError, match=f"{name}: no rows of arm box; there are normalised"):
        draw(rows, arm="roi")
    with pytest.raises(ValueError, match=r"column dataset \(synthetic, ytf\); choose one"):
        draw(pd.concat([rows, rows.assign(dataset="ytf")]))
    with pytest.raises(ValueError, match=r"column profile \(laptop, quick\); choose one"):
        draw(pd.concat([rows, rows.assign(profile="laptop")]))


def test_same_table_gives_the_same_picture(tmp_path):
    rows = map_points((0,))
    for name in ("a.png", "b.png"):
        embedding_maps.embedding_map(rows, faces(rows)).savefig(tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
