"""Checks of arguments that several measures share; every error begins with the argument's name.

Malformed input is a ``ValueError``. Well-formed input that cannot support the measure asked for,
such as one person where two must be told apart, is a ``NotSupportedError``: an experiment may
leave that number out, and never reports a guess instead.
"""

from collections.abc import Iterable, Sized

import numpy as np
from numpy.typing import ArrayLike, NDArray


class NotSupportedError(ValueError):
    """The measure is defined, but these data cannot support it; the message says what is short."""


def checked_boxes(name: str, boxes: ArrayLike) -> NDArray[np.float64]:
    """Boxes as float64 [N, 4], finite and with x1 <= x2 and y1 <= y2."""
    array = np.asarray(boxes, dtype=np.float64)
    if array.shape == (0,):  # no boxes, written as an empty list, which has no second axis
        array = array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"{name}: expected shape [N, 4], got {list(array.shape)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: NaN or infinite coordinates")
    inverted = (array[:, 2:] < array[:, :2]).any(axis=1)
    if inverted.any():
        row = int(inverted.argmax())
        raise ValueError(f"{name}: box {row} is inverted: {array[row].tolist()}")
    return array


def checked_vector(name: str, values: ArrayLike) -> NDArray:
    """One-dimensional array without NaN or infinities; it may be empty."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected one dimension, got shape {list(array.shape)}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name}: NaN or infinite values")
    return array


def checked_values(name: str, values: ArrayLike) -> NDArray:
    """One-dimensional array of finite real numbers or bools, at least one."""
    array = checked_vector(name, values)
    if len(array) == 0:
        raise ValueError(f"{name}: empty, and the measure of nothing is not defined")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected real numbers, got {array.dtype}")
    return array


def check_same_length(name: str, values: Sized, other: str, others: Sized) -> None:
    """Refuse two arguments of different length."""
    if len(values) != len(others):
        raise ValueError(f"{name}: {len(values)} entries, but {other} has {len(others)}")


def checked_identities(identities: Iterable[str], length: int) -> NDArray[np.object_]:
    """Names [length] as an object array; an empty or missing name is refused.

    The dtype is object because only that keeps every name as it is: "001", "NA" and "nan" too.
    """
    array = np.asarray(identities, dtype=object)
    if array.shape != (length,):
        raise ValueError(
            f"identities: expected [{length}] names, one an embedding, "
            f"got shape {list(array.shape)}"
        )
    for row, identity in enumerate(array):
        if not isinstance(identity, str) or identity == "":
            raise ValueError(f"identities: row {row} is no name: {identity!r}")
    return array
