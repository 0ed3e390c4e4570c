"""Figures of Experiment 3: are the embeddings of people, also of people never seen, compact?

Drawn from the tables ``experiment3*.csv``. A group of people has the same colour, line and marker
in every figure; controls are hollow and broken. Names in a table that this module does not know
are shown as they stand.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from thesislib.figures import GREY, PALE, TEXT, in_order, log_ticks, short, styled
from thesislib.results import ARM_GROUPS, ARM_LABELS, PEOPLE_LABELS

CONTROLS = ("two_stage", "two_stage_apart", "untrained", "untrained_apart", "shuffled")


class Metric(NamedTuple):
    """How a measure is shown."""

    label: str
    scale: float  # 100 for shares, which are shown in %
    higher_is_better: bool
    chance: float | None = None  # what embeddings of random direction give


METRICS = {
    "verification_accuracy": Metric("verification\naccuracy", 100, True, 0.5),
    "tar_at_far_1e2": Metric("TAR at\nFAR 1 %", 100, True, 0.01),
    "tar_at_far_1e3": Metric("TAR at\nFAR 0.1 %", 100, True, 0.001),
    "equal_error_rate": Metric("equal\nerror rate", 100, False, 0.5),
    "precision_at_1": Metric("precision@1", 100, True),
    "r_precision": Metric("R-precision", 100, True),
    "map_at_r": Metric("MAP@R", 100, True),
    "rank_one": Metric("rank-one\nidentification", 100, True),
    "fnir_at_fpir_1e2": Metric("FNIR at\nFPIR 1 %", 100, False, 1.0),
    "fnir_at_fpir_1e1": Metric("FNIR at\nFPIR 10 %", 100, False, 1.0),
    "tpir_at_fpipi_1e1": Metric("TPIR at\nFPIPI 0.1", 100, True),
    "dprime": Metric("d′", 1, True, 0.0),
    "compactness_ratio": Metric("intra / nearest\ninter distance", 1, False),
    "silhouette": Metric("silhouette", 1, True, 0.0),
    "davies_bouldin": Metric("Davies–Bouldin", 1, False),
    "alignment": Metric("alignment", 1, False),
    "uniformity": Metric("uniformity", 1, False),
    "trustworthiness_umap": Metric("trustworthiness,\nUMAP", 1, True, 0.5),
    "trustworthiness_tsne": Metric("trustworthiness,\nt-SNE", 1, True, 0.5),
    "continuity_umap": Metric("continuity,\nUMAP", 1, True, 0.5),
    "continuity_tsne": Metric("continuity,\nt-SNE", 1, True, 0.5),
}
# title, x, y
_CURVES = {
    "roc": (
        "verification: ROC",
        "false accept rate (FAR), %",
        "true accept rate (TAR), %",
    ),
    "open_set": (
        "open-set identification",
        "unknown people named (FPIR), %",
        "enrolled missed (FNIR), %",
    ),
    "cmc": ("closed-set identification: CMC", "rank", "found within the rank, %"),
    "joint_open_set": (
        "detection and open-set identification",
        "false names a photo (FPIPI)",
        "found and named (TPIR), %",
    ),
}
_FACTORS = {
    "yaw": "difference in yaw, degrees",
    "light": "difference in light, degrees",
    "session": "session",
}
METHODS = {"umap": "UMAP", "tsne": "t-SNE"}

_COLOURS = {
    "seen": "#0072B2",
    "unseen": "#D55E00",
    "unseen_matched": "#8C510A",
    "unseen_apart": "#CC79A7",
    "lfw": "#009E73",
    "two_stage": "#E69F00",
    "two_stage_apart": "#E69F00",
    "untrained": "#56B4E9",
    "untrained_apart": "#56B4E9",
    "shuffled": "#000000",
}
_MARKERS = {"seen": "o", "unseen_matched": "<", "unseen": "^", "unseen_apart": "v"}
_MARKERS |= {"lfw": "s", "ytf": "P", "two_stage_apart": "v", "untrained_apart": "v"}
_DASHES = {
    "two_stage": (0, (5, 1.5)),
    "untrained": (0, (3, 1.5)),
    "shuffled": (0, (6, 1.5, 1, 1.5)),
}
_INTRA, _INTER = "#0072B2", "#E69F00"
# With two shapes they tell twelve people apart.
_PERSONS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#000000", "#56B4E9")
# Arms that others are compared with: all with the thesis's loss, dimensions and box with the other.
_REFERENCES = {
    "linear": {"color": "#AAAAAA", "linewidth": 0.9},
    "normalised": {"color": "#AAAAAA", "linewidth": 0.9, "linestyle": (0, (4, 2))},
}
_LEAST_PAIRS = 20
_NOT_MEASURED = {"s": "not measured", "ha": "center", "va": "center", "color": GREY}


def _need(rows: pd.DataFrame, what: str) -> pd.DataFrame:
    if not len(rows):
        raise ValueError(f"{what}: no rows")
    return rows


def _of_arm(table: pd.DataFrame, arm: str, what: str) -> pd.DataFrame:
    """The arm's rows, of one dataset and profile."""
    _need(table, what)
    rows = table[table["arm"] == arm]
    if not len(rows):
        raise ValueError(f"{what}: no rows of arm {arm}; there are {', '.join(_names(table.arm))}")
    _one_dataset(rows, what)
    return rows


