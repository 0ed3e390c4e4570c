"""Figures of Experiment 3: are the embeddings of people, also of people never seen, compact?

Drawn from the table ``experiment3_seeds.csv``, and curves from those of one seed. A group of
people has the same colour, line and marker in every figure; controls are hollow and broken. Names
in a table that this module does not know are shown as they stand.
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
from thesislib.reporting.labels import (
    ARM_GROUPS,
    ARM_LABELS,
    PEOPLE_LABELS,
    arm_label,
    people_label,
    seen_by,
)
from thesislib.tables import MAIN_ARM, OF_SIZE, REFERENCES, STARTED_ARM, one_run

# Arms that others are compared with: all with the thesis's loss, dimensions and box with the other.
_BASES: dict[str, dict[str, Any]] = {
    "linear": {"color": "#AAAAAA", "linewidth": 0.9},
    "normalised": {"color": "#AAAAAA", "linewidth": 0.9, "linestyle": (0, (4, 2))},
}

CONTROLS = ("two_stage", "two_stage_aligned", "untrained", "shuffled")


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
    "lfw": "#009E73",
    "two_stage": "#E69F00",
    "two_stage_aligned": "#7B4B94",
    "untrained": SKY,
    "shuffled": "#000000",
}
MARKERS = {"seen": "o", "unseen": "^", "lfw": "s", "ytf": "P"}
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
    return one_run(rows, what, ("dataset", "profile"), ("arm", "seed"))


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
    """A labelled line of a figure of dots: rows ``metric, value, low, high, seed_values``."""

    label: str
    rows: pd.DataFrame
    style: dict[str, Any]


def _dots(
    blocks: Sequence[tuple[str, list[_Line]]], metrics: Sequence[str]
) -> tuple[Figure, list[Axes]]:
    """A panel a metric; a line a dot, its interval and its seeds, in blocks that a rule divides."""
    lanes: list[tuple[float, _Line]] = []
    ticks: list[tuple[float, str]] = []
    rules, y = [], 0.0
    for at, (heading, lines) in enumerate(blocks):
        if at:
            rules.append(y - 0.3)
            y += 0.4
        if heading:
            ticks.append((y, heading))
            y += 1
        for line in lines:
            ticks.append((y, line.label))
            lanes.append((y, line))
            y += 1
    figure, axes = plt.subplots(
        1, len(metrics), figsize=(TEXT, 0.18 * y + 1.5), sharey=True, squeeze=False
    )
    for axis, name in zip(axes[0], metrics, strict=True):
        _panel(axis, name, lanes)
        for rule in rules:
            axis.axhline(rule, color=PALE, linewidth=0.6)
    places, labels = zip(*ticks, strict=True)
    axes[0, 0].set_yticks(places, labels, fontsize=7.5)
    axes[0, 0].set_ylim(y - 0.2, -0.8)
    return figure, list(axes[0])


def _panel(axis: Axes, name: str, lanes: Sequence[tuple[float, _Line]]) -> None:
    """Dots, intervals and seeds of one metric."""
    metric = _metric(name)
    shown: list[float] = []
    bare = True
    for y, line in lanes:
        colour = line.style["color"]
        for row in line.rows[line.rows["metric"] == name].itertuples():
            numbers = metric.scale * np.array([row.value, row.low, row.high])
            seeds = [metric.scale * float(value) for value in str(row.seed_values).split()]
            shown += [*numbers[np.isfinite(numbers)], *seeds]
            if np.isfinite(numbers[1:]).all():
                bare = False
                axis.plot(numbers[1:], [y] * 2, color=colour, linewidth=1.5)
            if len(seeds) > 1:
                axis.plot(seeds, [y - 0.3] * len(seeds), ".", color=colour, markersize=2.5)
            axis.plot(numbers[0], y, **line.style | {"linestyle": ""}, ms=4.5, markeredgewidth=1.1)
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


def _of_seeds(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """Rows of ``experiment3_seeds.csv`` of one dataset and profile."""
    return one_run(_need(table, what), what, ("dataset", "profile"), ())


@styled
def compactness(
    table: pd.DataFrame,
    metrics: Sequence[str] = (
        "verification_accuracy",
        "map_at_r",
        "precision_at_1",
        "dprime",
        "silhouette",
    ),
) -> Figure:
    """How compact embeddings are: of people seen, never seen, of another collection; by what sees
    them, beside controls and references.

    Dots with 95 % intervals over people, small dots the seeds. A dotted line marks chance where it
    is known. Of people seen only what does not depend on how many scenes of them were kept.

    Args:
        table: ``experiment3_seeds.csv`` of one dataset and profile: ``people, arm, start, metric,
            value, low, high, seed_values``; shares in 0-1, bounds may be NaN.
        metrics: a panel each; those without a row are left out.

    Raises:
        ValueError: no rows of the main arm or the one from dlib's recogniser, or of any of the
            metrics; rows of several datasets or profiles.
    """
    rows = _of_seeds(table, "experiment3_seeds")
    rows = rows[rows["arm"].isin([MAIN_ARM, STARTED_ARM])]
    rows = rows[(rows["people"] != "seen") | ~rows["metric"].isin(OF_SIZE)]
    metrics = _present(rows, metrics, "experiment3_seeds")
    rows = rows[rows["metric"].isin(metrics)]
    blocks = []
    for group, own in _by_group(rows):
        lines = [
            _Line(seen_by(people, of_line["start"].iloc[0])[1], of_line, _line_style(people, arm))
            for (people, arm), of_line in own.groupby(["people", "arm"], sort=False)
        ]
        blocks.append((f"{group}:", lines))
    figure, axes = _dots(blocks, metrics)
    for axis, name in zip(axes, metrics, strict=True):
        metric = _metric(name)
        if metric.chance is not None:
            axis.axvline(metric.scale * metric.chance, color=GREY, linewidth=0.9, linestyle=":")
    handles = [
        Line2D([], [], color=GREY, linewidth=0.9, linestyle=":", label="chance"),
        Line2D([], [], color=GREY, marker="D", markerfacecolor="white", lw=0, label="control"),
        Line2D([], [], color=GREY, marker="o", lw=0, label="learns nothing here"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=3, fontsize=7.5)
    return figure


def _by_group(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Rows by the people who are compared: seen, never seen, other collections."""
    order = {name: at for at, name in enumerate((*PEOPLE_LABELS, *REFERENCES))}
    rows = rows.assign(
        group=[seen_by(people)[0] for people in rows["people"]],
        place=rows["people"].map(order).fillna(len(order)),
    )
    rows = rows.sort_values(["place"], kind="stable")
    groups = in_order(rows["group"], [people_label(one) for one in PEOPLE_LABELS])
    return [(group, rows[rows["group"] == group]) for group in groups]


