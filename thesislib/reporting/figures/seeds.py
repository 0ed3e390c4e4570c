"""Figures of Experiment 1 over seeds: what systems reach, and how far they are apart."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from thesislib.reporting.experiment1_tables import MEASURES, in_rows
from thesislib.reporting.figures.style import COLOURS, GREY, PALE, TEXT, styled
from thesislib.reporting.labels import THESIS_EXPERIMENT1, begun_from, system_label
from thesislib.tables import CONTROLS, REFERENCES, one_run

_PANELS = {
    "accuracy": "accuracy\n(the thesis's)",
    "joint_accuracy_50": "found and named,\nIoU ≥ 0.5",
    "oracle_box_accuracy": "named,\nboxes given",
    "mean_iou_calibrated": "mean IoU,\ncalibrated",
}
_THESIS = {"accuracy": "accuracy", "mean_iou": "mean_iou_calibrated"}
_LANE = 0.19  # inches


@styled
def systems(numbers: pd.DataFrame) -> Figure:
    """What each system reaches, over the test faces of all seeds: a point with its 95 % interval.

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
    labels = [_label(*arm) for arm in arms]
    thesis = "photo" in set(numbers["split"])
    if thesis:
        labels = ["the thesis, joint", "the thesis, two-stage", *labels]
    first = 2 if thesis else 0
    figure, axes = plt.subplots(
        1, len(_PANELS), figsize=(TEXT, 0.95 + _LANE * len(labels)), sharey=True
    )
    for axis, (metric, title) in zip(axes, _PANELS.items(), strict=True):
        if thesis:
            _thesis_points(axis, metric)
        for lane, (system, start) in enumerate(arms, first):
            own = rows[(rows["system"] == system) & (rows["start"] == start)]
            for row in own[own["metric"] == metric].itertuples():
                _point(axis, lane, row, _colour(system, start))
        _finish(axis, title)
        for edge in _edges(arms, first):
            axis.axhline(edge, color=PALE, linewidth=0.6)
    axes[0].set_yticks(range(len(labels)), labels, fontsize=7.5)
    axes[0].set_ylim(len(labels) - 0.4, -0.6)
    return figure


def _label(system: str, start: str) -> str:
    label = system_label(system)
    return label if start in ("scratch", "none") else f"{label}, from {begun_from(start)}"


def _colour(system: str, start: str) -> str:
    if system in REFERENCES:
        return GREY
    if system in CONTROLS:
        return "#56B4E9"
    return COLOURS[system if start == "scratch" else f"{system}, started"]


def _edges(arms: list[tuple[str, str]], first: int) -> list[float]:
    """Between the thesis, systems from random weights, those from dlib's recogniser, references."""
    kinds = [_kind(*arm) for arm in arms]
    edges = [first - 0.5] if first else []
    return edges + [first + at - 0.5 for at in range(1, len(kinds)) if kinds[at] != kinds[at - 1]]


def _kind(system: str, start: str) -> str:
    return "reference" if system in REFERENCES else "random" if start == "scratch" else "begun"


def _thesis_points(axis: Axes, metric: str) -> None:
    for lane, (_, own) in enumerate(THESIS_EXPERIMENT1.groupby("system", sort=False)):
        for row in own.itertuples():
            if _THESIS.get(row.metric) == metric:
                hollow: dict[str, Any] = {"markerfacecolor": "white", "color": GREY}
                axis.plot(100 * row.value, lane, "o", markersize=4.5, **hollow)


def _point(axis: Axes, lane: int, row: Any, colour: str) -> None:
    if pd.notna(row.low):
        axis.plot([100 * row.low, 100 * row.high], [lane] * 2, color=colour, lw=1.4)
        seeds = [100 * float(value) for value in str(row.seed_values).split()]
        axis.plot(seeds, [lane - 0.26] * len(seeds), ".", color=colour, markersize=2.5)
    axis.plot(100 * row.value, lane, "o", color=colour, markersize=4)


def _finish(axis: Axes, title: str) -> None:
    axis.set_title(title, fontsize=8, linespacing=1.0)
    axis.set(xlim=(-3, 103), xlabel="%")
    axis.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2.5, 5, 10]))
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
    most = max((rows["start"] == start).sum() for start in starts)
    figure, axes = plt.subplots(
        1,
        len(starts),
        figsize=(TEXT, 0.85 + _LANE * most),
        squeeze=False,
        sharex=True,
    )
    for axis, start in zip(axes[0], starts, strict=True):
        own = rows[rows["start"] == start].reset_index(drop=True)
        for lane, row in enumerate(own.itertuples()):
            colour = _colour(str(row.against), str(row.against_start))
            axis.plot([100 * row.low, 100 * row.high], [lane] * 2, color=colour, lw=1.4)
            seeds = [100 * float(value) for value in str(row.seed_values).split()]
            axis.plot(seeds, [lane - 0.26] * len(seeds), ".", color=colour, markersize=2.5)
            face = colour if row.holds else "white"
            axis.plot(100 * row.value, lane, "o", color=colour, markerfacecolor=face, markersize=4)
        labels = [
            f"{system_label(one)}, from {begun_from(begun)}"
            if start != "scratch" and begun == "scratch"
            else _label(one, begun)
            for one, begun in zip(own["against"], own["against_start"], strict=True)
        ]
        axis.set_yticks(range(len(own)), labels, fontsize=7.5)
        axis.set_ylim(most - 0.4, -0.6)
        axis.axvline(0, color=GREY, linewidth=0.8)
        axis.set_title(f"joint net from {begun_from(start)}\nahead of …", fontsize=8)
        axis.set_xlabel(f"{MEASURES[metric]}, percentage points")
        axis.grid(axis="x")
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    return figure
