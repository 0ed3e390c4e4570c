"""Each measure of embeddings against a twin written with plain loops, and what each refuses."""

import inspect
import itertools
import math
import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import davies_bouldin_score, roc_auc_score, silhouette_score

from thesislib.metrics import compactness, identification, retrieval, statistics, verification
from thesislib.metrics import similarity as similarity_metrics
from thesislib.metrics.similarity import (
    BLOCK,
    DECIMALS,
    NotSupportedError,
    __name__,
    checked,
    normalise,
    pair_similarities,
    seeds,
    shuffled,
)

DTYPES = (np.float16, np.float32, np.float64)
FOUR = ([[5, 0], [4, 3], [3, 4], [0, 5]], ["ann", "ann", "bob", "bob"])


def random_people(rng, dtype=np.float64, ties=False, people=None, dim=None):
    """Embeddings and names in random order; with ties, of few directions, each many times."""
    people = people or int(rng.integers(3, 8))
    dim = dim or int(rng.integers(2, 9))
    counts = rng.integers(1, 5, people)
    counts[:2] = 2  # so that there are genuine pairs
    names = np.repeat([f"person {one}" for one in range(people)], counts)
    if ties:
        embeddings = rng.integers(-1, 2, (len(names), dim))
        embeddings[(embeddings == 0).all(axis=1), 0] = 1
    else:
        centre = rng.normal(size=(people, dim)).repeat(counts, axis=0)
        embeddings = centre + rng.normal(size=(len(names), dim))
    order = rng.permutation(len(names))
    return embeddings[order].astype(dtype), names[order].tolist()


def random_copies(rng, embeddings, names):
    """Some people twice or three times, as a bootstrap has them."""
    rows, copies = [], []
    for name in sorted(set(names)):
        for copy in range(int(rng.integers(1, 4))):
            own = [row for row, other in enumerate(names) if other == name]
            rows += own
            copies += [copy] * len(own)
    order = rng.permutation(len(rows))
    rows = np.array(rows)[order]
    return embeddings[rows], [names[row] for row in rows], np.array(copies)[order]


def cases(count=8, seed=0):
    """Over dtypes, sizes, with ties and without, with copies and without."""
    rng = np.random.default_rng(seed)
    for dtype, ties, copied in itertools.product(DTYPES, (False, True), (False, True)):
        for _ in range(count):
            embeddings, names = random_people(rng, dtype, ties)
            copies = None
            if copied:
                embeddings, names, copies = random_copies(rng, embeddings, names)
            yield embeddings, names, copies


def cosine_twin(a, b):
    a, b = [float(value) for value in a], [float(value) for value in b]
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b))
    return max(-1.0, min(1.0, round(dot / lengths, DECIMALS)))


def kind_twin(names, copies, i, j):
    if names[i] != names[j]:
        return "impostor"
    return "genuine" if copies is None or copies[i] == copies[j] else None


def pairs_twin(embeddings, names, copies=None):
    found = {"genuine": [], "impostor": [], None: []}
    for i in range(len(names)):
        for j in range(i + 1, len(names)):
            found[kind_twin(names, copies, i, j)].append(cosine_twin(embeddings[i], embeddings[j]))
    return found["genuine"], found["impostor"]


def share_twin(values, threshold):
    return sum(value >= threshold for value in values) / len(values)


# What goes in


@pytest.mark.parametrize("dtype", DTYPES)
def test_normalise_is_the_loop(dtype):
    embeddings = np.random.default_rng(0).normal(size=(9, 5)).astype(dtype)
    expected = []
    for row in embeddings:
        length = math.sqrt(sum(float(value) ** 2 for value in row))
        expected.append([float(value) / length for value in row])
    result = normalise(embeddings)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, expected, rtol=1e-12)


def test_normalise_neither_overflows_nor_vanishes():
    np.testing.assert_allclose(
        normalise([[3e300, 4e300], [3e-300, 4e-300]]), [[0.6, 0.8]] * 2, rtol=1e-12
    )


GALLERY = np.array([True, True, False, False])
MEASURES = {
    "pair_similarities": pair_similarities,
    "roc": verification.roc,
    "verification_accuracy": lambda e, i, **k: verification.verification_accuracy(
        e, i, seed=0, **k
    ),
    "cumulative_match": lambda e, i, **k: identification.cumulative_match(e, i, GALLERY, **k),
    "open_set": lambda e, i, **k: identification.open_set(e, i, GALLERY, **k),
    "dprime": compactness.dprime,
    "compactness_ratio": compactness.compactness_ratio,
    "silhouette": compactness.silhouette,
    "davies_bouldin": compactness.davies_bouldin,
    "alignment": compactness.alignment,
    "uniformity": compactness.uniformity,
    "retrieval": retrieval.retrieval,
}


def test_the_list_of_measures_is_complete():
    """Each public function that takes copies is in the list that bad input is tried on."""
    taking = {
        name
        for name, function in inspect.getmembers(em, inspect.isfunction)
        if function.__module__ == __name__
        and not name.startswith("_")
        and "copies" in inspect.signature(function).parameters
    }
    assert taking == set(MEASURES)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize(
    ("embeddings", "identities", "message"),
    [
        ([[1, 0], [0, 1], [1, np.nan], [1, 1]], FOUR[1], "^embeddings: NaN or infinite .* row 2$"),
        ([[1, 0], [0, np.inf], [1, 0], [1, 1]], FOUR[1], "^embeddings: NaN or infinite .* row 1$"),
        ([[1, 0], [0, 1], [1, 1], [0, 0]], FOUR[1], "^embeddings: row 3 is all zeros$"),
        ([1, 0, 1, 1], FOUR[1], r"^embeddings: expected shape \[n, d\], not empty, got \[4\]$"),
        (np.zeros((0, 2)), [], r"^embeddings: expected shape .*, got \[0, 2\]$"),
        (np.zeros((4, 0)), FOUR[1], r"^embeddings: expected shape .*, got \[4, 0\]$"),
        ([["a", "b"]] * 4, FOUR[1], "^embeddings: expected real numbers, got <U1$"),
        (np.ones((4, 2), complex), FOUR[1], "^embeddings: expected real numbers, got complex128$"),
        (FOUR[0], FOUR[1][:3], r"^identities: expected \[4\] names, .* got shape \[3\]$"),
        (FOUR[0], ["ann", "ann", "", "bob"], "^identities: row 2 is no name: ''$"),
        (FOUR[0], ["ann", "ann", "bob", np.nan], "^identities: row 3 is no name: nan$"),
    ],
)
def test_bad_embeddings_and_names_are_refused(name, embeddings, identities, message):
    with pytest.raises(ValueError, match=message) as raised:
        MEASURES[name](embeddings, identities)
    assert not isinstance(raised.value, NotSupportedError)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize(
    ("copies", "message"),
    [
        ([0, 0, 0], r"^copies: expected \[4\] integers from 0$"),
        ([0, 0, 0, 0.5], r"^copies: expected \[4\] integers from 0$"),
        ([0, 0, 0, -1], r"^copies: expected \[4\] integers from 0$"),
        ([0, 0, 1, 1], "^copies: expected each person's to begin with 0$"),
    ],
)
def test_bad_copies_are_refused(name, copies, message):
    with pytest.raises(ValueError, match=message):
        MEASURES[name](*FOUR, copies=copies)


