"""Figures of Experiment 3: are the embeddings of people, also of people never seen, compact?

Drawn from the tables ``experiment3*.csv``. A group of people has the same colour, line and marker
in every figure; controls are hollow and broken. Names in a table that this module does not know
are shown as they stand.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from thesislib.reporting.figures.style import GREY, PALE, SKY, TEXT, in_order, styled
from thesislib.reporting.labels import ARM_GROUPS, ARM_LABELS, PEOPLE_LABELS, people_label
from thesislib.tables import one_run

# Arms that others are compared with: all with the thesis's loss, dimensions and box with the other.
REFERENCES: dict[str, dict[str, Any]] = {
    "linear": {"color": "#AAAAAA", "linewidth": 0.9},
    "normalised": {"color": "#AAAAAA", "linewidth": 0.9, "linestyle": (0, (4, 2))},
}

# What one run gives once; several seeds of it are drawn beside each other.
_REPEATED = ("arm", "seed")
CONTROLS = (
    *("two_stage", "two_stage_apart", "two_stage_aligned", "two_stage_aligned_apart"),
    *("untrained", "untrained_apart", "shuffled"),
)


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

_COLOURS = {
    "seen": "#0072B2",
    "unseen": "#D55E00",
    "unseen_matched": "#8C510A",
    "unseen_apart": "#CC79A7",
    "lfw": "#009E73",
    "two_stage": "#E69F00",
    "two_stage_apart": "#E69F00",
    "two_stage_aligned": "#7B4B94",
    "two_stage_aligned_apart": "#7B4B94",
    "untrained": SKY,
    "untrained_apart": SKY,
    "shuffled": "#000000",
}
MARKERS = {"seen": "o", "unseen_matched": "<", "unseen": "^", "unseen_apart": "v"}
MARKERS |= {"lfw": "s", "ytf": "P", "two_stage_apart": "v", "untrained_apart": "v"}
MARKERS |= {"two_stage_aligned_apart": "v"}
_DASHES = {
    "two_stage": (0, (5, 1.5)),
    "untrained": (0, (3, 1.5)),
    "shuffled": (0, (6, 1.5, 1, 1.5)),
}
NOT_MEASURED = {"s": "not measured", "ha": "center", "va": "center", "color": GREY}


def _need(rows: pd.DataFrame, what: str) -> pd.DataFrame:
    if not len(rows):
        raise ValueError(f"{what}: no rows")
    return rows


def of_arm(table: pd.DataFrame, arm: str, what: str) -> pd.DataFrame:
    """The arm's rows, of one dataset and profile.

    Raises:
        ValueError: there are none, or they are of several.
    """
    rows = _chosen(_need(table, what), "arm", arm, what)
    return one_run(rows, what, ("dataset", "profile"), _REPEATED)


def _chosen(table: pd.DataFrame, column: str, value: str, what: str) -> pd.DataFrame:
    rows = table[table[column] == value]
    if not len(rows):
        found = ", ".join(sorted({str(one) for one in table[column]}))
        raise ValueError(f"{what}: no rows of {column} {value}; there are {found}")
    return rows


def people_style(people: str) -> dict[str, Any]:
    """Colour, marker and line of a group; groups that are not known look alike."""
    colour = _COLOURS.get(people, GREY)
    return {
        "color": colour,
        "marker": MARKERS.get(people, "D"),
        "linestyle": _DASHES.get(people, "-"),
        "markerfacecolor": "white" if people in CONTROLS else colour,
    }


class _Line(NamedTuple):
    """A labelled line of a figure of dots: one lane a seed."""

    label: str
    rows: pd.DataFrame
    style: dict[str, Any]


class _Lane(NamedTuple):
    """A seed's rows of a line, and how far down they stand."""

    y: float
    rows: pd.DataFrame
    style: dict[str, Any]


def _dots(
    blocks: Sequence[tuple[str, list[_Line]]], metrics: Sequence[str], headings: bool
) -> tuple[Figure, list[Axes]]:
    """A panel a metric; lines with a dot and interval a seed, in blocks that a rule divides."""
    lanes: list[_Lane] = []
    ticks: list[tuple[float, str]] = []
    rules, y = [], 0.0
    for at, (heading, lines) in enumerate(blocks):
        if at:
            rules.append(y - 0.2)
            y += 0.7
        if headings:
            ticks.append((y, heading))
            y += 1
        for line in lines:
            groups = list(line.rows.groupby("seed"))
            ticks.append((y + (len(groups) - 1) * 0.35, line.label))
            for _, rows in groups:
                lanes.append(_Lane(y, rows, line.style))
                y += 0.7
            y += 0.3
    figure, axes = plt.subplots(
        1, len(metrics), figsize=(TEXT, 0.17 * y + 1.1), sharey=True, squeeze=False
    )
    for axis, name in zip(axes[0], metrics, strict=True):
        _panel(axis, name, lanes)
        for rule in rules:
            axis.axhline(rule, color=PALE, linewidth=0.6)
    places, labels = zip(*ticks, strict=True)
    axes[0, 0].set_yticks(places, labels, fontsize=7.5)
    axes[0, 0].set_ylim(y - 0.2, -0.8)
    return figure, list(axes[0])


def _panel(axis: Axes, name: str, lanes: Sequence[_Lane]) -> None:
    """Dots and intervals of one metric."""
    metric = _metric(name)
    shown: list[float] = []
    bare = True
    for y, rows, style in lanes:
        for row in rows[rows["metric"] == name].itertuples():
            numbers = metric.scale * np.array([row.value, row.low, row.high])
            shown += list(numbers[np.isfinite(numbers)])
            if np.isfinite(numbers[1:]).all():
                bare = False
                axis.plot(numbers[1:], [y] * 2, color=style["color"], linewidth=1.5)
            axis.plot(numbers[0], y, **style | {"linestyle": ""}, ms=4.5, markeredgewidth=1.1)
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


def _metric(name: str) -> Metric:
    return METRICS.get(name, Metric(name.replace("_", " "), 1, True))


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
        ValueError: no rows of the arm, or of any of the metrics; several runs of one seed.
    """
    rows = _chosen(_need(table, "experiment3"), "arm", arm, "experiment3")
    metrics = _present(rows, metrics, f"experiment3, arm {arm}")
    rows = rows[rows["metric"].isin(metrics)]
    blocks = []
    for (dataset, profile), block in rows.groupby(["dataset", "profile"]):
        one_run(block, f"experiment3, {dataset}, {profile}", (), _REPEATED)
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
        ValueError: no rows of these people, or of any of the metrics; several datasets, profiles
            or runs of one seed.
    """
    rows = _chosen(_need(table, "experiment3"), "people", people, "experiment3")
    one_run(rows, f"experiment3, people {people}", ("dataset", "profile"), _REPEATED)
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
    references = {arm: rows[rows["arm"] == arm] for arm in REFERENCES}
    for axis, name in zip(axes, metrics, strict=True):
        for arm, reference in references.items():
            values = reference.loc[reference["metric"] == name, "value"]
            if len(values):
                mean = _metric(name).scale * values.mean()
                axis.axvline(mean, **REFERENCES[arm], zorder=0)
    handles = [
        Line2D([], [], **REFERENCES[arm], label=ARM_LABELS[arm])
        for arm, reference in references.items()
        if len(reference)
    ]
    if handles:
        figure.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=7.5)
    return figure
