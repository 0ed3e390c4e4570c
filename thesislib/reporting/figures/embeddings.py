"""Figures of Experiment 3: are the embeddings of people, also of people never seen, compact?

Drawn from the table ``experiment3_seeds.csv``, and curves from those of one seed. A group of
people has the same colour, line and marker in every figure; controls are hollow and broken. Names
in a table that this module does not know are shown as they stand.
"""

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from thesislib.reporting.embedding_tables import arm_name
from thesislib.reporting.figures.style import GREY, MIDDLE, PALE, SKY, TEXT, in_order, styled
from thesislib.reporting.labels import (
    ARM_GROUPS,
    ARM_LABELS,
    PEOPLE_LABELS,
    arm_label,
    people_label,
    seen_by,
)
from thesislib.reporting.language import N_, _
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
    "verification_accuracy": Metric(N_("verification\naccuracy"), 100, True, 0.5),
    "tar_at_far_1e2": Metric(N_("TAR at\nFAR 1 %"), 100, True, 0.01),
    "tar_at_far_1e3": Metric(N_("TAR at\nFAR 0.1 %"), 100, True, 0.001),
    "equal_error_rate": Metric(N_("equal\nerror rate"), 100, False, 0.5),
    "precision_at_1": Metric(N_("precision@1"), 100, True),
    "r_precision": Metric(N_("R-precision"), 100, True),
    "map_at_r": Metric("MAP@R", 100, True),
    "rank_one": Metric(N_("rank-one\nidentification"), 100, True),
    "fnir_at_fpir_1e2": Metric(N_("FNIR at\nFPIR 1 %"), 100, False, 1.0),
    "fnir_at_fpir_1e1": Metric(N_("FNIR at\nFPIR 10 %"), 100, False, 1.0),
    "tpir_at_fpipi_1e1": Metric(N_("TPIR at\nFPIPI 0.1"), 100, True),
    "dprime": Metric("d′", 1, True, 0.0),
    "compactness_ratio": Metric(N_("intra / nearest\ninter distance"), 1, False),
    "silhouette": Metric(N_("silhouette"), 1, True, 0.0),
    "davies_bouldin": Metric(N_("Davies–Bouldin\nindex"), 1, False),
    "alignment": Metric(N_("alignment"), 1, False),
    "uniformity": Metric(N_("uniformity"), 1, False),
    "trustworthiness_umap": Metric(N_("trustworthiness,\nUMAP"), 1, True, 0.5),
    "trustworthiness_tsne": Metric(N_("trustworthiness,\nt-SNE"), 1, True, 0.5),
    "continuity_umap": Metric(N_("continuity,\nUMAP"), 1, True, 0.5),
    "continuity_tsne": Metric(N_("continuity,\nt-SNE"), 1, True, 0.5),
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
_STARTED = "#CC79A7"  # of nets that do not start from random weights, whoever is compared
MARKERS = {"seen": "o", "unseen": "^", "lfw": "s", "ytf": "P"}
_DASHES = {
    "two_stage": (0, (5, 1.5)),
    "untrained": (0, (3, 1.5)),
    "shuffled": (0, (6, 1.5, 1, 1.5)),
}


def not_measured(axis: Axes) -> None:
    """Say in an empty panel that there is nothing to draw."""
    axis.text(0.5, 0.5, _("not measured"), transform=axis.transAxes, color=GREY, **MIDDLE)


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
    blocks: Sequence[tuple[str, list[_Line]]],
    metrics: Sequence[str],
    whole: bool = False,
    note: str = "",
) -> tuple[Figure, list[Axes]]:
    """A panel a metric; a line a dot, its interval and its seeds, in blocks that a rule divides.

    Args:
        blocks: heading and lines of each.
        metrics: of the panels.
        whole: shares are drawn on the whole scale, 0 to 100 %, as those of other panels.
        note: sentences below.
    """
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
    rows = pd.concat([line.rows for _y, line in lanes])
    if not np.isfinite(rows.loc[rows["metric"].isin(metrics), "low"].astype(float)).all():
        few = _("Without an interval: too few people for one.")
        note = f"{note} {few}".strip()
    told = textwrap.fill(note, 125)
    below = 0.14 * (told.count("\n") + 1) if told else 0
    figure, axes = plt.subplots(
        1, len(metrics), figsize=(TEXT, 0.18 * y + 1.3 + below), sharey=True, squeeze=False
    )
    for axis, name in zip(axes[0], metrics, strict=True):
        _panel(axis, name, lanes, whole)
        for rule in rules:
            axis.axhline(rule, color=PALE, linewidth=0.6)
    places, labels = zip(*ticks, strict=True)
    axes[0, 0].set_yticks(places, labels)
    axes[0, 0].set_ylim(y - 0.2, -0.8)
    if told:
        figure.supxlabel(told, x=0.01, ha="left", fontsize=8)
    return figure, list(axes[0])


