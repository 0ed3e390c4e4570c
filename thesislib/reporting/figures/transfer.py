"""Figures of Experiment 2: what must be retrained for new people, and what it costs.

Drawn from ``experiment2.csv``. A variant has the same colour in every figure.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from thesislib.reporting.figures.style import (
    GREY,
    PALE,
    SKY,
    TEXT,
    in_order,
    log_ticks,
    short,
    styled,
)
from thesislib.reporting.labels import STARTS, TRANSFER_VARIANTS, started_from, variant_label
from thesislib.tables import REFERENCES, one_run

METRICS = {
    "accuracy": "accuracy",
    "joint_accuracy_50": "joint accuracy, IoU ≥ 0.5",
    "mean_iou": "mean IoU",
    "old_joint_accuracy_50": "joint accuracy, IoU ≥ 0.5",
    "old_mean_iou": "mean IoU",
    "old_ap50": "AP50",
}
_OLD = ("old_joint_accuracy_50", "old_mean_iou", "old_ap50")
_COLOURS = {
    "class_mean": "#0072B2",
    "nearest": SKY,
    "classifier": "#009E73",
    "classifier_embedding": "#E69F00",
    "all": "#D55E00",
    "scratch": "#777777",
}
_MARKERS = {"class_mean": "o", "nearest": "P", "classifier": "s"}
_MARKERS |= {"classifier_embedding": "D", "all": "^"}
_UNTRAINED = ("class_mean", "nearest")
_ORDER = (*TRANSFER_VARIANTS, *REFERENCES)
# A panel shows one run of each, so that its range is that of seeds alone.
_REPEATED = ("variant", "photos_per_person", "seed")


def _style(variant: str) -> dict[str, Any]:
    if variant in REFERENCES:
        dashes = (0, (1 + REFERENCES.index(variant) % 4, 1.5))
        return {"color": GREY, "marker": "x", "linestyle": dashes, "linewidth": 0.9}
    return {"color": _COLOURS.get(variant, "#000000"), "marker": _MARKERS.get(variant, "v")}


def _label(variant: str) -> str:
    return variant_label(variant)


def _rows(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    rows = table[table["metric"].isin(metrics)] if len(table) else table
    # Of trainings those that were as long as they needed to be.
    rows = rows[rows["budget"] != "equal"] if "budget" in rows else rows
    if not len(rows):
        raise ValueError(f"experiment2: no rows of {', '.join(metrics)}")
    return rows


def _pairs(rows: pd.DataFrame) -> list[tuple[str, str, str, pd.DataFrame]]:
    """Source, target, addition to their title and rows of each panel: one a pair, profile and
    start."""
    several = rows["profile"].nunique() > 1
    found = []
    start = rows["start"] if "start" in rows else pd.Series("scratch", rows.index)
    told = [rows["source"], rows["target"], rows["profile"], start.rename("start")]
    for (source, target, profile, begun), own in rows.groupby(told, sort=False):
        title = f"{source} → {target}"
        one_run(own, f"experiment2, {title}, {profile}, {begun}", columns=(), by=_REPEATED)
        words = [profile] if several else []
        words += [started_from(begun)] if begun in STARTS else []
        found.append((source, target, "".join(f", {word}" for word in words), own))
    return found


def _panels(rows: pd.DataFrame) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """A panel a source, target and profile, three in a row, with its rows of the table."""
    pairs = _pairs(rows)
    columns = min(3, len(pairs))
    lines = -(-len(pairs) // columns)
    height = 2.2 * lines + (0.6 if columns > 1 else 0.3)
    figure, axes = plt.subplots(lines, columns, figsize=(TEXT, height), sharey=True, squeeze=False)
    for axis in axes.flat[len(pairs) :]:
        axis.axis("off")
    panels = []
    for axis, (source, target, profile, own) in zip(axes.flat, pairs, strict=False):
        axis.set_title(f"{short(source, 24)} → {short(target, 24)}{profile}")
        panels.append((axis, own))
    return figure, panels


def _over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and range over seeds for each number of photos; the interval of a seed alone."""
    found = []
    for photos, own in rows.groupby("photos_per_person"):
        alone = len(own) == 1 and {"low", "high"} <= set(own.columns)
        found.append(
            {
                "photos_per_person": photos,
                "value": own["value"].mean(),
                "low": own["low"].iloc[0] if alone else own["value"].min(),
                "high": own["high"].iloc[0] if alone else own["value"].max(),
                "seconds": own["seconds"].mean() if "seconds" in own else np.nan,
            }
        )
    return pd.DataFrame(found, columns=["photos_per_person", "value", "low", "high", "seconds"])


