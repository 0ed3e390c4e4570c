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
from thesislib.reporting.labels import (
    STARTS,
    TRANSFER_VARIANTS,
    started_from,
    variant_label,
)
from thesislib.reporting.language import N_, _, ngettext
from thesislib.tables import REFERENCES, one_run

METRICS = {
    "accuracy": N_("accuracy, %"),
    "joint_accuracy_50": N_("found and named, IoU ≥ 0.5, %"),
    "mean_iou": N_("mean IoU, %"),
    "old_joint_accuracy_50": N_("found and named, IoU ≥ 0.5, %"),
    "old_mean_iou": N_("mean IoU, %"),
    "old_ap50": "AP50, %",
}
_OLD = ("old_joint_accuracy_50", "old_mean_iou", "old_ap50")
_COLOURS = {
    "class_mean": "#0072B2",
    "nearest": SKY,
    "classifier": "#009E73",
    "classifier_embedding": "#E69F00",
    "all": "#D55E00",
    "scratch": "#222222",
}
_MARKERS = {"class_mean": "o", "nearest": "P", "classifier": "s"}
_MARKERS |= {"classifier_embedding": "D", "all": "^"}
_HOLLOW = ("x", "+", "1", "2", "3", "v", "o", "s")  # of references
_WIDTH = 0.8  # of the variants side by side, of the way to the next number of photos
_PERCENT = (-3, 103)  # shares are drawn from nothing to all
_UNTRAINED = ("class_mean", "nearest")
_ORDER = (*TRANSFER_VARIANTS, *REFERENCES)
# A panel shows one run of each, so that its range is that of seeds alone.
_REPEATED = ("variant", "photos_per_person", "seed")


def _style(variant: str) -> dict[str, Any]:
    if variant in REFERENCES:
        at = REFERENCES.index(variant)
        style = {"linestyle": (0, (1 + at % 4, 1.5)), "linewidth": 0.9, "color": GREY}
        return style | {"marker": _HOLLOW[at % len(_HOLLOW)], "markerfacecolor": "white"}
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


