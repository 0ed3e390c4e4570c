"""The measures of Experiment 3: what the embeddings of people are worth, as pure functions.

Embeddings are [n, d], identities [n] names, one row a photo of one face; similarity is cosine, in
float64 and in the full dimension. A pair of photos is *genuine* if both show one person, else
*impostor*. A threshold accepts what is *at or above* it, and wherever two similarities are equal
the tie counts against the system: embeddings that are all alike recognise nobody.

What the data cannot tell is a :class:`NotSupportedError`, never a number. Many measures take
``copies``, which :func:`person_bootstrap` fills in and nobody else needs.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from thesislib import seeds

# Equal embeddings must give equal similarities, whatever the order in which they were summed.
DECIMALS = 12
MIN_EXPECTED_ERRORS = 10  # false accepts that must be expected at a rate for it to be reported
BLOCK = 2**22  # similarities at a time: 32 MB


class NotSupportedError(ValueError):
    """The measure is defined, but these data cannot support it; the message says what is short."""


class Photos(NamedTuple):
    embeddings: np.ndarray  # [n, d] float64, of norm 1
    person: np.ndarray  # [n] int, the people in order of name
    copy: np.ndarray  # [n] int
    group: np.ndarray  # [n] int, one a person and copy

    def rows(self, chosen: np.ndarray) -> "Photos":
        return Photos(*(one[chosen] for one in self))


# What goes in


def normalise(embeddings: np.ndarray, name: str = "embeddings") -> np.ndarray:
    """Scale each embedding to length 1; every measure here begins with it.

    Args:
        embeddings: [n, d] real numbers of any dtype, n and d at least 1.
        name: what the errors call it.

    Returns:
        [n, d] float64.

    Raises:
        ValueError: not [n, d], empty, not numbers; a NaN, an infinity or all zeros in a row,
            which is named.

    x / ||x||.

    >>> normalise([[3.0, 4.0]])
    array([[0.6, 0.8]])
    """
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 2 or 0 in embeddings.shape:
        raise ValueError(f"{name}: expected shape [n, d], not empty, got {list(embeddings.shape)}")
    if embeddings.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected real numbers, got {embeddings.dtype}")
    embeddings = embeddings.astype(np.float64)
    broken = ~np.isfinite(embeddings).all(axis=1)
    if broken.any():
        raise ValueError(f"{name}: NaN or infinite value in row {int(broken.argmax())}")
    largest = np.abs(embeddings).max(axis=1, keepdims=True)
    if (largest == 0).any():
        raise ValueError(f"{name}: row {int((largest == 0).argmax())} is all zeros")
    embeddings = embeddings / largest  # so that no square overflows or vanishes
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def _checked_identities(identities: Sequence[str], length: int) -> np.ndarray:
    identities = np.asarray(identities, dtype=object)
    if identities.shape != (length,):
        raise ValueError(
            f"identities: expected [{length}] names, one an embedding, "
            f"got shape {list(identities.shape)}"
        )
    for row, identity in enumerate(identities):
        if not isinstance(identity, str) or identity == "":
            raise ValueError(f"identities: row {row} is no name: {identity!r}")
    return identities


def checked(embeddings: np.ndarray, identities: Sequence[str], copies: np.ndarray | None) -> Photos:
    embeddings = normalise(embeddings)
    identities = _checked_identities(identities, len(embeddings))
    person = np.unique(identities.astype(str), return_inverse=True)[1]
    if copies is None:
        return Photos(embeddings, person, np.zeros_like(person), person)
    copy = np.asarray(copies)
    if copy.shape != person.shape or copy.dtype.kind not in "iu" or (copy < 0).any():
        raise ValueError(f"copies: expected [{len(person)}] integers from 0")
    if len(np.unique(person[copy == 0])) != person.max() + 1:
        raise ValueError("copies: expected each person's to begin with 0")
    group = np.unique(person * (copy.max() + 1) + copy, return_inverse=True)[1]
    return Photos(embeddings, person, copy, group)


def need_impostors(photos: Photos) -> None:
    if photos.person.max() == 0:
        raise NotSupportedError("identities: one person only, so there is no impostor pair")


def need_genuine(photos: Photos) -> None:
    if np.bincount(photos.group).max() < 2:
        raise NotSupportedError("identities: nobody has two photos, so there is no genuine pair")


def checked_rate(name: str, rate: float) -> float:
    if not 0 < rate <= 1:
        raise ValueError(f"{name}: expected above 0 and at most 1, got {rate}")
    return float(rate)


def need_errors(name: str, rate: float, trials: int, of: str, least: float) -> None:
    # A product such as 0.01 * 1000 may fall short of 10 by rounding alone.
    if rate * trials < least * (1 - 1e-9):
        raise NotSupportedError(
            f"{name}: {rate:g} of {trials} {of} is {rate * trials:.3g}, and at least {least:g} "
            "are needed"
        )


def shuffled(identities: Sequence[str], *, seed: int) -> np.ndarray:
    """The same names in another order: the control on which every measure must give chance.

    Args:
        identities: [n] names.
        seed: of the order.

    Returns:
        [n] names, each as often as before.

    Raises:
        ValueError: not one dimension, or something that is no name.

    >>> sorted(shuffled(["ann", "ann", "bob"], seed=0))
    ['ann', 'ann', 'bob']
    """
    identities = _checked_identities(identities, len(identities))
    return seeds.generator(seed, "shuffled").permutation(identities)


# Similarities


def _similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.clip(np.round(a @ b.T, DECIMALS), -1, 1)


def blocks(
    photos: Photos, upper: bool
) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    """Rows, their similarities [rows, columns], which are genuine pairs and which impostor pairs.

    With ``upper`` the columns begin at the first of the rows and each pair comes once; without,
    they are all photos and each pair comes from both sides. Copies of a person are neither.
    """
    n = len(photos.person)
    size = max(1, BLOCK // n)
    for start in range(0, n, size):
        rows = slice(start, min(start + size, n))
        columns = slice(start if upper else 0, n)
        similarity = _similarity(photos.embeddings[rows], photos.embeddings[columns])
        impostor = photos.person[rows, None] != photos.person[columns]
        genuine = photos.group[rows, None] == photos.group[columns]
        place = np.arange(n)
        if upper:
            later = place[columns] > place[rows, None]
            impostor &= later
            genuine &= later
        else:
            genuine &= place[columns] != place[rows, None]
        yield rows, similarity, genuine, impostor


def genuine_similarities(photos: Photos) -> np.ndarray:
    """Of every genuine pair; each person alone, so that this is quick."""
    order = np.argsort(photos.group, kind="stable")
    similarities = []
    for rows in np.split(order, np.cumsum(np.bincount(photos.group))[:-1]):
        similarity = _similarity(photos.embeddings[rows], photos.embeddings[rows])
        similarities.append(similarity[np.triu_indices(len(rows), 1)])
    return np.concatenate(similarities)


def _at_or_above(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return len(values) - np.searchsorted(np.sort(values), thresholds, side="left")


def pair_similarities(
    embeddings: np.ndarray, identities: Sequence[str], *, copies: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Cosine similarity of every pair of photos: of one person, and of two.

    20 000 photos have 200 million pairs, 1.6 GB; :func:`roc` and the measures of compactness do
    not keep them.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        copies: see :func:`person_bootstrap`.

    Returns:
        Intra-person [genuine pairs] and inter-person [impostor pairs] similarities, float64 in
        -1–1, either of which may be empty.

    Raises:
        ValueError: bad embeddings (:func:`normalise`) or names.

    >>> pair_similarities([[1, 0], [0, 2], [0, 1]], ["ann", "ann", "bob"])
    (array([0.]), array([0., 1.]))
    """
    photos = checked(embeddings, identities, copies)
    intra, inter = [], []
    for _, similarity, genuine, impostor in blocks(photos, upper=True):
        intra.append(similarity[genuine])
        inter.append(similarity[impostor])
    return np.concatenate(intra), np.concatenate(inter)


def last_within(rate: np.ndarray, gain: np.ndarray, limit: float) -> int:
    """Where ``gain`` is first as good as it gets while ``rate``, which never falls, is allowed."""
    last = int(np.searchsorted(rate, limit, side="right")) - 1
    return int((gain[: last + 1] == gain[last]).argmax())