OF_ONE_PERSON = {"pair_similarities", "uniformity", "alignment"}  # these are defined


@pytest.mark.parametrize("name", sorted(set(MEASURES) - OF_ONE_PERSON))
def test_one_person_is_not_supported(name):
    with pytest.raises(NotSupportedError, match=r"one person|folds need|no probe|one genuine"):
        MEASURES[name](FOUR[0], ["ann"] * 4)


@pytest.mark.parametrize(
    "name",
    [
        "roc",
        "dprime",
        "compactness_ratio",
        "silhouette",
        "davies_bouldin",
        "alignment",
        "retrieval",
    ],
)
def test_one_photo_a_person_is_not_supported(name):
    with pytest.raises(NotSupportedError, match=r"^identities: nobody has two photos"):
        MEASURES[name](FOUR[0], ["ann", "bob", "cat", "dan"])
    with pytest.raises(NotSupportedError, match=r"^identities: nobody has two photos"):
        # The copies of a bootstrap are no genuine pair.
        MEASURES[name](FOUR[0], ["ann", "ann", "bob", "bob"], copies=[0, 1, 0, 1])


def test_shuffled_keeps_how_often_each_name_occurs():
    names = [f"person {i % 7}" for i in range(50)]
    result = shuffled(names, seed=3)
    assert sorted(result) == sorted(names)
    assert result.tolist() != names
    assert result.tolist() == shuffled(names, seed=3).tolist()
    assert result.tolist() != shuffled(names, seed=4).tolist()
    with pytest.raises(ValueError, match=r"^identities: row 1 is no name: 5$"):
        shuffled(["ann", 5], seed=0)


# Similarities


def test_pair_similarities_are_the_loop():
    for embeddings, names, copies in cases():
        intra, inter = pair_similarities(embeddings, names, copies=copies)
        genuine, impostor = pairs_twin(embeddings, names, copies)
        np.testing.assert_allclose(sorted(intra), sorted(genuine), atol=2e-12)
        np.testing.assert_allclose(sorted(inter), sorted(impostor), atol=2e-12)


def test_equal_embeddings_tie_wherever_they_stand():
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(1, 257)).astype(np.float32)
    other = rng.normal(size=(1, 257)).astype(np.float32)
    embeddings = np.concatenate([embedding.repeat(61, axis=0), other.repeat(38, axis=0)])
    names = ["ann"] * 61 + ["bob"] * 38
    intra, inter = pair_similarities(embeddings, names)
    assert set(intra) == {1.0}
    assert len(set(inter)) == 1


