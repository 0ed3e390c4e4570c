"""Measures of bootstrap samples by weights: against the same measures of samples with copies."""

import time
import tracemalloc

import naive
import numpy as np
import pytest

from thesislib.metrics import compactness, identification, retrieval, similarity, verification
from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.person_samples import PersonSamples
from thesislib.metrics.statistics import person_bootstrap, person_draws, shifted_interval

RATES = (0.01, 0.1, 0.3, 1.0)
FOLDS = 3


def copied(times, names):
    """Rows of the faces of a sample, and the copy that each belongs to."""
    rows, copies = [], []
    for person, count in zip(sorted(set(names)), times, strict=True):
        own = [row for row, name in enumerate(names) if name == person]
        for copy in range(count):
            rows += own
            copies += [copy] * len(own)
    return np.array(rows), np.array(copies)


def tars(embeddings, names, copies):
    curve = verification.roc(embeddings, names, copies=copies)
    tar = [verification.tar_at_far(curve, rate, 0).tar for rate in RATES]
    return [*tar, verification.equal_error_rate(curve)]


def fnirs(embeddings, names, gallery, copies):
    curve = identification.open_set(embeddings, names, gallery, copies=copies)
    fnir = [identification.fnir_at_fpir(curve, rate, 0).fnir for rate in RATES]
    return [*fnir, curve.rank_one]


def accuracy(embeddings, names, copies, folds=FOLDS):
    found = verification.verification_accuracy(embeddings, names, folds, seed=5, copies=copies)
    return found.mean


def open_set(samples, gallery):
    found = samples.open_set(gallery, RATES)
    return [*found.fnir, found.rank_one]


# With copies, and by weights.
MEASURES = {
    "roc": (tars, lambda samples: np.vstack([*samples.roc(RATES)])),
    "accuracy": (accuracy, lambda samples: samples.verification_accuracy(FOLDS, seed=5)),
    "retrieval": (retrieval.retrieval, lambda samples: samples.retrieval()),
    "open_set": (fnirs, open_set),
}
for _name in (
    "dprime",
    "compactness_ratio",
    "silhouette",
    "davies_bouldin",
    "alignment",
    "uniformity",
):
    MEASURES[_name] = (getattr(compactness, _name), lambda s, name=_name: getattr(s, name)())


def people(rng, ties, many=None):
    """Embeddings and names in random order, some of one photo; with ties, many similarities of 0,
    1 and -1, so that none is rounded and library and loop agree on what is a tie."""
    count = many or int(rng.integers(6, 13))
    photos = rng.integers(1, 6, count)
    photos[:4] = 3  # so that there is something to measure
    names = np.array([f"person {one:02}" for one in range(count)]).repeat(photos)
    centre = rng.normal(size=(count, 5)).repeat(photos, axis=0)
    vectors = centre + rng.normal(size=centre.shape)
    if ties:
        vectors = np.eye(6)[np.abs(vectors).argmax(axis=1)] * rng.choice([-1, 1], (len(names), 1))
        vectors[:, 5] = rng.integers(0, 2, len(names)) * np.abs(vectors).max(axis=1)
    order = rng.permutation(len(names))
    return vectors[order], names[order].tolist()


def cases(count=12, draws=6):
    """Embeddings, names, galleries and draws."""
    for ties in (False, True):
        for seed in range(count):
            rng = np.random.default_rng(seed)
            embeddings, names = people(rng, ties)
            gallery = rng.random(len(names)) < 0.4
            yield embeddings, names, gallery, person_draws(len(set(names)), draws, seed=seed)


def with_copies(name, embeddings, names, times, gallery):
    """A measure of a sample that holds copies; None where it does not support it."""
    rows, copies = copied(times, names)
    given = (embeddings[rows], [names[row] for row in rows])
    more = (gallery[rows],) if name == "open_set" else ()
    try:
        return MEASURES[name][0](*given, *more, copies=copies)
    except NotSupportedError:
        return None


def by_weights(name, embeddings, names, times, gallery):
    """A measure of samples [values, draws], by weights."""
    samples = PersonSamples(embeddings, names, times)
    more = (gallery,) if name == "open_set" else ()
    return np.atleast_2d(np.array(MEASURES[name][1](samples, *more)))


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_by_weights_is_that_of_copies(name):
    supported = 0
    for embeddings, names, gallery, draws in cases():
        expected = [with_copies(name, embeddings, names, times, gallery) for times in draws]
        there = [value is not None for value in expected]
        for at in np.flatnonzero(~np.array(there)):
            with pytest.raises(NotSupportedError, match=r"^draw 0 of 1: "):
                by_weights(name, embeddings, names, draws[[at]], gallery)
        if any(there):
            found = by_weights(name, embeddings, names, draws[there], gallery)
            expected = np.array([value for value in expected if value is not None])
            np.testing.assert_allclose(found, expected.reshape(len(expected), -1).T, atol=1e-9)
        if not all(there):
            with pytest.raises(NotSupportedError, match=f"^draw {there.index(False)} of 6: "):
                by_weights(name, embeddings, names, draws, gallery)
        supported += sum(there)
    assert supported > 70


def test_the_photos_of_many_people_are_measured_part_by_part(monkeypatch):
    rng = np.random.default_rng(3)
    embeddings, names = people(rng, ties=False, many=40)
    gallery = rng.random(len(names)) < 0.4
    draws = person_draws(40, 30, seed=1)
    whole = [by_weights(name, embeddings, names, draws, gallery) for name in MEASURES]
    monkeypatch.setattr(similarity, "BLOCK", 2000)
    for name, expected in zip(MEASURES, whole, strict=True):
        found = by_weights(name, embeddings, names, draws, gallery)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_draws_and_interval_are_those_of_the_bootstrap():
    rng = np.random.default_rng(4)
    embeddings, names = people(rng, ties=False, many=20)
    low, high = person_bootstrap(tars, embeddings, names, seed=6, draws=40, level=0.9)
    samples = PersonSamples(embeddings, names, person_draws(20, 40, seed=6))
    found = samples.roc(RATES)
    drawn = np.stack([*found.tar, found.equal_error_rate], axis=1)
    value = tars(embeddings, names, None)
    np.testing.assert_allclose(shifted_interval(value, drawn, 0.9), (low, high), atol=1e-12)


