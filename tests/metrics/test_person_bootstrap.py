"""The bootstrap over persons of measures of embeddings (``statistics.person_bootstrap``)."""

import naive
import numpy as np
import pytest

from thesislib import seeds
from thesislib.metrics import compactness, identification, retrieval, verification
from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.similarity import pair_similarities
from thesislib.metrics.statistics import person_bootstrap


def naive_person_bootstrap(function, embeddings, names, seed, draws, level):
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
    return low + measure - naive.mean(values), high + measure - naive.mean(values)


def test_person_bootstrap_is_the_loop():
    rng = np.random.default_rng(15)
    embeddings, names = naive.random_people(rng, people=12, dim=5)

    def alignment(embeddings, names, copies):
        genuine, _ = naive.pairs(embeddings, names, copies)
        return naive.mean([2 - 2 * similarity for similarity in genuine])

    found = person_bootstrap(compactness.alignment, embeddings, names, seed=4, draws=40, level=0.8)
    expected = naive_person_bootstrap(alignment, embeddings, names, seed=4, draws=40, level=0.8)
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

    low, high = person_bootstrap(highest, embeddings, names, seed=0, draws=50)
    assert (low, high) == (0, 0)
    assert max(most for most, _, _ in seen) >= 2
    # Six people drawn have 6 * 6 genuine pairs, whoever they are; impostor pairs are fewer.
    assert {intra for _, intra, _ in seen} == {36}
    assert all(inter <= 15 * 16 for _, _, inter in seen)


def _fnir(embeddings, identities, copies, gallery):
    enrolled = gallery & (identities < "person 15")
    curve = identification.open_set(embeddings, identities, enrolled, copies=copies)
    return identification.fnir_at_fpir(curve, 0.1, min_expected_errors=0).fnir


def _tar(embeddings, identities, copies):
    curve = verification.roc(embeddings, identities, copies=copies)
    return verification.tar_at_far(curve, 0.1, min_expected_errors=0).tar


MEASURES = {
    "equal error rate": lambda e, i, copies: verification.equal_error_rate(
        verification.roc(e, i, copies=copies)
    ),
    "tar": _tar,
    "accuracy": lambda e, i, copies: (
        verification.verification_accuracy(e, i, 2, seed=0, copies=copies).mean
    ),
    "rank one": lambda e, i, copies, gallery: identification.cumulative_match(
        e, i, gallery, copies=copies
    )[0],
    "fnir": _fnir,
    "dprime": compactness.dprime,
    "ratio": compactness.compactness_ratio,
    "silhouette": compactness.silhouette,
    "davies_bouldin": compactness.davies_bouldin,
    "alignment": compactness.alignment,
    "uniformity": compactness.uniformity,
    "retrieval": retrieval.retrieval,
}


@pytest.mark.parametrize("name", MEASURES)
def test_person_bootstrap_takes_every_measure(name):
    rng = np.random.default_rng(16)
    people, photos = 30, 4
    embeddings = rng.normal(size=(people, 6)).repeat(photos, axis=0)
    embeddings = embeddings + 0.7 * rng.normal(size=embeddings.shape)
    names = np.repeat([f"person {i:02d}" for i in range(people)], photos)
    rows = {}
    if name in ("rank one", "fnir"):
        rows = {"gallery": np.arange(people * photos) % photos == 0}
    measure = MEASURES[name]
    low, high = person_bootstrap(measure, embeddings, names, seed=0, draws=50, **rows)
    value = measure(embeddings, names.astype(object), copies=None, **rows)
    assert (low <= value).all() and (value <= high).all() and (low < high).all()
    again = person_bootstrap(measure, embeddings, names, seed=0, draws=50, **rows)
    np.testing.assert_array_equal(again, (low, high))


@pytest.mark.parametrize("name", ["alignment", "ratio"])
def test_person_bootstrap_is_as_wide_as_the_spread_over_other_people(name):
    """The first measure knows no others; the second is biased by how many others there are."""
    measure = MEASURES[name]

    def people(seed):
        rng = np.random.default_rng(seed)
        scale = rng.gamma(4.0, 0.2, (60, 1, 1))  # some people vary more than others
        photos = rng.normal(size=(60, 1, 8)) + scale * rng.normal(size=(60, 4, 8))
        return photos.reshape(240, 8), np.repeat([f"person {i}" for i in range(60)], 4)

    values = [measure(*people(seed)) for seed in range(120)]
    widths, covered = [], 0
    for seed in range(10):
        low, high = person_bootstrap(measure, *people(seed), seed=seed, draws=60)
        widths.append((high - low) / (2 * 1.96))
        covered += low <= np.mean(values) <= high
    assert np.mean(widths) == pytest.approx(np.std(values), rel=0.25)
    assert covered >= 7


def test_percentiles_alone_would_miss_a_measure_of_the_nearest_other():
    """Why the interval is shifted: nearly all samples are better than the data."""
    rng = np.random.default_rng(18)
    embeddings = rng.normal(size=(100, 8)).repeat(3, axis=0) + rng.normal(size=(300, 8))
    names = [f"person {i // 3:02d}" for i in range(300)]
    seen = []

    def measure(embeddings, identities, copies):
        seen.append(compactness.compactness_ratio(embeddings, identities, copies=copies))
        return seen[-1]

    low, high = person_bootstrap(measure, embeddings, names, seed=0, draws=60)
    value, *samples = seen
    assert np.mean(np.array(samples) < value) > 0.95  # smaller is better
    assert low < value < high


def test_person_bootstrap_refuses_what_it_cannot_do():
    embeddings, names = naive.FOUR

    def bootstrap(
        function=compactness.alignment, embeddings=embeddings, names=names, draws=50, **options
    ):
        return person_bootstrap(function, embeddings, names, seed=0, draws=draws, **options)

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
