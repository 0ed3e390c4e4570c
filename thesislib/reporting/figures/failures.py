"""Figures of what went wrong: faces not found, boxes that lie badly, wrong names."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.lines import Line2D
from PIL import Image

from thesislib import fonts
from thesislib.data.columns import BOX
from thesislib.reporting.figures.photos import draw_box, in_32_tones
from thesislib.reporting.figures.style import DPI, GREY, RIGHT, TEXT, TRUTH, WRONG, short, styled
from thesislib.reporting.language import N_, _
from thesislib.tables import one_run

# What a row of a gallery holds, as its heading says it.
HEADINGS = {
    "missed": N_("faces that were not found"),
    "box": N_("boxes that lie worst, of the faces found"),
    "name": N_("wrong names, surest faces first: person → name given"),
}
COLUMNS = 6  # photos in a row
PAIRS = 6  # that are shown, three in a row
_TRUE = [f"true_{corner}" for corner in BOX]
_OTHER = [f"other_{corner}" for corner in BOX]
_TILE = TEXT / COLUMNS  # inches, with the gap
_GAP = 0.06
# Inches: a heading, a line of a title, the legend.
_HEADING, _LINE, _LEGEND = 0.36, 0.12, 0.22
_CONTEXT = 2.0  # side of what is shown of a photo, in sides of the face


def worst(faces: pd.DataFrame) -> pd.DataFrame:
    """The faces at which a system fails most, six of each kind at most.

    Those that were not found; of those found, the boxes of lowest calibrated IoU; and faces of
    known people that have another's name, by the score, which says how sure the system is that
    there is a face.

    Args:
        faces: one system's rows of ``experiment1_faces.csv``.

    Returns:
        rows of ``faces`` with the column ``failure``, a name in :data:`HEADINGS`; a face may be
        there twice.

    Raises:
        ValueError: rows of several runs or systems.
    """
    faces = _of_one(faces)
    found = faces["found"].astype(bool)
    kinds = {
        "missed": faces[~found],
        "box": faces[found].sort_values("iou_calibrated", kind="stable"),
        "name": faces[_mistaken(faces)].sort_values("score", ascending=False, kind="stable"),
    }
    return pd.concat([rows.head(COLUMNS).assign(failure=kind) for kind, rows in kinds.items()])


def taken_for(faces: pd.DataFrame, training: pd.DataFrame) -> pd.DataFrame:
    """The six pairs of people that a system confuses most: a face, and one of the other person.

    Args:
        faces: one system's rows of ``experiment1_faces.csv``.
        training: annotations of the training part; the largest face of a person is shown.

    Returns:
        a row for each pair, those confused most often first: the row of the test face with the
        highest score, ``faces`` (how often) and ``other_photo``, ``other_x1 ... other_y2``, of a
        training face of the person it was taken for.

    Raises:
        ValueError: rows of several runs or systems.
    """
    faces = _of_one(faces)
    pair = ["identity", "predicted_identity"]
    another = _mistaken(faces) & (faces["predicted_identity"] != "")
    wrong = faces[another].sort_values("score", ascending=False, kind="stable")
    often = wrong.groupby(pair).size().rename("faces").reset_index()
    size = (training["x2"] - training["x1"]) * (training["y2"] - training["y1"])
    boxed = training.assign(size=size).dropna(subset="size").sort_values("size", kind="stable")
    largest = boxed.drop_duplicates("identity", keep="last")
    other = largest[["identity", "photo", *BOX]]
    other.columns = pd.Index(["predicted_identity", "other_photo", *_OTHER])
    pairs = wrong.drop_duplicates(pair).merge(often, on=pair).merge(other, on=pair[1])
    return pairs.sort_values(["faces", "score"], ascending=False, kind="stable").head(PAIRS)


def _of_one(faces: pd.DataFrame) -> pd.DataFrame:
    return one_run(faces, "experiment1_faces", ("system", "dataset", "split", "profile", "seed"))


def _mistaken(faces: pd.DataFrame) -> pd.Series:
    """Whether a face of somebody known was found and has another's name."""
    named = faces["found"].astype(bool) & (faces["identity"] != "")
    return named & (faces["predicted_identity"] != faces["identity"])


@styled
def gallery(photos: Mapping[str, np.ndarray], failures: pd.DataFrame) -> Figure:
    """The faces at which a system fails most, a row a kind; where there is none it says so.

    Boxes are the system's own, green where the name is right and vermilion where it is wrong;
    annotated boxes are dashed. The IoU above a photo is of the calibrated box.

    Args:
        photos: by name, uint8 [H, W, 3] RGB.
        failures: from :func:`worst`.

    Raises:
        ValueError: a photo of the table is missing.
    """
    _check(photos, failures["photo"])
    kinds = [(kind, failures[failures["failure"] == kind]) for kind in HEADINGS]
    titles = {"missed": _LINE + 0.04, "box": 2 * _LINE + 0.04, "name": 3 * _LINE + 0.04}
    heights = [_HEADING + (titles[kind] + _TILE if len(rows) else 0.17) for kind, rows in kinds]
    figure = _page(_LEGEND + sum(heights))
    top = _LEGEND
    for (kind, rows), height in zip(kinds, heights, strict=True):
        _write(figure, top + 0.25, _(HEADINGS[kind]))
        if not len(rows):
            _write(figure, top + _HEADING + 0.06, _("no such face"), color=GREY)
        for column, (_at, face) in enumerate(rows.iterrows()):
            axis = _tile(figure, column * _TILE, top + _HEADING + titles[kind])
            _face(axis, photos[face["photo"]], face)
            axis.set_title(_told(kind, face), fontsize=7, pad=2, linespacing=1.05)
        top += height
    _legend(figure)
    return figure


