"""Nearest neighbours, precision at 1, R-precision and MAP@R."""

import naive
import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from thesislib.metrics.retrieval import _nearest, of_queries, retrieval
from thesislib.metrics.similarity import labelled


def naive_retrieval(embeddings, names, copies=None):
    first, r_precision, map_at_r = [], [], []
    for query in range(len(names)):
        others = []
        for other in range(len(names)):
            kind = naive.kind(names, copies, query, other)
            if other != query and kind is not None:
                others.append((-naive.cosine(embeddings[query], embeddings[other]), kind))
        # Of equals the impostor comes first.
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
    return tuple(naive.mean(values) for values in (first, r_precision, map_at_r))


def test_each_query_is_the_loop():
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(14, 3))
    names = [*["ann"] * 5, *["bob"] * 4, *["eva"] * 4, "once"]
    found = of_queries(vectors, names)
    for query in range(13):
        # The loop over one query alone: of the others none is asked.
        order = sorted(
            (other for other in range(14) if other != query),
            key=lambda other: -naive.cosine(vectors[query], vectors[other]),
        )
        relevant = names.count(names[query]) - 1
        hits = [names[other] == names[query] for other in order]
        average = sum(sum(hits[: at + 1]) / (at + 1) for at in range(relevant) if hits[at])
        assert found.map_at_r[query] == pytest.approx(average / relevant)
        assert found.precision_at_1[query] == hits[0]
    assert np.isnan(found.map_at_r[13]) and np.isnan(found.precision_at_1[13])
    whole = retrieval(vectors, names)
    assert np.nanmean(found.map_at_r) == pytest.approx(whole.map_at_r)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("copied", [False, True])
def test_the_nearest_are_the_loop(ties, copied):
    rng = np.random.default_rng(7)
    for _ in range(15):
        embeddings, names = naive.on_axes(rng, ties)
        copies = None
        if copied:
            embeddings, names, copies = naive.random_copies(rng, embeddings, names)
        sample = labelled(embeddings, names, copies)
        k = int(np.bincount(sample.group).max()) - 1
        similarity, nearest = _nearest(sample, k)
        for row in range(len(names)):
            kinds = [naive.kind(names, copies, row, other) for other in range(len(names))]
            others = sorted(
                (-naive.cosine(embeddings[row], embeddings[other]), kinds[other] == "genuine")
                for other in range(len(names))
                if other != row and kinds[other] is not None
            )[:k]
            looked_at = min(kinds.count("genuine") - 1, k)  # further ones no measure reads
            found = [
                (-similarity[row, at], kinds[nearest[row, at]] == "genuine")
                for at in range(looked_at)
            ]
            assert row not in nearest[row, :looked_at]
            np.testing.assert_allclose(found, others[:looked_at], atol=2e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("dtype", naive.DTYPES)
def test_retrieval_is_the_loop(dtype, ties, copied):
    rng = np.random.default_rng(8)
    for _ in range(6):
        embeddings, names = naive.on_axes(rng, ties)
        embeddings, copies = embeddings.astype(dtype), None
        if copied:
            embeddings, names, copies = naive.random_copies(rng, embeddings, names)
        result = retrieval(embeddings, names, copies=copies)
        np.testing.assert_allclose(result, naive_retrieval(embeddings, names, copies), atol=1e-12)


@settings(max_examples=40)
@given(strategies.people(), st.data())
def test_retrieval_is_in_range_and_does_not_depend_on_order(people, data):
    embeddings, names = people
    result = retrieval(embeddings, names)
    assert 0 <= result.map_at_r <= result.r_precision <= 1
    assert 0 <= result.precision_at_1 <= 1
    embeddings, names, _ = strategies.permuted(data.draw, embeddings, names)
    np.testing.assert_allclose(retrieval(embeddings, names), result, atol=1e-12)


def test_embeddings_that_are_all_equal_find_nobody():
    names = [f"person {i // 4}" for i in range(40)]
    _, nearest = _nearest(labelled(np.ones((40, 3)), names), 3)
    assert all(names[one] != names[row] for row in range(40) for one in nearest[row])
    assert retrieval(np.ones((40, 3)), names) == (0, 0, 0)
