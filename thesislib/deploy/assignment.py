"""Who the faces of one photo are: no two of them the same person."""

from collections.abc import Sequence


def one_person_each(
    names: Sequence[Sequence[str]], scores: Sequence[Sequence[float]], threshold: float
) -> list[tuple[str, float]]:
    """Give each person to the face that is most like them, and to no other face of the photo.

    A face whose person is taken is the next person like it, if the score is at or above the
    threshold, else nobody. Two people with equal best scores are a tie, which makes nobody.

    Args:
        names: of each of F faces, people best first; F of them, or all who are enrolled.
        scores: likewise, cosines.
        threshold: lowest score at which a face is the person.

    Returns:
        of each face its name, "" for nobody, and the score of that person; of nobody the best.

    >>> one_person_each([["Anna", "Boris"], ["Anna", "Boris"]], [[0.9, 0.2], [0.8, 0.7]], 0.6)
    [('Anna', 0.9), ('Boris', 0.7)]
    """
    answers = [("", float(best[0])) for best in scores]
    tied = {at for at, best in enumerate(scores) if len(best) > 1 and best[0] == best[1]}
    pairs = sorted(
        (-score, at, name)
        for at, (own, best) in enumerate(zip(names, scores, strict=True))
        for name, score in zip(own, best, strict=True)
        if score >= threshold and at not in tied
    )
    named: set[int] = set()
    taken: set[str] = set()
    for score, at, name in pairs:
        if at not in named and name not in taken:
            answers[at] = (name, -score)
            named.add(at)
            taken.add(name)
    return answers
