"""ROC, operating points, equal error rate and accuracy over folds of people."""

import itertools
import math
import time
import tracemalloc

import naive
import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from thesislib import seeds
from thesislib.metrics import compactness, similarity, verification
from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.statistics import shuffled
from thesislib.metrics.verification import (
    equal_error_rate,
    false_match_rate,
    roc,
    tar_at_far,
    threshold_at,
    verification_accuracy,
)

# roc


def test_roc_is_the_loop():
    for embeddings, names, copies in naive.cases():
        curve = roc(embeddings, names, copies=copies)
        genuine, impostor = naive.pairs(embeddings, names, copies)
        assert (curve.genuine_pairs, curve.impostor_pairs) == (len(genuine), len(impostor))
        assert (curve.far[0], curve.tar[0], curve.threshold[0]) == (0, 0, np.inf)
        for far, tar, threshold in zip(curve.far, curve.tar, curve.threshold, strict=True):
            # Sums in another order may round to the next of the twelve decimals.
            sure, unsure = threshold + 2e-12, threshold - 2e-12
            assert naive.share(impostor, sure) <= far <= naive.share(impostor, unsure)
            assert naive.share(genuine, sure) <= tar <= naive.share(genuine, unsure)


def test_roc_of_exact_similarities_is_the_loop_at_every_threshold():
    """On the axes the cosine is -1, 0 or 1, so that nothing is rounded and most pairs tie."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        n = int(rng.integers(6, 15))
        embeddings = np.eye(2)[rng.integers(0, 2, n)] * rng.choice([-1.0, 1.0], (n, 1))
        names = ["ann", "ann", "bob", *rng.choice(["ann", "bob", "cat"], n - 3).tolist()]
        genuine, impostor = naive.pairs(embeddings, names)
        curve = roc(embeddings, names)
        # Every threshold there is lies on the curve drawn through the vertices.
        for value in (-1.0, 0.0, 1.0):
            far, tar = naive.share(impostor, value), naive.share(genuine, value)
            on = [
                min(x, y) - 1e-12 <= far <= max(x, y) + 1e-12
                and abs((far - x) * (v - u) - (tar - u) * (y - x)) < 1e-12
                and min(u, v) - 1e-12 <= tar <= max(u, v) + 1e-12
                for (x, u), (y, v) in itertools.pairwise(zip(curve.far, curve.tar, strict=True))
            ]
            assert any(on)
        for far, tar, threshold in zip(curve.far, curve.tar, curve.threshold, strict=True):
            assert far == naive.share(impostor, threshold)
            assert tar == naive.share(genuine, threshold)


def test_area_under_the_vertices_is_scikit_learns():
    for embeddings, names, copies in naive.cases(count=3):
        genuine, impostor = naive.pairs(embeddings, names, copies)
        curve = roc(embeddings, names, copies=copies)
        same = [1] * len(genuine) + [0] * len(impostor)
        expected = roc_auc_score(same, genuine + impostor)
        assert np.trapezoid(curve.tar, curve.far) == pytest.approx(expected, abs=1e-12)


@given(strategies.people(), st.data())
def test_roc_never_falls_and_does_not_depend_on_order(people, data):
    embeddings, names = people
    curve = roc(embeddings, names)
    assert (np.diff(curve.far) >= 0).all() and (np.diff(curve.tar) >= 0).all()
    assert (np.diff(curve.threshold) < 0).all()
    assert (curve.far[0], curve.tar[0], curve.far[-1], curve.tar[-1]) == (0, 0, 1, 1)
    embeddings, names, _ = strategies.permuted(data.draw, embeddings, names)
    other = roc(embeddings, names)
    np.testing.assert_array_equal(other.far, curve.far)
    np.testing.assert_array_equal(other.tar, curve.tar)
    assert 0 <= equal_error_rate(curve) == equal_error_rate(other) <= 1


# equal_error_rate and tar_at_far


def naive_eer(genuine, impostor):
    points = [(0.0, 1.0)]
    for threshold in sorted(set(genuine + impostor), reverse=True):
        points.append((naive.share(impostor, threshold), 1 - naive.share(genuine, threshold)))
    for (far, fnr), (next_far, next_fnr) in itertools.pairwise(points):
        if next_far >= next_fnr:
            # Where the straight line between the two crosses the diagonal.
            step = (fnr - far) / ((next_far - far) + (fnr - next_fnr))
            return far + step * (next_far - far)
    raise AssertionError("the curve ends at (1, 0)")


def test_equal_error_rate_is_the_loop():
    for embeddings, names, copies in naive.cases():
        genuine, impostor = naive.pairs(embeddings, names, copies)
        rate = equal_error_rate(roc(embeddings, names, copies=copies))
        assert rate == pytest.approx(naive_eer(genuine, impostor), abs=1e-9)


def naive_tar_at_far(genuine, impostor, far):
    best = (0.0, 0.0)
    for threshold in sorted(set(genuine + impostor), reverse=True):
        tar, achieved = naive.share(genuine, threshold), naive.share(impostor, threshold)
        if achieved <= far and tar > best[0]:
            best = (tar, achieved)
    return best


def test_tar_at_far_is_the_loop():
    for embeddings, names, copies in naive.cases():
        genuine, impostor = naive.pairs(embeddings, names, copies)
        curve = roc(embeddings, names, copies=copies)
        for far in (0.01, 0.05, 0.1, 0.3, 0.5, 1.0):
            point = tar_at_far(curve, far, min_expected_errors=0)
            expected = naive_tar_at_far(genuine, impostor, far)
            assert (point.tar, point.far) == pytest.approx(expected, abs=1e-12)
            assert point.far <= far
            assert point[3:] == (len(genuine), len(impostor))


def test_a_far_is_supported_from_ten_false_accepts_on():
    rng = np.random.default_rng(0)
    names = ["ann"] * 10 + ["bob"] * 100
    curve = roc(rng.normal(size=(110, 4)), names)  # 1000 impostor pairs
    assert tar_at_far(curve, 0.01).impostor_pairs == 1000
    message = "^far: 0.0099 x 1000 impostor pairs = 9.9 expected errors, and at least 10 are needed"
    with pytest.raises(NotSupportedError, match=message):
        tar_at_far(curve, 0.0099)
    assert tar_at_far(curve, 0.0099, min_expected_errors=0).far <= 0.0099
    for far in (0, -0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"^far: expected above 0 and at most 1, got"):
            tar_at_far(curve, far)


def test_embeddings_that_are_all_equal_verify_nobody():
    embeddings = np.ones((40, 3))
    names = [f"person {i // 4}" for i in range(40)]
    curve = roc(embeddings, names)
    assert curve.far.tolist() == [0, 1] and curve.tar.tolist() == [0, 1]
    assert equal_error_rate(curve) == 0.5
    assert tar_at_far(curve, 0.1).tar == 0
    assert verification_accuracy(embeddings, names, folds=5, seed=0).mean == 0.5


# verification_accuracy


def naive_balanced(genuine, impostor, threshold):
    return (naive.share(genuine, threshold) + 1 - naive.share(impostor, threshold)) / 2


def naive_folds(embeddings, names, folds, seed, copies=None):
    """The assignment to folds is the library's; all that follows from it is done anew."""
    people = sorted(set(names))
    first = copies if copies is not None else [0] * len(names)
    paired = {
        one: sum(n == one and c == 0 for n, c in zip(names, first, strict=True)) > 1
        for one in people
    }
    order = seeds.generator(seed, "folds").permutation(len(people)).tolist()
    order = [p for p in order if paired[people[p]]] + [p for p in order if not paired[people[p]]]
    fold = {people[person]: at % folds for at, person in enumerate(order)}
    scores = []
    for one in range(folds):
        rows = [row for row in range(len(names)) if fold[names[row]] == one]
        kept = None if copies is None else [copies[row] for row in rows]
        scores.append(naive.pairs(embeddings[rows], [names[row] for row in rows], kept))
    accuracies = []
    for one in range(folds):
        genuine = [s for at in range(folds) if at != one for s in scores[at][0]]
        impostor = [s for at in range(folds) if at != one for s in scores[at][1]]
        values = sorted(set(genuine + impostor), reverse=True)
        right = [naive_balanced(genuine, impostor, value) for value in values]
        best = next(at for at, value in enumerate(right) if value > max(right) - 1e-9)
        threshold = (values[best] + values[min(best + 1, len(values) - 1)]) / 2
        accuracies.append(naive_balanced(*scores[one], threshold))
    error = math.sqrt(naive.variance(accuracies) * folds / (folds - 1) / folds)
    return naive.mean(accuracies), error, accuracies