def _one_dataset(rows: pd.DataFrame, what: str) -> None:
    for column in ("dataset", "profile"):
        found = _names(rows[column])
        if len(found) > 1:
            raise ValueError(f"{what}: several in column {column} ({', '.join(found)}); choose one")


def _names(values: Iterable) -> list[str]:
    return sorted({str(value) for value in values})


def people_label(people: str) -> str:
    return PEOPLE_LABELS.get(people, people)


def people_style(people: str) -> dict:
    """Colour, marker and line of a group; groups that are not known look alike."""
    colour = _COLOURS.get(people, GREY)
    return {
        "color": colour,
        "marker": _MARKERS.get(people, "D"),
        "linestyle": _DASHES.get(people, "-"),
        "markerfacecolor": "white" if people in CONTROLS else colour,
    }


# --- measures with intervals ----------------------------------------------------------------------


class _Line(NamedTuple):
    """A labelled line of a figure of dots: one lane a seed."""

    label: str
    rows: pd.DataFrame
    style: dict


def _dots(
    blocks: Sequence[tuple[str, list[_Line]]], metrics: Sequence[str], headings: bool
) -> tuple[Figure, Sequence[Axes]]:
    """A panel a metric; lines with a dot and interval a seed, in blocks that a rule divides."""
    lanes, ticks, rules, titles, y = [], [], [], [], 0.0
    for at, (heading, lines) in enumerate(blocks):
        if at:
            rules.append(y - 0.2)
            y += 0.7
        if headings:
            titles.append((y, heading))
            y += 1
        for line in lines:
            groups = list(line.rows.groupby("seed"))
            ticks.append((y + (len(groups) - 1) * 0.35, line.label))
            for _, rows in groups:
                lanes.append((y, rows, line.style))
                y += 0.7
            y += 0.3
    figure, axes = plt.subplots(
        1, len(metrics), figsize=(TEXT, 0.17 * y + 1.1), sharey=True, squeeze=False
    )
    axes = axes[0]
    for axis, name in zip(axes, metrics, strict=True):
        metric = _metric(name)
        shown, bare = [], True
        for lane, rows, style in lanes:
            for row in rows[rows["metric"] == name].itertuples():
                numbers = metric.scale * np.array([row.value, row.low, row.high])
                shown += list(numbers[np.isfinite(numbers)])
                if np.isfinite(numbers[1:]).all():
                    bare = False
                    axis.plot(numbers[1:], [lane] * 2, color=style["color"], linewidth=1.5)
                axis.plot(
                    numbers[0], lane, **style | {"linestyle": ""}, ms=4.5, markeredgewidth=1.1
                )
        for rule in rules:
            axis.axhline(rule, color=PALE, linewidth=0.6)
        axis.set_title(metric.label, fontsize=8, linespacing=1.0)
        axis.set_xlabel(
            ("%, " if metric.scale == 100 else "")
            + ("better →" if metric.higher_is_better else "← better")
            + ("\ntoo few for intervals" if bare else ""),
            fontsize=8,
        )
        if shown:
            # Differences that mean nothing must not fill a panel.
            least = 10 if metric.scale == 100 else 0.2
            room = max(0.08 * np.ptp(shown), (least - np.ptp(shown)) / 2)
            axis.set_xlim(min(shown) - room, max(shown) + room)
            axis.xaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 5, 10]))
        axis.grid(axis="x")
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    for y_title, heading in titles:
        ticks.append((y_title, heading))
    axes[0].set_yticks(*zip(*ticks, strict=True), fontsize=7.5)
    axes[0].set_ylim(y - 0.2, -0.8)
    return figure, axes


