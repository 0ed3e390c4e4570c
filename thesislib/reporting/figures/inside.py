"""Figures of what a net looks at."""

from collections.abc import Mapping, Sequence

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thesislib.reporting.figures.photos import draw_box, in_32_tones
from thesislib.reporting.figures.style import COLOURS, MIDDLE, RIGHT, TEXT, TRUTH, styled
from thesislib.reporting.labels import begun_from
from thesislib.reporting.language import N_, _


@styled
def cells(
    photo: np.ndarray,
    cell: int,
    anchors: np.ndarray,
    scores: np.ndarray,
    boxes: np.ndarray,
    kept: np.ndarray,
    field: np.ndarray,
) -> Figure:
    """A photo as the grid sees it: cells and anchors, scores, boxes before and after suppression,
    and the receptive field of the best cell.

    Args:
        photo, cell, anchors, scores, boxes, kept, field: see
            :class:`thesislib.engine.look_inside.Cells`.
    """
    width = TEXT / 4 - 0.06
    height = width * photo.shape[0] / photo.shape[1] + 0.2
    figure, axes = plt.subplots(1, 4, figsize=(TEXT, height))
    names = [_("cells, anchors of the best"), _("score of each cell")]
    names += [_("boxes above 0.05, and kept"), _("receptive field")]
    for axis, name in zip(axes, names, strict=True):
        _show(axis, photo, name)
    best = np.unravel_index(int(scores.argmax()), scores.shape)
    for edge in range(0, photo.shape[1] + 1, cell):
        axes[0].axvline(edge, color="white", lw=0.6)
    for edge in range(0, photo.shape[0] + 1, cell):
        axes[0].axhline(edge, color="white", lw=0.6)
    for anchor in anchors[:, best[1], best[2]]:
        draw_box(axes[0], anchor, TRUTH)
    rows, columns = scores.shape[1:]
    _lay_over(axes[1], photo, scores.max(axis=0), (0, columns * cell, rows * cell, 0))
    for row in range(rows):
        for column in range(columns):
            score = scores[:, row, column].max()
            x, y = (column + 0.5) * cell, (row + 0.5) * cell
            if x < photo.shape[1] and y < photo.shape[0]:
                colour = "white" if score > 0.6 else "black"
                axes[1].text(x, y, f"{score:.2f}", **MIDDLE, fontsize=7, color=colour)
    for box, score in zip(boxes.reshape(-1, 4), scores.ravel(), strict=True):
        if score > 0.05:
            draw_box(axes[2], box, COLOURS["two_stage_photo"], width=0.8)
    for box in boxes.reshape(-1, 4)[kept]:
        draw_box(axes[2], box, RIGHT, width=1.6)
    _lay_over(axes[3], photo, np.sqrt(field), _extent(photo))
    draw_box(axes[3], np.array([best[2], best[1], best[2] + 1, best[1] + 1]) * cell, "white")
    return figure


_ASKED = {"name": N_("name"), "box": N_("box")}


@styled
def missed(
    photos: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    maps: Mapping[tuple[str, str], Sequence[np.ndarray]],
    shares: Mapping[tuple[str, str], Sequence[float]],
) -> Figure:
    """Where nets look for a name or for a box: the redder, the more the right name's probability,
    or the box's score, falls when that place is covered.

    Args:
        photos: uint8 [H, W, 3], one row each.
        boxes: float [4], of the face in each.
        maps: by what is asked, ``"name"`` or ``"box"``, and what the net began from, as the tables
            say it: a map [H, W] of each photo.
        shares: likewise, which share of the map lies in the face.

    Raises:
        ValueError: no photos.
    """
    if not len(photos):
        raise ValueError("photos: empty")
    columns = 1 + len(maps)
    width = min(TEXT, 1.7 * columns)
    height = width / columns * photos[0].shape[0] / photos[0].shape[1]
    figure, axes = plt.subplots(
        len(photos),
        columns,
        figsize=(width, len(photos) * (height + 0.12) + 0.3),
        squeeze=False,
    )
    for row, (photo, box) in enumerate(zip(photos, boxes, strict=True)):
        _show(axes[row, 0], photo, _("photo") if row == 0 else "")
        for column, ((asked, start), values) in enumerate(maps.items(), 1):
            share = shares[asked, start][row]
            told = _("{share:.0f} % in the face").format(share=100 * share)
            told = _("no name to lose") if np.isnan(share) else told
            if row == 0:
                told = f"{_(_ASKED[asked])}, {begun_from(start)}\n{told}"
            axis = axes[row, column]
            _show(axis, photo, told)
            most = max(float(values[row].max()), 1e-6)
            _lay_over(axis, photo, values[row] / most, _extent(photo))
            draw_box(axis, box, "white")
    return figure


def _lay_over(
    axis: Axes, photo: np.ndarray, values: np.ndarray, extent: tuple[float, float, float, float]
) -> None:
    """Values 0 to 1 over a pale photo: the higher, the redder, and the darker in print."""
    grey = 127 + photo.mean(axis=2, keepdims=True).repeat(3, axis=2) / 2
    grey = in_32_tones(grey.astype(np.uint8))
    axis.imshow(grey, extent=_extent(photo), interpolation="nearest")
    over = matplotlib.colormaps["YlOrRd"](np.clip(values, 0, 1))
    over[..., 3] = 0.9 * np.clip(values, 0, 1)
    axis.imshow(over, extent=extent, interpolation="nearest")
    axis.set(xlim=(0, photo.shape[1]), ylim=(photo.shape[0], 0))


def _show(axis: Axes, photo: np.ndarray, title: str) -> None:
    axis.imshow(in_32_tones(photo), extent=_extent(photo), interpolation="nearest")
    axis.set_title(title, fontsize=7.5, pad=2, linespacing=1.0)
    axis.set(xlim=(0, photo.shape[1]), ylim=(photo.shape[0], 0))
    axis.axis("off")


def _extent(photo: np.ndarray) -> tuple[float, float, float, float]:
    return (0, photo.shape[1], photo.shape[0], 0)