@pytest.mark.parametrize("dtype", naive.DTYPES)
@pytest.mark.parametrize("copied", [False, True])
def test_verification_accuracy_is_the_loop(dtype, copied):
    rng = np.random.default_rng(3)
    for seed in range(3):
        embeddings, names = naive.random_people(rng, dtype, people=16, dim=4)
        names = ["person 0" if n == "person 15" else n for n in names]  # people of unequal size
        copies = None
        if copied:
            embeddings, names, copies = naive.random_copies(rng, embeddings, names)
        folds = 2 + seed
        result = verification_accuracy(embeddings, names, folds, seed=seed, copies=copies)
        mean, error, accuracies = naive_folds(embeddings, names, folds, seed, copies)
        np.testing.assert_allclose(result.accuracies, accuracies, atol=1e-12)
        assert (result.mean, result.standard_error) == pytest.approx((mean, error), abs=1e-12)


def test_verification_accuracy_of_ties_is_the_loop():
    rng = np.random.default_rng(4)
    for seed in range(10):
        names = np.repeat([f"person {i}" for i in range(8)], 3).tolist()
        embeddings = np.eye(2)[rng.integers(0, 2, 24)] * rng.choice([-1.0, 1.0], (24, 1))
        result = verification_accuracy(embeddings, names, 3, seed=seed)
        mean, error, _ = naive_folds(embeddings, names, 3, seed)
        assert (result.mean, result.standard_error) == pytest.approx((mean, error), abs=1e-12)


