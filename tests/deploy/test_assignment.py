"""No two faces of a photo are one person."""

import itertools

import numpy as np
import pytest

from thesislib.deploy.assignment import one_person_each


def naive(names, scores, threshold):
    """Face and person of the highest score left, again and again."""
    table = {
        (at, name): score
        for at, (own, best) in enumerate(zip(names, scores, strict=True))
        for name, score in zip(own, best, strict=True)
        if not (len(best) > 1 and best[0] == best[1])
    }
    answers = [("", best[0]) for best in scores]
    while table:
        (at, name), score = max(table.items(), key=lambda item: item[1])
        if score < threshold:
            break
        answers[at] = (name, score)
        table = {pair: left for pair, left in table.items() if pair[0] != at and pair[1] != name}
    return answers


@pytest.mark.parametrize(("faces", "people"), itertools.product((1, 2, 5), (1, 2, 4, 9)))
def test_faces_are_given_out_as_a_loop_does(faces, people):
    rng = np.random.default_rng(10 * faces + people)
    for _ in range(30):
        cosines = rng.uniform(-1, 1, (faces, people))
        best = np.argsort(-cosines, axis=1)[:, : min(max(2, faces), people)]
        names = [[f"p{who}" for who in own] for own in best]
        scores = np.take_along_axis(cosines, best, axis=1).tolist()
        found = one_person_each(names, scores, 0.2)
        assert found == naive(names, scores, 0.2)
        given = [name for name, _ in found if name]
        assert len(given) == len(set(given))


def test_who_is_like_nobody_and_who_is_like_two_is_nobody():
    names = [["Anna", "Boris"], ["Anna", "Boris"], ["Boris", "Anna"]]
    scores = [[0.9, 0.9], [0.8, 0.5], [0.3, 0.1]]
    assert one_person_each(names, scores, 0.6) == [("", 0.9), ("Anna", 0.8), ("", 0.3)]
    assert one_person_each([], [], 0.5) == []
