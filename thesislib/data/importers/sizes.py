"""Boxes that were drawn on a photo of another size, or on one that was not yet upright."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from thesislib.data.images import SWAPS_SIDES

Size = tuple[int, int]  # width and height


def boxes_upright(
    boxes: NDArray, told: Size, upright: Size, orientation: int, stored: bool = False
) -> NDArray[np.float64] | None:
    """Boxes in the pixels of the upright photo.

    What size the photo had when they were drawn tells how: that of the upright photo, boxes are as
    they should be; that of the file as it is stored, lying, they are turned; the same shape in
    another size, they are scaled.

    Args:
        boxes: float [F, 4], x1, y1, x2, y2.
        told: width and height of the photo that they were drawn on.
        upright: of the photo as it is read.
        orientation: EXIF's, 1 to 8.
        stored: where the size does not tell, boxes are of the photo as it is stored.

    Returns:
        float [F, 4]; None where the photo has another shape.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    drawn_on = _drawn_on(told, upright, orientation, stored)
    if drawn_on is None:
        return None
    boxes = boxes * np.tile(np.divide(drawn_on.size, told), 2)
    return _turned(boxes, drawn_on.size, orientation) if drawn_on.lying else boxes


def boxes_as_told(
    boxes: NDArray, told: Size, upright: Size, orientation: int, stored: bool = False
) -> NDArray[np.float64] | None:
    """Boxes of the upright photo in the pixels of what others are drawn on: the way back.

    Args:
        boxes: float [F, 4], pixels of the upright photo.
        told, upright, orientation, stored: see :func:`boxes_upright`.

    Returns:
        float [F, 4]; None where the photo has another shape.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    drawn_on = _drawn_on(told, upright, orientation, stored)
    if drawn_on is None:
        return None
    if drawn_on.lying:
        boxes = _turned_back(boxes, drawn_on.size, orientation)
    return boxes * np.tile(np.divide(told, drawn_on.size), 2)


class _DrawnOn(NamedTuple):
    size: Size
    lying: bool  # as the file is stored, before EXIF's turn


def _drawn_on(told: Size, upright: Size, orientation: int, stored: bool) -> _DrawnOn | None:
    as_stored = upright[::-1] if orientation in SWAPS_SIDES else upright
    fits = [told == size for size in (upright, as_stored)]
    if not any(fits):
        fits = [_same_shape(told, size) for size in (upright, as_stored)]
    if not any(fits):
        return None
    lying = not (fits[0] and not (stored and fits[1]))
    return _DrawnOn(as_stored if lying else upright, lying)


def _same_shape(one: Size, other: Size) -> bool:
    """Whether a photo may have been scaled from one size to the other.

    Sides of the scaled one are rounded to whole pixels, by half a pixel at most.
    """
    away = abs(one[0] * other[1] - one[1] * other[0])
    return away <= 0.5 * max(sum(one), sum(other))


def _turned(boxes: NDArray[np.float64], stored: Size, orientation: int) -> NDArray[np.float64]:
    """Boxes of a stored photo after EXIF's turn (EXIF 2.32, tag 0x0112)."""
    width, height = stored
    x1, y1, x2, y2 = boxes.T
    if orientation in (2, 3, 7, 8):  # columns from the right
        x1, x2 = width - x2, width - x1
    if orientation in (3, 4, 6, 7):  # rows from below
        y1, y2 = height - y2, height - y1
    if orientation in SWAPS_SIDES:
        x1, y1, x2, y2 = y1, x1, y2, x2
    return np.stack([x1, y1, x2, y2], axis=1)


def _turned_back(boxes: NDArray[np.float64], stored: Size, orientation: int) -> NDArray[np.float64]:
    """Boxes of the upright photo on the stored one."""
    width, height = stored
    x1, y1, x2, y2 = boxes.T
    if orientation in SWAPS_SIDES:
        x1, y1, x2, y2 = y1, x1, y2, x2
    if orientation in (2, 3, 7, 8):
        x1, x2 = width - x2, width - x1
    if orientation in (3, 4, 6, 7):
        y1, y2 = height - y2, height - y1
    return np.stack([x1, y1, x2, y2], axis=1)