def _metric(name: str) -> Metric:
    return METRICS.get(name, Metric(name.replace("_", " "), 1, True))


def _printed_dprime(results: pd.DataFrame, arm: str, people: str) -> str:
    """d' with its interval, or with its range over seeds; empty where the table has none."""
    if not len(results):
        return ""
    rows = results[
        (results["arm"] == arm) & (results["people"] == people) & (results["metric"] == "dprime")
    ]
    if not len(rows):
        return ""
    low, high = rows["value"].min(), rows["value"].max()
    if len(rows) == 1:
        low, high = rows["low"].iloc[0], rows["high"].iloc[0]
    printed = f"d′ = {rows['value'].mean():.2f}"
    printed += f" ({low:.2f} to {high:.2f})" if np.isfinite(low + high) else ""
    return printed.replace("-", "−")


def _present(table: pd.DataFrame, metrics: Sequence[str], what: str) -> list[str]:
    found = [name for name in metrics if (table["metric"] == name).any()]
    if not found:
        raise ValueError(f"{what}: no rows of {', '.join(metrics)}")
    return found


@styled
def compactness(
    table: pd.DataFrame,
    arm: str = "normalised",
    metrics: Sequence[str] = (
        "verification_accuracy",
        "map_at_r",
        "precision_at_1",
        "dprime",
        "silhouette",
        "compactness_ratio",
    ),
) -> Figure:
    """How compact embeddings are: of people seen, never seen, of another collection, and controls.

    Dots with 95 % intervals; each seed has a dot. A dotted line marks chance where it is known.

    Args:
        table: ``experiment3.csv``: ``dataset, profile, seed, people, arm, metric, value, low,
            high``; shares in 0–1, bounds may be NaN. Datasets stand in blocks.
        arm: the training variant shown.
        metrics: a panel each; those without a row are left out.

    Raises:
        ValueError: no rows of the arm, or of any of the metrics.
    """
    rows = _need(table, "experiment3")
    rows = rows[rows["arm"] == arm]
    if not len(rows):
        raise ValueError(
            f"experiment3: no rows of arm {arm}; there are {', '.join(_names(table['arm']))}"
        )
    metrics = _present(rows, metrics, f"experiment3, arm {arm}")
    rows = rows[rows["metric"].isin(metrics)]
    blocks = []
    for (dataset, profile), block in rows.groupby(["dataset", "profile"]):
        lines = [
            _Line(people_label(name), block[block["people"] == name], people_style(name))
            for name in in_order(block["people"], list(PEOPLE_LABELS))
        ]
        blocks.append((f"{dataset}, {profile}:", lines))
    figure, axes = _dots(blocks, metrics, headings=len(blocks) > 1)
    for axis, name in zip(axes, metrics, strict=True):
        metric = _metric(name)
        if metric.chance is not None:
            axis.axvline(metric.scale * metric.chance, color=GREY, linewidth=0.9, linestyle=":")
    handles = [
        Line2D([], [], color=GREY, linewidth=0.9, linestyle=":", label="chance"),
        Line2D([], [], color=GREY, marker="D", markerfacecolor="white", lw=0, label="control"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=7.5)
    return figure


@styled
def ablation(
    table: pd.DataFrame,
    people: str = "unseen",
    metrics: Sequence[str] = (
        "verification_accuracy",
        "map_at_r",
        "fnir_at_fpir_1e1",
        "dprime",
    ),
) -> Figure:
    """What training makes embeddings compact: losses, dimensions, where the embedding is read.

    Dots with 95 % intervals; each seed has a dot. Pale lines are the arms that others are
    compared with: means over seeds.

    Args:
        table: ``experiment3.csv``: as in :func:`compactness`.
        people: the group shown.
        metrics: a panel each; those without a row are left out.

    Raises:
        ValueError: no rows of these people, or of any of the metrics; several datasets.
    """
    rows = _need(table, "experiment3")
    rows = rows[rows["people"] == people]
    if not len(rows):
        found = ", ".join(_names(table["people"]))
        raise ValueError(f"experiment3: no rows of people {people}; there are {found}")
    _one_dataset(rows, f"experiment3, people {people}")
    metrics = _present(rows, metrics, f"experiment3, people {people}")
    rows = rows[rows["metric"].isin(metrics)]
    others = {arm: arm for arm in in_order(rows["arm"], list(ARM_LABELS)) if arm not in ARM_LABELS}
    blocks = []
    for group in (*ARM_GROUPS, others):
        lines = [
            _Line(label, rows[rows["arm"] == arm], people_style(people))
            for arm, label in group.items()
            if (rows["arm"] == arm).any()
        ]
        if lines:
            blocks.append(("", lines))
    figure, axes = _dots(blocks, metrics, headings=False)
    references = {arm: rows[rows["arm"] == arm] for arm in _REFERENCES}
    for axis, name in zip(axes, metrics, strict=True):
        for arm, reference in references.items():
            values = reference.loc[reference["metric"] == name, "value"]
            if len(values):
                mean = _metric(name).scale * values.mean()
                axis.axvline(mean, **_REFERENCES[arm], zorder=0)
    handles = [
        Line2D([], [], **_REFERENCES[arm], label=ARM_LABELS[arm])
        for arm, reference in references.items()
        if len(reference)
    ]
    if handles:
        figure.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=7.5)
    return figure