def _line_style(people: str, arm: str) -> dict[str, Any]:
    if people.endswith(REFERENCES):
        return people_style("") | {"marker": "o"}
    if arm == STARTED_ARM:
        hollow = "white" if people in CONTROLS else "#009E73"
        return people_style(people) | {"color": "#009E73", "markerfacecolor": hollow}
    return people_style(people)


@styled
def ablation(
    table: pd.DataFrame,
    people: str = "unseen",
    metrics: Sequence[str] = (
        "verification_accuracy",
        "map_at_r",
        "precision_at_1",
        "fnir_at_fpir_1e1",
        "dprime",
    ),
) -> Figure:
    """What training makes embeddings compact: losses, dimensions, where the embedding is read, how
    many people and photos are learned.

    Dots with 95 % intervals over people, small dots the seeds. Pale lines are the arms that others
    are compared with.

    Args:
        table: ``experiment3_seeds.csv``: as in :func:`compactness`.
        people: the group shown.
        metrics: a panel each; those without a row are left out.

    Raises:
        ValueError: no rows of these people, or of any of the metrics; several datasets or
            profiles.
    """
    rows = _of_seeds(table, "experiment3_seeds")
    rows = _chosen(rows, "people", people, "experiment3_seeds")
    metrics = _present(rows, metrics, f"experiment3_seeds, people {people}")
    rows = rows[rows["metric"].isin(metrics)]
    others = {arm: arm for arm in in_order(rows["arm"], list(ARM_LABELS)) if arm not in ARM_LABELS}
    blocks = []
    for group in (*ARM_GROUPS, others):
        lines = [
            _Line(arm_label(arm), rows[rows["arm"] == arm], people_style(people))
            for arm in group
            if (rows["arm"] == arm).any()
        ]
        if lines:
            blocks.append(("", lines))
    figure, axes = _dots(blocks, metrics)
    bases = {arm: rows[rows["arm"] == arm] for arm in _BASES}
    for axis, name in zip(axes, metrics, strict=True):
        for arm, base in bases.items():
            for value in base.loc[base["metric"] == name, "value"]:
                axis.axvline(_metric(name).scale * value, **_BASES[arm], zorder=0)
    handles = [
        Line2D([], [], **_BASES[arm], label=arm_label(arm))
        for arm, base in bases.items()
        if len(base)
    ]
    if handles:
        figure.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=7.5)
    return figure


