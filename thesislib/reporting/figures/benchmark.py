"""Figures of the benchmark, drawn from ``benchmark.csv`` and ``benchmark_limits.csv`` alone."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from thesislib.reporting.figures.style import COLOURS, GREY, TEXT, styled, tell_busy, ticks_at
from thesislib.reporting.labels import (
    PIPELINE_LABELS,
    backbone_label,
    engine_label,
    timed_system_label,
)
from thesislib.reporting.language import N_, _, ngettext
from thesislib.tables import one_run

JOINT, PIPELINE, GALLERY = COLOURS["joint"], COLOURS["two_stage_photo"], "#009E73"
_PIPELINES = {"two_stage_up1": PIPELINE, "two_stage_up0": "#A05A00"}
_PIPELINES |= {"default": "#CC79A7", "yunet_dlib": "#009E73"}
_MARKERS = {"two_stage_up1": "s", "two_stage_up0": "D", "default": "v", "yunet_dlib": "^"}
_GRID_SHADES = ("#8CC4E6", "#3E95CB", "#0B4F82", "#06243C")
_PRECISION = {"fp32": "#A6A6A6", "bf16": "#009E73", "int8": "#8F3A00"}  # lighter is slower
MOST_FALSE = 0.1  # boxes on no face, a photo: what the pipeline's detector is tuned to
_FOUND, _NAMED = N_("faces found, IoU ≥ 0.5, %"), N_("found and named, %")
_FRONTIER = {"recall_50": _FOUND, "joint_accuracy_50": _NAMED}
_BACKBONE_MARKS = ("o", "^", "s", "D")
_BACKBONE_SHADES = (JOINT, "#6BB1DD", "#0B4F82", "#06243C")
_DECADES = 200  # ticks are at decades alone where an axis spans more


def of_one_run(table: pd.DataFrame, what: str = "benchmark") -> pd.DataFrame:
    """Times are compared within one run alone.

    Raises:
        ValueError: rows of several runs or machines.
    """
    return one_run(table, what, columns=("profile", "seed", "machine"), by=())


def _line(colour: str, slow: bool, marker: str = "o") -> dict[str, Any]:
    """A line and its marker; the slower of two engines, or more faces, is dashed and hollow."""
    style = {"color": colour, "marker": marker, "markersize": 3.5}
    return style | ({"linestyle": "--", "markerfacecolor": "white"} if slow else {})


@styled
def cost_of_faces(table: pd.DataFrame) -> Figure:
    """Time for a photo, and share of its faces found, against the number of faces in it.

    Args:
        table: ``benchmark.csv``; drawn are the rows with ``recall_50`` and no
            ``joint_accuracy_50``: those of scenes.

    Raises:
        ValueError: rows of several runs or machines.
    """
    table = of_one_run(table)
    rows = table[
        (table["stage"] == "total") & table["recall_50"].notna() & table["joint_accuracy_50"].isna()
    ]
    counts = sorted(rows["faces"].unique())
    figure, (left, right) = plt.subplots(1, 2, figsize=(TEXT, 2.75), sharex=True)
    figure.get_layout_engine().set(wspace=0.05)
    grids = sorted(rows["grid"].dropna().unique())
    handles = []
    for (system, engine, grid), own in rows.groupby(
        ["system", "engine", "grid"], dropna=False, sort=False
    ):
        own = own.sort_values("faces")
        label = f"{_crowd_label(system, grid)}, {engine_label(engine)}"
        line = _line(_colour(system, grid, grids), engine == "torch", _marker(system))
        left.plot(own["faces"], own["ms_median"], **line)
        right.plot(own["faces"], 100 * own["recall_50"], **line)
        handles.append(Line2D([], [], label=label, **line))
    for axis in (left, right):
        axis.set_xscale("log", base=2)
        ticks_at(axis, "x", counts)
        axis.set_xlabel(_("faces in the photo"))
        axis.grid(axis="y")
    _plain_log(left, "y")
    left.set_ylabel(_("ms per photo, median"))
    right.set(ylabel=_(_FOUND), ylim=(-3, 103))
    figure.legend(handles=handles, loc="outside upper center", ncols=2, handlelength=3.5)
    tell_busy(figure, table)
    return figure


@styled
def frontier(table: pd.DataFrame, faces: Sequence[int] = (1, 4, 16)) -> Figure:
    """Time for a photo against the share of its faces found, a curve a system, a point a threshold.

    Above, all faces; below, named faces that are found and named rightly. What lies further to the
    upper left is better; hollow points have more than ``MOST_FALSE`` false boxes a photo.

    Args:
        table: ``benchmark_frontier.csv``.
        faces: in a photo, a column each; numbers that were not measured are left out.

    Raises:
        ValueError: rows of several runs or machines.
    """
    table = of_one_run(table, "benchmark_frontier")
    table = table[table["engine"] != "torch"]
    counts = [count for count in faces if count in set(table["faces"])]
    size = {"figsize": (TEXT, 4.3), "sharex": True, "sharey": "row"}
    figure, axes = plt.subplots(2, len(counts), squeeze=False, **size)
    grids = sorted(table["grid"].dropna().unique())
    groups = table.groupby(["system", "engine", "grid"], dropna=False, sort=False)
    handles = []
    for (system, engine, grid), own in groups:
        colour = _colour(system, grid, grids)
        label = f"{_crowd_label(system, grid)}, {engine_label(engine)}"
        marker = _marker(system)
        handles.append(Line2D([], [], label=label, **_line(colour, False, marker)))
        for column, count in enumerate(counts):
            points = own[own["faces"] == count].sort_values("threshold")
            for axis, measure in zip(axes[:, column], _FRONTIER, strict=True):
                shares = 100 * points[measure]
                axis.plot(points["ms_median"], shares, color=colour, linewidth=0.7, alpha=0.6)
                for few in (True, False):
                    these = (points["false_boxes"] <= MOST_FALSE) == few
                    style = _line(colour, False, marker) | {"linestyle": ""}
                    style |= {} if few else {"markerfacecolor": "white"}
                    axis.plot(points["ms_median"][these], shares[these], **style)
    for column, count in enumerate(counts):
        title = ngettext("{n} face a photo", "{n} faces a photo", count).format(n=count)
        axes[0, column].set_title(title)
        axes[1, column].set_xlabel(_("ms per photo, median"))
    for axis, label in zip(axes[:, 0], _FRONTIER.values(), strict=True):
        axis.set(ylabel=_(label), ylim=(-4, 104))
    for axis in axes.flat:
        _plain_log(axis, "x")
        axis.grid()
    hollow: dict[str, Any] = {
        "color": GREY,
        "marker": "o",
        "markersize": 3.5,
        "markerfacecolor": "white",
    }
    label = _("more than {share:g} false boxes a photo").format(share=MOST_FALSE)
    handles.append(Line2D([], [], linestyle="", label=label, **hollow))
    figure.legend(handles=handles, loc="outside upper center", ncols=2, handlelength=2.5)
    tell_busy(figure, table)
    return figure


def _crowd_label(system: str, grid: float) -> str:
    label = timed_system_label(system)
    if system != "joint":
        return label
    cells = _("{n} × {n} cells").format(n=f"{grid:.0f}")
    return f"{label}, {cells}"


def _marker(system: str) -> str:
    return _MARKERS.get(system, "o")


def _colour(system: str, grid: float, grids: list[float]) -> str:
    if system == "joint":
        return _GRID_SHADES[grids.index(grid) % len(_GRID_SHADES)]
    return _PIPELINES.get(system, GREY)


@styled
def engine_ratios(table: pd.DataFrame) -> Figure:
    """How many times the frames per second of the thesis's pipeline, by system and engine.

    Beside each bar the time of a photo and the share of faces found and named.

    Args:
        table: ``benchmark.csv``; drawn are the rows with ``joint_accuracy_50``.

    Raises:
        ValueError: rows of several runs or machines.
    """
    table = of_one_run(table)
    rows = table[
        (table["stage"] == "total")
        & table["joint_accuracy_50"].notna()
        & table["ratio_to_thesis_pipeline"].notna()
    ]
    groups = list(dict.fromkeys(zip(rows["system"], rows["backbone"], strict=True)))
    count = len(rows) + len(groups)
    figure, axis = plt.subplots(figsize=(TEXT, 0.9 + 0.165 * count))
    beside = axis.get_yaxis_transform()  # shares of the width, rows of bars
    bold = {"va": "center", "fontweight": "bold"}
    columns = {0.79: _("ms per photo"), 1.0: _(_NAMED)}
    for x, name in columns.items():
        axis.text(x, -1.2, name, transform=beside, va="center", ha="right")
    axis.axvline(1, color="#333333", linewidth=0.8, linestyle=(0, (3, 2)))
    axis.annotate(
        _("1: the thesis's pipeline"),
        (1, -1.2),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
    )
    at, ticks, names = 0.0, [], []
    for system, backbone in groups:
        own = rows[(rows["system"] == system) & (rows["backbone"] == backbone)]
        own = own.sort_values("ratio_to_thesis_pipeline", ascending=False)
        title = timed_system_label(system)
        if backbone != "own":
            title += f", {backbone_label(backbone)}"
        back = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        axis.text(0.0, at, f" {title}", bbox=back, **bold)
        at += 1
        for _row, row in own.iterrows():
            ratio = row["ratio_to_thesis_pipeline"]
            of_one_net = system in ("joint", "default")
            axis.barh(at, ratio, 0.75, color=JOINT if of_one_net else PIPELINE)
            place: dict[str, Any] = {
                "xytext": (4, 0),
                "textcoords": "offset points",
                "va": "center",
            }
            axis.annotate(f"{ratio:.1f}", (ratio, at), **place)
            told = (f"{row['ms_median']:.1f}", f"{100 * row['joint_accuracy_50']:.1f}")
            for x, number in zip(columns, told, strict=True):
                axis.text(x, at, number, transform=beside, va="center", ha="right")
            ticks.append(at)
            names.append(engine_label(row["engine"]))
            at += 1
    axis.set_yticks(ticks, names)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    longest = rows["ratio_to_thesis_pipeline"].max()
    axis.set(ylim=(at - 0.3, -1.8), xlim=(0, longest * 1.5))  # room for the columns
    axis.set_xticks(MaxNLocator(6, integer=True).tick_values(0, longest))
    axis.set_xlabel(_("frames per second, times those of the thesis's pipeline"), loc="left")
    tell_busy(figure, table)
    return figure


@styled
def roofline(limits: pd.DataFrame) -> Figure:
    """Each engine's operations per second against the machine's measured limits.

    A roof (Williams et al. 2009) is what the memory can feed, up to what a matrix product of that
    precision reaches. Beside it, each point's share of the flat part.

    Args:
        limits: ``benchmark_limits.csv``.

    Raises:
        ValueError: rows of several runs or machines.
    """
    of_one_run(limits, "benchmark_limits")
    figure, (axis, shares) = plt.subplots(1, 2, figsize=(TEXT, 3.3), width_ratios=(3, 2))
    backbones = list(dict.fromkeys(limits["backbone"]))
    _roofs(axis, limits)
    handles = []
    for backbone, mark in zip(backbones, _BACKBONE_MARKS, strict=False):
        own = limits[limits["backbone"] == backbone]
        for training, face in ((False, None), (True, "white")):
            rows = own[(own["engine"] == "training") == training]
            for _row, row in rows.iterrows():
                colour = _PRECISION[row["precision"]]
                axis.plot(
                    row["operations"] / row["bytes"],
                    row["operations_per_second"] / 1e9,
                    mark,
                    markerfacecolor=face or colour,
                    markeredgecolor=colour if training else "white",
                    markeredgewidth=1 if training else 0.5,
                    markersize=5.5,
                )
            if len(rows):
                label = backbone_label(backbone)
                label = _("{net}, training").format(net=label) if training else label
                style: dict[str, Any] = {"marker": mark, "markersize": 5, "linestyle": ""}
                style |= {"color": GREY, "markerfacecolor": face or GREY}
                handles.append(Line2D([], [], label=label, **style))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    _shares(shares, limits, backbones)
    tell_busy(figure, limits)
    return figure


def _roofs(axis: Axes, limits: pd.DataFrame) -> None:
    """The limits of memory and of each precision's matrix product, in 10⁹ operations a second."""
    reached = limits["operations"] / limits["bytes"]
    left = (limits["peak"] / limits["memory"]).min() / 3
    right = 12 * max(reached.max(), (limits["peak"] / limits["memory"]).max())  # for names
    for precision, own in limits.groupby("precision", sort=False):
        peak, memory = own["peak"].iloc[0], own["memory"].iloc[0]
        x = np.geomspace(left, right, 200)
        colour = _PRECISION[precision]
        axis.plot(x, np.minimum(peak, memory * x) / 1e9, color=colour, linewidth=1.3, zorder=1)
        axis.annotate(
            _("peak of {precision}: {peak:.0f}").format(precision=precision, peak=peak / 1e9),
            (right, peak / 1e9),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
        )
    memory = limits["memory"].iloc[0]
    axis.annotate(
        _("memory: {speed:.0f} GB/s").format(speed=memory / 1e9),
        (1.5 * left, 1.5 * left * memory / 1e9),
        xytext=(5, -2),
        textcoords="offset points",
        va="top",
    )
    lowest = min(limits["operations_per_second"].min(), left * memory)
    axis.set(xlim=(left, right), ylim=(lowest / 1.2e9, 1.6 * limits["peak"].max() / 1e9))
    _plain_log(axis, "x")
    _plain_log(axis, "y")
    axis.set_xlabel(_("operations a byte, each layer's numbers moved once"))
    axis.set_ylabel(_("10⁹ operations per second"))


