"""Figures of photos with boxes and names."""

import unicodedata
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image

from thesislib.reporting.figures.style import DPI, RIGHT, TEXT, TRUTH, WRONG, short, styled
from thesislib.reporting.language import N_, _

_CORNERS = ["x1", "y1", "x2", "y2"]
_DARK = "#222222"  # around a line, to be seen on bright photos
# What a measure of :func:`thesislib.data.inspect.outliers` says: below what is usual, above it.
_ODD = {
    "brightness": (N_("darker photo"), N_("brighter photo")),
    "contrast": (N_("less contrast"), N_("more contrast")),
    "sharpness": (N_("less sharp"), N_("sharper")),
    "face_size": (N_("small face"), N_("large face")),
    "box_shape": (N_("narrow box"), N_("wide box")),
    "off_centre": (N_("near the middle"), N_("off the middle")),
}


def _photo_grid(
    photos: Sequence[np.ndarray], columns: int, title_inches: float
) -> tuple[Figure, list[Axes]]:
    """A figure with one axis per photo, each photo drawn in it; boxes keep the photo's pixels."""
    if not len(photos):
        raise ValueError("photos: empty")
    columns = min(columns, len(photos))
    rows = -(-len(photos) // columns)
    # A few photos are not blown up to the page's width.
    width = min(TEXT, columns * 2.3)
    cell = width / columns
    aspect = float(np.median([photo.shape[0] / photo.shape[1] for photo in photos]))
    gap = 0.02  # around each photo
    height = rows * ((cell - 2 * gap) * aspect + title_inches + 2 * gap)
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, height), squeeze=False, layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=gap, h_pad=gap, wspace=0, hspace=0)
    printed = (cell - 2 * gap) * DPI
    for axis in axes.flat:
        axis.axis("off")
    for axis, photo in zip(axes.flat, photos, strict=False):
        tall, wide = photo.shape[:2]
        # The pixels that are printed, no more, in 32 tones a channel: a page of photos takes a
        # third of the bytes.
        scale = min(printed / wide, printed * aspect / tall)
        size = (max(1, round(wide * scale)), max(1, round(tall * scale)))
        small = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))
        axis.imshow(in_32_tones(small), extent=(0, wide, tall, 0), interpolation="nearest")
    return figure, list(axes.flat[: len(photos)])