def _panels(rows: pd.DataFrame, named: int) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """A panel a source, target and profile, three in a row, with its rows of the table; with room
    for a legend of so many names."""
    pairs = _pairs(rows)
    columns = min(3, len(pairs))
    lines = -(-len(pairs) // columns)
    if columns > 1:
        two_lines = any(profile for *_pair, profile, _rows in pairs)
        height = (2.1 + 0.14 * two_lines) * lines + 0.17 * -(-named // 3) + 0.2
    else:
        height = max(2.5, 0.17 * named + 0.2)
    figure, axes = plt.subplots(lines, columns, figsize=(TEXT, height), sharey=True, squeeze=False)
    for axis in axes.flat[len(pairs) :]:
        axis.axis("off")
    panels = []
    for axis, (source, target, profile, own) in zip(axes.flat, pairs, strict=False):
        told = profile.replace(", ", "\n", 1)  # which would not fit in a line
        axis.set_title(f"{short(source, 24)} → {short(target, 24)}{told}", linespacing=1.0)
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
    several = sorted(seeds - {1})
    words = []
    if several:
        counts = _(" or ").join(map(str, several))
        range_of = ngettext("range of {n} seed", "range of {n} seeds", several[-1])
        words.append(range_of.format(n=counts))
    if 1 in seeds:
        words.append(_("95 % interval of one") if several else _("95 % interval"))
    return "; ".join(words)


def _finish(
    figure: Figure, panels: list[tuple[Axes, pd.DataFrame]], metric: str, handles: list[Line2D]
) -> None:
    """Label the shares' axis, and put the legend above the panels, or beside a single one."""
    panels[0][0].set_ylim(_PERCENT)
    for at in range(0, len(panels), 3):
        panels[at][0].set_ylabel(_(METRICS[metric]) if metric in METRICS else f"{metric}, %")
    if len(panels) > 1:
        columns = 2 if len(handles) == 4 else 3
        figure.legend(handles=handles, loc="outside upper center", ncols=columns)
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
    variants = in_order(rows["variant"], _ORDER)
    figure, panels = _panels(rows, len(variants) + 1)
    photos = sorted(set(rows["photos_per_person"]))
    apart = min(0.12, _WIDTH / len(variants))
    for axis, own in panels:
        for at, variant in enumerate(variants):
            line = _over_seeds(own[own["variant"] == variant])
            # Side by side, for bars at the same number of photos would hide each other.
            aside = apart * (at - (len(variants) - 1) / 2)
            x = [photos.index(count) + aside for count in line["photos_per_person"]]
            style = {"linewidth": 0.9, "markersize": 3.5} | _style(variant)
            axis.vlines(x, 100 * line["low"], 100 * line["high"], color=style["color"], lw=1.0)
            axis.plot(x, 100 * line["value"], **style)
        for between in range(1, len(photos)):
            axis.axvline(between - 0.5, color=PALE, linewidth=0.6, zorder=0)
        axis.set_xticks(range(len(photos)), [f"{count:g}" for count in photos])
        axis.tick_params(axis="x", length=0)
        axis.set_xlim(-0.5, len(photos) - 0.5)
        axis.set_xlabel(_("photos per person"))
        axis.grid(axis="y")
    handles = [Line2D([], [], **_style(v), label=_label(v)) for v in variants]
    bar = Line2D([], [], color=GREY, marker="|", markersize=8, linewidth=0, label=_bars(rows))
    handles.append(bar)
    _finish(figure, panels, metric, handles)
    return figure


@styled
def transfer_time(table: pd.DataFrame, metric: str = "joint_accuracy_50") -> Figure:
    """How well new people are recognised, against the seconds it took to add them.

    A point a variant and number of photos, references left out: means over seeds. The more photos
    of a person, the larger the point.

    Args:
        table: ``experiment2.csv``: ``source, target, variant, photos_per_person, seed, metric,
            value, seconds``; shares in 0–1. A panel a source, target and profile.
        metric: the one shown.

    Raises:
        ValueError: no rows of the metric, or several runs of one setting.
    """
    rows = _rows(table, [metric])
    rows = rows[~rows["variant"].isin(REFERENCES)]
    variants = in_order(rows["variant"], _ORDER)
    figure, panels = _panels(rows, len(variants) + 3)
    counts = sorted(set(rows["photos_per_person"]))
    sizes = dict(zip(counts, np.linspace(2.5, 7, len(counts)), strict=True))
    for axis, own in panels:
        for variant in variants:
            line = _over_seeds(own[own["variant"] == variant])
            style = _style(variant) | {"linewidth": 0.9}
            marker = style.pop("marker")
            axis.plot(line["seconds"], 100 * line["value"], **style)
            for row in line.itertuples():
                size = sizes[row.photos_per_person]
                colour = style["color"]
                axis.plot(row.seconds, 100 * row.value, marker, color=colour, markersize=size)
        axis.set_xscale("log")
        axis.margins(x=0.1)
        log_ticks(axis)
        axis.set_xlabel(_("seconds to add the new people"))
        axis.grid()
    handles = [Line2D([], [], **_style(v), label=_label(v)) for v in variants]
    _finish(figure, panels, metric, handles)
    handles = [Line2D([], [], linewidth=0, label=_("photos per person:"))]
    point: dict[str, Any] = {"color": GREY, "marker": "o", "linewidth": 0}
    handles += [
        Line2D([], [], **point, markersize=size, label=f"{count:g}")
        for count, size in sizes.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
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
    figure.get_layout_engine().set(wspace=0.05)
    shades = dict(zip(photos, plt.get_cmap("viridis")(np.linspace(0.05, 0.88, len(photos))[::-1]),
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
                axis.set_title(_(METRICS[metric]))
            axis.set(xlim=_PERCENT, xticks=range(0, 101, 20))
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
        told = _("on {old}, after learning {new}").format(
            old=short(source, 24), new=short(target, 24)
        )
        line[len(line) // 2].set_xlabel(f"{told}{profile}")
    handles = [Line2D([], [], color=shades[k], marker="o", label=f"{k:g}") for k in photos]
    handles.insert(0, Line2D([], [], linewidth=0, label=_("photos per person:")))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    band: dict[str, Any] = {"color": PALE, "linewidth": 6, "marker": "|", "markersize": 9}
    handles = [
        Line2D([], [], color=GREY, linewidth=1.5, label=_bars(rows)),
        Line2D([], [], **band, markeredgecolor=GREY, label=_("before, mean and range")),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure
