"""Measures of how compact embeddings are."""

import itertools
import math

import naive
import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import davies_bouldin_score, silhouette_score

from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.compactness import (
    alignment,
    compactness_ratio,
    davies_bouldin,
    dprime,
    silhouette,
    uniformity,
)
from thesislib.metrics.similarity import normalise


def test_dprime_is_the_loop():
    for embeddings, names, copies in naive.cases():
        genuine, impostor = naive.pairs(embeddings, names, copies)
        spread = math.sqrt((naive.variance(genuine) + naive.variance(impostor)) / 2)
        expected = abs(naive.mean(genuine) - naive.mean(impostor)) / spread
        assert dprime(embeddings, names, copies=copies) == pytest.approx(expected, rel=1e-8)


def test_compactness_ratio_is_the_loop():
    for embeddings, names, copies in naive.cases():
        genuine, _ = naive.pairs(embeddings, names, copies)
        nearest = naive.mean(
            [
                min(
                    1 - naive.cosine(embeddings[i], embeddings[j])
                    for j in range(len(names))
                    if names[j] != names[i]
                )
                for i in range(len(names))
            ]
        )
        if nearest < 1e-9:
            with pytest.raises(NotSupportedError, match=r"every photo equals one of another"):
                compactness_ratio(embeddings, names, copies=copies)
            continue
        expected = naive.mean([1 - similarity for similarity in genuine]) / nearest
        ratio = compactness_ratio(embeddings, names, copies=copies)
        assert ratio == pytest.approx(expected, rel=1e-8)


def naive_silhouette(embeddings, names, copies=None):
    copies = [0] * len(names) if copies is None else copies

    def distances(i, chosen):
        return [1 - naive.cosine(embeddings[i], embeddings[j]) for j in chosen]

    values = []
    for i in range(len(names)):
        mine = (names[i], copies[i])
        own = [j for j in range(len(names)) if j != i and (names[j], copies[j]) == mine]
        if not own:
            values.append(0.0)
            continue
        b = min(
            naive.mean(distances(i, [j for j in range(len(names)) if names[j] == other]))
            for other in set(names) - {names[i]}
        )
        a = naive.mean(distances(i, own))
        values.append((b - a) / max(a, b) if max(a, b) > 1e-9 else 0.0)
    return naive.mean(values)


@pytest.mark.parametrize("dtype", naive.DTYPES)
@pytest.mark.parametrize("copied", [False, True])
def test_silhouette_is_the_loop(dtype, copied):
    rng = np.random.default_rng(11)
    for _ in range(6):
        embeddings, names = naive.random_people(rng, dtype)
        copies = None
        if copied:
            embeddings, names, copies = naive.random_copies(rng, embeddings, names)
        expected = naive_silhouette(embeddings, names, copies)
        result = silhouette(embeddings, names, copies=copies)
        assert result == pytest.approx(expected, abs=1e-9)


def test_silhouette_is_scikit_learns():
    embeddings, names = naive.random_people(np.random.default_rng(12), people=7)
    expected = silhouette_score(embeddings, names, metric="cosine")
    assert silhouette(embeddings, names) == pytest.approx(expected, abs=1e-9)


def naive_davies_bouldin(embeddings, names, copies=None):
    copies = [0] * len(names) if copies is None else copies
    drawn = sorted(set(zip(names, copies, strict=True)))
    centres, scatters = {}, {}
    for person in drawn:
        rows = [
            np.asarray(embeddings[row], dtype=np.float64)
            for row in range(len(names))
            if (names[row], copies[row]) == person
        ]
        rows = [row / math.sqrt(sum(value**2 for value in row)) for row in rows]
        centres[person] = sum(rows) / len(rows)
        scatters[person] = naive.mean([math.dist(row, centres[person]) for row in rows])
    worst = [
        max(
            (scatters[one] + scatters[other]) / math.dist(centres[one], centres[other])
            for other in drawn
            if other[0] != one[0]
        )
        for one in drawn
    ]
    return naive.mean(worst)


