"""Points of curves that are reported, and whether the data support them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.operating_points import (
    check_expected_errors,
    checked_rate,
    count_at_or_above,
    operating_point,
)

TENTHS = st.integers(0, 10).map(lambda tenths: tenths / 10)


@given(st.lists(TENTHS), st.lists(TENTHS))
def test_count_at_or_above_is_the_loop(scores, thresholds):
    expected = [sum(score >= threshold for score in scores) for threshold in thresholds]
    assert count_at_or_above(np.array(scores), np.array(thresholds)).tolist() == expected


@given(st.lists(st.tuples(TENTHS, TENTHS), min_size=1, max_size=12), TENTHS)
def test_operating_point_is_the_best_with_the_fewest_errors(points, limit):
    rate = [0.0, *sorted(point[0] for point in points)]
    value = sorted([0.0, *(point[1] for point in points)])
    best = max(
        (one for one in zip(rate, value, strict=True) if one[0] <= limit),
        key=lambda one: (one[1], -one[0]),
    )
    at = operating_point(np.array(rate), np.array(value), limit)
    assert (rate[at], value[at]) == best
    falling = [1 - one for one in value]  # as FNIR does
    assert operating_point(np.array(rate), np.array(falling), limit) == at


def test_ten_errors_expected_are_enough_however_they_round():
    short = [trials for trials in range(11, 1000) if 10 / trials * trials < 10]
    assert short  # of ten by rounding alone
    for trials in short:
        check_expected_errors("far", 10 / trials, trials, "pairs", 10)
    check_expected_errors("far", 0.01, 3, "pairs", 0)
    message = r"^far: 0.0099 x 1000 pairs = 9.9 expected errors, and at least 10 are needed$"
    with pytest.raises(NotSupportedError, match=message):
        check_expected_errors("far", 0.0099, 1000, "pairs", 10)


def test_a_rate_is_above_nought_and_at_most_one():
    assert checked_rate("far", 1) == 1.0
    for wrong in (0, -0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"^far: expected above 0 and at most 1, got"):
            checked_rate("far", wrong)
