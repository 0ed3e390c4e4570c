"""Figures of the benchmark, drawn from ``benchmark.csv`` and ``benchmark_limits.csv`` alone."""

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from thesislib.reporting.figures.style import COLOURS, GREY, TEXT, styled, ticks_at
from thesislib.reporting.labels import (
    PIPELINE_LABELS,
    backbone_label,
    engine_label,
    timed_system_label,
)
from thesislib.tables import one_run

JOINT, PIPELINE, GALLERY = COLOURS["joint"], COLOURS["two_stage_photo"], "#009E73"
_PIPELINES = {"two_stage_up1": PIPELINE, "two_stage_up0": "#A05A00"}
_PIPELINES |= {"default": "#CC79A7", "yunet_dlib": "#009E73"}
_GRID_SHADES = ("#8CC4E6", "#3E95CB", "#0B4F82", "#06243C")
_PRECISION = {"fp32": "#777777", "bf16": "#009E73", "int8": "#D55E00"}
_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
MOST_FALSE = 0.1  # boxes on no face, a photo: what the pipeline's detector is tuned to
_FRONTIER = {
    "recall_50": "faces found, IoU ≥ 0.5, %",
    "joint_accuracy_50": "found and named, %",
}
_BACKBONE_MARKS = ("o", "^", "s", "D")


def of_one_run(table: pd.DataFrame, what: str = "benchmark") -> pd.DataFrame:
    """Times are compared within one run alone.

    Raises:
        ValueError: rows of several runs or machines.
    """
    return one_run(table, what, columns=("profile", "seed", "machine"), by=())


def _line(colour: str, slow: bool) -> dict[str, Any]:
    """A line and its marker; the slower of two engines, or more faces, is dashed and hollow."""
    style = {"color": colour, "marker": "o", "markersize": 3.5}
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
    grids = sorted(rows["grid"].dropna().unique())
    handles = []
    for (system, engine, grid), own in rows.groupby(
        ["system", "engine", "grid"], dropna=False, sort=False
    ):
        own = own.sort_values("faces")
        label = f"{_crowd_label(system, grid)}, {engine_label(engine)}"
        line = _line(_colour(system, grid, grids), engine == "torch")
        left.plot(own["faces"], own["ms_median"], **line)
        right.plot(own["faces"], 100 * own["recall_50"], **line)
        handles.append(Line2D([], [], label=label, **line))
    for axis in (left, right):
        axis.set_xscale("log", base=2)
        ticks_at(axis, "x", counts)
        axis.set_xlabel("faces in the photo")
        axis.grid(axis="y")
    left.set_yscale("log")
    low, high = rows["ms_median"].min(), rows["ms_median"].max()
    ticks = [v for v in _MS if low / 2 < v < high * 2]
    ticks_at(left, "y", ticks)
    left.set_ylabel("ms per photo, median")
    right.set(ylabel="faces found, IoU ≥ 0.5, %", ylim=(-2, 102))
    figure.legend(handles=handles, loc="outside upper center", ncols=2, handlelength=3.5)
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
        handles.append(Line2D([], [], label=label, **_line(colour, slow=False)))
        for column, count in enumerate(counts):
            points = own[own["faces"] == count].sort_values("threshold")
            for axis, measure in zip(axes[:, column], _FRONTIER, strict=True):
                shares = 100 * points[measure]
                axis.plot(points["ms_median"], shares, color=colour, linewidth=0.9)
                for few in (True, False):
                    these = (points["false_boxes"] <= MOST_FALSE) == few
                    style = _line(colour, slow=False) | {"linestyle": ""}
                    style |= {} if few else {"markerfacecolor": "white"}
                    axis.plot(points["ms_median"][these], shares[these], **style)
    for column, count in enumerate(counts):
        axes[0, column].set_title(f"{count} face{'s' * (count > 1)} a photo", fontsize=8)
        axes[1, column].set_xlabel("ms per photo, median")
    low, high = table["ms_median"].min(), table["ms_median"].max()
    ticks = [v for v in _MS if low / 2 < v < high * 2]
    for axis, label in zip(axes[:, 0], _FRONTIER.values(), strict=True):
        axis.set(ylabel=label, ylim=(-2, 102), xscale="log")
        ticks_at(axis, "x", ticks)
    for axis in axes.flat:
        axis.grid()
    figure.legend(handles=handles, loc="outside upper center", ncols=2, handlelength=2.5)
    return figure