def _bars(rows: pd.DataFrame) -> str:
    """What the bars are."""
    seeds = set(rows.groupby(["source", "target", "profile"])["seed"].nunique())
    several = [f"{count} seeds" for count in sorted(seeds - {1})]
    words = [f"range of {' or '.join(several)}"] if several else []
    if 1 in seeds:
        words.append("95 % interval of one" if several else "95 % interval")
    return "; ".join(words)


def _finish(
    figure: Figure, panels: list[tuple[Axes, pd.DataFrame]], metric: str, handles: list[Line2D]
) -> None:
    """Label the shares' axis, and put the legend above the panels, or beside a single one."""
    axis = panels[0][0]
    bottom, top = axis.get_ylim()
    axis.set(ylim=(max(bottom, -5), min(top, 105)))
    for at in range(0, len(panels), 3):
        panels[at][0].set_ylabel(f"{METRICS.get(metric, metric)}, %")
    if len(panels) > 1:
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
    else:
        figure.legend(handles=handles, loc="outside right upper")


@styled
def transfer_accuracy(table: pd.DataFrame, metric: str = "joint_accuracy_50") -> Figure:
    """How well new people are recognised, against photos of each, by what was retrained.

    Lines are means over seeds, bars their range; with one seed, its 95 % interval. Of trainings
    those are shown that were as long as they needed to be; references are grey.

    Args:
        table: ``experiment2.csv``: ``source, target, variant, photos_per_person, seed, metric,
            value, low, high``; shares in 0–1. A panel a source, target and profile.
        metric: the one shown.

    Raises:
        ValueError: no rows of the metric, or several runs of one setting.
    """
    rows = _rows(table, [metric])
    figure, panels = _panels(rows)
    variants = in_order(rows["variant"], _ORDER)
    for axis, own in panels:
        for at, variant in enumerate(variants):
            line = _over_seeds(own[own["variant"] == variant])
            # Side by side, for bars at the same number of photos would hide each other.
            x = line["photos_per_person"] * 2 ** (0.07 * (at - (len(variants) - 1) / 2))
            style = _style(variant)
            axis.vlines(x, 100 * line["low"], 100 * line["high"], color=style["color"], lw=1.0)
            axis.plot(x, 100 * line["value"], **style)
        photos = sorted(set(rows["photos_per_person"]))
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_locator(FixedLocator(photos))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda k, _: f"{k:g}"))
        axis.set_xlim(photos[0] / 1.25, photos[-1] * 1.25)
        axis.set_xlabel("photos per person")
        axis.grid(axis="y")
    handles = [Line2D([], [], **_style(v), label=_label(v)) for v in variants]
    bar = Line2D([], [], color=GREY, marker="|", markersize=8, linewidth=0, label=_bars(rows))
    handles.append(bar)
    _finish(figure, panels, metric, handles)
    return figure


@styled
def transfer_time(table: pd.DataFrame, metric: str = "joint_accuracy_50") -> Figure:
    """How well new people are recognised, against the seconds it took to add them.

    A point a variant and number of photos, references left out: means over seeds. The fewest and
    most photos of a person are written beside a line's ends.

    Args:
        table: ``experiment2.csv``: ``source, target, variant, photos_per_person, seed, metric,
            value, seconds``; shares in 0–1. A panel a source, target and profile.
        metric: the one shown.

    Raises:
        ValueError: no rows of the metric, or several runs of one setting.
    """
    rows = _rows(table, [metric])
    rows = rows[~rows["variant"].isin(REFERENCES)]
    figure, panels = _panels(rows)
    variants = in_order(rows["variant"], _ORDER)
    for axis, own in panels:
        for variant in variants:
            line = _over_seeds(own[own["variant"] == variant])
            style = _style(variant)
            axis.plot(line["seconds"], 100 * line["value"], **style)
            few, most = line["photos_per_person"].agg(["min", "max"])
            for row in line[line["photos_per_person"].isin([few, most])].itertuples():
                first = row.photos_per_person == few
                axis.annotate(
                    f"{row.photos_per_person:g}",
                    (row.seconds, 100 * row.value),
                    xytext=(-4.5 if first else 4.5, 0),
                    textcoords="offset points",
                    ha="right" if first else "left",
                    va="center_baseline",
                    color=style["color"],
                    fontsize=7,
                )
        axis.set_xscale("log")
        axis.margins(x=0.1, y=0.1)
        log_ticks(axis)
        axis.set_xlabel("seconds to add the new people")
        axis.grid()
    handles = [Line2D([], [], **_style(v), label=_label(v)) for v in variants]
    counts = sorted(set(rows["photos_per_person"]))
    points = ", ".join(f"{count:g}" for count in counts)
    handles.append(Line2D([], [], lw=0, label=f"points: {points} photos per person"))
    _finish(figure, panels, metric, handles)
    return figure