@pytest.mark.parametrize("block", [1, 7, 40, 1000])
def test_blocks_do_not_change_a_result(monkeypatch, block):
    rng = np.random.default_rng(1)
    embeddings, names, copies = random_copies(rng, *random_people(rng, ties=True, people=7))
    gallery = np.arange(len(names)) % 3 == 0

    def results():
        whole = [
            *verification.roc(embeddings, names, copies=copies),
            *identification.open_set(embeddings, names, gallery, copies=copies),
            compactness.dprime(embeddings, names, copies=copies),
            compactness.compactness_ratio(embeddings, names, copies=copies),
            compactness.uniformity(embeddings, names, copies=copies),
            np.sort(pair_similarities(embeddings, names, copies=copies)[1]),
            retrieval._nearest(checked(embeddings, names, copies), 4)[0],
        ]
        return [np.asarray(one) for one in whole]

    expected = results()
    monkeypatch.setattr(em, "_BLOCK", block)
    for one, other in zip(results(), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


# Verification


def test_roc_is_the_loop():
    for embeddings, names, copies in cases():
        curve = verification.roc(embeddings, names, copies=copies)
        genuine, impostor = pairs_twin(embeddings, names, copies)
        assert (curve.genuine_pairs, curve.impostor_pairs) == (len(genuine), len(impostor))
        assert (curve.far[0], curve.tar[0], curve.threshold[0]) == (0, 0, np.inf)
        assert (curve.far[-1], curve.tar[-1]) == (1, 1)
        assert (np.diff(curve.far) >= 0).all() and (np.diff(curve.tar) >= 0).all()
        assert (np.diff(curve.threshold) < 0).all()
        for far, tar, threshold in zip(curve.far, curve.tar, curve.threshold, strict=True):
            # Sums in another order may round to the next of the twelve decimals.
            sure, unsure = threshold + 2e-12, threshold - 2e-12
            assert share_twin(impostor, sure) <= far <= share_twin(impostor, unsure)
            assert share_twin(genuine, sure) <= tar <= share_twin(genuine, unsure)


def test_roc_of_exact_similarities_is_the_loop_at_every_threshold():
    """On the axes the cosine is -1, 0 or 1, so that nothing is rounded and most pairs tie."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        n = int(rng.integers(6, 15))
        embeddings = np.eye(2)[rng.integers(0, 2, n)] * rng.choice([-1.0, 1.0], (n, 1))
        names = ["ann", "ann", "bob", *rng.choice(["ann", "bob", "cat"], n - 3).tolist()]
        genuine, impostor = pairs_twin(embeddings, names)
        curve = verification.roc(embeddings, names)
        # Every threshold there is lies on the curve drawn through the vertices.
        for value in (-1.0, 0.0, 1.0):
            far, tar = share_twin(impostor, value), share_twin(genuine, value)
            on = [
                min(x, y) - 1e-12 <= far <= max(x, y) + 1e-12
                and abs((far - x) * (v - u) - (tar - u) * (y - x)) < 1e-12
                and min(u, v) - 1e-12 <= tar <= max(u, v) + 1e-12
                for (x, u), (y, v) in itertools.pairwise(zip(curve.far, curve.tar, strict=True))
            ]
            assert any(on)
        for far, tar, threshold in zip(curve.far, curve.tar, curve.threshold, strict=True):
            assert far == share_twin(impostor, threshold)
            assert tar == share_twin(genuine, threshold)


def auc_twin(genuine, impostor):
    wins = 0
    for one in genuine:
        for other in impostor:
            wins += (one > other) + (one == other) / 2
    return wins / (len(genuine) * len(impostor))


def test_area_under_roc_is_the_loop_and_scikit_learns():
    for embeddings, names, copies in cases():
        genuine, impostor = pairs_twin(embeddings, names, copies)
        area = verification.area_under_roc(verification.roc(embeddings, names, copies=copies))
        assert area == pytest.approx(auc_twin(genuine, impostor), abs=1e-12)
        same = [1] * len(genuine) + [0] * len(impostor)
        assert area == pytest.approx(roc_auc_score(same, genuine + impostor), abs=1e-12)


def eer_twin(genuine, impostor):
    points = [(0.0, 1.0)]
    for threshold in sorted(set(genuine + impostor), reverse=True):
        points.append((share_twin(impostor, threshold), 1 - share_twin(genuine, threshold)))
    for (far, fnr), (next_far, next_fnr) in itertools.pairwise(points):
        if next_far >= next_fnr:
            # Where the straight line between the two crosses the diagonal.
            step = (fnr - far) / ((next_far - far) + (fnr - next_fnr))
            return far + step * (next_far - far)
    raise AssertionError("the curve ends at (1, 0)")


def test_equal_error_rate_is_the_loop():
    for embeddings, names, copies in cases():
        genuine, impostor = pairs_twin(embeddings, names, copies)
        rate = verification.equal_error_rate(verification.roc(embeddings, names, copies=copies))
        assert rate == pytest.approx(eer_twin(genuine, impostor), abs=1e-9)


def tar_at_far_twin(genuine, impostor, far):
    best = (0.0, 0.0)
    for threshold in sorted(set(genuine + impostor), reverse=True):
        tar, achieved = share_twin(genuine, threshold), share_twin(impostor, threshold)
        if achieved <= far and tar > best[0]:
            best = (tar, achieved)
    return best


def test_tar_at_far_is_the_loop():
    for embeddings, names, copies in cases():
        genuine, impostor = pairs_twin(embeddings, names, copies)
        curve = verification.roc(embeddings, names, copies=copies)
        for far in (0.01, 0.05, 0.1, 0.3, 0.5, 1.0):
            point = verification.tar_at_far(curve, far, least=0)
            expected = tar_at_far_twin(genuine, impostor, far)
            assert (point.tar, point.far) == pytest.approx(expected, abs=1e-12)
            assert point.far <= far
            assert point[3:] == (len(genuine), len(impostor))


def test_all_embeddings_alike_recognise_nobody():
    embeddings = np.ones((40, 3))
    names = [f"person {i // 4}" for i in range(40)]
    curve = verification.roc(embeddings, names)
    assert curve.far.tolist() == [0, 1] and curve.tar.tolist() == [0, 1]
    assert verification.area_under_roc(curve) == 0.5
    assert verification.equal_error_rate(curve) == 0.5
    assert verification.tar_at_far(curve, 0.1).tar == 0
    assert verification.verification_accuracy(embeddings, names, folds=5, seed=0).mean == 0.5
    gallery = np.arange(40) % 4 == 0
    assert identification.cumulative_match(embeddings, names, gallery).tolist() == [0] * 9 + [1]
    assert identification.open_set(embeddings, names, gallery & (np.arange(40) < 20)).rank_one == 0
    _, nearest = retrieval._nearest(checked(embeddings, names, None), 3)
    assert all(names[one] != names[row] for row in range(40) for one in nearest[row])


def test_a_far_is_supported_from_ten_false_accepts_on():
    rng = np.random.default_rng(0)
    names = ["ann"] * 10 + ["bob"] * 100
    curve = verification.roc(rng.normal(size=(110, 4)), names)  # 1000 impostor pairs
    assert verification.tar_at_far(curve, 0.01).impostor_pairs == 1000
    message = "^far: 0.0099 of 1000 impostor pairs is 9.9, and at least 10 are needed$"
    with pytest.raises(NotSupportedError, match=message):
        verification.tar_at_far(curve, 0.0099)
    assert verification.tar_at_far(curve, 0.0099, least=0).far <= 0.0099
    for far in (0, -0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"^far: expected above 0 and at most 1, got"):
            verification.tar_at_far(curve, far)


def balanced_twin(genuine, impostor, threshold):
    return (share_twin(genuine, threshold) + 1 - share_twin(impostor, threshold)) / 2


def folds_twin(embeddings, names, folds, seed, copies=None):
    """The dealing is the library's; all that follows from it is done anew."""
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
        scores.append(pairs_twin(embeddings[rows], [names[row] for row in rows], kept))
    accuracies = []
    for one in range(folds):
        genuine = [s for at in range(folds) if at != one for s in scores[at][0]]
        impostor = [s for at in range(folds) if at != one for s in scores[at][1]]
        values = sorted(set(genuine + impostor), reverse=True)
        right = [balanced_twin(genuine, impostor, value) for value in values]
        best = next(at for at, value in enumerate(right) if value > max(right) - 1e-9)
        threshold = (values[best] + values[min(best + 1, len(values) - 1)]) / 2
        accuracies.append(balanced_twin(*scores[one], threshold))
    mean = sum(accuracies) / folds
    variance = sum((value - mean) ** 2 for value in accuracies) / (folds - 1)
    return mean, math.sqrt(variance / folds), accuracies


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("copied", [False, True])
def test_verification_accuracy_is_the_loop(dtype, copied):
    rng = np.random.default_rng(3)
    for seed in range(6):
        embeddings, names = random_people(rng, dtype, people=16, dim=4)
        names = ["person 0" if n == "person 15" else n for n in names]  # people of unequal size
        copies = None
        if copied:
            embeddings, names, copies = random_copies(rng, embeddings, names)
        folds = 2 + seed % 3
        result = verification.verification_accuracy(
            embeddings, names, folds, seed=seed, copies=copies
        )
        mean, error, accuracies = folds_twin(embeddings, names, folds, seed, copies)
        np.testing.assert_allclose(result.accuracies, accuracies, atol=1e-12)
        assert (result.mean, result.standard_error) == pytest.approx((mean, error), abs=1e-12)


def test_verification_accuracy_of_ties_is_the_loop():
    rng = np.random.default_rng(4)
    for seed in range(20):
        names = np.repeat([f"person {i}" for i in range(8)], 3).tolist()
        embeddings = np.eye(2)[rng.integers(0, 2, 24)] * rng.choice([-1.0, 1.0], (24, 1))
        result = verification.verification_accuracy(embeddings, names, 3, seed=seed)
        mean, error, _ = folds_twin(embeddings, names, 3, seed)
        assert (result.mean, result.standard_error) == pytest.approx((mean, error), abs=1e-12)


def test_folds_hold_different_people_and_follow_the_seed(monkeypatch):
    rng = np.random.default_rng(5)
    embeddings = rng.normal(size=(100, 3))
    names = [f"person {i // 4:02d}" for i in range(100)]
    seen = []
    blocks = similarity_metrics.blocks
    monkeypatch.setattr(
        em, "_blocks", lambda photos, upper: seen.append(photos.person) or blocks(photos, upper)
    )
    first = verification.verification_accuracy(embeddings, names, seed=0)
    people = [set(one.tolist()) for one in seen]
    assert len(people) == 10 and set.union(*people) == set(range(25))
    assert sum(len(one) for one in people) == 25
    assert verification.verification_accuracy(embeddings, names, seed=0).mean == first.mean
    assert verification.verification_accuracy(embeddings, names, seed=1).mean != first.mean


def test_people_with_one_photo_leave_no_fold_without_genuine_pairs():
    names = ["ann", "ann", "bob", "bob", *(f"lone {i}" for i in range(30))]
    embeddings = np.random.default_rng(0).normal(size=(34, 3))
    for seed in range(10):
        assert np.isfinite(verification.verification_accuracy(embeddings, names, 2, seed=seed).mean)


def test_folds_that_people_cannot_fill_are_not_supported():
    embeddings = np.random.default_rng(0).normal(size=(38, 3))
    names = [f"person {i // 2:02d}" for i in range(38)]
    message = "^folds: 10 folds need 20 people, 10 of them with two photos; there are 19, 19 of"
    with pytest.raises(NotSupportedError, match=message):
        verification.verification_accuracy(embeddings, names, seed=0)
    names = [f"person {max(i, 9):02d}" for i in range(38)]
    with pytest.raises(NotSupportedError, match=r"there are 29, 1 of them with two photos$"):
        verification.verification_accuracy(embeddings, names, seed=0)
    with pytest.raises(ValueError, match=r"^folds: expected at least 2, got 1$"):
        verification.verification_accuracy(embeddings, names, 1, seed=0)


def test_shuffled_names_give_chance():
    rng = np.random.default_rng(6)
    embeddings = rng.normal(size=(40, 8)).repeat(6, axis=0) + 0.3 * rng.normal(size=(240, 8))
    names = [f"person {i // 6}" for i in range(240)]
    assert verification.area_under_roc(verification.roc(embeddings, names)) > 0.95
    areas = np.array(
        [
            verification.area_under_roc(verification.roc(embeddings, shuffled(names, seed=seed)))
            for seed in range(30)
        ]
    )
    assert abs(areas.mean() - 0.5) < 3 * areas.std(ddof=1) / math.sqrt(len(areas))


# Retrieval


def retrieval_twin(embeddings, names, copies=None):
    first, r_precision, map_at_r = [], [], []
    for query in range(len(names)):
        others = []
        for other in range(len(names)):
            kind = kind_twin(names, copies, query, other)
            if other != query and kind is not None:
                others.append((-cosine_twin(embeddings[query], embeddings[other]), kind))
        # "genuine" < "impostor", and of equals the impostor comes first.
        others.sort(key=lambda one: (one[0], one[1] == "genuine"))
        relevant = sum(kind == "genuine" for _, kind in others)
        if relevant == 0:
            continue
        hits, precisions = 0, 0.0
        for at, (_, kind) in enumerate(others[:relevant], start=1):
            if kind == "genuine":
                hits += 1
                precisions += hits / at
        first.append(others[0][1] == "genuine")
        r_precision.append(hits / relevant)
        map_at_r.append(precisions / relevant)
    return tuple(sum(values) / len(values) for values in (first, r_precision, map_at_r))


def axes(rng, ties):
    """On the axes no cosine is rounded, so that twins agree on what is a tie."""
    embeddings, names = random_people(rng)
    if ties:
        n = len(names)
        embeddings = np.eye(3)[rng.integers(0, 3, n)] * rng.choice([-1.0, 1.0], (n, 1))
    return embeddings, names


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("copied", [False, True])
def test_the_nearest_are_the_loop(ties, copied):
    rng = np.random.default_rng(7)
    for _ in range(25):
        embeddings, names = axes(rng, ties)
        copies = None
        if copied:
            embeddings, names, copies = random_copies(rng, embeddings, names)
        photos = checked(embeddings, names, copies)
        k = int(np.bincount(photos.group).max()) - 1
        similarity, nearest = retrieval._nearest(photos, k)
        for row in range(len(names)):
            others = sorted(
                (-cosine_twin(embeddings[row], embeddings[other]), kind == "genuine")
                for other in range(len(names))
                if other != row and (kind := kind_twin(names, copies, row, other)) is not None
            )[:k]
            relevant = sum(kind_twin(names, copies, row, j) == "genuine" for j in range(len(names)))
            looked_at = min(relevant - 1, k)  # further ones no measure reads
            found = [
                (-similarity[row, at], kind_twin(names, copies, row, nearest[row, at]) == "genuine")
                for at in range(looked_at)
            ]
            assert row not in nearest[row, :looked_at]
            np.testing.assert_allclose(found, others[:looked_at], atol=2e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_retrieval_is_the_loop(dtype, ties, copied):
    rng = np.random.default_rng(8)
    for _ in range(10):
        embeddings, names = axes(rng, ties)
        embeddings, copies = embeddings.astype(dtype), None
        if copied:
            embeddings, names, copies = random_copies(rng, embeddings, names)
        result = retrieval.retrieval(embeddings, names, copies=copies)
        expected = retrieval_twin(embeddings, names, copies)
        np.testing.assert_allclose(result, expected, atol=1e-12)


# Identification


def search_twin(embeddings, names, gallery, copies=None):
    """For each probe: whether mated, the mate's score, the best other's, the mate's rank."""
    copies = [0] * len(names) if copies is None else copies
    enrolled = sorted({(n, c) for n, c, g in zip(names, copies, gallery, strict=True) if g})
    found = []
    for probe in range(len(names)):
        if gallery[probe]:
            continue
        scores = {}
        for person in enrolled:
            scores[person] = max(
                cosine_twin(embeddings[probe], embeddings[row])
                for row in range(len(names))
                if gallery[row] and (names[row], copies[row]) == person
            )
        own = (names[probe], copies[probe])
        others = [score for person, score in scores.items() if person[0] != own[0]]
        mate = scores.get(own)
        rank = None if mate is None else 1 + sum(score >= mate for score in others)
        found.append((mate is not None, mate, max(others, default=-math.inf), rank))
    return found, len(enrolled)


def gallery_cases(closed, seed=9, count=15):
    rng = np.random.default_rng(seed)
    for dtype, ties, copied in itertools.product(DTYPES, (False, True), (False, True)):
        for _ in range(count):
            embeddings, names = axes(rng, ties)
            enrolled = set(sorted(set(names))[:: 1 if closed else 2])
            seen, gallery = {}, []
            for name in names:
                # One photo a person is enrolled, of some two; the rest are probes.
                limit = 2 if name == "person 2" else 1
                seen[name] = seen.get(name, 0) + 1
                gallery.append(name in enrolled and seen[name] <= limit)
            gallery, copies = np.array(gallery), None
            embeddings = embeddings.astype(dtype)
            if copied:
                together = np.concatenate([embeddings, gallery[:, None]], axis=1)
                together, names, copies = random_copies(rng, together, names)
                embeddings, gallery = together[:, :-1], together[:, -1] == 1
            yield embeddings, names, gallery, copies


def test_cumulative_match_is_the_loop():
    for embeddings, names, gallery, copies in gallery_cases(closed=True):
        found, enrolled = search_twin(embeddings, names, gallery, copies)
        expected = [
            sum(rank <= most for *_, rank in found) / len(found) for most in range(1, enrolled + 1)
        ]
        result = identification.cumulative_match(embeddings, names, gallery, copies=copies)
        np.testing.assert_allclose(result, expected, atol=1e-12)


def test_open_set_is_the_loop():
    compared = 0
    for embeddings, names, gallery, copies in gallery_cases(closed=False):
        found, _ = search_twin(embeddings, names, gallery, copies)
        mated = [one for one in found if one[0]]
        strangers = [one for one in found if not one[0]]
        if not mated or not strangers:
            continue
        compared += 1
        curve = identification.open_set(embeddings, names, gallery, copies=copies)
        assert (curve.mated_probes, curve.non_mated_probes) == (len(mated), len(strangers))
        assert curve.rank_one == sum(rank == 1 for *_, rank in mated) / len(mated)
        scores = {one[2] for one in strangers} | {one[1] for one in mated if one[3] == 1}
        thresholds = [math.inf, *sorted(scores, reverse=True)]
        np.testing.assert_allclose(curve.threshold, thresholds, atol=2e-12)
        fpir = [sum(s[2] >= t for s in strangers) / len(strangers) for t in thresholds]
        fnir = [sum(m[3] > 1 or m[1] < t for m in mated) / len(mated) for t in thresholds]
        np.testing.assert_allclose(curve.fpir, fpir, atol=1e-12)
        np.testing.assert_allclose(curve.fnir, fnir, atol=1e-12)
        for limit in (0.01, 0.1, 0.5, 1.0):
            best = min(
                (miss, alarm) for miss, alarm in zip(fnir, fpir, strict=True) if alarm <= limit
            )
            point = identification.fnir_at_fpir(curve, limit, least=0)
            assert (point.fnir, point.fpir) == pytest.approx(best, abs=1e-12)
    assert compared > 100


def test_a_fpir_is_supported_from_ten_false_positives_on():
    rng = np.random.default_rng(0)
    names = ["ann", "bob", "ann", "bob", *(f"stranger {i}" for i in range(100))]
    gallery = np.arange(104) < 2
    curve = identification.open_set(rng.normal(size=(104, 4)), names, gallery)
    assert identification.fnir_at_fpir(curve, 0.1).non_mated_probes == 100
    message = "^fpir: 0.01 of 100 non-mated probes is 1, and at least 10 are needed$"
    with pytest.raises(NotSupportedError, match=message):
        identification.fnir_at_fpir(curve, 0.01)
    with pytest.raises(ValueError, match=r"^fpir: expected above 0 and at most 1, got 0$"):
        identification.fnir_at_fpir(curve, 0)


@pytest.mark.parametrize(
    ("identities", "gallery", "error", "message"),
    [
        (["a", "b", "a", "c"], [1, 1, 0], ValueError, r"expected \[4\] bool"),
        (["a", "b", "a", "c"], [1, 1, 0, 0], ValueError, r"expected \[4\] bool"),
        (["a", "b", "a", "c"], [True] * 4, NotSupportedError, "there is no probe photo"),
        (["a", "b", "a", "c"], [False] * 4, NotSupportedError, "there is no gallery photo"),
        (["a", "b", "a", "c"], [True, False, False, False], NotSupportedError, "one person"),
    ],
)
def test_bad_galleries_are_refused(identities, gallery, error, message):
    for measure in (identification.cumulative_match, identification.open_set):
        with pytest.raises(error, match=f"^gallery: {message}"):
            measure(FOUR[0], identities, gallery)


def test_probes_of_the_wrong_kind_are_refused():
    names, gallery = ["a", "b", "a", "c"], [True, True, False, False]
    message = "^gallery: the person of the probe in row 3 is not enrolled$"
    with pytest.raises(ValueError, match=message):
        identification.cumulative_match(FOUR[0], names, gallery)
    for names, what in ((["a", "b", "c", "c"], "is"), (["a", "b", "a", "b"], "is not")):
        message = f"^gallery: there is no probe whose person {what} enrolled$"
        with pytest.raises(NotSupportedError, match=message):
            identification.open_set(FOUR[0], names, gallery)


# Joint open set


def random_detections(rng, photos):
    rows = []
    for photo in range(photos):
        for identity in ("ann", "bob", "cat"):
            if rng.random() < 0.6:
                predicted = str(rng.choice([identity, "ann", "bob", ""]))
                rows.append((rng.choice([0.2, 0.5, 0.6, 0.9]), predicted, rng.random(), identity))
                rows[-1] = (f"{photo}.jpg", *rows[-1])
        for _ in range(int(rng.integers(0, 4))):
            predicted = str(rng.choice(["ann", "bob", "cat", ""]))
            iou = float(rng.choice([0.0, 0.3, 0.8]))
            rows.append((f"{photo}.jpg", rng.choice([0.2, 0.5, 0.6, 0.9]), predicted, iou, ""))
    return pd.DataFrame(rows, columns=["photo", "score", "predicted_identity", "iou", "identity"])


def joint_twin(table, known_faces, photos, threshold):
    right = wrong = another = 0
    for row in table.itertuples():
        if row.score < threshold or row.predicted_identity == "":
            continue
        if row.identity == "" or row.iou < 0.5:
            wrong += 1
        elif row.identity == row.predicted_identity:
            right += 1
        else:
            another += 1
    return right / known_faces, wrong / photos, another / known_faces


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_joint_open_set_is_the_loop(dtype):
    rng = np.random.default_rng(10)
    for _ in range(40):
        photos = int(rng.integers(1, 12))
        table = random_detections(rng, photos).astype({"score": dtype, "iou": dtype})
        curve = identification.joint_open_set(table, known_faces=3 * photos, photos=photos)
        assert curve.threshold[0] == np.inf and (np.diff(curve.threshold) < 0).all()
        named = table.score[table.predicted_identity != ""]
        assert set(curve.threshold[1:]) == set(named.astype(np.float64))
        expected = [joint_twin(table, 3 * photos, photos, t) for t in curve.threshold]
        found = np.stack([curve.tpir, curve.fpipi, curve.taken_for_another], axis=1)
        np.testing.assert_allclose(found, expected, atol=1e-12)
        for limit in (0.1, 0.5, 2.0):
            best = max((tpir, -fpipi) for tpir, fpipi, _ in expected if fpipi <= limit)
            point = identification.tpir_at_fpipi(curve, limit, least=0)
            assert (point.tpir, -point.fpipi) == pytest.approx(best, abs=1e-12)


def detections(**changes):
    columns = {
        "photo": ["a.jpg", "a.jpg", "b.jpg"],
        "score": [0.9, 0.8, 0.7],
        "predicted_identity": ["ann", "bob", "ann"],
        "iou": [0.9, 0.8, 0.7],
        "identity": ["ann", "", "ann"],
    }
    return pd.DataFrame(columns | changes)


def test_a_missed_face_counts_and_an_iou_of_a_half_is_enough():
    curve = identification.joint_open_set(
        detections(iou=[0.5, 0.8, 0.499]), known_faces=4, photos=2
    )
    assert curve.tpir[-1] == 0.25
    assert curve.fpipi[-1] == 1.0  # the stranger, and the face that is not covered enough
    none = detections().iloc[:0]
    curve = identification.joint_open_set(none, known_faces=4, photos=2)
    assert (curve.tpir.tolist(), curve.fpipi.tolist()) == ([0], [0])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (detections().drop(columns="iou"), "^detections: column 'iou' is missing$"),
        (detections(score=[0.9, np.nan, 0.7]), "^detections: score of row 1 is nan$"),
        (detections(score=[0.9, 0.5, np.inf]), "^detections: score of row 2 is inf$"),
        (detections(iou=[0.9, 1.5, 0.7]), "^detections: iou of row 1 is 1.5$"),
        (detections(iou=[-0.1, 0.5, 0.7]), "^detections: iou of row 0 is -0.1$"),
        (detections(iou=[0.1, np.nan, 0.7]), "^detections: iou of row 1 is nan$"),
        (detections(identity=["ann", None, ""]), "^detections: identity of row 1 is no text$"),
        (detections(photo=["a.jpg", 5, "b.jpg"]), "^detections: photo of row 1 is no text$"),
        (
            detections(predicted_identity=["ann", "bob", np.nan]),
            "^detections: predicted_identity of row 2 is no text$",
        ),
        (
            detections(identity=["ann", "ann", ""]),
            "^detections: 'ann' of row 1 is found in 'a.jpg' already$",
        ),
        (
            detections(photo=["a.jpg", "b.jpg", "c.jpg"]),
            "^photos: 2, but detections has 3$",
        ),
        (
            detections(identity=["ann", "bob", "ann"]),
            "^known_faces: 2, but detections has 3$",
        ),
    ],
)
def test_bad_detections_are_refused_by_row(table, message):
    with pytest.raises(ValueError, match=message):
        identification.joint_open_set(table, known_faces=2, photos=2)