def test_everybody_drawn_once_is_the_data():
    rng = np.random.default_rng(5)
    embeddings, names = people(rng, ties=True, many=12)
    samples = PersonSamples(embeddings, names, np.ones((1, 12), dtype=int))
    assert samples.dprime() == pytest.approx(compactness.dprime(embeddings, names))
    assert samples.silhouette() == pytest.approx(compactness.silhouette(embeddings, names))
    assert np.ravel(samples.retrieval()) == pytest.approx(retrieval.retrieval(embeddings, names))


def test_equal_embeddings_recognise_nobody():
    names = np.repeat([f"person {one}" for one in range(6)], 3).tolist()
    samples = PersonSamples(np.ones((18, 3)), names, person_draws(6, 20, seed=0))
    assert (np.array(samples.retrieval()) == 0).all()
    roc = samples.roc([0.5])
    assert (roc.tar == 0).all() and roc.equal_error_rate == pytest.approx(0.5)
    assert (samples.silhouette() == 0).all() and (samples.uniformity() == 0).all()
    for measure, why in (
        (samples.dprime, "similarities do not vary"),
        (samples.compactness_ratio, "every photo equals one of another person"),
        (samples.davies_bouldin, "the photos of two people have one centre"),
    ):
        with pytest.raises(NotSupportedError, match=f"^draw 0 of 20: embeddings: {why}"):
            measure()


def test_samples_refuse_what_they_cannot_measure():
    embeddings, names = naive.FOUR
    for times in ([1, 1], [[1, 1, 1]], [[1.0, 1.0]], [[[1, 1]]]):
        with pytest.raises(ValueError, match=r"^times: expected \[draws, 2\] integers"):
            PersonSamples(embeddings, names, times)
    for times in ([[1, 1], [0, 0]], [[-1, 3]]):
        with pytest.raises(ValueError, match=r"^times: expected integers from 0"):
            PersonSamples(embeddings, names, times)
    with pytest.raises(ValueError, match=r"^embeddings: NaN or infinite value in row 0"):
        PersonSamples([[np.nan, 1]] * 4, names, [[1, 1]])
    samples = PersonSamples(embeddings, names, [[1, 1], [2, 0]])
    with pytest.raises(NotSupportedError, match=r"^draw 1 of 2: identities: one person only"):
        samples.roc([0.1])
    alone = PersonSamples(embeddings, ["ann", "bob", "cat", "dan"], [[1, 1, 1, 1]])
    with pytest.raises(NotSupportedError, match=r"^draw 0 of 1: identities: nobody has two"):
        alone.alignment()
    with pytest.raises(ValueError, match=r"^rates: expected above 0 and at most 1, got 2"):
        samples.roc([2])
    with pytest.raises(ValueError, match=r"^folds: expected at least 2, got 1"):
        samples.verification_accuracy(1, seed=0)
    with pytest.raises(NotSupportedError, match=r"^draw 0 of 2: folds: 2 folds need 4 people"):
        samples.verification_accuracy(2, seed=0)
    with pytest.raises(ValueError, match=r"^gallery: expected \[4\] bool, one an embedding"):
        samples.open_set([1, 0, 0, 0], [0.1])
    some = np.array([True, False, True, False])
    with pytest.raises(NotSupportedError, match=r"^draw 1 of 2: gallery: fewer than 2 people"):
        samples.open_set(some, [0.1])
    several = PersonSamples(embeddings, names, [[1, 1]])
    with pytest.raises(NotSupportedError, match="gallery: there is no probe whose person is not"):
        several.open_set(some, [0.1])
    with pytest.raises(NotSupportedError, match="gallery: there is no probe whose person is enr"):
        several.open_set(np.ones(4, dtype=bool), [0.1])


def test_two_thousand_samples_are_a_matter_of_seconds():
    """Of 168 faces; with copies they took minutes. Three tries: what else the machine does is not
    the library's."""
    rng = np.random.default_rng(8)
    embeddings = rng.normal(size=(14, 64)).repeat(12, axis=0) + rng.normal(size=(168, 64))
    names = np.repeat([f"person {one:02}" for one in range(14)], 12).tolist()
    gallery = np.arange(168) % 12 < 6
    gallery &= np.arange(168) < 168 - 3 * 12
    best = 99.0
    for _ in range(3):
        began = time.process_time()
        draws = person_draws(14, 2000, seed=0)
        supported = (draws[:, -3:].any(axis=1)) & ((draws[:, :-3] > 0).sum(axis=1) > 5)
        for name in MEASURES:
            by_weights(name, embeddings, names, draws[supported], gallery)
        best = min(best, time.process_time() - began)
    assert best < 10


def test_memory_does_not_grow_with_all_pairs_of_all_samples():
    rng = np.random.default_rng(9)
    embeddings = rng.normal(size=(600, 8))
    names = np.repeat([f"person {one:02}" for one in range(60)], 10).tolist()
    samples = PersonSamples(embeddings, names, person_draws(60, 500, seed=0))
    tracemalloc.start()
    samples.roc([0.01])
    samples.verification_accuracy(seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 600 * 600 / 2 * 64 + 12 * similarity.BLOCK * 8