@styled
def learning(
    table: pd.DataFrame, metrics: Sequence[str] = ("precision_at_1", "map_at_r")
) -> Figure:
    """Embeddings of people never seen against how many people were learned, at equal steps.

    A panel a metric. Dots with 95 % intervals over people, small dots the seeds; broken lines are
    what learns nothing here.

    Args:
        table: ``experiment3_seeds.csv``: as in :func:`compactness`, with ``learned_people``.
        metrics: a panel each.

    Raises:
        ValueError: no rows of fewer people; several datasets or profiles.
    """
    rows = _of_seeds(table, "experiment3_seeds")
    curve = rows[rows["arm"].str.startswith("people_") | (rows["arm"] == MAIN_ARM)]
    if curve["arm"].nunique() < 2:
        raise ValueError("experiment3_seeds: no rows of arms people_<number>")
    figure, axes = plt.subplots(1, len(metrics), figsize=(TEXT, 2.9), squeeze=False)
    own = curve[curve["arm"] != MAIN_ARM]["people"]
    groups = in_order(own, list(PEOPLE_LABELS))
    for axis, name in zip(axes[0], metrics, strict=True):
        scale = _metric(name).scale
        for at, people in enumerate(groups):
            style = people_style(people)
            line = curve[(curve["people"] == people) & (curve["metric"] == name)]
            line = line.sort_values("learned_people")
            x = line["learned_people"].to_numpy() * (1 + 0.015 * at)
            axis.plot(x, scale * line["value"], **style, markersize=4, label=seen_by(people)[0])
            axis.vlines(x, scale * line["low"], scale * line["high"], color=style["color"], lw=1.4)
            for place, values in zip(x, line["seed_values"], strict=True):
                seeds = [scale * float(value) for value in str(values).split()]
                axis.plot([place * 1.04] * len(seeds), seeds, ".", color=style["color"], ms=2.5)
        bases = {"hog_nearest": (0, (4, 2)), "dlib_aligned_nearest": (0, (1, 1.5))}
        for reference, dashes in bases.items():
            found = rows[(rows["people"] == reference) & (rows["metric"] == name)]["value"]
            for value in found:
                label = f"never seen, {seen_by(reference)[1]}"
                axis.axhline(scale * value, color=GREY, lw=1, linestyle=dashes, label=label)
        axis.set_xscale("log")
        ticks = sorted(set(curve["learned_people"].round().astype(int)))
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        axis.set(xlabel="people learned", ylim=(0, None))
        axis.set_title(_metric(name).label.replace("\n", " ") + ", %", fontsize=8)
        axis.grid()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=7.5)
    return figure