def test_joint_open_set_needs_known_faces_photos_and_enough_of_them():
    with pytest.raises(NotSupportedError, match=r"^known_faces: there is no known face$"):
        identification.joint_open_set(detections(), known_faces=0, photos=2)
    with pytest.raises(NotSupportedError, match=r"^photos: there is no photo$"):
        identification.joint_open_set(detections(), known_faces=2, photos=0)
    curve = identification.joint_open_set(detections(), known_faces=2, photos=99)
    message = "^fpipi: 0.1 of 99 false positives a photo is 9.9, and at least 10 are needed$"
    with pytest.raises(NotSupportedError, match=message):
        identification.tpir_at_fpipi(curve, 0.1)
    assert identification.tpir_at_fpipi(curve._replace(photos=100), 0.1).photos == 100
    for fpipi in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"^fpipi: expected above 0, got"):
            identification.tpir_at_fpipi(curve, fpipi)


# Compactness


def mean_twin(values):
    return sum(values) / len(values)


def variance_twin(values):
    return mean_twin([(value - mean_twin(values)) ** 2 for value in values])


def test_dprime_is_the_loop():
    for embeddings, names, copies in cases():
        genuine, impostor = pairs_twin(embeddings, names, copies)
        spread = math.sqrt((variance_twin(genuine) + variance_twin(impostor)) / 2)
        expected = abs(mean_twin(genuine) - mean_twin(impostor)) / spread
        assert compactness.dprime(embeddings, names, copies=copies) == pytest.approx(
            expected, rel=1e-8
        )


