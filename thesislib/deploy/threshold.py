"""The threshold of a gallery: the cosine at which a face is the enrolled person."""

from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from thesislib.metrics.operating_points import (
    MIN_EXPECTED_ERRORS,
    check_expected_errors,
    checked_rate,
)

DEFAULT_THRESHOLD = 0.5  # of nets that know no better; what is right depends on the net
_GROWTH = 1.1  # times the people that a threshold was chosen among: FPIR is that much higher


class Calibration(NamedTuple):
    """A threshold and what it was chosen on; see :func:`calibrate`."""

    threshold: float  # cosine
    fpir: float  # achieved, at most what was asked for
    strangers: int  # photos
    people: int  # enrolled at the time

    def check(self, people: int) -> None:
        """Refuse a threshold that is too low by now.

        Args:
            people: enrolled now.

        Raises:
            ValueError: more than a tenth more than when the threshold was chosen.
        """
        if people > _GROWTH * self.people:
            raise ValueError(
                f"threshold: calibrated among {self.people} people, and {people} are enrolled, "
                "among whom more strangers get in: calibrate again, or set a threshold"
            )


def calibrate(best: np.ndarray, fpir: float, people: int) -> Calibration:
    """Choose the lowest threshold at which at most ``fpir`` of the strangers get in.

    Args:
        best: [strangers] the highest score of each, cosines.
        fpir: largest FPIR allowed, above 0 and at most 1.
        people: enrolled.

    Raises:
        TypeError: ``fpir`` is no number.
        ValueError: ``fpir`` out of range.
        NotSupportedError: fewer than ``MIN_EXPECTED_ERRORS`` false positives to be expected.

    FPIR(T) = strangers whose best score is at or above T / strangers (Grother, Ngan & Hanaoka,
    Face Recognition Technology Evaluation, Part 2: Identification, NISTIR 8271).
    """
    fpir = checked_rate("fpir", checked_number("fpir", fpir))
    strangers = len(best)
    check_expected_errors("fpir", fpir, strangers, "photos of strangers", MIN_EXPECTED_ERRORS)
    best = np.sort(best)[::-1]
    allowed = int((np.arange(1, strangers + 1) / strangers <= fpir).sum())
    threshold = float(np.nextafter(best[allowed], np.inf)) if allowed < strangers else -1.0
    return Calibration(threshold, float((best >= threshold).mean()), strangers, people)


def usual_threshold(net: Any) -> float:
    """The threshold that a net was published with, else ``DEFAULT_THRESHOLD``."""
    told = getattr(net, "gallery_threshold", None)
    return DEFAULT_THRESHOLD if told is None else told


def checked_threshold(value: object) -> float:
    """A cosine as threshold.

    Raises:
        TypeError: no number.
        ValueError: NaN, or not in -1 to 1.
    """
    threshold = checked_number("threshold", value)
    # The next number above 1 lets nobody in; a calibration may end there.
    if not -1 <= threshold <= np.nextafter(1, 2):
        raise ValueError(f"threshold: expected a cosine, -1 to 1, got {threshold}")
    return threshold


def checked_number(what: str, value: object) -> float:
    """A real number.

    Raises:
        TypeError: anything else; ``what`` names the argument.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{what}: expected a number, got {value!r}")
    return float(value)