@styled
def confused(photos: Mapping[str, np.ndarray], pairs: pd.DataFrame) -> Figure:
    """Faces beside a training face of the person they were taken for; if there is none it says so.

    Args:
        photos: by name, uint8 [H, W, 3] RGB: of the test faces and of the others.
        pairs: from :func:`taken_for`.

    Raises:
        ValueError: a photo of the table is missing.
    """
    _check(photos, [*pairs["photo"], *pairs["other_photo"]])
    in_row = COLUMNS // 2
    rows, height = -(-len(pairs) // in_row), 2 * _LINE + 0.1 + _TILE
    figure = _page(rows * height or 0.4)
    if not rows:
        _write(figure, 0.2, _("no such face"), color=GREY)
    for at, (_at, pair) in enumerate(pairs.iterrows()):
        top = at // in_row * height + 2 * _LINE + 0.1
        left = at % in_row * 2 * _TILE
        # The two of a pair stand closer to each other than to the next.
        own = _tile(figure, left + 0.02, top)
        other = _tile(figure, left + _TILE - 0.02, top)
        _cut(own, photos[pair["photo"]], pair[_TRUE].to_numpy(float)[None])
        _cut(other, photos[pair["other_photo"]], pair[_OTHER].to_numpy(float)[None])
        style: dict[str, Any] = {"fontsize": 7, "pad": 2, "linespacing": 1.05}
        own.set_title(_name(pair["identity"]), **style)
        named = _("taken for\n{name}").format(name=_name(pair["predicted_identity"]))
        other.set_title(named, **style)
    return figure


def _check(photos: Mapping[str, np.ndarray], names: Sequence[str] | pd.Series) -> None:
    if missing := [name for name in names if name not in photos]:
        raise ValueError(f"photos: {missing[0]} of the table is missing")


def _told(kind: str, face: pd.Series) -> str:
    """The title of a face: who it is, and what went wrong."""
    who = _name(face["identity"] or _("a stranger"))
    if kind == "missed":
        return who
    if kind == "box":
        return f"{who}\nIoU {face['iou_calibrated']:.2f}"
    score = _("score {value}").format(value=f"{face['score']:.2f}")
    named = _name(face["predicted_identity"] or _("nobody"))
    return f"{who}\n→ {named}\n{score}"


def _name(name: str) -> str:
    """A name that is no wider than a photo."""
    return short(name, 9 if fonts.is_cjk(name) else 17)


def _page(height: float) -> Figure:
    """A figure of so many inches in which everything is placed by hand."""
    # Without an engine of its own it is given the style's when it is saved.
    engine = PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True)
    return plt.figure(figsize=(TEXT, height), layout=engine)


def _write(figure: Figure, down: float, text: str, **style: Any) -> None:
    """A line at the left edge, ``down`` inches from the top."""
    height = figure.get_size_inches()[1]
    figure.text(_GAP / 2 / TEXT, 1 - down / height, text, va="center", fontsize=8.5, **style)


def _tile(figure: Figure, left: float, top: float) -> Axes:
    """A square for a photo, with its corner in inches from the figure's."""
    width, height = figure.get_size_inches()
    side = _TILE - _GAP
    place = ((left + _GAP / 2) / width, 1 - (top + side) / height, side / width, side / height)
    axis = figure.add_axes(place)
    axis.axis("off")
    return axis


def _face(axis: Axes, photo: np.ndarray, face: pd.Series) -> None:
    """A face with the box that was found, if any, and the annotated one."""
    truth = face[_TRUE].to_numpy(float)
    if not face["found"]:
        _cut(axis, photo, truth[None])
        draw_box(axis, truth, TRUTH, dashed=True)
        return
    box = face[list(BOX)].to_numpy(float)
    _cut(axis, photo, np.stack([box, truth]))
    right = face["predicted_identity"] == face["identity"]
    draw_box(axis, box, RIGHT if right else WRONG)
    draw_box(axis, truth, TRUTH, dashed=True)


def _cut(axis: Axes, photo: np.ndarray, boxes: np.ndarray) -> None:
    """Show what is around boxes [N, 4] of a photo, in the photo's own pixels."""
    height, width = photo.shape[:2]
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    # At least two pixels, and never more than the photo has.
    side = max(2.0, min(_CONTEXT * (high - low).max(), height, width))
    x, y = np.clip((low + high - side) / 2, 0, np.maximum([width - side, height - side], 0))
    left, top = int(x), int(y)
    right, bottom = min(width, round(x + side)), min(height, round(y + side))
    cut = Image.fromarray(photo[top:bottom, left:right])
    printed = round((_TILE - _GAP) * DPI)
    if max(cut.size) > printed:
        cut.thumbnail((printed, printed), Image.Resampling.LANCZOS)
    axis.imshow(in_32_tones(np.asarray(cut)), extent=(left, right, bottom, top))
    axis.set(xlim=(left, right), ylim=(bottom, top))


def _legend(figure: Figure) -> None:
    handles = [
        Line2D([], [], color=RIGHT, label=_("right identity")),
        Line2D([], [], color=WRONG, label=_("wrong identity")),
        Line2D([], [], color="#C8B900", linestyle=(0, (3, 2)), label=_("ground truth")),
    ]
    figure.legend(handles=handles, loc="upper center", ncols=3, fontsize=7.5, borderaxespad=0.2)