def ratio_twin(embeddings, names, copies=None):
    genuine, _ = pairs_twin(embeddings, names, copies)
    nearest = [
        min(
            1 - cosine_twin(embeddings[i], embeddings[j])
            for j in range(len(names))
            if names[j] != names[i]
        )
        for i in range(len(names))
    ]
    return mean_twin([1 - similarity for similarity in genuine]), mean_twin(nearest)


def test_compactness_ratio_is_the_loop():
    for embeddings, names, copies in cases():
        within, nearest = ratio_twin(embeddings, names, copies)
        if nearest < 1e-9:
            with pytest.raises(NotSupportedError, match=r"every photo equals one of another"):
                compactness.compactness_ratio(embeddings, names, copies=copies)
            continue
        ratio = compactness.compactness_ratio(embeddings, names, copies=copies)
        assert ratio == pytest.approx(within / nearest, rel=1e-8)


def silhouette_twin(embeddings, names, copies=None):
    copies = [0] * len(names) if copies is None else copies
    values = []
    for i in range(len(names)):
        own = [
            1 - cosine_twin(embeddings[i], embeddings[j])
            for j in range(len(names))
            if j != i and names[j] == names[i] and copies[j] == copies[i]
        ]
        if not own:
            values.append(0.0)
            continue
        b = min(
            mean_twin(
                [
                    1 - cosine_twin(embeddings[i], embeddings[j])
                    for j in range(len(names))
                    if names[j] == other
                ]
            )
            for other in set(names) - {names[i]}
        )
        a = mean_twin(own)
        values.append((b - a) / max(a, b) if max(a, b) > 1e-9 else 0.0)
    return mean_twin(values)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("copied", [False, True])
