"""Figures of datasets."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from thesislib.reporting.figures.style import GREY, PALE, SKY, TEXT, WRONG, styled

_BARS: dict[str, Any] = {"color": SKY, "alpha": 1, "edgecolor": "white", "linewidth": 0.3}


@styled
def box_statistics(boxes: pd.DataFrame, anchors: np.ndarray, input_px: int) -> Figure:
    """How large the faces are and where they lie: what anchors and grid have to serve.

    Args:
        boxes: one row per face: ``width, height`` of its photo and ``x1, y1, x2, y2``, pixels.
        anchors: float [A, 2], width and height in pixels of the network's input.
        input_px: shorter side of a photo in the network.
    """
    shorter = boxes[["width", "height"]].min(axis=1)
    wide, tall = boxes["x2"] - boxes["x1"], boxes["y2"] - boxes["y1"]
    scale = input_px / shorter
    figure, (sizes, places, shares) = plt.subplots(
        1, 3, figsize=(TEXT, 2.4), gridspec_kw={"width_ratios": [1, 1.1, 1]}
    )

    sizes.scatter(
        wide * scale, tall * scale, s=3, color=GREY, alpha=0.35, linewidth=0, rasterized=True
    )
    for w, h in np.asarray(anchors):
        sizes.add_patch(
            Rectangle((0, 0), w, h, fill=False, edgecolor=WRONG, linewidth=0.9, linestyle="--")
        )
        sizes.plot(w, h, "x", color=WRONG, markersize=6, markeredgewidth=1.6)
    sizes.text(
        0.04,
        1.0,
        "\n".join(["anchors", *(f"{w:.0f} × {h:.0f}" for w, h in np.asarray(anchors))]),
        transform=sizes.transAxes,
        va="top",
        color=WRONG,
        fontsize=7.5,
        linespacing=1.0,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )
    most = 1.08 * max((wide * scale).max(), (tall * scale).max(), np.max(anchors))
    sizes.set(xlim=(0, most), ylim=(0, most))
    sizes.set(xlabel=f"width, px at {input_px} px", ylabel="height, px", title="boxes and anchors")

    x = (boxes["x1"] + boxes["x2"]) / 2 / boxes["width"]
    y = (boxes["y1"] + boxes["y2"]) / 2 / boxes["height"]
    counts, *_ = np.histogram2d(y, x, bins=20, range=[[0, 1], [0, 1]])
    aspect = float((boxes["height"] / boxes["width"]).median())
    picture = places.imshow(
        counts / len(boxes) * 100,
        extent=(0, 1, 1, 0),
        cmap="Blues",
        vmin=0,
        aspect=aspect,
        interpolation="nearest",
    )
    places.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], title="face centres")
    places.set(xlabel="share of photo's width", ylabel="share of height")
    bar = figure.colorbar(picture, ax=places, shrink=0.75, aspect=15, pad=0.03)
    bar.set_label("% of faces", fontsize=7.5)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)

    sns.histplot(np.sqrt(wide * tall) / shorter, bins=30, ax=shares, **_BARS)
    shares.set(
        xlabel="share of photo's shorter side", ylabel="faces", title="face size (root of area)"
    )
    shares.set_xlim(left=0)
    return figure


@styled
def dataset_overview(people: pd.DataFrame, looks: pd.DataFrame) -> Figure:
    """People, sittings, shapes of boxes and brightness: what one asks of a dataset first.

    Args:
        people: one row per known person: ``photos`` and ``sessions``, how many.
        looks: one row per photo: ``part`` (``train`` or ``test``), ``brightness`` in 0–1 and
            ``box_shape``, width by height of the largest face, NaN without a face.
    """
    figure, axes = plt.subplots(1, 4, figsize=(TEXT, 2.0))
    counted, sittings, shapes, light = axes
    for axis, name in ((counted, "photos"), (sittings, "sessions")):
        values = people[name].to_numpy()
        low, high = int(values.min()), int(values.max())
        step = max(1, -(-(high - low + 1) // 24))
        edges = np.arange(low, high + step + 1, step) - 0.5
        sns.histplot(values, bins=edges, ax=axis, **_BARS)
        axis.set(xlim=(min(0, low) - 0.5, 1.15 * high + 0.5), ylabel="people")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
        axis.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    counted.set(title="photos per person", xlabel="photos")
    sittings.set(title="sittings per person", xlabel="sittings")
    sns.histplot(looks["box_shape"].dropna(), bins=30, ax=shapes, **_BARS)
    shapes.set(title="shape of boxes", xlabel="width / height", ylabel="photos")
    sns.histplot(
        looks,
        x="brightness",
        hue="part",
        hue_order=["train", "test"],
        palette=["#0072B2", WRONG],
        stat="percent",
        common_norm=False,
        bins=np.linspace(0, 1, 26).tolist(),
        element="step",
        fill=False,
        linewidth=1.2,
        ax=light,
    )
    light.set(title="brightness", xlabel="mean grey value", ylabel="% of the part", xlim=(0, 1))
    sns.move_legend(light, "upper right", title=None, fontsize=7, handlelength=1.2)
    return figure


_PROBES = {
    "linear_classifier_on_background": "linear classifier,\nbackground alone",
    "linear_classifier_on_photo": "linear classifier,\nwhole photo",
    "joint_accuracy_50": "joint net",
}


@styled
def stand_in(table: pd.DataFrame, yaw: pd.DataFrame, real: pd.DataFrame) -> Figure:
    """Whether synthetic people are a fair stand-in for real ones.

    Left, the share of heads that dlib's detector finds as they turn; right, how many faces are
    named rightly by what, within and across sittings, with 95 % intervals, beside the joint net
    on real people.

    Args:
        table: ``stand_in.csv``: ``measure, split, value, low, high, chance``; shares in 0–1.
        yaw: ``stand_in_yaw.csv``: ``yaw`` in degrees, ``found, low, high``; shares in 0–1.
        real: rows of ``experiment1.csv`` of the joint net's ``joint_accuracy_50`` on one dataset
            of real people: ``dataset, split, value, low, high``; may be empty.
    """
    figure, (turned, named) = plt.subplots(
        1, 2, figsize=(TEXT, 2.5), gridspec_kw={"width_ratios": [1, 1.5]}
    )
    turned.axvspan(-30, 30, color=PALE, linewidth=0, alpha=0.6)
    turned.axhline(90, color=GREY, linewidth=0.7, linestyle=":")
    turned.fill_between(
        yaw["yaw"], 100 * yaw["low"], 100 * yaw["high"], color=SKY, alpha=0.35, linewidth=0
    )
    turned.plot(yaw["yaw"], 100 * yaw["found"], "o-", color="#0072B2", markersize=3)
    turned.set(xticks=[-60, -30, 0, 30, 60], ylim=(0, 103), xlim=(-63, 63))
    turned.set(xlabel="head turned, degrees", ylabel="found by dlib, %", title="detection")

    lines = [(_PROBES[name], table[table["measure"] == name]) for name in _PROBES]
    if len(real):
        lines.append((f"joint net,\n{real['dataset'].iloc[0]} (real people)", real))
    chance = 100 * float(table["chance"].dropna().iloc[0])
    style = {"photo": ("#0072B2", -0.16), "session": (WRONG, 0.16)}
    for at, (_, rows) in enumerate(lines):
        for row in rows.itertuples():
            colour, shift = style[row.split]
            y = at + shift
            named.plot([100 * row.low, 100 * row.high], [y, y], color=colour, linewidth=1.5)
            named.plot(100 * row.value, y, "o", color=colour, markersize=4.5)
    # Chance is that of the synthetic people; real ones are more.
    top = len(_PROBES) - 0.5
    for times, dash in ((1, "-"), (3, ":")):
        named.plot([times * chance] * 2, [-0.5, top], color=GREY, linewidth=0.8, linestyle=dash)
        label = "chance" if times == 1 else "3 ×"
        named.text(times * chance, -0.58, label, ha="center", va="bottom", fontsize=6.5, color=GREY)
    named.set(ylim=(len(lines) - 0.4, -0.5), xlim=(0, 101), xlabel="faces named rightly, %")
    named.set_yticks(range(len(lines)), [label for label, _ in lines], fontsize=7.5)
    named.tick_params(axis="y", length=0)
    named.grid(axis="x")
    handles = [
        Line2D([], [], color=colour, marker="o", label=f"{split} split")
        for split, (colour, _) in style.items()
    ]
    named.legend(
        handles=handles, loc="lower right", fontsize=7, bbox_to_anchor=(1.0, 0.98), ncols=2
    )
    return figure


_PAIRS = {
    "within": ("one person, two sittings", "#0072B2"),
    "between": ("two people", WRONG),
}


@styled
def stand_in_distances(table: pd.DataFrame) -> Figure:
    """How far apart dlib's recogniser sees photos of synthetic people.

    Two outlined histograms, with a line at 0.6, under which dlib takes two faces for one person's.

    Args:
        table: ``stand_in_distances.csv``: ``pair`` (``within`` or ``between``), ``distance``
            (where a bin begins), ``share`` in 0–1, ``n``; bins that are empty may be missing.
    """
    figure, axis = plt.subplots(figsize=(0.62 * TEXT, 2.3))
    step = 0.02
    first, last = table["distance"].min(), table["distance"].max()
    bins = np.arange(round(first / step), round(last / step) + 1)
    for pair, (label, colour) in _PAIRS.items():
        rows = table[table["pair"] == pair]
        at = (rows["distance"] / step).round().astype(int)
        shares = pd.Series(rows["share"].to_numpy(), index=at).reindex(bins, fill_value=0.0)
        axis.stairs(
            100 * shares,
            np.append(bins, bins[-1] + 1) * step,
            color=colour,
            label=label,
            fill=False,
        )
    axis.axvline(0.6, color=GREY, linewidth=0.8, linestyle=":")
    top = axis.get_ylim()[1]
    axis.text(0.61, 1.2 * top, "dlib's threshold", va="top", fontsize=6.5, color=GREY)
    axis.set(xlabel="distance of two photos, dlib's recogniser", ylabel="% of the pairs")
    axis.legend(loc="upper left", fontsize=7)
    axis.set_ylim(0, 1.25 * top)
    return figure
