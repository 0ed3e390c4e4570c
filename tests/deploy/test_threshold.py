"""The threshold of a gallery against a loop over all that matter; what is refused."""

import numpy as np
import pytest

from thesislib.deploy.threshold import calibrate, checked_number, checked_threshold
from thesislib.metrics.checks import NotSupportedError


def naive_threshold(best, fpir):
    """The lowest of all thresholds that matter at which few enough strangers get in."""
    allowed = []
    for threshold in [-1.0, *best, *(np.nextafter(one, np.inf) for one in best)]:
        if sum(one >= threshold for one in best) / len(best) <= fpir:
            allowed.append(threshold)
    return min(allowed)


@pytest.mark.parametrize("fpir", [0.05, 0.1, 0.29, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("ties", [False, True])
def test_the_threshold_is_the_one_a_loop_finds(fpir, ties):
    best = np.random.default_rng(0).uniform(-1, 1, 200)
    if ties:
        best = best[np.arange(200) // 7]
    expected = naive_threshold(best, fpir)
    found = calibrate(best, fpir, people=12)
    assert found == (expected, (best >= expected).mean(), 200, 12)
    assert found.fpir <= fpir


def test_a_rate_that_the_strangers_cannot_support_is_refused():
    message = r"fpir: 0\.05 x 199 photos of strangers = 9\.95 expected errors, and at least 10"
    with pytest.raises(NotSupportedError, match=message):
        calibrate(np.zeros(199), 0.05, 1)
    calibrate(np.zeros(200), 0.05, 1)


@pytest.mark.parametrize("fpir", [0, -0.1, 1.1, np.nan])
def test_a_rate_that_is_no_rate_is_refused(fpir):
    with pytest.raises(ValueError, match="fpir: expected above 0 and at most 1"):
        calibrate(np.zeros(200), fpir, 1)


def test_a_calibration_is_of_as_many_people():
    calibration = calibrate(np.zeros(200), 0.5, 10)
    calibration.check(11)
    with pytest.raises(ValueError, match="calibrated among 10 people, and 12 are enrolled"):
        calibration.check(12)


@pytest.mark.parametrize("value", ["0.5", None, True, [0.5]])
def test_what_is_no_number_is_named(value):
    with pytest.raises(TypeError, match="threshold: expected a number, got "):
        checked_threshold(value)
    with pytest.raises(TypeError, match="fpir: expected a number"):
        calibrate(np.zeros(200), value, 1)


@pytest.mark.parametrize("value", [np.nan, 50, -1.1])
def test_what_is_no_cosine_is_refused(value):
    with pytest.raises(ValueError, match="threshold: expected a cosine, -1 to 1, got "):
        checked_threshold(value)


@pytest.mark.parametrize("value", [0, 1, -1, np.float32(0.25), np.nextafter(1, 2)])
def test_every_kind_of_number_is_taken(value):
    assert checked_threshold(value) == checked_number("threshold", value) == value