@styled
def forgetting(table: pd.DataFrame) -> Figure:
    """What the net can still do on the old dataset once it has learnt the new people.

    Enrolling without training leaves the net as it was: that is the line "before".

    Args:
        table: ``experiment2.csv``: ``source, target, variant, photos_per_person, seed, metric,
            value``; shares in 0–1. A row of panels a source, target and profile.

    Raises:
        ValueError: no rows of a metric of the old dataset, or several runs of one setting.
    """
    rows = _rows(table, list(_OLD))
    metrics = [name for name in _OLD if (rows["metric"] == name).any()]
    pairs = _pairs(rows)
    photos = sorted(set(rows["photos_per_person"]))
    variants = in_order(rows["variant"], _ORDER)
    variants = [variant for variant in variants if variant not in _UNTRAINED]
    lanes = len(photos) + 1
    figure, axes = plt.subplots(
        len(pairs),
        len(metrics),
        figsize=(TEXT, len(pairs) * (0.09 * lanes * len(variants) + 0.6) + 0.6),
        sharey=True,
        sharex="col",
        squeeze=False,
    )
    shades = dict(zip(photos, plt.get_cmap("viridis_r")(np.linspace(0.12, 0.95, len(photos))),
                      strict=True))  # fmt: skip
    for line, (source, target, profile, own) in zip(axes, pairs, strict=True):
        for axis, metric in zip(line, metrics, strict=True):
            measured = own[own["metric"] == metric]
            before = 100 * measured.loc[measured["variant"].isin(_UNTRAINED), "value"]
            if len(before):
                axis.axvspan(before.min(), before.max(), color=PALE, linewidth=0, zorder=0)
                axis.axvline(before.mean(), color=GREY, linewidth=0.9, zorder=0.5)
            for at, variant in enumerate(variants):
                for row in _over_seeds(measured[measured["variant"] == variant]).itertuples():
                    y = at * lanes + photos.index(row.photos_per_person)
                    colour = shades[row.photos_per_person]
                    axis.hlines(y, 100 * row.low, 100 * row.high, color=colour, linewidth=1.5)
                    axis.plot(100 * row.value, y, "o", color=colour, markersize=4)
                if at:
                    axis.axhline(at * lanes - 1, color=PALE, linewidth=0.6)
            if axis in axes[0]:
                axis.set_title(f"{METRICS[metric]}, %")
            axis.xaxis.set_major_locator(MaxNLocator(nbins=5))
            axis.tick_params(axis="y", length=0)
            axis.tick_params(labelbottom=True)
            axis.spines["left"].set_visible(False)
            axis.grid(axis="x")
        line[0].set_yticks(
            [at * lanes + (lanes - 2) / 2 for at in range(len(variants))],
            [_label(variant) for variant in variants],
            fontsize=7.5,
        )
        line[0].set_ylim(len(variants) * lanes - 0.7, -1)
        told = f"on {short(source, 24)}, after learning {short(target, 24)}{profile}"
        line[len(line) // 2].set_xlabel(told)
    handles = [Line2D([], [], color=shades[k], marker="o", label=f"{k:g}") for k in photos]
    handles.insert(0, Line2D([], [], linewidth=0, label="photos per person:"))
    handles.append(Line2D([], [], color=GREY, linewidth=1.5, label=_bars(rows)))
    before_line = Line2D([], [], color=GREY, marker="|", markersize=9, linewidth=0, label="before")
    handles.append(before_line)
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=7.5)
    return figure