@styled
def curves(table: pd.DataFrame, arm: str = "normalised") -> Figure:
    """ROC, FNIR against FPIR, CMC and TPIR against FPIPI, a line a group of people and seed.

    Dotted where the data hold too few impostors to support the rate.

    Args:
        table: ``experiment3_curves.csv``: ``dataset, profile, seed, people, arm, curve, x, y,
            supported``; curve: roc, open_set, cmc, joint_open_set; rates in 0–1; supported: the
            least x that the data support, NaN for cmc.
        arm: the training variant shown.

    Raises:
        ValueError: no rows of the arm; several datasets or profiles.
    """
    rows = _of_arm(table, arm, "experiment3_curves")
    groups = in_order(rows["people"], list(PEOPLE_LABELS))
    figure, axes = plt.subplots(2, 2, figsize=(TEXT, 5.0))
    for axis, (curve, (title, x_label, y_label)) in zip(axes.flat, _CURVES.items(), strict=True):
        drawn = rows[rows["curve"] == curve]
        axis.set_title(title)
        if not len(drawn):
            axis.text(0.5, 0.5, transform=axis.transAxes, **_NOT_MEASURED)
            axis.axis("off")
            continue
        scale = 1 if curve in ("cmc", "joint_open_set") else 100
        if curve != "cmc":
            positive = drawn.loc[drawn["x"] > 0, "x"]
            supported = drawn["supported"].dropna()
            left = supported.min() / 4 if len(supported) else positive.min()
            axis.set_xlim(scale * left, scale * max(1.0, drawn["x"].max()))
            log_ticks(axis)
        for people in groups:
            style = people_style(people)
            for _, line in drawn[drawn["people"] == people].groupby("seed"):
                line = line.sort_values("x", kind="stable")
                x, y = scale * line["x"].to_numpy(), 100 * line["y"].to_numpy()
                if curve == "cmc":
                    axis.plot(x, y, color=style["color"], linestyle=style["linestyle"])
                    continue
                well = x >= scale * line["supported"].to_numpy()
                axis.plot(x[well], y[well], color=style["color"], linestyle=style["linestyle"])
                first = int(well.argmax()) + 1 if well.any() else len(x)
                axis.plot(x[:first], y[:first], color=style["color"], linestyle=":", linewidth=0.8)
        if curve == "roc":
            x = np.geomspace(*axis.get_xlim(), 100)
            axis.plot(x, x, color=GREY, linewidth=0.7)
        if curve == "cmc":
            axis.set_xlim(1, max(2, min(20, drawn["x"].max())))
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set(ylim=(0, 102), xlabel=x_label, ylabel=y_label)
        axis.grid()
    handles = [
        Line2D(
            [], [], color=people_style(people)["color"], label=people_label(people),
            linestyle=people_style(people)["linestyle"],
        )
        for people in groups
    ]  # fmt: skip
    handles.append(
        Line2D([], [], color=GREY, linestyle=":", linewidth=0.8, label="too few impostors to tell")
    )
    handles.append(Line2D([], [], color=GREY, linewidth=0.7, label="chance (ROC)"))
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