@given(strategies.people(min_people=4), st.integers(0, 9), st.data())
def test_verification_accuracy_is_in_range_and_does_not_depend_on_order(people, seed, data):
    embeddings, names = people
    result = verification_accuracy(embeddings, names, 2, seed=seed)
    assert 0 <= result.mean <= 1
    assert ((result.accuracies >= 0) & (result.accuracies <= 1)).all()
    embeddings, names, _ = strategies.permuted(data.draw, embeddings, names)
    other = verification_accuracy(embeddings, names, 2, seed=seed)
    assert other.mean == pytest.approx(result.mean, abs=1e-12)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_people_far_apart_are_verified_without_error(seed):
    rng = np.random.default_rng(seed)
    names = [f"person {one // 3}" for one in range(24)]
    embeddings = np.eye(8).repeat(3, axis=0) + 0.05 * rng.uniform(-1, 1, (24, 8))
    assert verification_accuracy(embeddings, names, 4, seed=0).mean == 1
    curve = roc(embeddings, names)
    assert equal_error_rate(curve) == 0
    assert tar_at_far(curve, 1e-9, min_expected_errors=0).tar == 1


def test_folds_hold_different_people_and_follow_the_seed(monkeypatch):
    rng = np.random.default_rng(5)
    embeddings = rng.normal(size=(100, 3))
    names = [f"person {i // 4:02d}" for i in range(100)]
    seen = []

    def spy(sample, *, upper):
        seen.append(sample.person)
        return similarity.similarity_blocks(sample, upper=upper)

    monkeypatch.setattr(verification, "similarity_blocks", spy)
    first = verification_accuracy(embeddings, names, seed=0)
    people = [set(one.tolist()) for one in seen]
    assert len(people) == 10 and set.union(*people) == set(range(25))
    assert sum(len(one) for one in people) == 25
    assert verification_accuracy(embeddings, names, seed=0).mean == first.mean
    assert verification_accuracy(embeddings, names, seed=1).mean != first.mean