def in_32_tones(photo: np.ndarray) -> np.ndarray:
    """A photo uint8 [H, W, 3] in 32 tones a channel, which take a third of the bytes."""
    return np.minimum((photo.astype(int) + 4) // 8 * 8, 255).astype(np.uint8)


def draw_box(
    axis: Axes, box: np.ndarray, colour: str, dashed: bool = False, width: float = 1.0
) -> None:
    """Draw a box [4], pixels, in a photo."""
    axis.add_patch(
        Rectangle(
            (box[0], box[1]),
            box[2] - box[0],
            box[3] - box[1],
            fill=False,
            edgecolor=colour,
            linewidth=width,
            linestyle=(0, (3, 2)) if dashed else "-",
            path_effects=None
            if dashed
            else [withStroke(linewidth=1.9 * min(1, width), foreground=_DARK)],
        )
    )


@styled
def contact_sheet(
    photos: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    titles: Sequence[str],
    columns: int = 6,
) -> Figure:
    """Photos with their ground-truth boxes.

    Args:
        photos: uint8 [H, W, 3] RGB, of any sizes; about 24 fill a page.
        boxes: per photo [F, 4] pixels of that photo; F may be 0.
        titles: per photo a short line above it; cut where too long.
        columns: photos in a row.

    Raises:
        ValueError: no photos, or lists of different lengths.
    """
    figure, axes = _photo_grid(photos, columns, title_inches=0.15)
    for axis, one, title in zip(axes, boxes, titles, strict=True):
        axis.set_title(short(title, 120 // columns), fontsize=8, pad=2)
        wide = np.ptp(axis.get_xlim())
        for box in one:
            # Lines as wide as on a large face would hide a small one.
            draw_box(axis, box, TRUTH, width=min(1.0, max(0.5, 5 * (box[2] - box[0]) / wide)))
    return figure


def odd_titles(odd: pd.DataFrame) -> list[str]:
    """What is odd about photos, each in a few words above it in :func:`contact_sheet`.

    Args:
        odd: table of :func:`thesislib.data.inspect.outliers`.

    >>> columns = ["identity", "measure", "value", "usual"]
    >>> odd_titles(pd.DataFrame([("anna", "brightness", 0.2, 0.5)], columns=columns))
    ['anna: darker photo']
    """
    titles = []
    for row in odd.itertuples():
        told = _(_ODD[row.measure][int(row.value > row.usual)])
        titles.append(f"{row.identity}: {told}" if row.identity else told)
    return titles


@styled
def detections(photos: Mapping[str, np.ndarray], faces: pd.DataFrame, columns: int = 4) -> Figure:
    """Photos with what a system found: green where the identity is right, vermilion where wrong.

    Each photo is drawn once, with all its faces. Boxes are the system's own, not calibrated;
    ground-truth boxes are dashed. A wrong name has the right one below it, and a face that was not
    found says so.

    Args:
        photos: by name, uint8 [H, W, 3] RGB; those that the table does not name are left out.
        faces: one system's rows of ``experiment1_faces.csv``: ``photo, identity,
            predicted_identity, found``, ``x1 ... y2`` and ``true_x1 ... true_y2`` in pixels; ""
            is nobody who is known.
        columns: photos in a row.

    Raises:
        ValueError: no faces, or a photo of the table is missing.
    """
    of_photo = dict(list(faces.groupby("photo", sort=False)))
    if missing := [name for name in of_photo if name not in photos]:
        raise ValueError(f"photos: {missing[0]} of the table is missing")
    figure, axes = _photo_grid([photos[name] for name in of_photo], columns, title_inches=0.02)
    for axis, rows in zip(axes, of_photo.values(), strict=True):
        for _at, face in rows.iterrows():
            _draw_face(axis, face)
    handles = [
        Line2D([], [], color=RIGHT, label=_("right identity")),
        Line2D([], [], color=WRONG, label=_("wrong identity, or not found")),
        Line2D([], [], color="#C8B900", linestyle=(0, (3, 2)), label=_("ground truth")),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=7.5)
    width, height = figure.get_size_inches()
    figure.set_size_inches(max(width, 3.9), height + 0.2)  # the legend needs as much
    return figure


def _draw_face(axis: Axes, face: pd.Series) -> None:
    """The boxes of a face, and what it was taken for."""
    truth = face[[f"true_{corner}" for corner in _CORNERS]].to_numpy(float)
    right = face["found"] and face["predicted_identity"] == face["identity"]
    colour = RIGHT if right else WRONG
    box = truth
    text = _("not found: {name}").format(name=short(face["identity"] or _("a stranger")))
    if face["found"]:
        box = face[_CORNERS].to_numpy(float)
        draw_box(axis, box, colour)
        text = short(face["predicted_identity"] or _("nobody"), 22)
        if not right:
            truly = short(face["identity"] or _("unknown"), 19)
            text += "\n" + _("is {name}").format(name=truly)
    draw_box(axis, truth, TRUTH, dashed=True)
    _name_box(axis, box, text, colour)


def _name_box(axis: Axes, box: np.ndarray, text: str, colour: str) -> None:
    """Write a name at a box: above it, else below it, and never past the photo's sides."""
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    lines = text.count("\n") + 1
    inches = axis.bbox.width / axis.figure.dpi
    line = 0.125 / inches * (right - left)  # the height of a line, in the photo's pixels
    y, va = box[1] - 0.15 * line, "bottom"
    if y - lines * line < top:
        y, va = box[3] + 0.15 * line, "top"
    if va == "top" and y + lines * line > bottom:
        y = bottom - lines * line
    middle = (box[0] + box[2]) / 2
    reach = max(map(_letters, text.split("\n"))) * 0.055 / inches * (right - left) / 2
    x = min(max(middle, left + reach), max(right - reach, left + reach))
    axis.text(
        x,
        y,
        text,
        ha="center",
        va=va,
        color="white",
        fontsize=6.5,
        linespacing=1.05,
        clip_on=True,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.0},
    )


def _letters(text: str) -> float:
    """Width of a text in Latin letters."""
    return sum(1.7 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