@pytest.mark.parametrize("dtype", naive.DTYPES)
@pytest.mark.parametrize("copied", [False, True])
def test_davies_bouldin_is_the_loop_and_scikit_learns(dtype, copied):
    rng = np.random.default_rng(13)
    for _ in range(10):
        embeddings, names = naive.random_people(rng, dtype)
        copies = None
        if copied:
            embeddings, names, copies = naive.random_copies(rng, embeddings, names)
        result = davies_bouldin(embeddings, names, copies=copies)
        expected = naive_davies_bouldin(embeddings, names, copies)
        assert result == pytest.approx(expected, rel=1e-9)
        if not copied:
            theirs = davies_bouldin_score(normalise(embeddings), names)
            # Their distances are roots of differences, and good to some eight digits.
            assert result == pytest.approx(theirs, rel=1e-6)


def test_alignment_and_uniformity_are_the_loop():
    for embeddings, names, copies in naive.cases():
        distances = {"genuine": [], "impostor": [], None: []}
        rows = [np.asarray(row, dtype=np.float64) for row in embeddings]
        rows = [row / math.sqrt(sum(value**2 for value in row)) for row in rows]
        for i, j in itertools.combinations(range(len(names)), 2):
            distances[naive.kind(names, copies, i, j)].append(math.dist(rows[i], rows[j]))
        expected = naive.mean([one**2 for one in distances["genuine"]])
        result = alignment(embeddings, names, copies=copies)
        assert result == pytest.approx(expected, abs=1e-9)
        compared = distances["genuine"] + distances["impostor"]
        expected = math.log(naive.mean([math.exp(-2 * one**2) for one in compared]))
        result = uniformity(embeddings, names, copies=copies)
        assert result == pytest.approx(expected, abs=1e-9)


RANGES = {
    dprime: (0, np.inf),
    compactness_ratio: (0, np.inf),
    silhouette: (-1, 1),
    davies_bouldin: (0, np.inf),
    alignment: (0, 4),
    uniformity: (-8, 0),
}


@settings(max_examples=50)
@given(strategies.people(), st.data())
def test_measures_are_in_range_and_do_not_depend_on_order(people, data):
    embeddings, names = people
    shuffled, shuffled_names, _ = strategies.permuted(data.draw, embeddings, names)
    for measure, (low, high) in RANGES.items():
        try:
            value = measure(embeddings, names)
        except NotSupportedError:
            with pytest.raises(NotSupportedError):
                measure(shuffled, shuffled_names)
            continue
        assert low - 1e-12 <= value <= high + 1e-12
        assert measure(shuffled, shuffled_names) == pytest.approx(value, rel=1e-6, abs=1e-9)


@settings(max_examples=25)
@given(strategies.people(), st.integers(2, 3))
def test_everybody_drawn_equally_often_changes_nothing(people, times):
    """As a bootstrap sample in which each person has the same number of copies."""
    embeddings, names = people
    copies = np.repeat(np.arange(times), len(names))
    for measure in RANGES:
        if measure in (dprime, uniformity):
            continue  # of which genuine and impostor pairs grow unequally
        try:
            value = measure(embeddings, names)
        except NotSupportedError:
            continue
        drawn = measure(np.tile(embeddings, (times, 1)), names * times, copies=copies)
        assert drawn == pytest.approx(value, abs=1e-9)


def test_compactness_without_spread_is_not_supported():
    ones, names = np.ones((4, 3)), naive.FOUR[1]
    with pytest.raises(NotSupportedError, match=r"^embeddings: similarities do not vary"):
        dprime(ones, names)
    with pytest.raises(NotSupportedError, match=r"^embeddings: every photo equals one of anoth"):
        compactness_ratio(ones, names)
    with pytest.raises(NotSupportedError, match=r"^embeddings: the photos of two people have on"):
        davies_bouldin(ones, names)
    with pytest.raises(NotSupportedError, match=r"^embeddings: fewer than two photos$"):
        uniformity(ones[:1], names[:1])
    assert alignment(ones, names) == 0
    assert uniformity(ones, names) == 0
