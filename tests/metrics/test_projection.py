"""Trustworthiness and continuity of maps."""

import math

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.projection import trustworthiness_and_continuity
from thesislib.metrics.similarity import normalise


def naive_trustworthiness(truth, shown, k):
    n, excess = len(truth), 0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        rank = {
            j: at
            for at, j in enumerate(sorted(others, key=lambda j: math.dist(truth[i], truth[j])), 1)
        }
        for j in sorted(others, key=lambda j: math.dist(shown[i], shown[j]))[:k]:
            excess += max(0, rank[j] - k)
    return 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * excess


@pytest.mark.parametrize("dtype", naive.DTYPES)
def test_trustworthiness_and_continuity_are_the_loop(dtype):
    rng = np.random.default_rng(14)
    for _ in range(8):
        n = int(rng.integers(9, 40))
        k = int(rng.integers(1, (n - 1) // 2))
        embeddings = rng.normal(size=(n, 6)).astype(dtype)
        shown = embeddings[:, :2].astype(np.float64) + rng.normal(size=(n, 2))
        truth = normalise(embeddings)
        trusted, continuous = trustworthiness_and_continuity(embeddings, shown, k)
        assert trusted == pytest.approx(naive_trustworthiness(truth, shown, k), abs=1e-12)
        assert continuous == pytest.approx(naive_trustworthiness(shown, truth, k), abs=1e-12)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.floats(0.1, 10))
def test_a_map_of_the_embeddings_themselves_is_faithful(seed, neighbours, scale):
    rng = np.random.default_rng(seed)
    points = normalise(rng.normal(size=(20, 2)))
    assert trustworthiness_and_continuity(points, scale * points, neighbours) == (1, 1)
    both = trustworthiness_and_continuity(points, rng.normal(size=(20, 2)), neighbours)
    assert all(0 <= one <= 1 for one in both)


def test_a_map_that_cannot_be_judged_is_refused():
    points = np.random.default_rng(0).normal(size=(30, 2))
    message = "^neighbours: 15 need more than 30 points, there are 30$"
    with pytest.raises(NotSupportedError, match=message):
        trustworthiness_and_continuity(points, points)
    with pytest.raises(ValueError, match=r"^neighbours: expected at least 1, got 0$"):
        trustworthiness_and_continuity(points, points, neighbours=0)
    with pytest.raises(ValueError, match=r"^coordinates: expected shape \[30, 2\], got \[29, 2\]$"):
        trustworthiness_and_continuity(points, points[:29], neighbours=5)
    broken = points.copy()
    broken[7, 1] = np.nan
    with pytest.raises(ValueError, match=r"^coordinates: NaN or infinite value in row 7$"):
        trustworthiness_and_continuity(points, broken, neighbours=5)
    with pytest.raises(ValueError, match=r"^embeddings: NaN or infinite value in row 7$"):
        trustworthiness_and_continuity(broken, points, neighbours=5)