def _shares(axis: Axes, limits: pd.DataFrame, backbones: Sequence[str]) -> None:
    """Bars of what part of its precision's peak each engine reaches."""
    at, ticks, names = 0, [], []
    axis.axvline(100, color=GREY, linewidth=0.8, linestyle=(0, (3, 2)), zorder=0)
    for backbone in backbones:
        title = backbone_label(backbone)
        axis.text(0, at, f" {title}", va="center", fontweight="bold")
        at += 1
        own = limits[limits["backbone"] == backbone]
        for _row, row in own.sort_values("share_of_peak", ascending=False).iterrows():
            share = 100 * row["share_of_peak"]
            axis.barh(at, share, 0.7, color=_PRECISION[row["precision"]])
            back = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
            place: dict[str, Any] = {
                "xytext": (4, 0),
                "textcoords": "offset points",
                "va": "center",
            }
            axis.annotate(f"{share:.0f}", (share, at), bbox=back, **place)
            ticks.append(at)
            training = _("training, {precision}").format(precision=row["precision"])
            names.append(training if row["engine"] == "training" else engine_label(row["engine"]))
            at += 1
    axis.set_yticks(ticks, names)
    axis.tick_params(axis="y", length=0)
    axis.set(ylim=(at - 0.4, -0.6), xlim=(0, 118 * max(1, limits["share_of_peak"].max())))
    axis.set_xlabel(_("share of the peak in its precision, %"))


