"""The figure of what a split is worth: frames of the same clips against frames of other clips."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from thesislib.reporting.figures.style import (
    GREY,
    PALE,
    SYSTEM_ORDER,
    TEXT,
    in_order,
    styled,
    system_colour,
)
from thesislib.reporting.labels import system_label
from thesislib.reporting.language import _
from thesislib.tables import REFERENCES, one_run

# What finds no face is asked at given boxes.
_FOUND, _GIVEN = "joint_accuracy_50", "oracle_box_accuracy"
_MARKS = {"photo": "o", "session": "D"}
_LANE = 0.23  # inches
_APART = 6  # percentage points, below which two numbers would lie on each other


@styled
def fall(results: pd.DataFrame) -> Figure:
    """What systems find and name where test photos have twins in training, and where not.

    A lane a system: a circle for the split by photo, a diamond for the split by session, each with
    its 95 % interval. Systems that find no face are judged by names alone, boxes given; what names
    nobody is left out. References are grey.

    Args:
        results: rows of ``experiment1.csv`` of one dataset, profile, seed and start (references
            have none), split by photo and by session.

    Raises:
        ValueError: rows of several, or none of either split.
    """
    one_run(results, "experiment1", columns=("dataset", "profile", "seed"), by=("system", "split"))
    for split in _MARKS:
        if split not in set(results["split"]):
            raise ValueError(f"experiment1: no rows split by {split}")
    numbers = results[results["metric"].isin([_FOUND, _GIVEN])]
    lanes = in_order(numbers["system"], SYSTEM_ORDER)
    figure, axis = plt.subplots(figsize=(TEXT, 0.75 + _LANE * len(lanes)))
    labels = []
    for lane, system in enumerate(lanes):
        own = numbers[numbers["system"] == system]
        metric = _FOUND if (own["metric"] == _FOUND).any() else _GIVEN
        _lane(axis, lane, own[own["metric"] == metric], system_colour(system))
        label = system_label(system)
        if metric == _GIVEN and system != "chance":
            label = _("{system}, boxes given").format(system=label)
        labels.append(label)
    trained = sum(system not in REFERENCES for system in lanes)
    if 0 < trained < len(lanes):
        axis.axhline(trained - 0.5, color=PALE, linewidth=0.8)
    axis.set_yticks(range(len(lanes)), labels)
    axis.set(xlim=(-7, 107), ylim=(len(lanes) - 0.4, -0.6))
    axis.set(xticks=range(0, 101, 20), xlabel=_("faces found and named, %"))
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x")
    told = {
        "photo": _("tested on frames of the clips learned from"),
        "session": _("on frames of other clips"),
    }
    plain: dict[str, Any] = {"color": GREY, "linestyle": ""}
    handles = [Line2D([], [], marker=_MARKS[split], label=told[split], **plain) for split in told]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def _lane(axis: Axes, lane: int, rows: pd.DataFrame, colour: str) -> None:
    """Both numbers of a system, their intervals, and the way from one to the other."""
    rows = rows.sort_values("value")
    values = 100 * rows["value"].to_numpy()
    axis.plot(values, [lane] * len(values), color=PALE, linewidth=4, zorder=1)
    for row in rows.itertuples():
        if pd.notna(row.low):
            axis.plot([100 * row.low, 100 * row.high], [lane] * 2, color=colour, linewidth=1.4)
        axis.plot(100 * row.value, lane, _MARKS[str(row.split)], color=colour, markersize=4.5)
    ends = rows.fillna({"low": rows["value"], "high": rows["value"]})
    _number(axis, lane, values[-1], 100 * ends["high"].iloc[-1], 1)
    if values[-1] - values[0] > _APART:
        _number(axis, lane, values[0], 100 * ends["low"].iloc[0], -1)


def _number(axis: Axes, lane: int, value: float, edge: float, side: int) -> None:
    """Print a number beside its interval: to the right of it, or (-1) to the left."""
    axis.annotate(
        f"{value:.1f}",
        (edge, lane),
        xytext=(5 * side, 0),
        textcoords="offset points",
        ha="left" if side > 0 else "right",
        va="center",
        fontsize=7.5,
    )
