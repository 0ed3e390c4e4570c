"""Figures of what a net looks at."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thesislib.reporting.figures.photos import draw_box, in_32_tones
from thesislib.reporting.figures.style import COLOURS, RIGHT, TEXT, TRUTH, styled


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
    figure, axes = plt.subplots(1, 4, figsize=(TEXT, 1.45))
    names = ("cells, anchors of the best", "score of each cell", "boxes above 0.05, and kept")
    for axis, name in zip(axes, (*names, "receptive field"), strict=True):
        _show(axis, photo, name)
    best = np.unravel_index(int(scores.argmax()), scores.shape)
    for edge in range(0, photo.shape[1] + 1, cell):
        axes[0].axvline(edge, color="white", lw=0.6)
    for edge in range(0, photo.shape[0] + 1, cell):
        axes[0].axhline(edge, color="white", lw=0.6)
    for anchor in anchors[:, best[1], best[2]]:
        draw_box(axes[0], anchor, TRUTH)
    rows, columns = scores.shape[1:]
    axes[1].imshow(
        scores.max(axis=0),
        extent=(0, columns * cell, rows * cell, 0),
        cmap="magma",
        vmin=0,
        vmax=1,
        alpha=0.75,
    )
    for row in range(rows):
        for column in range(columns):
            score = scores[:, row, column].max()
            if (column + 0.5) * cell < photo.shape[1] and (row + 0.5) * cell < photo.shape[0]:
                axes[1].text(
                    (column + 0.5) * cell,
                    (row + 0.5) * cell,
                    f"{score:.2f}",
                    ha="center",
                    va="center",
                    fontsize=5.5,
                    color="black" if score > 0.6 else "white",
                )
    for box, score in zip(boxes.reshape(-1, 4), scores.ravel(), strict=True):
        if score > 0.05:
            draw_box(axes[2], box, COLOURS["two_stage_photo"], width=0.8)
    for box in boxes.reshape(-1, 4)[kept]:
        draw_box(axes[2], box, RIGHT, width=1.6)
    axes[3].imshow(np.sqrt(field), cmap="magma", alpha=0.75, extent=_extent(photo))
    draw_box(axes[3], np.array([best[2], best[1], best[2] + 1, best[1] + 1]) * cell, "white")
    return figure


@styled
def missed(
    photos: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    maps: Mapping[str, Sequence[np.ndarray]],
    shares: Mapping[str, Sequence[float]],
) -> Figure:
    """Where nets look for a name: the brighter, the more the right name's probability falls when
    that place is covered.

    Args:
        photos: uint8 [H, W, 3], one column each.
        boxes: float [4], of the face in each.
        maps: by what a row shows, a map [H, W] of each photo.
        shares: likewise, which share of the map lies in the face.

    Raises:
        ValueError: no photos.
    """
    if not len(photos):
        raise ValueError("photos: empty")
    width = 0.7 * TEXT
    height = width / len(photos) * photos[0].shape[0] / photos[0].shape[1]
    figure, axes = plt.subplots(
        1 + len(maps),
        len(photos),
        figsize=(width, (1 + len(maps)) * (height + 0.18)),
        squeeze=False,
    )
    for at, (photo, box) in enumerate(zip(photos, boxes, strict=True)):
        _show(axes[0, at], photo, "photo" if at == 0 else "")
        for row, (name, values) in enumerate(maps.items(), 1):
            share = shares[name][at]
            told = "no name to lose" if np.isnan(share) else f"{100 * share:.0f} % in the face"
            _show(axes[row, at], photo, f"{name}: {told}" if at == 0 else told)
            most = max(float(values[at].max()), 1e-6)
            axes[row, at].imshow(
                values[at] / most,
                cmap="magma",
                alpha=0.75,
                vmin=0,
                vmax=1,
                extent=_extent(photo),
                interpolation="nearest",
            )
            draw_box(axes[row, at], box, "white")
    return figure


def _show(axis: Axes, photo: np.ndarray, title: str) -> None:
    axis.imshow(in_32_tones(photo), extent=_extent(photo), interpolation="nearest")
    axis.set_title(title, fontsize=7, pad=2)
    axis.set(xlim=(0, photo.shape[1]), ylim=(photo.shape[0], 0))
    axis.axis("off")


def _extent(photo: np.ndarray) -> tuple[float, float, float, float]:
    return (0, photo.shape[1], photo.shape[0], 0)