@styled
def similarity_histograms(
    similarities: pd.DataFrame, results: pd.DataFrame, arm: str = "normalised"
) -> Figure:
    """How similar two photos of one person are, and of two, a panel a group of people.

    Args:
        similarities: ``experiment3_similarities.csv``: ``dataset, profile, seed, people, arm,
            pairs`` ("intra" or "inter"), ``low, high`` (edges of a bin of cosine), ``share`` of
            that kind's pairs, 0–1. Shares are averaged over seeds.
        results: ``experiment3.csv``, of which ``dprime`` is printed; may be empty.
        arm: the training variant shown.

    Raises:
        ValueError: no rows of the arm; several datasets or profiles.
    """
    rows = _of_arm(similarities, arm, "experiment3_similarities")
    rows = rows.groupby(["people", "pairs", "low", "high"], as_index=False)["share"].mean()
    groups = in_order(rows["people"], list(PEOPLE_LABELS))
    columns = {4: 2, 7: 4, 8: 4}.get(len(groups), min(3, len(groups)))
    lines = -(-len(groups) // columns)
    figure, axes = plt.subplots(
        lines,
        columns,
        figsize=(min(TEXT, max(3.3, TEXT * columns / 3)), 1.6 * lines + 0.6),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    filled = rows[rows["share"] > 0.0005]
    for at, axis in enumerate(axes.flat):
        if at >= len(groups):
            axis.axis("off")
            continue
        for pairs, colour in (("inter", _INTER), ("intra", _INTRA)):
            bins = rows[(rows["people"] == groups[at]) & (rows["pairs"] == pairs)]
            if len(bins):
                edges = [*bins["low"], bins["high"].iloc[-1]]
                style = {"edges": edges, "color": colour}
                axis.stairs(100 * bins["share"], **style, fill=True, alpha=0.3, linewidth=0)
                axis.stairs(100 * bins["share"], **style, linewidth=1.1)
        title = people_label(groups[at])
        printed = _printed_dprime(results, arm, groups[at])
        axis.set_title(f"{title}\n{printed}" if printed else title, linespacing=1.05)
        axis.set(xlim=(filled["low"].min(), filled["high"].max()))
        axis.grid(axis="y")
        axis.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
        if at + columns >= len(groups):  # also above an empty place
            axis.tick_params(labelbottom=True)
            axis.set_xlabel("cosine similarity")
    axes[0, 0].set_ylim(bottom=0)
    for axis in axes[:, 0]:
        axis.set_ylabel("% of pairs")
    handles = [
        Patch(facecolor=(colour, 0.3), edgecolor=colour, label=label)
        for colour, label in ((_INTRA, "two photos of one person"), (_INTER, "of two people"))
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


@styled
def factor_curves(table: pd.DataFrame, arm: str = "normalised") -> Figure:
    """Similarity of two photos of one person against what differs between them.

    Bins of fewer than 20 pairs are left out.

    Args:
        table: ``experiment3_factors.csv``: ``dataset, profile, seed, people, arm, factor`` (yaw,
            light, session), ``pairs`` ("intra" or "inter"), ``low, high`` (edges of a bin of the
            difference, degrees; session: 0 the same, 1 another), ``mean, interval_low,
            interval_high`` (cosine), ``n`` (pairs).
        arm: the training variant shown.

    Raises:
        ValueError: no rows of the arm; several datasets or profiles.
    """
    rows = _of_arm(table, arm, "experiment3_factors")
    rows = rows[rows["n"] >= _LEAST_PAIRS]
    factors = [name for name in _FACTORS if (rows["factor"] == name).any()]
    if not factors:
        raise ValueError(f"experiment3_factors: no rows of {', '.join(_FACTORS)}")
    groups = in_order(rows["people"], list(PEOPLE_LABELS))
    figure, axes = plt.subplots(
        1,
        len(factors),
        figsize=(TEXT, 2.6),
        sharey=True,
        squeeze=False,
        gridspec_kw={"width_ratios": [0.6 if name == "session" else 1 for name in factors]},
    )
    for axis, factor in zip(axes[0], factors, strict=True):
        own = rows[rows["factor"] == factor]
        for at, people in enumerate(groups):
            style = people_style(people)
            for (_, pairs), line in own[own["people"] == people].groupby(["seed", "pairs"]):
                line = line.sort_values("low", kind="stable")
                x = ((line["low"] + line["high"]) / 2).to_numpy()
                if factor == "session":
                    x = line["low"].to_numpy() + 0.08 * (at - (len(groups) - 1) / 2)
                mean, low, high = (
                    line[name].to_numpy() for name in ("mean", "interval_low", "interval_high")
                )
                if pairs == "inter":
                    dashed = {"color": style["color"], "linewidth": 0.9, "linestyle": (0, (3, 2))}
                    axis.plot(x, mean, **dashed)
                    axis.fill_between(x, low, high, color=style["color"], alpha=0.12, linewidth=0)
                elif factor == "session":
                    axis.plot([x, x], [low, high], color=style["color"], linewidth=1.5)
                    axis.plot(x, mean, **style | {"linestyle": ""}, markersize=4.5)
                else:
                    axis.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)
                    axis.plot(x, mean, **style | {"linestyle": "-"}, markersize=3)
        axis.set_xlabel(_FACTORS[factor])
        axis.grid(axis="y")
        if factor == "session":
            axis.set(xlim=(-0.5, 1.5))
            axis.set_xticks([0, 1], ["the same", "another"])
        else:
            axis.set_xlim(0, own["high"].max())
            axis.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 1.5, 2, 3, 5, 10]))
    axes[0, 0].set_ylabel("cosine similarity, mean")
    handles = [
        Line2D([], [], **people_style(people) | {"linestyle": "-"}, label=people_label(people))
        for people in groups
    ]
    handles.append(
        Line2D(
            [], [], color=GREY, linewidth=0.9, linestyle=(0, (3, 2)), label="photos of two people"
        )
    )
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