@styled
def cost_of_work(table: pd.DataFrame) -> Figure:
    """Time per photo against the photo's size, the batch, and the number of people known.

    Args:
        table: ``benchmark.csv``.

    Raises:
        ValueError: rows of several runs or machines.
    """
    of_one_run(table)
    figure, axes = plt.subplots(1, 3, figsize=(TEXT, 3.2), width_ratios=(1.2, 0.85, 1.15))
    single = (table["batch"] == 1) & (table["threads"] == table["threads"].max())
    portraits = table[(table["stage"] == "total") & (table["faces"] == 1)]
    portraits = portraits[portraits["recall_50"].isna() | portraits["joint_accuracy_50"].notna()]
    _by_size(axes[0], portraits[single.reindex(portraits.index)])
    _by_batch(axes[1], portraits[portraits["threads"] == table["threads"].max()])
    _by_people(axes[2], table[table["stage"] == "classifier"])
    for axis in axes:
        axis.grid(axis="y")
        if axis.get_legend_handles_labels()[0]:
            place = {"loc": "lower right", "bbox_to_anchor": (1.04, 1.0), "borderaxespad": 0.2}
            axis.legend(fontsize=7.5, handlelength=2.6, **place)
    tell_busy(figure, table)
    return figure


def _by_size(axis: Axes, rows: pd.DataFrame) -> None:
    for (system, engine, backbone), own in rows.groupby(
        ["system", "engine", "backbone"], sort=False
    ):
        if own["input_px"].nunique() > 1:
            own = own.sort_values("input_px")
            name = timed_system_label(system)
            if system not in PIPELINE_LABELS:
                name += f", {backbone_label(backbone)}"
            colour = _PIPELINES.get(system, JOINT)
            style = _line(colour, engine == "torch", _marker(system))
            label = f"{name}, {engine_label(engine)}"
            axis.plot(own["input_px"], own["ms_median"], label=label, **style)
            _doubling(axis, own["input_px"])
    axis.set(xlabel=_("photo's shorter side, px"), ylabel=_("ms per photo, median"))
    _plain_log(axis, "y")


