"""Embeddings and their pairwise similarities, which the measures of Experiment 3 are made of.

Embeddings are [n, d], identities [n] names, one row per face. Similarity is the cosine, in float64
and in the full dimension. A pair of faces is *genuine* if both are of one person, else *impostor*.

Ties count against the system: an impostor pair as similar as a genuine one is ranked before it, so
that embeddings that are all equal recognise nobody. For that, equal embeddings must give equal
similarities, whatever the order in which they were summed, and similarities are rounded.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thesislib.metrics.checks import NotSupportedError, checked_identities

DECIMALS = 12  # of a similarity
BLOCK = 2**22  # similarities computed at a time: 32 MB


def normalise(embeddings: ArrayLike, name: str = "embeddings") -> NDArray[np.float64]:
    """Scale each embedding to unit length; every measure of embeddings begins with it.

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
    array = np.asarray(embeddings)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name}: expected shape [n, d], not empty, got {list(array.shape)}")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected real numbers, got {array.dtype}")
    array = array.astype(np.float64)
    broken = ~np.isfinite(array).all(axis=1)
    if broken.any():
        raise ValueError(f"{name}: NaN or infinite value in row {int(broken.argmax())}")
    largest = np.abs(array).max(axis=1, keepdims=True)
    if (largest == 0).any():
        raise ValueError(f"{name}: row {int((largest == 0).argmax())} is all zeros")
    array = array / largest  # so that no square overflows or vanishes
    return array / np.linalg.norm(array, axis=1, keepdims=True)


class LabelledEmbeddings(NamedTuple):
    """Checked embeddings of known people; a row per face."""

    vectors: NDArray[np.float64]  # [n, d], of unit length
    person: NDArray[np.int64]  # [n], persons numbered in order of name
    copy: NDArray[np.int64]  # [n], 0 but in a bootstrap sample; see ``labelled``
    group: NDArray[np.int64]  # [n], persons and copies numbered together

    def rows(self, chosen: NDArray) -> "LabelledEmbeddings":
        """The rows that an index or a mask selects."""
        return LabelledEmbeddings(*(array[chosen] for array in self))


def labelled(
    embeddings: ArrayLike, identities: Sequence[str], copies: ArrayLike | None = None
) -> LabelledEmbeddings:
    """Check and normalise embeddings, and number the people.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        copies: [n] int: in a bootstrap sample over persons, in which one person may occur more
            than once, the number of the occurrence, from 0. Faces of one person from two copies
            are neither a genuine nor an impostor pair (see ``statistics.person_bootstrap``, which
            passes it). None: every person occurs once.

    Raises:
        ValueError: bad embeddings (``normalise``), names or copies.
    """
    vectors = normalise(embeddings)
    names = checked_identities(identities, len(vectors))
    person = np.unique(names.astype(str), return_inverse=True)[1].astype(np.int64)
    if copies is None:
        return LabelledEmbeddings(vectors, person, np.zeros_like(person), person)
    copy = np.asarray(copies)
    if copy.shape != person.shape or copy.dtype.kind not in "iu" or (copy < 0).any():
        raise ValueError(f"copies: expected [{len(person)}] integers from 0")
    copy = copy.astype(np.int64)
    if len(np.unique(person[copy == 0])) != person.max() + 1:
        raise ValueError("copies: expected each person's to begin with 0")
    group = np.unique(person * (copy.max() + 1) + copy, return_inverse=True)[1]
    return LabelledEmbeddings(vectors, person, copy, group.astype(np.int64))


def require_impostor_pairs(sample: LabelledEmbeddings) -> None:
    """Refuse embeddings of a single person."""
    if sample.person.max() == 0:
        raise NotSupportedError("identities: one person only, so there is no impostor pair")


def require_genuine_pairs(sample: LabelledEmbeddings) -> None:
    """Refuse embeddings among which nobody has two faces."""
    if np.bincount(sample.group).max() < 2:
        raise NotSupportedError("identities: nobody has two photos, so there is no genuine pair")


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rounded cosine of every pair of unit vectors, [len(a), len(b)] in -1–1."""
    return np.clip(np.round(a @ b.T, DECIMALS), -1, 1)


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices of the rows of a similarity matrix, each of at most ``BLOCK`` entries (or one row)."""
    size = max(1, BLOCK // columns)
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def similarity_blocks(
    sample: LabelledEmbeddings, *, upper: bool
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]]:
    """Similarities, a block of rows at a time, so that all pairs need never lie in memory.

    Args:
        sample: n embeddings.
        upper: True: each pair once, the upper triangle; a block's columns begin with its first
            row. False: each pair from both sides; columns are all n rows.

    Yields:
        Similarities [rows, columns] and two bool masks of that shape: which of them are genuine
        and which impostor pairs. Copies of a person are neither.
    """
    n = len(sample.person)
    index = np.arange(n)
    for rows in row_blocks(n, n):
        columns = slice(rows.start if upper else 0, n)
        similarity = cosine(sample.vectors[rows], sample.vectors[columns])
        impostor = sample.person[rows, None] != sample.person[columns]
        genuine = sample.group[rows, None] == sample.group[columns]
        if upper:
            later = index[columns] > index[rows, None]
            impostor &= later
            genuine &= later
        else:
            genuine &= index[columns] != index[rows, None]
        yield similarity, genuine, impostor


def genuine_similarities(sample: LabelledEmbeddings) -> NDArray[np.float64]:
    """Similarity of every genuine pair; computed person by person, which is quick."""
    order = np.argsort(sample.group, kind="stable")
    similarities = []
    for rows in np.split(order, np.cumsum(np.bincount(sample.group))[:-1]):
        similarity = cosine(sample.vectors[rows], sample.vectors[rows])
        similarities.append(similarity[np.triu_indices(len(rows), 1)])
    return np.concatenate(similarities)


def pair_similarities(
    embeddings: ArrayLike, identities: Sequence[str], *, copies: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosine similarity of every genuine and of every impostor pair.

    All pairs are returned: 20 000 faces have 200 million, 1.6 GB. ``verification.roc`` and the
    measures of compactness do not keep them.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        copies: [n] int, in a bootstrap sample; see ``labelled``.

    Returns:
        Intra-person [genuine pairs] and inter-person [impostor pairs] similarities, float64 in
        -1–1, either of which may be empty.

    Raises:
        ValueError: bad embeddings (``normalise``) or names.

    >>> pair_similarities([[1, 0], [0, 2], [0, 1]], ["ann", "ann", "bob"])
    (array([0.]), array([0., 1.]))
    """
    sample = labelled(embeddings, identities, copies)
    intra, inter = [], []
    for similarity, genuine, impostor in similarity_blocks(sample, upper=True):
        intra.append(similarity[genuine])
        inter.append(similarity[impostor])
    return np.concatenate(intra), np.concatenate(inter)