def test_silhouette_is_the_loop(dtype, copied):
    rng = np.random.default_rng(11)
    for _ in range(10):
        embeddings, names = random_people(rng, dtype)
        copies = None
        if copied:
            embeddings, names, copies = random_copies(rng, embeddings, names)
        expected = silhouette_twin(embeddings, names, copies)
        assert compactness.silhouette(embeddings, names, copies=copies) == pytest.approx(
            expected, abs=1e-9
        )


def test_silhouette_is_scikit_learns():
    embeddings, names = random_people(np.random.default_rng(12), people=7)
    expected = silhouette_score(embeddings, names, metric="cosine")
    assert compactness.silhouette(embeddings, names) == pytest.approx(expected, abs=1e-9)


def davies_bouldin_twin(embeddings, names, copies=None):
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
        scatters[person] = mean_twin([math.dist(row, centres[person]) for row in rows])
    worst = [
        max(
            (scatters[one] + scatters[other]) / math.dist(centres[one], centres[other])
            for other in drawn
            if other[0] != one[0]
        )
        for one in drawn
    ]
    return mean_twin(worst)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("copied", [False, True])
def test_davies_bouldin_is_the_loop_and_scikit_learns(dtype, copied):
    rng = np.random.default_rng(13)
    for _ in range(15):
        embeddings, names = random_people(rng, dtype)
        copies = None
        if copied:
            embeddings, names, copies = random_copies(rng, embeddings, names)
        result = compactness.davies_bouldin(embeddings, names, copies=copies)
        expected = davies_bouldin_twin(embeddings, names, copies)
        assert result == pytest.approx(expected, rel=1e-9)
        if not copied:
            theirs = davies_bouldin_score(normalise(embeddings), names)
            # Their distances are roots of differences, and good to some eight digits.
            assert result == pytest.approx(theirs, rel=1e-6)