def _by_batch(axis: Axes, rows: pd.DataFrame) -> None:
    best = rows[rows["system"] == "joint"]
    best = best[best["input_px"] == best["input_px"].mode().iloc[0]]
    for at, (backbone, own) in enumerate(best.groupby("backbone", sort=False)):
        fastest = own[own["batch"] > 1]["engine"]
        own = own[own["engine"].isin(fastest)].sort_values("batch")
        if len(own):
            style: dict[str, Any] = {"marker": _BACKBONE_MARKS[at], "color": _BACKBONE_SHADES[at]}
            label = f"{backbone_label(backbone)}, {engine_label(own['engine'].iloc[0])}"
            axis.plot(own["batch"], own["ms_median"], label=label, **style)
            _doubling(axis, own["batch"])
    axis.set(xlabel=_("photos in a batch"), ylabel=_("ms per photo, median"), ylim=(0, None))


def _by_people(axis: Axes, rows: pd.DataFrame) -> None:
    names = {"joint": _("classifier"), "gallery": _("gallery, exact search")}
    styles = {"joint": (JOINT, "o"), "gallery": (GALLERY, "^")}
    rows = rows[rows["system"].isin(names)]
    for (system, faces), own in rows.groupby(["system", "faces"], sort=False):
        own = own.sort_values("people")
        count = ngettext("{n} face", "{n} faces", faces).format(n=faces)
        colour, marker = styles[system]
        style = _line(colour, faces > 1, marker)
        axis.plot(own["people"], own["ms_median"], label=f"{names[system]}, {count}", **style)
    axis.set(xlabel=_("people known"), ylabel=_("ms, that step alone, median"))
    _plain_log(axis, "y")
    _plain_log(axis, "x")
    axis.xaxis.set_major_formatter(FuncFormatter(_grouped))


def _grouped(number: float, _at: int | None) -> str:
    """Thousands apart from ten thousand on, as ``10 000``."""
    return f"{number:,.0f}".replace(",", "\N{THIN SPACE}" if number >= 10_000 else "")


def _doubling(axis: Axes, values: pd.Series) -> None:
    axis.set_xscale("log", base=2)
    ticks_at(axis, "x", sorted(values.unique()))


def _plain_log(axis: Axes, which: str) -> None:
    """Make an axis logarithmic, with plain numbers at 1, 2, 5, 10 …; at decades where many."""
    axis.set(**{f"{which}scale": "log"})
    low, high = axis.get_xlim() if which == "x" else axis.get_ylim()
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    leads = (1,) if high / low > _DECADES else (1, 2, 5)
    ticks_at(axis, which, [lead * 10.0**power for power in powers for lead in leads])
