"""The threshold of a gallery: the cosine at which a face is the enrolled person."""

from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from thesislib.engine.checkpoint import WEIGHTS
from thesislib.metrics.checks import NotSupportedError
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


# Share of strangers who may be taken for somebody, where nobody asks otherwise: of those in small
# photos from everywhere that the net was published with.
FPIR = 0.1
# Beside a published net: the share of pairs of strangers that match at a cosine.
STRANGERS = WEIGHTS / "default.strangers.csv"


def published_rates(net: str, file: Path = STRANGERS) -> pd.DataFrame | None:
    """How many strangers match, as was measured when a net was published.

    Args:
        net: its fingerprint.
        file: the table.

    Returns:
        rows ``false_match_rate, threshold, strangers``, the rate falling; None of another net.
    """
    table = pd.read_csv(file) if file.is_file() else pd.DataFrame({"net": []})
    own = table[table["net"] == net]
    return own if len(own) else None


def published_calibration(net: str, fpir: float, people: int) -> Calibration:
    """The threshold at which a stranger is taken for one of so many people as rarely as is asked.

    Args:
        net: its fingerprint.
        fpir: share of strangers who are taken for somebody, above 0 and at most 1.
        people: enrolled, at least 1.

    Raises:
        TypeError: ``fpir`` is no number.
        ValueError: ``fpir`` out of range.
        NotSupportedError: of this net nothing was measured, or nothing so rare.

    A stranger is compared with every person, so that FPIR = 1 - (1 - FMR)^people, where FMR is the
    share of pairs of strangers that match.
    """
    fpir = checked_rate("fpir", checked_number("fpir", fpir))
    rates = published_rates(net)
    if rates is None:
        raise NotSupportedError(
            "embeddings: of strangers, are needed: how many match was published with the default "
            "net alone"
        )
    rate = 1 - (1 - fpir) ** (1 / people)
    least = float(rates["false_match_rate"].min())
    if rate < least:
        raise NotSupportedError(
            f"fpir: of {people} people, {fpir:g} asks that {rate:.1g} of the pairs of strangers "
            f"match, and no rate below {least:.1g} was measured: allow more, or set a threshold"
        )
    # Between two rates, along their logarithms.
    known = np.log(rates["false_match_rate"].to_numpy(float))[::-1]
    threshold = np.interp(np.log(rate), known, rates["threshold"].to_numpy(float)[::-1])
    return Calibration(float(threshold), fpir, int(rates["strangers"].iloc[0]), people)


def is_published(calibration: Calibration, net: str) -> bool:
    """Whether it is of the strangers that a net, known by its fingerprint, was published with."""
    rates = published_rates(net)
    if rates is None:
        return False
    return calibration == published_calibration(net, calibration.fpir, calibration.people)


def usual_threshold(net: Any) -> float:
    """The threshold that a net was published with, else ``DEFAULT_THRESHOLD``."""
    told = getattr(net, "gallery_threshold", None)
    return DEFAULT_THRESHOLD if told is None else told


def calibrate_again(gallery: Any) -> None:
    """Calibrate a :class:`thesislib.deploy.gallery.Gallery` among as many people as it has now.

    Left as it is where nothing was published with its net, or its threshold was chosen by other
    means than the published strangers: by one's own, or by hand.
    """
    if not len(gallery) or published_rates(gallery.model) is None:
        return
    before = gallery.calibration
    if before is None and gallery.threshold == usual_threshold(gallery.net):
        gallery.calibrate(None, FPIR)
    elif before is not None and is_published(before, gallery.model):
        gallery.calibrate(None, before.fpir)


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