@styled
def embedding_map(
    map_table: pd.DataFrame,
    thumbnails: Mapping[str, np.ndarray] | None = None,
    arm: str = "normalised",
) -> Figure:
    """Maps of the embeddings: a column a method, a row a seed of the map.

    Up to six people seen and six never seen have a colour: those of most photos. All others are
    grey. Trustworthiness and continuity are printed under each map.

    Args:
        map_table: ``experiment3_map.csv``: ``dataset, profile, arm, method`` ("umap" or "tsne"),
            ``map_seed, photo, identity, people`` ("seen" or "unseen"), ``x, y, trustworthiness,
            continuity``.
        thumbnails: photo to uint8 [h, w, 3] RGB; some are drawn where they do not overlap.
        arm: the training variant shown.

    Raises:
        ValueError: no rows of the arm; several datasets or profiles.
    """
    rows = _of_arm(map_table, arm, "experiment3_map")
    methods = in_order(rows["method"], list(METHODS))
    map_seeds = sorted(set(rows["map_seed"]))
    # The first seed's maps are large; the others only have to show that they are like it.
    heights = [3.1, *[1.9] * (len(map_seeds) - 1)]
    figure, axes = plt.subplots(
        len(map_seeds),
        len(methods),
        figsize=(TEXT if len(methods) > 1 else 4.2, sum(heights) + 0.3 * len(heights) + 0.5),
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )
    persons = _highlighted(rows)
    places = []
    for line, map_seed in enumerate(map_seeds):
        for axis, method in zip(axes[line], methods, strict=True):
            one = rows[(rows["method"] == method) & (rows["map_seed"] == map_seed)]
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            if not len(one):
                axis.text(0.5, 0.5, transform=axis.transAxes, **_NOT_MEASURED)
                continue
            size = 13 if line == 0 else 6
            _scatter(axis, one, persons, size)
            axis.set_title(f"{METHODS.get(method, method)}, map seed {map_seed}")
            axis.set_xlabel(
                f"trustworthiness {one['trustworthiness'].iloc[0]:.3f}, "
                f"continuity {one['continuity'].iloc[0]:.3f}"
            )
            axis.set_aspect("equal", adjustable="datalim")
            axis.margins(0.08)
            if line == 0 and thumbnails:
                places.append((axis, one))
    figure.legend(handles=_map_legend(rows, persons), loc="outside upper center", ncols=7,
                  fontsize=7, handletextpad=0.1, columnspacing=0.9)  # fmt: skip
    if places:
        figure.draw_without_rendering()  # where things lie on the page is known only now
        for axis, one in places:
            _draw_thumbnails(axis, one, thumbnails, persons)
    return figure