def _panel(axis: Axes, name: str, lanes: Sequence[tuple[float, _Line]], whole: bool) -> None:
    """Dots, intervals and seeds of one metric."""
    metric = _metric(name)
    shown: list[float] = []
    for y, line in lanes:
        colour = line.style["color"]
        own = line.rows[line.rows["metric"] == name]
        if not len(own):
            axis.text(0.5, y, "–", transform=axis.get_yaxis_transform(), color=GREY, **MIDDLE)
        for row in own.itertuples():
            numbers = metric.scale * np.array([row.value, row.low, row.high])
            seeds = [metric.scale * float(value) for value in str(row.seed_values).split()]
            shown += [*numbers[np.isfinite(numbers)], *seeds]
            if np.isfinite(numbers[1:]).all():
                axis.plot(numbers[1:], [y] * 2, color=colour, linewidth=1.5)
            if len(seeds) > 1:
                axis.plot(seeds, [y - 0.3] * len(seeds), ".", color=colour, markersize=2.5)
            axis.plot(numbers[0], y, **line.style | {"linestyle": ""}, ms=4.5, markeredgewidth=1.1)
    axis.set_title(_(metric.label), linespacing=1.0)
    better = _("better →") if metric.higher_is_better else _("← better")
    axis.set_xlabel(f"%, {better}" if metric.scale == 100 else better)
    if whole and metric.scale == 100:
        axis.set(xlim=(-5, 105), xticks=[0, 50, 100])
    elif shown:
        # Differences that mean nothing must not fill a panel.
        least = 10 if metric.scale == 100 else 0.2
        room = max(0.08 * np.ptp(shown), (least - np.ptp(shown)) / 2)
        axis.set_xlim(min(shown) - room, max(shown) + room)
        # As many as a narrow panel has room for.
        axis.xaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 4, 5, 10]))
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
    is known. Of people seen only what does not depend on how many scenes of them were kept. A note
    says what may be compared.

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
    figure, axes = _dots(blocks, metrics, whole=True, note=_note(rows))
    for axis, name in zip(axes, metrics, strict=True):
        metric = _metric(name)
        if metric.chance is not None:
            axis.axvline(metric.scale * metric.chance, color=GREY, linewidth=0.9, linestyle=":")
    handles = [
        Line2D([], [], color=GREY, linewidth=0.9, linestyle=":", label=_("chance")),
        Line2D([], [], color=GREY, marker="D", markerfacecolor="white", lw=0, label=_("control")),
        Line2D([], [], color=GREY, marker="o", lw=0, label=_("reference, learns nothing here")),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=3)
    return figure


def _note(rows: pd.DataFrame) -> str:
    """What may be compared in :func:`compactness`, and what a dash stands for."""
    told = []
    if len({seen_by(people)[0] for people in rows["people"]}) > 1:
        told.append(
            _(
                "Compare lines of one block: they see the same photos. Blocks are of different "
                "people, whose photos are more or less alike; people seen in training can look "
                "worse than those never seen by that alone."
            )
        )
    if (rows["people"] == "seen").any() and rows["metric"].isin(OF_SIZE).any():
        told.append(
            _(
                "–: depends on how many photos are searched, and of people seen in training there "
                "are only two scenes each."
            )
        )
    return " ".join(told)


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
        hollow = "white" if people in CONTROLS else _STARTED
        return people_style(people) | {"color": _STARTED, "markerfacecolor": hollow}
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
            _Line(arm_name(arm, own["start"].iloc[0]), own, people_style(people))
            for arm in group
            if len(own := rows[rows["arm"] == arm])
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
        figure.legend(handles=handles, loc="outside upper right", ncols=2)
    return figure


@styled
def learning(
    table: pd.DataFrame, metrics: Sequence[str] = ("precision_at_1", "map_at_r")
) -> Figure:
    """Embeddings of people never seen against how many people were learned, at equal steps.

    A panel a metric, all of one scale. Dots with 95 % intervals over people, small dots the seeds;
    broken lines are what learns nothing here. People seen are left out: each number of people
    learned has others.

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
    figure, axes = plt.subplots(1, len(metrics), figsize=(TEXT, 3.0), sharey=True, squeeze=False)
    own = curve[(curve["arm"] != MAIN_ARM) & (curve["people"] != "seen")]["people"]
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
                label = ", ".join(seen_by(reference))
                axis.axhline(scale * value, color=GREY, lw=1, linestyle=dashes, label=label)
        axis.set_xscale("log")
        ticks: list[int] = []
        for number in sorted(set(curve["learned_people"].round().astype(int)), reverse=True):
            if not ticks or 1.3 * number < ticks[0]:  # else it lies on its neighbour
                ticks.insert(0, number)
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        axis.set(xlabel=_("people learned"), ylim=(0, None))
        axis.set_title(_(_metric(name).label).replace("\n", " ") + ", %")
        axis.grid()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure
