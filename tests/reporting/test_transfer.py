"""Figures of Experiment 2, drawn from tables that look like its own."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from thesislib.reporting.figures import transfer
from thesislib.reporting.figures.style import GREY
from thesislib.reporting.labels import TRANSFER_VARIANTS
from thesislib.tables import REFERENCES

RUN = {"profile": "quick", "backbone": "resnet18", "input_px": 96, "command": "make figures"}
RUN |= {"start": "scratch", "precision": "bf16", "commit": "70fae51", "run": "0123abcd"}
# Where a variant ends up with one photo per person and with eight, its seconds, what it forgets.
SHAPES = {
    "class_mean": (0.55, 0.84, 0.8, 0.0),
    "classifier": (0.42, 0.86, 6.0, 0.0),
    "classifier_embedding": (0.4, 0.9, 9.0, 0.22),
    "all": (0.36, 0.94, 95.0, 0.55),
    "scratch": (0.08, 0.62, 100.0, 0.9),
}


def table(pairs=(("synthetic", "synthetic-disjoint"),), seeds=(0, 1, 2)):
    random = np.random.default_rng(0)
    rows = []
    for pair, (source, target) in enumerate(pairs):
        for variant, (one, eight, seconds, forgotten) in SHAPES.items():
            for photos in (1, 2, 4, 8):
                for seed in seeds:
                    value = one + (eight - one) * np.log2(photos) / 3 - 0.1 * pair
                    kept = 1 - forgotten * (0.8 + 0.2 * np.log2(photos) / 3)
                    values = {
                        "accuracy": value + 0.04,
                        "joint_accuracy_50": value,
                        "mean_iou": 0.7,
                        "old_joint_accuracy_50": 0.95 * kept,
                        "old_mean_iou": 0.81 * (0.5 + 0.5 * kept),
                        "old_ap50": 0.97 * (0.4 + 0.6 * kept),
                    }
                    for metric, exact in values.items():
                        noise = 0 if variant == "class_mean" and "old" in metric else 0.02
                        drawn = np.clip(exact + noise * random.normal(), 0, 1)
                        rows.append(
                            RUN
                            | {
                                "source": source,
                                "target": target,
                                "variant": variant,
                                "photos_per_person": photos,
                                "metric": metric,
                                "value": drawn,
                                "low": max(0, drawn - 0.06),
                                "high": min(1, drawn + 0.06),
                                "n": 80,
                                "seconds": seconds * photos**0.3 * (1 + 0.05 * random.random()),
                                "steps": 0 if variant == "class_mean" else 200,
                                "seed": seed,
                            }
                        )
    return pd.DataFrame(rows)


def drawn_lines(axis, colour):
    return [line for line in axis.lines if line.get_color() == colour and len(line.get_xdata())]


def legend_texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


DRAW = [
    transfer.transfer_accuracy,
    transfer.transfer_time,
    transfer.forgetting,
]


def test_accuracy_is_the_mean_over_seeds_and_bars_are_their_range():
    rows = table()
    axis = transfer.transfer_accuracy(rows).axes[0]
    own = rows[(rows["variant"] == "all") & (rows["metric"] == "joint_accuracy_50")]
    seeds = {k: [] for k in (1, 2, 4, 8)}
    for row in own.itertuples():
        seeds[row.photos_per_person].append(100 * row.value)
    (line,) = drawn_lines(axis, "#D55E00")
    assert line.get_ydata() == pytest.approx([sum(v) / 3 for v in seeds.values()])
    bars = [c for c in axis.collections if matplotlib.colors.to_hex(c.get_color()[0]) == "#d55e00"]
    ends = [tuple(segment[:, 1]) for segment in bars[0].get_segments()]
    for (low, high), values in zip(ends, seeds.values(), strict=True):
        assert (low, high) == pytest.approx((min(values), max(values)))


def test_trainings_that_were_cut_short_are_not_drawn_and_references_are_grey():
    rows = table(seeds=(0,)).assign(budget="converged")
    short = rows.assign(budget="equal", value=0.123, low=0.1, high=0.15)
    reference = rows[rows["variant"] == "class_mean"].assign(
        variant="dlib_aligned_nearest", budget="none", value=0.77, low=0.7, high=0.8, seconds=0.5
    )
    every = pd.concat([rows, short, reference])
    figure = transfer.transfer_accuracy(every)
    assert 12.3 not in values_drawn(figure) and 77 in values_drawn(figure)
    (line,) = drawn_lines(figure.axes[0], GREY)
    assert line.get_ydata() == pytest.approx([77] * 4)
    assert "nearest face, dlib" in legend_texts(figure)
    assert 77 not in values_drawn(transfer.transfer_time(every))


def test_all_variants_and_references_stand_by_their_number_of_photos():
    """However many there are, and however close the numbers."""
    rows = table(seeds=(0,)).replace({"photos_per_person": {8: 5}})
    rows = pd.concat([rows, rows[rows["photos_per_person"] == 5].assign(photos_per_person=3)])
    means = rows[rows["variant"] == "class_mean"]
    rows = pd.concat([rows, *(means.assign(variant=name) for name in ("nearest", *REFERENCES))])
    figure = transfer.transfer_accuracy(rows)
    axis = figure.axes[0]
    lines = [line for line in axis.lines if len(line.get_xdata()) == 5]
    assert len(lines) == 6 + len(REFERENCES)
    for line in lines:
        assert np.abs(line.get_xdata() - np.arange(5)).max() < 0.45
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "2", "3", "4", "5"]
    told = [(line.get_color(), line.get_marker()) for line in lines]
    assert len(set(told)) == len(told)


def test_bars_of_one_seed_are_its_interval():
    figure = transfer.transfer_accuracy(table(seeds=(0,)))
    assert legend_texts(figure)[-1] == "95 % interval"
    assert legend_texts(transfer.transfer_accuracy(table()))[-1] == "range of 3 seeds"
    # Pairs of three, of two and of one seed.
    pairs = [("a", "b"), ("b", "a"), ("a", "c")]
    several = [table(pairs[at : at + 1], seeds=range(3 - at)) for at in range(3)]
    figure = transfer.transfer_accuracy(pd.concat(several))
    assert legend_texts(figure)[-1] == "range of 2 or 3 seeds; 95 % interval of one"


@pytest.mark.parametrize("without", ["intervals", "columns"])
def test_one_seed_without_interval_has_its_dots_and_no_bars(without):
    rows = table(seeds=(0,)).assign(low=np.nan, high=np.nan)
    if without == "columns":
        rows = rows.drop(columns=["low", "high"])
    axis = transfer.transfer_accuracy(rows).axes[0]
    own = rows[(rows["variant"] == "all") & (rows["metric"] == "joint_accuracy_50")]
    (line,) = drawn_lines(axis, "#D55E00")
    assert line.get_ydata() == pytest.approx(100 * own["value"].to_numpy())
    segments = [segment for bar in axis.collections for segment in bar.get_segments()]
    assert all(np.ptp(segment[:, 1]) == 0 for segment in segments if len(segment))


def test_panels_name_source_and_target_and_ticks_are_the_photos():
    pairs = [("ytf", "lfw"), ("lfw", "ytf"), ("a", "b"), ("b", "a")]
    figure = transfer.transfer_accuracy(table(pairs, seeds=(0,)), metric="accuracy")
    shown = [axis for axis in figure.axes if axis.axison]
    assert [axis.get_title() for axis in shown] == ["ytf → lfw", "lfw → ytf", "a → b", "b → a"]
    assert [text.get_text() for text in shown[0].get_xticklabels()] == ["1", "2", "4", "8"]
    assert [axis.get_ylabel() for axis in shown] == ["accuracy, %", "", "", "accuracy, %"]


def test_points_in_time_are_the_seconds_and_grow_with_the_photos():
    rows = table(seeds=(0,))
    figure = transfer.transfer_time(rows)
    axis = figure.axes[0]
    own = rows[(rows["variant"] == "class_mean") & (rows["metric"] == "joint_accuracy_50")]
    assert axis.lines[0].get_xdata() == pytest.approx(own["seconds"])
    assert axis.lines[0].get_ydata() == pytest.approx(100 * own["value"])
    points = axis.lines[1:5]
    for point, row in zip(points, own.itertuples(), strict=True):
        assert point.get_xydata()[0] == pytest.approx((row.seconds, 100 * row.value))
    sizes = [point.get_markersize() for point in points]
    assert sizes == sorted(set(sizes))
    _, photos = figure.legends
    shown = {text.get_text(): line.get_markersize() for text, line in
             zip(photos.get_texts(), photos.get_lines(), strict=True)}  # fmt: skip
    assert list(shown) == ["photos per person:", "1", "2", "4", "8"]
    assert list(shown.values())[1:] == sizes


def test_forgetting_is_measured_from_the_net_before():
    figure = transfer.forgetting(table([("ytf", "lfw")]))
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["found and named, IoU ≥ 0.5, %", "mean IoU, %", "AP50, %"]
    before = [line for line in figure.axes[0].lines if np.ptp(line.get_xdata()) == 0]
    assert before[0].get_xdata()[0] == pytest.approx(95)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["classifier", "classifier, embedding head", "everything", "from scratch"]
    assert figure.axes[1].get_xlabel() == "on ytf, after learning lfw"


@pytest.mark.parametrize("draw", DRAW)
def test_shares_are_drawn_from_nothing_to_all(draw):
    """No axis is cut, and where all values are 100 there are no ticks of hundredths."""
    rows = table(seeds=(0,))
    rows.loc[rows["metric"] == "old_ap50", "value"] = 1.0
    for axis in draw(rows).axes:
        low, high = axis.get_xlim() if draw is transfer.forgetting else axis.get_ylim()
        assert -5 < low <= 0 and 100 <= high < 105
        if draw is transfer.forgetting:
            ticks = [label.get_text() for label in axis.get_xticklabels()]
            assert ticks == ["0", "20", "40", "60", "80", "100"]


def test_in_russian(monkeypatch):
    monkeypatch.setenv("FIGURES_LANGUAGE", "ru")
    accuracy = transfer.transfer_accuracy(table())
    assert accuracy.axes[0].get_ylabel() == "найдено и названо, IoU ≥ 0,5, %"
    assert legend_texts(accuracy)[-1] == "размах 3 запусков"
    seconds = transfer.transfer_time(table())
    assert seconds.axes[0].get_xlabel() == "секунд на добавление новых людей"
    forgotten = transfer.forgetting(table([("ytf", "lfw")]))
    assert forgotten.axes[1].get_xlabel() == "на ytf после обучения на lfw"
    assert forgotten.axes[1].get_title() == "средний IoU, %"


def values_drawn(figure):
    """The numbers of all lines that are drawn, rounded."""
    lines = [line for axis in figure.axes for line in axis.lines]
    numbers = [line.get_xdata() for line in lines] + [line.get_ydata() for line in lines]
    return {round(float(number), 6) for one in numbers for number in np.ravel(one)}


@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize("missing", ["variants", "photos", "a variant of one pair", "metrics"])
def test_variants_photos_and_measures_may_be_missing(draw, missing):
    rows = table([("ytf", "lfw"), ("lfw", "ytf")], seeds=(0,))
    if missing == "variants":
        rows = rows[rows["variant"] == "all"]
    elif missing == "photos":
        rows = rows[rows["photos_per_person"] == 8]
    elif missing == "a variant of one pair":
        rows = rows[~((rows["source"] == "ytf") & (rows["variant"] == "scratch"))]
    else:
        kept = rows["metric"].isin(["joint_accuracy_50", "old_ap50"])
        rows = rows[kept].replace({"variant": {"all": "another"}})
    figure = draw(rows)
    old = draw is transfer.forgetting
    metrics = [name for name in ("old_joint_accuracy_50", "old_mean_iou", "old_ap50") if old]
    shown = rows[rows["metric"].isin(metrics or ["joint_accuracy_50"])]
    shown = shown[shown["variant"] != "class_mean"] if old else shown
    assert {round(100 * value, 6) for value in shown["value"]} <= values_drawn(figure)
    labels = {label.get_text() for axis in figure.axes for label in axis.get_yticklabels()}
    labels |= set(legend_texts(figure))
    named = {TRANSFER_VARIANTS.get(name, name) for name in shown["variant"]}
    assert named <= labels
    assert not (set(TRANSFER_VARIANTS.values()) - named) & labels


@pytest.mark.parametrize("draw", DRAW)
def test_profiles_have_panels_of_their_own_and_runs_are_refused(draw):
    rows = table(seeds=(0, 1))
    figure = draw(pd.concat([rows, rows.assign(profile="full", value=rows["value"] / 2)]))
    words = [axis.get_title() or axis.get_xlabel() for axis in figure.axes]
    words += [axis.get_xlabel() for axis in figure.axes]
    assert any(word.endswith((", quick", "\nquick")) for word in words)
    assert any(word.endswith((", full", "\nfull")) for word in words)
    assert not any(word.endswith((", quick", "\nquick")) for axis in draw(rows).axes for word in
                   (axis.get_title(), axis.get_xlabel()))  # fmt: skip
    with pytest.raises(ValueError, match=r"several in column run \(0123abcd, 4567cdef\); choose"):
        draw(pd.concat([rows, rows.assign(run="4567cdef")]))
    draw(pd.concat([rows, rows.assign(run="4567cdef", seed=rows["seed"] + 2)]))


@pytest.mark.parametrize("draw", DRAW)
def test_no_rows_is_an_error_that_names_the_measure(draw):
    for empty in (pd.DataFrame(), table(seeds=(0,)).assign(metric="fps")):
        with pytest.raises(ValueError, match=r"experiment2: no rows of .*joint_accuracy_50"):
            draw(empty)


def test_same_table_gives_the_same_picture(tmp_path):
    for name in ("a.png", "b.png"):
        transfer.forgetting(table(seeds=(0, 1))).savefig(tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("draw", DRAW)
def test_datasets_may_have_any_names(draw):
    draw(table(pairs=(("люди $_$", "Anna's $^$"),))).draw_without_rendering()