def _highlighted(rows: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Group and identity of those in colour, and their colours: of most photos, then by name."""
    colours = {}
    for people, own in rows.groupby("people"):
        photos = own.groupby("identity")["photo"].nunique()
        first = sorted(photos.index, key=lambda name: (-photos[name], name))[: len(_PERSONS)]
        colours |= {(people, name): c for name, c in zip(sorted(first), _PERSONS, strict=False)}
    return colours


def _scatter(axis: Axes, one: pd.DataFrame, persons: Mapping, size: float) -> None:
    # The grey ones first, so that they hide nobody.
    keys = list(zip(one["people"], one["identity"], strict=True))
    coloured = np.array([key in persons for key in keys])
    for people in in_order(one["people"], list(PEOPLE_LABELS)):
        marker = _MARKERS.get(people, "D")
        own = (one["people"] == people).to_numpy()
        rest = one[own & ~coloured]
        axis.scatter(rest["x"], rest["y"], size * 0.5, "#BBBBBB", marker, linewidth=0, zorder=1)
        chosen = one[own & coloured]
        colours = [persons[(people, name)] for name in chosen["identity"]]
        axis.scatter(
            chosen["x"], chosen["y"], size, colours, marker, linewidth=0.3, edgecolor="white",
            zorder=2,
        )  # fmt: skip


def _map_legend(rows: pd.DataFrame, persons: Mapping) -> list[Line2D]:
    """Row by row as it is read: a group, its persons, its others."""
    lines = []
    for people in in_order(rows["people"], list(PEOPLE_LABELS)):
        marker = {"marker": _MARKERS.get(people, "D"), "linewidth": 0, "markersize": 4}
        own = [(name, colour) for (group, name), colour in persons.items() if group == people]
        line = [Line2D([], [], color=c, label=short(name, 12), **marker) for name, c in own]
        line += [Line2D([], [], alpha=0, label=" ")] * (len(_PERSONS) - len(own))
        label = f"others {people_label(people)}"
        lines.append([*line, Line2D([], [], color="#BBBBBB", label=label, **marker)])
    # matplotlib fills a legend column by column
    return [handle for column in zip(*lines, strict=True) for handle in column]


def _draw_thumbnails(axis: Axes, one: pd.DataFrame, thumbnails: Mapping, persons: Mapping) -> None:
    """A face of each person in colour, beside the photo amid that person's, where least is hidden.

    A person is left out where there is no room.
    """
    inches = 0.25
    side = inches * axis.figure.dpi * 1.25  # with its frame
    frame = axis.get_window_extent()
    points = axis.transData.transform(one[["x", "y"]].to_numpy())
    keys = list(zip(one["people"], one["identity"], strict=True))
    weights = np.array([4.0 if key in persons else 1.0 for key in keys])
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    compass = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    taken = np.empty((0, 2))
    for person, colour in persons.items():
        own = np.array([key == person for key in keys])
        own &= one["photo"].isin(list(thumbnails)).to_numpy()
        if not own.any():
            continue
        places = points[own]
        nearest = np.abs(places - np.median(places, axis=0)).sum(axis=1).argmin()
        best, least = None, np.inf
        for distance in (1.0, 1.5, 2.0, 2.7, 3.5):
            for at in places[nearest] + distance * side * compass:
                inside = np.all(at - side / 2 > frame.p0) and np.all(at + side / 2 < frame.p1)
                if not inside or (np.abs(taken - at).max(axis=1, initial=0) < side).any():
                    continue
                hidden = weights[np.abs(points - at).max(axis=1) < side / 2].sum()
                if hidden + distance < least:
                    best, least = at, hidden + distance
        if best is None:
            continue
        taken = np.vstack([taken, best])
        row = one[own].iloc[nearest]
        face = thumbnails[row["photo"]]
        axis.add_artist(
            AnnotationBbox(
                OffsetImage(face, zoom=inches * 72 / max(face.shape[:2])),
                (row["x"], row["y"]),
                axis.transData.inverted().transform(best),
                pad=0.08,
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7},
                bboxprops={"edgecolor": colour, "linewidth": 1.0},
            )
        )