def test_alignment_and_uniformity_are_the_loop():
    for embeddings, names, copies in cases():
        distances = {"genuine": [], "impostor": [], None: []}
        rows = [np.asarray(row, dtype=np.float64) for row in embeddings]
        rows = [row / math.sqrt(sum(value**2 for value in row)) for row in rows]
        for i, j in itertools.combinations(range(len(names)), 2):
            distances[kind_twin(names, copies, i, j)].append(math.dist(rows[i], rows[j]))
        expected = mean_twin([one**2 for one in distances["genuine"]])
        assert compactness.alignment(embeddings, names, copies=copies) == pytest.approx(
            expected, abs=1e-9
        )
        compared = distances["genuine"] + distances["impostor"]
        expected = math.log(mean_twin([math.exp(-2 * one**2) for one in compared]))
        assert compactness.uniformity(embeddings, names, copies=copies) == pytest.approx(
            expected, abs=1e-9
        )


def test_compactness_without_spread_is_not_supported():
    ones, names = np.ones((4, 3)), FOUR[1]
    with pytest.raises(NotSupportedError, match=r"^embeddings: similarities do not vary"):
        compactness.dprime(ones, names)
    with pytest.raises(NotSupportedError, match=r"^embeddings: every photo equals one of anoth"):
        compactness.compactness_ratio(ones, names)
    with pytest.raises(NotSupportedError, match=r"^embeddings: the photos of two people have on"):
        compactness.davies_bouldin(ones, names)
    with pytest.raises(NotSupportedError, match=r"^embeddings: fewer than two photos$"):
        compactness.uniformity(ones[:1], names[:1])
    assert compactness.alignment(ones, names) == 0
    assert compactness.uniformity(ones, names) == 0


def trustworthiness_twin(truth, shown, k):
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