def test_people_with_one_photo_leave_no_fold_without_genuine_pairs():
    names = ["ann", "ann", "bob", "bob", *(f"lone {i}" for i in range(30))]
    embeddings = np.random.default_rng(0).normal(size=(34, 3))
    for seed in range(10):
        assert np.isfinite(verification_accuracy(embeddings, names, 2, seed=seed).mean)


def test_folds_that_people_cannot_fill_are_not_supported():
    embeddings = np.random.default_rng(0).normal(size=(38, 3))
    names = [f"person {i // 2:02d}" for i in range(38)]
    message = "^folds: 10 folds need 20 people, 10 of them with two photos; there are 19, 19 of"
    with pytest.raises(NotSupportedError, match=message):
        verification_accuracy(embeddings, names, seed=0)
    names = [f"person {max(i, 9):02d}" for i in range(38)]
    with pytest.raises(NotSupportedError, match=r"there are 29, 1 of them with two photos$"):
        verification_accuracy(embeddings, names, seed=0)
    with pytest.raises(ValueError, match=r"^folds: expected at least 2, got 1$"):
        verification_accuracy(embeddings, names, 1, seed=0)


def test_shuffled_names_give_chance():
    rng = np.random.default_rng(6)
    embeddings = rng.normal(size=(40, 8)).repeat(6, axis=0) + 0.3 * rng.normal(size=(240, 8))
    names = [f"person {i // 6}" for i in range(240)]
    assert equal_error_rate(roc(embeddings, names)) < 0.1
    rates = np.array(
        [
            equal_error_rate(roc(embeddings, shuffled(names, seed=seed).tolist()))
            for seed in range(30)
        ]
    )
    assert abs(rates.mean() - 0.5) < 3 * rates.std(ddof=1) / math.sqrt(len(rates))


def test_many_photos_do_not_need_all_pairs_in_memory(monkeypatch):
    """3 000 photos have 4.5 million pairs, 36 MB: more than what is used at any moment."""
    rng = np.random.default_rng(17)
    names = [f"person {i // 10}" for i in range(3000)]
    embeddings = rng.normal(size=(3000, 16)).astype(np.float32)
    monkeypatch.setattr(similarity, "BLOCK", 2**17)
    tracemalloc.start()
    start = time.process_time()
    try:
        curve = roc(embeddings, names)
        compactness.uniformity(embeddings, names)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert curve.impostor_pairs == 3000 * 2990 // 2
    assert peak < 20e6
    assert time.process_time() - start < 30


def test_false_matches_and_the_threshold_that_allows_them_by_loops():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(30, 4))
    names = [f"p{i // 2}" for i in range(30)]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [
        float(np.round(unit[a] @ unit[b], 12))
        for a in range(30)
        for b in range(a)
        if names[a] != names[b]
    ]
    for threshold in (-0.2, 0.0, 0.5, 0.9):
        wanted = sum(pair >= threshold for pair in pairs) / len(pairs)
        assert false_match_rate(vectors, names, threshold) == pytest.approx(wanted)
    found = threshold_at(vectors, names, 0.1)
    assert false_match_rate(vectors, names, found) <= 0.1
    lower = max(pair for pair in pairs if pair < found - 1e-9)
    assert false_match_rate(vectors, names, lower - 1e-9) > 0.1
    with pytest.raises(NotSupportedError, match="at least 10 are needed"):
        threshold_at(vectors, names, 0.01)
    with pytest.raises(ValueError, match="rate: expected above 0"):
        threshold_at(vectors, names, 0)
