"""Embeddings, what every measure of them refuses, and their pairwise similarities."""

import importlib
import inspect
import itertools
import math
import pkgutil

import naive
import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from thesislib import metrics
from thesislib.metrics import (
    compactness,
    identification,
    retrieval,
    similarity,
    statistics,
    verification,
)
from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.similarity import labelled, normalise, pair_similarities

GALLERY = np.array([True, True, False, False])
MEASURES = {
    "pair_similarities": pair_similarities,
    "roc": verification.roc,
    "verification_accuracy": lambda e, i, **k: verification.verification_accuracy(
        e, i, seed=0, **k
    ),
    "false_match_rate": lambda e, i, **k: verification.false_match_rate(e, i, 0.5, **k),
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


# normalise


@pytest.mark.parametrize("dtype", naive.DTYPES)
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


# What every measure refuses


def test_the_list_of_measures_is_complete():
    """Each public function that takes copies is in the list that bad input is tried on."""
    found = set()
    for module in pkgutil.iter_modules(metrics.__path__, f"{metrics.__name__}."):
        for name, function in inspect.getmembers(
            importlib.import_module(module.name), inspect.isfunction
        ):
            own = function.__module__ == module.name and not name.startswith("_")
            if own and "copies" in inspect.signature(function).parameters:
                found.add(name)
    assert found - {"labelled"} == set(MEASURES)


NAMES = naive.FOUR[1]


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize(
    ("embeddings", "identities", "message"),
    [
        ([[1, 0], [0, 1], [1, np.nan], [1, 1]], NAMES, "^embeddings: NaN or infinite .* row 2$"),
        ([[1, 0], [0, np.inf], [1, 0], [1, 1]], NAMES, "^embeddings: NaN or infinite .* row 1$"),
        ([[1, 0], [0, 1], [1, 1], [0, 0]], NAMES, "^embeddings: row 3 is all zeros$"),
        ([1, 0, 1, 1], NAMES, r"^embeddings: expected shape \[n, d\], not empty, got \[4\]$"),
        (np.zeros((0, 2)), [], r"^embeddings: expected shape .*, got \[0, 2\]$"),
        (np.zeros((4, 0)), NAMES, r"^embeddings: expected shape .*, got \[4, 0\]$"),
        ([["a", "b"]] * 4, NAMES, "^embeddings: expected real numbers, got <U1$"),
        (np.ones((4, 2), complex), NAMES, "^embeddings: expected real numbers, got complex128$"),
        (naive.FOUR[0], NAMES[:3], r"^identities: expected \[4\] names, .* got shape \[3\]$"),
        (naive.FOUR[0], ["ann", "ann", "", "bob"], "^identities: row 2 is no name: ''$"),
        (naive.FOUR[0], ["ann", "ann", "bob", np.nan], "^identities: row 3 is no name: nan$"),
        (naive.FOUR[0], ["ann", "ann", 1, "bob"], "^identities: row 2 is no name: 1$"),
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
        MEASURES[name](*naive.FOUR, copies=copies)


OF_ONE_PERSON = {"pair_similarities", "uniformity", "alignment"}  # these are defined


@pytest.mark.parametrize("name", sorted(set(MEASURES) - OF_ONE_PERSON))
def test_one_person_is_not_supported(name):
    with pytest.raises(NotSupportedError, match=r"one person|folds need|no probe|one genuine"):
        MEASURES[name](naive.FOUR[0], ["ann"] * 4)


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
def test_one_photo_per_person_is_not_supported(name):
    with pytest.raises(NotSupportedError, match=r"^identities: nobody has two photos"):
        MEASURES[name](naive.FOUR[0], ["ann", "bob", "cat", "dan"])
    with pytest.raises(NotSupportedError, match=r"^identities: nobody has two photos"):
        # The copies of a bootstrap are no genuine pair.
        MEASURES[name](naive.FOUR[0], ["ann", "ann", "bob", "bob"], copies=[0, 1, 0, 1])


# Pairs


def test_pair_similarities_are_the_loop():
    for embeddings, names, copies in naive.cases():
        intra, inter = pair_similarities(embeddings, names, copies=copies)
        genuine, impostor = naive.pairs(embeddings, names, copies)
        np.testing.assert_allclose(sorted(intra), sorted(genuine), atol=2e-12)
        np.testing.assert_allclose(sorted(inter), sorted(impostor), atol=2e-12)


@given(strategies.people(), st.data())
def test_pair_similarities_depend_neither_on_order_nor_on_length(people, data):
    embeddings, names = people
    intra, inter = pair_similarities(embeddings, names)
    n = len(names)
    assert len(intra) + len(inter) == n * (n - 1) // 2
    assert len(intra) == sum(math.comb(names.count(name), 2) for name in set(names))
    assert (np.abs(np.concatenate([intra, inter])) <= 1).all()
    lengths = data.draw(st.lists(st.sampled_from([0.5, 3.0]), min_size=n, max_size=n))
    embeddings, names, _ = strategies.permuted(
        data.draw, embeddings * np.array(lengths)[:, None], names
    )
    for one, other in zip(pair_similarities(embeddings, names), (intra, inter), strict=True):
        np.testing.assert_allclose(np.sort(one), np.sort(other), atol=2e-12)


def test_equal_embeddings_tie_wherever_they_stand():
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(1, 257)).astype(np.float32)
    other = rng.normal(size=(1, 257)).astype(np.float32)
    embeddings = np.concatenate([embedding.repeat(61, axis=0), other.repeat(38, axis=0)])
    names = ["ann"] * 61 + ["bob"] * 38
    intra, inter = pair_similarities(embeddings, names)
    assert set(intra) == {1.0}
    assert len(set(inter)) == 1


def test_every_name_is_a_person_of_their_own():
    embeddings = np.eye(len(naive.ODD_NAMES)).repeat(2, axis=0)
    intra, inter = pair_similarities(embeddings, np.repeat(naive.ODD_NAMES, 2))
    assert intra.tolist() == [1.0] * len(naive.ODD_NAMES)
    assert set(inter) == {0.0}


@pytest.mark.parametrize("block", [1, 7, 40, 1000])
def test_blocks_do_not_change_a_result(monkeypatch, block):
    rng = np.random.default_rng(1)
    people = naive.random_people(rng, ties=True, people=7)
    embeddings, names, copies = naive.random_copies(rng, *people)
    gallery = np.arange(len(names)) % 3 == 0

    def results():
        whole = [
            *verification.roc(embeddings, names, copies=copies),
            *identification.open_set(embeddings, names, gallery, copies=copies),
            compactness.dprime(embeddings, names, copies=copies),
            compactness.compactness_ratio(embeddings, names, copies=copies),
            compactness.uniformity(embeddings, names, copies=copies),
            np.sort(pair_similarities(embeddings, names, copies=copies)[1]),
            retrieval._nearest(labelled(embeddings, names, copies), 4)[0],
        ]
        return [np.asarray(one) for one in whole]

    expected = results()
    blocks = list(similarity.row_blocks(len(names), len(names)))
    monkeypatch.setattr(similarity, "BLOCK", block)
    assert len(list(similarity.row_blocks(len(names), len(names)))) > len(blocks) or block == 1000
    for one, other in zip(results(), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 200))
def test_row_blocks_cover_each_row_once(rows, columns, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "BLOCK", block)
        slices = list(similarity.row_blocks(rows, columns))
    assert list(itertools.chain(*(range(rows)[one] for one in slices))) == list(range(rows))
    assert all((one.stop - one.start) * columns <= max(block, columns) for one in slices)


# The control of shuffled names


def test_shuffled_keeps_how_often_each_name_occurs():
    names = [f"person {i % 7}" for i in range(50)]
    result = statistics.shuffled(names, seed=3)
    assert sorted(result) == sorted(names)
    assert result.tolist() != names
    assert result.tolist() == statistics.shuffled(names, seed=3).tolist()
    assert result.tolist() != statistics.shuffled(names, seed=4).tolist()
    with pytest.raises(ValueError, match=r"^identities: row 1 is no name: 5$"):
        statistics.shuffled(["ann", 5], seed=0)
