"""Error rates as functions of a threshold, and the points of such curves that are reported.

A threshold accepts what is at or above it. TAR at FAR, FNIR at FPIR and TPIR at FPIPI are all
read in the same way: the best value while the other rate is at most what is allowed, and only
where the data are many enough to measure that rate.
"""

import numpy as np
from numpy.typing import NDArray

from thesislib.metrics.checks import NotSupportedError

MIN_EXPECTED_ERRORS = 10  # rate x trials from which a rate is reported (the project's protocol)


def count_at_or_above(scores: NDArray, thresholds: NDArray) -> NDArray[np.int64]:
    """How many scores each threshold accepts, [thresholds]."""
    return len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left")


def operating_point(error_rate: NDArray, value: NDArray, limit: float) -> int:
    """Index of the point of a curve to report at an error rate of at most ``limit``.

    Args:
        error_rate: [T] float, never falling along the curve, the first at most ``limit``.
        value: [T] float that only gets better along the curve (TAR rises, FNIR falls).
        limit: the highest error rate allowed.

    Returns:
        The first point with the value of the last allowed one: of the points of best value, the
        one with the lowest error rate.
    """
    last = int(np.searchsorted(error_rate, limit, side="right")) - 1
    return int((value[: last + 1] == value[last]).argmax())


def checked_rate(name: str, rate: float) -> float:
    """A rate above 0 and at most 1."""
    if not 0 < rate <= 1:
        raise ValueError(f"{name}: expected above 0 and at most 1, got {rate}")
    return float(rate)


def check_expected_errors(
    name: str, rate: float, trials: int, unit: str, min_expected_errors: float
) -> None:
    """Refuse a rate at which fewer errors than ``min_expected_errors`` are to be expected.

    Raises:
        NotSupportedError: ``rate`` x ``trials`` is less; ``unit`` says what a trial is.
    """
    # A product such as 0.01 * 1000 may fall short of 10 by rounding alone.
    if rate * trials < min_expected_errors * (1 - 1e-9):
        raise NotSupportedError(
            f"{name}: {rate:g} x {trials} {unit} = {rate * trials:.3g} expected errors, and at "
            f"least {min_expected_errors:g} are needed"
        )