@pytest.mark.parametrize("dtype", DTYPES)
def test_map_faithfulness_is_the_loop(dtype):
    rng = np.random.default_rng(14)
    for _ in range(8):
        n = int(rng.integers(9, 40))
        k = int(rng.integers(1, (n - 1) // 2))
        embeddings = rng.normal(size=(n, 6)).astype(dtype)
        shown = embeddings[:, :2].astype(np.float64) + rng.normal(size=(n, 2))
        truth = normalise(embeddings)
        trusted, continuous = compactness.map_faithfulness(embeddings, shown, k)
        assert trusted == pytest.approx(trustworthiness_twin(truth, shown, k), abs=1e-12)
        assert continuous == pytest.approx(trustworthiness_twin(shown, truth, k), abs=1e-12)


def test_a_map_that_cannot_be_judged_is_refused():
    points = np.random.default_rng(0).normal(size=(30, 2))
    message = "^k: 15 neighbours need more than 30 points, there are 30$"
    with pytest.raises(NotSupportedError, match=message):
        compactness.map_faithfulness(points, points)
    with pytest.raises(ValueError, match=r"^k: expected at least 1, got 0$"):
        compactness.map_faithfulness(points, points, k=0)
    with pytest.raises(ValueError, match=r"^coordinates: expected shape \[30, 2\], got \[29, 2\]$"):
        compactness.map_faithfulness(points, points[:29], k=5)
    broken = points.copy()
    broken[7, 1] = np.nan
    with pytest.raises(ValueError, match=r"^coordinates: NaN or infinite value in row 7$"):
        compactness.map_faithfulness(points, broken, k=5)
    with pytest.raises(ValueError, match=r"^embeddings: NaN or infinite value in row 7$"):
        compactness.map_faithfulness(broken, points, k=5)


# Uncertainty


def bootstrap_twin(function, embeddings, names, seed, draws, level):
    people = sorted(set(names))
    rng = seeds.generator(seed, "person_bootstrap")
    values = []
    measure = function(embeddings, names, [0] * len(names))
    for _ in range(draws):
        drawn = sorted(rng.integers(len(people), size=len(people)).tolist())
        rows, copies, previous, copy = [], [], None, 0
        for person in drawn:
            copy = copy + 1 if person == previous else 0
            previous = person
            for row, name in enumerate(names):
                if name == people[person]:
                    rows.append(row)
                    copies.append(copy)
        values.append(function(embeddings[rows], [names[row] for row in rows], copies))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return low + measure - mean_twin(values), high + measure - mean_twin(values)


def test_person_bootstrap_is_the_loop():
    rng = np.random.default_rng(15)
    embeddings, names = random_people(rng, people=12, dim=5)

    def alignment(embeddings, names, copies):
        genuine, _ = pairs_twin(embeddings, names, copies)
        return mean_twin([2 - 2 * similarity for similarity in genuine])

    found = statistics.person_bootstrap(
        compactness.alignment, embeddings, names, seed=4, draws=40, level=0.8
    )
    expected = bootstrap_twin(alignment, embeddings, names, seed=4, draws=40, level=0.8)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_copy_of_a_photo_is_never_a_genuine_pair():
    """All photos of a person are at right angles, so that a genuine 1 could only be a copy."""
    embeddings = np.tile(np.eye(4), (6, 1))
    names = np.repeat([f"person {i}" for i in range(6)], 4)
    seen = []

    def highest(embeddings, identities, copies):
        intra, inter = pair_similarities(embeddings, identities, copies=copies)
        seen.append((copies.max(), len(intra), len(inter)))
        return intra.max()

    low, high = statistics.person_bootstrap(highest, embeddings, names, seed=0, draws=50)
    assert (low, high) == (0, 0)
    assert max(most for most, _, _ in seen) >= 2
    # Six people drawn have 6 * 6 genuine pairs, whoever they are; impostor pairs are fewer.
    assert {intra for _, intra, _ in seen} == {36}
    assert all(inter <= 15 * 16 for _, _, inter in seen)


def rate_measures():
    return {
        "auc": lambda e, i, copies: verification.area_under_roc(
            verification.roc(e, i, copies=copies)
        ),
        "tar": lambda e, i, copies: (
            verification.tar_at_far(verification.roc(e, i, copies=copies), 0.1, least=0).tar
        ),
        "accuracy": lambda e, i, copies: (
            verification.verification_accuracy(e, i, 2, seed=0, copies=copies).mean
        ),
        "rank one": lambda e, i, copies, gallery: identification.cumulative_match(
            e, i, gallery, copies=copies
        )[0],
        "fnir": lambda e, i, copies, gallery: (
            identification.fnir_at_fpir(
                identification.open_set(e, i, gallery & (i < "person 15"), copies=copies),
                0.1,
                least=0,
            ).fnir
        ),
        "dprime": compactness.dprime,
        "ratio": compactness.compactness_ratio,
        "silhouette": compactness.silhouette,
        "davies_bouldin": compactness.davies_bouldin,
        "alignment": compactness.alignment,
        "uniformity": compactness.uniformity,
        "retrieval": retrieval.retrieval,
    }


@pytest.mark.parametrize("name", rate_measures())
def test_person_bootstrap_takes_every_measure(name):
    rng = np.random.default_rng(16)
    people, photos = 30, 4
    embeddings = rng.normal(size=(people, 6)).repeat(photos, axis=0)
    embeddings = embeddings + 0.7 * rng.normal(size=embeddings.shape)
    names = np.repeat([f"person {i:02d}" for i in range(people)], photos)
    rows = {}
    if name in ("rank one", "fnir"):
        rows = {"gallery": np.arange(people * photos) % photos == 0}
    measure = rate_measures()[name]
    low, high = statistics.person_bootstrap(measure, embeddings, names, seed=0, draws=60, **rows)
    value = measure(embeddings, names.astype(object), copies=None, **rows)
    assert (low <= value).all() and (value <= high).all() and (low < high).all()
    again = statistics.person_bootstrap(measure, embeddings, names, seed=0, draws=60, **rows)
    np.testing.assert_array_equal(again, (low, high))


@pytest.mark.parametrize("name", ["alignment", "ratio"])
def test_person_bootstrap_is_as_wide_as_the_spread_over_other_people(name):
    """The first measure knows no others; the second is biased by how many others there are."""
    measure = rate_measures()[name]

    def people(seed):
        rng = np.random.default_rng(seed)
        scale = rng.gamma(4.0, 0.2, (60, 1, 1))  # some people vary more than others
        photos = rng.normal(size=(60, 1, 8)) + scale * rng.normal(size=(60, 4, 8))
        return photos.reshape(240, 8), np.repeat([f"person {i}" for i in range(60)], 4)

    values = [measure(*people(seed)) for seed in range(200)]
    widths, covered = [], 0
    for seed in range(12):
        low, high = statistics.person_bootstrap(measure, *people(seed), seed=seed, draws=100)
        widths.append((high - low) / (2 * 1.96))
        covered += low <= np.mean(values) <= high
    assert np.mean(widths) == pytest.approx(np.std(values), rel=0.25)
    assert covered >= 9


def test_person_bootstrap_refuses_what_it_cannot_do():
    embeddings, names = FOUR

    def bootstrap(
        function=compactness.alignment, embeddings=embeddings, names=names, draws=50, **options
    ):
        return statistics.person_bootstrap(
            function, embeddings, names, seed=0, draws=draws, **options
        )

    with pytest.raises(ValueError, match=r"^draws: expected at least 1, got 0$"):
        bootstrap(draws=0)
    for level in (0, 1, np.nan):
        with pytest.raises(ValueError, match=r"^level: expected above 0 and below 1, got"):
            bootstrap(level=level)
    with pytest.raises(ValueError, match=r"^gallery: 3 rows, but embeddings has 4$"):
        bootstrap(gallery=np.ones(3, dtype=bool))
    with pytest.raises(ValueError, match=r"^embeddings: NaN or infinite value in row 0$"):
        bootstrap(embeddings=[[np.nan, 1]] * 4)
    with pytest.raises(NotSupportedError, match=r"^identities: one person only"):
        bootstrap(names=["ann"] * 4)
    with pytest.raises(ValueError, match=r"^function: NaN for the data$"):
        bootstrap(function=lambda embeddings, identities, copies: np.nan)
    with pytest.raises(ValueError, match=r"^function: NaN in draw \d+ of 50$"):
        bootstrap(function=lambda embeddings, identities, copies: np.nan if copies.any() else 0)
    # Of two people, every other draw has one of them twice and the other not at all.
    with pytest.raises(NotSupportedError, match=r"^draw \d+ of 50: identities: one person only"):
        bootstrap(function=compactness.dprime)
    with pytest.raises(NotSupportedError, match=r"^identities: nobody has two photos"):
        bootstrap(names=["ann", "bob", "cat", "dan"])


# Size


def test_many_photos_do_not_need_all_pairs_in_memory():
    """5 000 photos have 12.5 million pairs, 100 MB: more than what is used at any moment."""
    rng = np.random.default_rng(17)
    names = [f"person {i // 10}" for i in range(5000)]
    embeddings = rng.normal(size=(5000, 16)).astype(np.float32)
    BLOCK, block = 2**18, BLOCK
    tracemalloc.start()
    start = time.perf_counter()
    try:
        curve = verification.roc(embeddings, names)
        compactness.uniformity(embeddings, names)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        BLOCK = block
    assert curve.impostor_pairs == 5000 * 4990 // 2
    assert peak < 40e6
    assert time.perf_counter() - start < 30
