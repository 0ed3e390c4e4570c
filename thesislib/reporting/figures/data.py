"""Figures of datasets."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from thesislib.reporting.figures.style import GREY, PALE, SKY, TEXT, WRONG, styled
from thesislib.reporting.labels import split_label
from thesislib.reporting.language import N_, _, ngettext

_BLUE = "#0072B2"
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
        1, 3, figsize=(TEXT, 2.2), gridspec_kw={"width_ratios": [1, 1.35, 1]}
    )

    sizes.scatter(
        wide * scale, tall * scale, s=3, color=GREY, alpha=0.35, linewidth=0, rasterized=True
    )
    for w, h in np.asarray(anchors):
        sizes.plot([0, w, w], [h, h, 0], color=WRONG, linewidth=0.9, linestyle="--")
        sizes.plot(w, h, "x", color=WRONG, markersize=6, markeredgewidth=1.6)
    named = ngettext("anchor", "anchors", len(anchors))
    sizes.text(
        0.04,
        1.0,
        "\n".join([named, *(f"{w:.0f} × {h:.0f}" for w, h in np.asarray(anchors))]),
        transform=sizes.transAxes,
        va="top",
        color=WRONG,
        fontsize=8,
        linespacing=1.0,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )
    most = 1.08 * max((wide * scale).max(), (tall * scale).max(), np.max(anchors))
    sizes.set(xlim=(0, most), ylim=(0, most), aspect="equal", title=_("boxes and anchors"))
    sizes.set(xlabel=_("width, px at {px} px").format(px=input_px), ylabel=_("height, px"))
    sizes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    sizes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))

    x = (boxes["x1"] + boxes["x2"]) / 2 / boxes["width"]
    y = (boxes["y1"] + boxes["y2"]) / 2 / boxes["height"]
    counts = np.histogram2d(y, x, bins=20, range=[[0, 1], [0, 1]])[0]
    aspect = float((boxes["height"] / boxes["width"]).median())
    picture = places.imshow(
        counts / len(boxes) * 100,
        extent=(0, 1, 1, 0),
        cmap="Blues",
        vmin=0,
        aspect=aspect,
        interpolation="nearest",
    )
    places.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], title=_("centres of faces"))
    places.set(xlabel=_("share of the photo's width"), ylabel=_("share of its height"))
    bar = figure.colorbar(picture, ax=places, aspect=18, pad=0.03)
    bar.set_label(_("% of faces"))
    bar.outline.set_visible(False)

    sns.histplot(np.sqrt(wide * tall) / shorter, bins=20, ax=shares, **_BARS)
    shares.set(xlabel=_("share of the shorter side"), ylabel=_("faces"))
    shares.set_title(_("size (root of area)"))
    shares.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    return figure


_COUNTS = {"photos": N_("photos per person"), "sessions": N_("sittings per person")}
# Of a photo and its largest face: title, x axis.
_LOOKS = {
    "face_size": (N_("face size"), N_("√(box area / photo area)")),
    "box_shape": (N_("shape of boxes"), N_("width / height")),
    "off_centre": (N_("distance from the middle"), N_("share of the diagonal")),
    "brightness": (N_("brightness"), N_("mean grey value, 0 to 1")),
}
_PARTS = {"train": N_("training, {photos}"), "test": N_("test, {photos}")}


@styled
def dataset_overview(people: pd.DataFrame, looks: pd.DataFrame) -> Figure:
    """Whether people have equally many photos, and whether both parts of them look alike.

    What everybody has as many of is said in words, above.

    Args:
        people: one row per known person: ``photos`` and ``sessions``, how many.
        looks: one row per photo: ``part`` (``train`` or ``test``), ``brightness`` in 0–1 and, of
            the largest face, ``face_size, box_shape, off_centre``, NaN without a face; see
            :func:`thesislib.data.inspect.measure_photos`.
    """
    varying = [name for name in _COUNTS if people[name].nunique() > 1]
    panels = len(varying) + len(_LOOKS)
    columns = panels if panels <= 4 else 3
    lines = -(-panels // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(TEXT, 1.6 * lines + 0.6), squeeze=False)
    for axis, name in zip(axes.flat, varying, strict=False):
        _count_bars(axis, people[name].to_numpy(), _(_COUNTS[name]))
    for at, (name, (title, label)) in enumerate(_LOOKS.items(), start=len(varying)):
        axis = axes.flat[at]
        _outlines(axis, {part: looks.loc[looks["part"] == part, name] for part in _PARTS})
        axis.set(title=_(title), xlabel=_(label))
        if at == len(varying) or at % columns == 0:
            axis.set_ylabel(_("% of the part"))
    tallest = max(axis.get_ylim()[1] for axis in axes.flat[len(varying) : panels])
    for axis in axes.flat[len(varying) : panels]:  # one ruler for all
        axis.set_ylim(0, tallest)
    for axis in axes.flat[panels:]:
        axis.axis("off")
    of_part = looks["part"].value_counts()
    labels = {
        part: _(label).format(photos=_photos(of_part.get(part, 0)))
        for part, label in _PARTS.items()
    }
    handles = [
        Patch(color=SKY, alpha=0.6, linewidth=0, label=labels["train"]),
        Line2D([], [], color=WRONG, label=labels["test"]),
    ]
    about = {"title": _of_all(people), "title_fontsize": 8.5}
    figure.legend(handles=handles, loc="outside upper center", ncols=2, **about)
    return figure


def _photos(count: int) -> str:
    return ngettext("{n} photo", "{n} photos", count).format(n=count)


def _of_all(people: pd.DataFrame) -> str:
    """How many people there are, and what each of them has as many of."""
    n = len(people)
    named = ngettext("{n} person", "{n} people", n).format(n=n)
    photos, sessions = people["photos"].unique(), people["sessions"].unique()
    if len(photos) == 1 and len(sessions) == 1:
        sittings = ngettext("{n} sitting", "{n} sittings", sessions[0]).format(n=sessions[0])
        each = _("{people}, each with {photos} of {sittings}")
        return each.format(people=named, photos=_photos(photos[0]), sittings=sittings)
    if len(photos) == 1:
        return _("{people}, each with {what}").format(people=named, what=_photos(photos[0]))
    if len(sessions) == 1:
        sittings = ngettext("{n} sitting", "{n} sittings", sessions[0]).format(n=sessions[0])
        return _("{people}, each with {what}").format(people=named, what=sittings)
    return named


def _count_bars(axis: Axes, values: np.ndarray, title: str) -> None:
    """How many people have how many of something."""
    low, high = int(values.min()), int(values.max())
    step = max(1, -(-(high - low + 1) // 24))
    edges = np.arange(low, high + step + 1, step) - 0.5
    sns.histplot(values, bins=edges, ax=axis, **_BARS)
    axis.set(xlim=(edges[0] - 0.5, edges[-1] + 0.5), ylabel=_("people"), title=title)
    axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))


def _outlines(axis: Axes, parts: dict[str, pd.Series]) -> None:
    """Distribution of a measure in both parts, in % of each: the first filled, the other a line."""
    edges = np.histogram_bin_edges(pd.concat(parts.values()).dropna(), 15)
    for part, values in parts.items():
        shares = 100 * np.histogram(values.dropna(), edges)[0] / max(1, values.notna().sum())
        if part == "train":
            axis.stairs(shares, edges, fill=True, color=SKY, alpha=0.6, linewidth=0)
        else:
            axis.stairs(shares, edges, color=WRONG, linewidth=1.2)
    axis.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axis.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))


_PROBES = {
    "linear_classifier_on_background": N_("linear classifier,\nbackground alone"),
    "linear_classifier_on_photo": N_("linear classifier,\nwhole photo"),
    "joint_accuracy_50": N_("joint net"),
}
_SPLITS: dict[str, dict[str, Any]] = {
    "photo": {"color": _BLUE, "marker": "o"},
    "session": {"color": WRONG, "marker": "s"},
}


@styled
def stand_in(table: pd.DataFrame, yaw: pd.DataFrame, real: pd.DataFrame) -> Figure:
    """Whether synthetic people are a fair stand-in for real ones.

    Left, the share of heads that dlib's detector finds as they turn; right, how many faces are
    named rightly by what, within and across sittings, with 95 % intervals, beside the joint net
    on real people. Dotted are the bars: of heads within 30 degrees 90 % are to be found, and
    without a look at the face at most three times as many named as by chance.

    Args:
        table: ``stand_in.csv``: ``measure, split, value, low, high, chance``; shares in 0–1.
        yaw: ``stand_in_yaw.csv``: ``yaw`` in degrees, ``found, low, high``; shares in 0–1.
        real: rows of ``experiment1.csv`` of the joint net's ``joint_accuracy_50`` on one dataset
            of real people: ``dataset, split, value, low, high``; may be empty.
    """
    figure, (turned, named) = plt.subplots(
        1, 2, figsize=(TEXT, 2.8), gridspec_kw={"width_ratios": [1, 1.4]}
    )
    bar: dict[str, Any] = {"color": "black", "linewidth": 1.0, "linestyle": ":"}
    turned.plot([-30, 30], [90, 90], **bar)
    turned.fill_between(yaw["yaw"], 100 * yaw["low"], 100 * yaw["high"], color=PALE, linewidth=0)
    turned.plot(yaw["yaw"], 100 * yaw["found"], "o-", color="#333333", markersize=3)
    turned.set(xticks=[-60, -30, 0, 30, 60], ylim=(0, 103), xlim=(-63, 63))
    turned.set(title=_("found by dlib's detector"))
    turned.set(xlabel=_("head turned, degrees"), ylabel=_("share of faces, %"))
    turned.grid(axis="y")

    lines = [(_(label), table[table["measure"] == name]) for name, label in _PROBES.items()]
    if len(real):
        label = _("joint net,\n{dataset} (real people)").format(dataset=real["dataset"].iloc[0])
        lines.append((label, real))
    for at, (_label, rows) in enumerate(lines):
        for row in rows.itertuples():
            style = _SPLITS[row.split]
            y = at + (0.16 if row.split == "session" else -0.16)
            named.plot([100 * row.low, 100 * row.high], [y, y], color=style["color"], linewidth=1.5)
            named.plot(100 * row.value, y, markersize=4.5, linestyle="", **style)
    # Chance is that of the synthetic people; real ones are more.
    chance = 100 * float(table["chance"].dropna().iloc[0])
    named.plot([chance] * 2, [-0.5, len(_PROBES) - 0.5], color=GREY, linewidth=1.0)
    named.plot([3 * chance] * 2, [-0.5, len(_PROBES) - 1.5], **bar)
    named.set(ylim=(len(lines) - 0.5, -0.5), xlim=(0, 101))
    named.set(title=_("named right"), xlabel=_("share of faces, %"))
    named.set_yticks(range(len(lines)), [label for label, _rows in lines])
    named.tick_params(axis="y", length=0)
    named.grid(axis="x")
    handles = [
        Line2D([], [], label=split_label(split), markersize=4.5, **style)
        for split, style in _SPLITS.items()
    ]
    handles += [
        Line2D([], [], color=GREY, linewidth=1.0, label=_("chance")),
        Line2D([], [], **bar, label=_("bar: 90 %, 3 × chance")),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


_PAIRS = {
    "within": (N_("one person, two sittings"), _BLUE, "-"),
    "between": (N_("two people"), WRONG, (0, (4, 1.2))),
}
_SAME = 0.6  # dlib's threshold


@styled
def stand_in_distances(table: pd.DataFrame) -> Figure:
    """How far apart dlib's recogniser sees photos of synthetic people.

    Two histograms, with a line at 0.6, under which dlib takes two faces for one person's, and the
    share of pairs that lie under it.

    Args:
        table: ``stand_in_distances.csv``: ``pair`` (``within`` or ``between``), ``distance``
            (where a bin of 0.02 begins), ``share`` in 0–1, ``n``; bins that are empty may be
            missing.
    """
    figure, axis = plt.subplots(figsize=(0.62 * TEXT, 2.4))
    step = 0.04  # two bins of the table: there are few pairs of one person
    bins = np.floor(table["distance"] / step + 1e-6).astype(int)
    at = np.arange(bins.min(), bins.max() + 1)
    for pair, (label, colour, dashes) in _PAIRS.items():
        rows = table[table["pair"] == pair]
        shares = rows["share"].groupby(bins[rows.index]).sum().reindex(at, fill_value=0.0)
        under = 100 * rows.loc[rows["distance"] < _SAME - 1e-6, "share"].sum()
        outline = {"values": 100 * shares, "edges": np.append(at, at[-1] + 1) * step}
        told = _("{pairs}: {share:.0f} % closer than {threshold}")
        axis.stairs(**outline, color=colour, fill=True, alpha=0.2, linewidth=0)
        axis.stairs(
            **outline,
            color=colour,
            linestyle=dashes,
            linewidth=1.2,
            label=told.format(pairs=_(label), share=under, threshold=_SAME),
        )
    axis.axvline(_SAME, color="black", linewidth=1.0, linestyle=":", label=_("dlib's threshold"))
    axis.set(xlabel=_("distance of two photos to dlib's recogniser"), ylabel=_("% of pairs"))
    figure.legend(loc="outside upper left")
    return figure