def _crowd_label(system: str, grid: float) -> str:
    cells = f", {grid:.0f} × {grid:.0f} cells" if system == "joint" else ""
    return f"{timed_system_label(system)}{cells}"


def _colour(system: str, grid: float, grids: list[float]) -> str:
    if system == "joint":
        return _GRID_SHADES[grids.index(grid) % len(_GRID_SHADES)]
    return _PIPELINES.get(system, GREY)


@styled
def engine_ratios(table: pd.DataFrame) -> Figure:
    """How many times the frames per second of the thesis's pipeline, by system and engine.

    Args:
        table: ``benchmark.csv``; drawn are the rows with ``joint_accuracy_50``, which is printed
            beside each bar.

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
    figure, axis = plt.subplots(figsize=(TEXT, 0.7 + 0.165 * count))
    at, ticks, names = 0.0, [], []
    longest = rows["ratio_to_thesis_pipeline"].max()
    for system, backbone in groups:
        own = rows[(rows["system"] == system) & (rows["backbone"] == backbone)]
        own = own.sort_values("ratio_to_thesis_pipeline", ascending=False)
        title = timed_system_label(system)
        if backbone != "own":
            title += f", {backbone_label(backbone)}"
        back = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        axis.text(0.0, at, f" {title}", va="center", fontsize=8, fontweight="bold", bbox=back)
        at += 1
        for _, row in own.iterrows():
            ratio = row["ratio_to_thesis_pipeline"]
            of_one_net = system in ("joint", "default")
            axis.barh(at, ratio, 0.75, color=JOINT if of_one_net else PIPELINE)
            axis.annotate(
                f"{ratio:.1f}   {row['ms_median']:.3g} ms   "
                f"{100 * row['joint_accuracy_50']:.1f} % right",
                (ratio, at),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
            )
            ticks.append(at)
            names.append(engine_label(row["engine"]))
            at += 1
    axis.axvline(1, color="#333333", linewidth=0.6, linestyle=(0, (3, 2)))
    axis.set_yticks(ticks, names)
    axis.tick_params(axis="y", length=0)
    axis.set(ylim=(at - 0.3, -0.7), xlim=(0, longest * 1.35))
    axis.set_xlabel("times the frames per second of the thesis's pipeline (dashed: 1)")
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
    figure, (axis, shares) = plt.subplots(1, 2, figsize=(TEXT, 3.1), width_ratios=(3, 2))
    intensity = limits["operations"] / limits["bytes"]
    left, right = intensity.min() / 8, intensity.max() * 10  # room for the roofs' names
    for precision, own in limits.groupby("precision", sort=False):
        peak, memory = own["peak"].iloc[0], own["memory"].iloc[0]
        x = np.geomspace(left, right, 200)
        colour = _PRECISION[precision]
        axis.plot(x, np.minimum(peak, memory * x) / 1e9, color=colour, linewidth=1)
        axis.annotate(
            f"{precision}: {peak / 1e12:.2g} T operations/s",
            (right, peak / 1e9),
            xytext=(0, 2.5),
            textcoords="offset points",
            ha="right",
            color=colour,
            fontsize=7.5,
        )
    backbones = list(dict.fromkeys(limits["backbone"]))
    handles = []
    for backbone, mark in zip(backbones, _BACKBONE_MARKS, strict=False):
        own = limits[limits["backbone"] == backbone]
        for training, face in ((False, None), (True, "white")):
            rows = own[(own["engine"] == "training") == training]
            for _, row in rows.iterrows():
                colour = _PRECISION[row["precision"]]
                axis.plot(
                    row["operations"] / row["bytes"],
                    row["operations_per_second"] / 1e9,
                    mark,
                    color=colour,
                    markerfacecolor=face or colour,
                    markersize=5,
                )
            if len(rows):
                label = backbone_label(backbone) + (", training" if training else "")
                style: dict[str, Any] = {"marker": mark, "markersize": 5, "linestyle": ""}
                style |= {"color": GREY, "markerfacecolor": face or GREY}
                handles.append(Line2D([], [], label=label, **style))
    axis.legend(handles=handles, loc="upper left", fontsize=7)
    axis.set(xscale="log", yscale="log", xlim=(left, right))
    axis.set_xlabel("operations a byte, each layer's numbers moved once")
    axis.set_ylabel("10⁹ operations per second")
    axis.set_ylim(top=1.6 * limits["peak"].max() / 1e9)
    low, high = axis.get_ylim()
    ticks_at(
        axis, "y", [v for v in (50, 100, 200, 500, 1000, 2000, 5000, 10_000) if low < v < high]
    )
    axis.grid(which="major")

    at, ticks, names = 0, [], []
    for backbone in backbones:
        title = backbone_label(backbone)
        shares.text(0, at, f" {title}", va="center", fontsize=8, fontweight="bold")
        at += 1
        own = limits[limits["backbone"] == backbone]
        for _, row in own.sort_values("share_of_peak", ascending=False).iterrows():
            share = 100 * row["share_of_peak"]
            shares.barh(at, share, 0.7, color=_PRECISION[row["precision"]])
            shares.text(share, at, f" {share:.0f}", va="center", fontsize=7)
            ticks.append(at)
            training = row["engine"] == "training"
            names.append(
                f"training, {row['precision']}" if training else engine_label(row["engine"])
            )
            at += 1
    shares.set_yticks(ticks, names, fontsize=7)
    shares.tick_params(axis="y", length=0)
    shares.set(ylim=(at - 0.4, -0.6), xlim=(0, 115), xlabel="% of that precision's peak")
    return figure


@styled
def cost_of_work(table: pd.DataFrame) -> Figure:
    """Time per photo against the photo's size, the batch, and the number of people known.

    Args:
        table: ``benchmark.csv``.

    Raises:
        ValueError: rows of several runs or machines.
    """
    of_one_run(table)
    figure, axes = plt.subplots(1, 3, figsize=(TEXT, 3.0))
    single = (table["batch"] == 1) & (table["threads"] == table["threads"].max())
    portraits = table[(table["stage"] == "total") & (table["faces"] == 1)]
    portraits = portraits[portraits["recall_50"].isna() | portraits["joint_accuracy_50"].notna()]

    sizes = portraits[single.reindex(portraits.index)]
    for (system, engine, backbone), own in sizes.groupby(
        ["system", "engine", "backbone"], sort=False
    ):
        if own["input_px"].nunique() > 1:
            own = own.sort_values("input_px")
            name = timed_system_label(system)
            if system not in PIPELINE_LABELS:
                name += f", {backbone_label(backbone)}"
            style = _line(_PIPELINES.get(system, JOINT), engine == "torch")
            label = f"{name}, {engine_label(engine)}"
            axes[0].plot(own["input_px"], own["ms_median"], label=label, **style)
            _plain_log(axes[0], sorted(own["input_px"].unique()))
    axes[0].set(xlabel="photo's shorter side, px", ylabel="ms per photo, median", yscale="log")

    threads = table["threads"].max()
    best = portraits[(portraits["system"] == "joint") & (portraits["threads"] == threads)]
    best = best[best["input_px"] == best["input_px"].mode().iloc[0]]
    for at, (backbone, own) in enumerate(best.groupby("backbone", sort=False)):
        fastest = own[own["batch"] > 1]["engine"]
        own = own[own["engine"].isin(fastest)].sort_values("batch")
        if len(own):
            mark = _BACKBONE_MARKS[at]
            label = f"{backbone_label(backbone)}, {engine_label(own['engine'].iloc[0])}"
            axes[1].plot(own["batch"], own["ms_median"], marker=mark, color=JOINT, label=label)
            _plain_log(axes[1], sorted(own["batch"].unique()))
    axes[1].set(xlabel="photos in a batch", ylabel="ms per photo, median", ylim=(0, None))

    people = table[(table["stage"] == "classifier") & table["system"].isin(["joint", "gallery"])]
    for (system, faces), own in people.groupby(["system", "faces"], sort=False):
        own = own.sort_values("people")
        name = "classifier" if system == "joint" else "gallery, exact search"
        label = f"{name}, {faces} face{'s' if faces > 1 else ''}"
        style = _line(JOINT if system == "joint" else GALLERY, faces > 1)
        axes[2].plot(own["people"], own["ms_median"], label=label, **style)
    axes[2].set(xscale="log", yscale="log", xlabel="people known", ylabel="ms, that step alone")
    for axis in axes:
        axis.grid(axis="y")
        if axis.get_legend_handles_labels()[0]:
            place = {"loc": "lower left", "bbox_to_anchor": (-0.22, 1.0), "borderaxespad": 0.2}
            axis.legend(fontsize=6.5, handlelength=2.8, **place)
    return figure


def _plain_log(axis: Axes, ticks: Iterable[float]) -> None:
    axis.set_xscale("log", base=2)
    ticks_at(axis, "x", ticks)
