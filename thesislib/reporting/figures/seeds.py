"""Figures of Experiment 1 over seeds: what systems reach, and how far they are apart."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from thesislib.reporting.experiment1_tables import in_rows
from thesislib.reporting.figures.style import COLOURS, GREY, MIDDLE, SKY, TEXT, styled
from thesislib.reporting.labels import (
    THESIS_EXPERIMENT1,
    THESIS_LABELS,
    started_from,
    system_label,
)
from thesislib.reporting.language import N_, _
from thesislib.tables import CONTROLS, REFERENCES, one_run

_PANELS = {
    "accuracy": N_("accuracy\n(the thesis's)"),
    "joint_accuracy_50": N_("found and named,\nIoU ≥ 0.5"),
    "oracle_box_accuracy": N_("named,\nboxes given"),
    "mean_iou_calibrated": N_("mean IoU,\ncalibrated"),
}
_THESIS = {"accuracy": "accuracy", "mean_iou": "mean_iou_calibrated"}
_LANE = 0.17  # inches


class _Lanes(NamedTuple):
    """Labels below each other, headings among them, and where the others stand."""

    labels: list[str]
    headings: list[int]
    places: list[int]


def _lanes(groups: Sequence[tuple[str, Sequence[str]]]) -> _Lanes:
    """Lay out groups of lanes, each below its heading."""
    found = _Lanes([], [], [])
    for heading, labels in groups:
        found.headings.append(len(found.labels))
        found.places.extend(len(found.labels) + at for at in range(1, len(labels) + 1))
        found.labels.extend([heading, *labels])
    return found


def _label_lanes(axis: Axes, lanes: _Lanes) -> None:
    axis.set_yticks(range(len(lanes.labels)), lanes.labels, fontsize=8)
    for at in lanes.headings:
        axis.get_yticklabels()[at].set_fontstyle("italic")
    axis.set_ylim(len(lanes.labels) - 0.4, -0.6)


@styled
def systems(numbers: pd.DataFrame) -> Figure:
    """What each system reaches, over the test faces of all seeds: a point with its 95 % interval,
    in groups by what training began from.

    Small dots are the seeds. References are grey. The thesis's numbers, of other photos, are
    hollow and have no interval; its mean IoU is that of boxes as detected.

    Args:
        numbers: rows of ``experiment1_seeds.csv`` of one dataset, split and profile.

    Raises:
        ValueError: rows of several.
    """
    one_run(numbers, "experiment1_seeds", columns=("dataset", "split", "profile"), by=())
    rows = in_rows(numbers)
    arms = list(dict.fromkeys(zip(rows["system"], rows["start"], strict=True)))
    groups = [
        (_(heading), [system_label(system) for system, _start in own])
        for heading, own in groupby(arms, key=lambda arm: _kind(*arm))
    ]
    thesis = [_(label) for label in THESIS_LABELS.values()] if "photo" in set(rows["split"]) else []
    lanes = _lanes([*([(_("the thesis, other photos"), thesis)] if thesis else []), *groups])
    figure, axes = plt.subplots(
        1, len(_PANELS), figsize=(TEXT, 1.1 + _LANE * len(lanes.labels)), sharey=True
    )
    for axis, (metric, title) in zip(axes, _PANELS.items(), strict=True):
        if thesis:
            _thesis_points(axis, metric, lanes.places)
        for lane, (system, start) in zip(lanes.places[len(thesis) :], arms, strict=True):
            own = rows[(rows["system"] == system) & (rows["start"] == start)]
            for row in own[own["metric"] == metric].itertuples():
                _point(axis, lane, row, _colour(system, start))
        _finish(axis, _(title))
    _label_lanes(axes[0], lanes)
    handles = [
        _handle(_("all seeds, 95 % interval"), linewidth=1.4, marker="o"),
        _handle(_("each seed"), linewidth=0, marker=".", markersize=2.5),
    ]
    if thesis:
        label = _("the thesis, mean IoU of boxes as found")
        handles.append(_handle(label, linewidth=0, marker="o", markerfacecolor="white"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _handle(label: str, **style: Any) -> Line2D:
    return Line2D([], [], color=GREY, label=label, **{"markersize": 4} | style)


def _colour(system: str, start: str) -> str:
    if system in REFERENCES:
        return GREY
    if system in CONTROLS:
        return SKY
    return COLOURS[system if start == "scratch" else f"{system}, started"]


def _kind(system: str, start: str) -> str:
    """The heading above a system."""
    if system in REFERENCES:
        return N_("references")
    return N_("from random weights") if start == "scratch" else N_("from dlib's recogniser")


def _thesis_points(axis: Axes, metric: str, places: Sequence[int]) -> None:
    told = THESIS_EXPERIMENT1[THESIS_EXPERIMENT1["metric"].map(_THESIS) == metric]
    for lane, value in zip(places, told["value"], strict=False):
        hollow: dict[str, Any] = {"markerfacecolor": "white", "color": GREY}
        axis.plot(100 * value, lane, "o", markersize=4.5, **hollow)
    if not len(told):
        axis.text(50, places[0] + 0.5, _("not in the thesis"), **MIDDLE, fontsize=7.5, color=GREY)


def _point(axis: Axes, lane: int, row: Any, colour: str, filled: bool = True) -> None:
    if pd.notna(row.low):
        axis.plot([100 * row.low, 100 * row.high], [lane] * 2, color=colour, lw=1.4)
        seeds = [100 * float(value) for value in str(row.seed_values).split()]
        axis.plot(seeds, [lane - 0.26] * len(seeds), ".", color=colour, markersize=2.5)
    face = colour if filled else "white"
    axis.plot(100 * row.value, lane, "o", color=colour, markerfacecolor=face, markersize=4)


def _finish(axis: Axes, title: str) -> None:
    axis.set_title(title, fontsize=8, linespacing=1.0)
    axis.set(xlim=(-3, 103), xticks=[0, 25, 50, 75, 100], xlabel="%")
    axis.grid(axis="x")
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)


@styled
def differences(pairs: pd.DataFrame, metric: str = "joint_accuracy_50") -> Figure:
    """How far each joint net is ahead of other systems on the same faces, in percentage points.

    Intervals hold together with 95 %; filled points are differences that may be claimed, hollow
    ones may not. Small dots are the seeds.

    Args:
        pairs: rows of ``experiment1_pairs.csv`` of one dataset, split and profile.
        metric: which is compared, one of ``experiment1_tables.MEASURES``.

    Raises:
        ValueError: rows of several, or none of the metric.
    """
    one_run(pairs, "experiment1_pairs", columns=("dataset", "split", "profile"), by=())
    rows = in_rows(pairs[pairs["metric"] == metric], "against_start", "against")
    if not len(rows):
        raise ValueError(f"experiment1_pairs: no rows of {metric}")
    starts = list(dict.fromkeys(rows["start"].sort_values(key=lambda one: one != "scratch")))
    rows = pd.concat([rows[rows["start"] == start] for start in starts])
    groups = [
        (
            _("joint net {begun} less …").format(begun=started_from(start)),
            [_against(row, start) for row in rows[rows["start"] == start].itertuples()],
        )
        for start in starts
    ]
    lanes = _lanes(groups)
    figure, axis = plt.subplots(figsize=(TEXT, 0.85 + _LANE * len(lanes.labels)))
    for lane, row in zip(lanes.places, rows.itertuples(), strict=True):
        colour = _colour(str(row.against), str(row.against_start))
        _point(axis, lane, row, colour, filled=bool(row.holds))
    _label_lanes(axis, lanes)
    axis.axvline(0, color=GREY, linewidth=0.8, zorder=0)
    measure = _(_PANELS[metric]).replace("\n", " ")
    axis.set_xlabel(_("{measure}: difference, percentage points").format(measure=measure))
    axis.grid(axis="x")
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    handles = [
        _handle(_("claimed, 95 % interval"), linewidth=1.4, marker="o"),
        _handle(_("not claimed"), linewidth=1.4, marker="o", markerfacecolor="white"),
        _handle(_("each seed"), linewidth=0, marker=".", markersize=2.5),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _against(row: Any, start: str) -> str:
    """Who is compared; with what it began from, where that is another thing."""
    system = system_label(row.against)
    if row.against_start == "none" or row.against_start == start == "scratch":
        return system
    return f"{system}, {started_from(row.against_start)}"
