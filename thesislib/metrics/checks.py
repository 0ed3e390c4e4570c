"""Checks of what the measures are given."""

from collections.abc import Sequence

import numpy as np


def checked_boxes(name: str, boxes: np.ndarray) -> np.ndarray:
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.shape == (0,):  # no boxes, written as an empty list, which has no second axis
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name}: expected shape [N, 4], got {list(boxes.shape)}")
    if not np.isfinite(boxes).all():
        raise ValueError(f"{name}: NaN or infinite coordinates")
    inverted = (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    if inverted.any():
        row = int(inverted.argmax())
        raise ValueError(f"{name}: box {row} is inverted: {boxes[row].tolist()}")
    return boxes


def checked_vector(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(f"{name}: expected one dimension, got shape {list(values.shape)}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"{name}: NaN or infinite values")
    return values


def checked_measured(name: str, values: np.ndarray) -> np.ndarray:
    values = checked_vector(name, values)
    if len(values) == 0:
        raise ValueError(f"{name}: empty, and the measure of nothing is not defined")
    return values


def same_length(name: str, values: Sequence, other: str, others: Sequence) -> None:
    if len(values) != len(others):
        raise ValueError(f"{name}: {len(values)} entries, but {other} has {len(others)}")
