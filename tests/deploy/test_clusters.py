"""Faces are put together by person as a loop over pairs does it."""

import itertools

import numpy as np
import pytest
from clusters import clusters as people

from thesislib.deploy.clusters import clusters


def naive(vectors, threshold, photos=None):
    """Join the two groups that are most alike on average, again and again."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    groups = [[at] for at in range(len(unit))]
    while True:
        best = None
        for one, other in itertools.combinations(groups, 2):
            pairs = list(itertools.product(one, other))
            if photos is not None and any(photos[i] == photos[j] for i, j in pairs):
                continue
            mean = np.mean([unit[i] @ unit[j] for i, j in pairs])
            if mean >= threshold and (best is None or mean > best[0]):
                best = (mean, one, other)
        if best is None:
            return sorted(groups, key=lambda group: (-len(group), min(group)))
        groups = [group for group in groups if group not in best[1:]]
        groups.append(sorted(best[1] + best[2]))


def groups_of(labels):
    return [np.flatnonzero(labels == at).tolist() for at in range(labels.max() + 1)]


@pytest.mark.parametrize("threshold", [0.2, 0.6, 0.9])
@pytest.mark.parametrize("together", [False, True])
def test_groups_are_those_of_a_loop(threshold, together):
    vectors, _ = people(people=5, photos=6, spread=0.5)
    photos = [f"{at // 2}.jpg" for at in np.random.default_rng(1).permutation(30)]
    given = photos if together else None
    found = groups_of(clusters(vectors, threshold, given))
    assert found == naive(vectors, threshold, given)
    if together:
        assert all(len({photos[at] for at in group}) == len(group) for group in found)


def test_people_far_apart_are_told_apart():
    vectors, names = people(people=6, photos=5, spread=0.05)
    label = clusters(vectors, 0.95)
    assert len(set(zip(names, label, strict=True))) == 6 and label.max() == 5


def test_few_faces_and_bad_ones():
    assert clusters(np.empty((0, 4)), 0.5).tolist() == []
    assert clusters([[3.0, 4.0]], 0.5).tolist() == [0]
    assert clusters([[3.0, 4.0], [3.0, 4.0]], 0.5, ["a", "a"]).tolist() == [0, 1]
    with pytest.raises(ValueError, match="photos: 1 for 2 embeddings"):
        clusters(np.eye(2), 0.5, ["a"])
    with pytest.raises(ValueError, match="threshold: expected a cosine"):
        clusters(np.eye(2), 5)
    with pytest.raises(ValueError, match="embeddings"):
        clusters([[0.0, 0.0], [1.0, 0.0]], 0.5)
