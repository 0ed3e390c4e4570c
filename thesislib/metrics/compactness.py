"""Compactness: how close embeddings of one person are, and how far from those of others.

Distance is 1 - cosine unless a measure says otherwise.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import silhouette_samples

from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.similarity import (
    DECIMALS,
    LabelledEmbeddings,
    genuine_similarities,
    labelled,
    require_genuine_pairs,
    require_impostor_pairs,
    similarity_blocks,
)


def dprime(
    embeddings: ArrayLike, identities: Sequence[str], *, copies: ArrayLike | None = None
) -> float:
    """Separation of the similarities of genuine and of impostor pairs: the decidability d'.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        copies: [n] int, in a bootstrap sample; see ``similarity.labelled``.

    Returns:
        At least 0, in standard deviations; 0 is chance.

    Raises:
        ValueError: bad embeddings (``similarity.normalise``) or names.
        NotSupportedError: no genuine pair, no impostor pair, or similarities that do not vary.

    d' = |m1 - m2| / sqrt((v1 + v2) / 2), with means and (population) variances of the
    similarities of genuine and of impostor pairs (Daugman 2000, Biometric decision landscapes).

    >>> round(dprime([[5, 0], [4, 3], [3, 4], [0, 5]], ["ann", "ann", "bob", "bob"]), 3)
    1.067
    """
    sample = labelled(embeddings, identities, copies)
    require_genuine_pairs(sample)
    require_impostor_pairs(sample)
    intra = genuine_similarities(sample)
    # Squares are summed about a similarity that occurs, so that equal ones give exactly 0.
    origin: float | None = None
    count, total, squares = 0, 0.0, 0.0
    for similarity, _, impostor in similarity_blocks(sample, upper=True):
        inter = similarity[impostor]
        if len(inter) == 0:
            continue
        if origin is None:
            origin = float(inter[0])
        count += len(inter)
        total += (inter - origin).sum()
        squares += np.square(inter - origin).sum()
    assert origin is not None  # there are impostor pairs
    mean = total / count
    variance = max(0.0, squares / count - mean**2)
    spread = np.sqrt((intra.var() + variance) / 2)
    if spread < 10.0**-DECIMALS:  # but for rounding, 0
        raise NotSupportedError("embeddings: similarities do not vary, and d' is not defined")
    return float(abs(intra.mean() - origin - mean) / spread)


def compactness_ratio(
    embeddings: ArrayLike, identities: Sequence[str], *, copies: ArrayLike | None = None
) -> float:
    """Mean distance of genuine pairs over mean distance to the nearest face of another person.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        copies: [n] int, in a bootstrap sample; see ``similarity.labelled``.

    Returns:
        At least 0; below 1, faces of one person are closer to each other, on average, than to the
        nearest face of another.

    Raises:
        ValueError: bad embeddings (``similarity.normalise``) or names.
        NotSupportedError: no genuine pair, no impostor pair, or a nearest distance of 0
            throughout.

    The mean over genuine pairs of 1 - cosine, divided by the mean over faces of the least such
    distance to a face of another person (the project's protocol, Experiment 3).

    >>> round(compactness_ratio([[5, 0], [4, 3], [0, 5]], ["ann", "ann", "bob"]), 3)
    0.333
    """
    sample = labelled(embeddings, identities, copies)
    require_genuine_pairs(sample)
    require_impostor_pairs(sample)
    nearest = np.concatenate(
        [
            1 - np.where(impostor, similarity, -np.inf).max(axis=1)
            for similarity, _, impostor in similarity_blocks(sample, upper=False)
        ]
    )
    if nearest.max() == 0:
        raise NotSupportedError("embeddings: every photo equals one of another person")
    return float((1 - genuine_similarities(sample)).mean() / nearest.mean())


def _without_copies(
    sample: LabelledEmbeddings,
) -> tuple[LabelledEmbeddings, NDArray[np.float64]]:
    """Each person once, and how often each was drawn, [people]."""
    times = np.zeros(sample.person.max() + 1)
    np.maximum.at(times, sample.person, sample.copy + 1)
    return sample.rows(sample.copy == 0), times


def silhouette(
    embeddings: ArrayLike, identities: Sequence[str], *, copies: ArrayLike | None = None
) -> float:
    """Mean silhouette, people being the clusters.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        copies: [n] int, in a bootstrap sample; see ``similarity.labelled``.

    Returns:
        -1–1; the only face of a person counts 0.

    Raises:
        ValueError: bad embeddings (``similarity.normalise``) or names.
        NotSupportedError: no genuine pair, or no impostor pair.

    Mean of (b - a) / max(a, b), a the mean distance (1 - cosine) to the person's other faces, b
    the least, over other people, mean distance to theirs (Rousseeuw 1987, Silhouettes);
    scikit-learn's ``silhouette_samples``.

    >>> round(silhouette([[5, 0], [4, 3], [0, 5]], ["ann", "ann", "bob"]), 3)
    0.433
    """
    sample = labelled(embeddings, identities, copies)
    require_genuine_pairs(sample)
    require_impostor_pairs(sample)
    once, times_drawn = _without_copies(sample)
    samples = silhouette_samples(once.vectors, once.person, metric="cosine")
    return float(np.average(samples, weights=times_drawn[once.person]))


def overlaps(
    vectors: NDArray[np.float64], person: NDArray[np.int64]
) -> Iterator[NDArray[np.float64]]:
    """How much each person overlaps with each other, see ``davies_bouldin``.

    Args:
        vectors: [n, d] float.
        person: [n], persons numbered from 0.

    Yields:
        person by person [people], (s_i + s_j) / d_ij: at least 0, infinite with people with the
        same centre; 0 with themselves.
    """
    count = np.bincount(person)
    centre = np.zeros((len(count), vectors.shape[1]))
    np.add.at(centre, person, vectors)
    centre /= count[:, None]
    to_centre = np.linalg.norm(vectors - centre[person], axis=1)
    scatter = np.bincount(person, weights=to_centre) / count
    for one in range(len(count)):
        apart = np.linalg.norm(centre - centre[one], axis=1)
        apart[one] = np.inf
        same = apart < 10.0**-DECIMALS
        yield np.where(same, np.inf, (scatter + scatter[one]) / np.where(same, 1, apart))


def davies_bouldin(
    embeddings: ArrayLike, identities: Sequence[str], *, copies: ArrayLike | None = None
) -> float:
    """Davies–Bouldin index: mean overlap of each person with the one most confusable with them.

    As scikit-learn's ``davies_bouldin_score`` of the normalised embeddings, which cannot weight
    people as a bootstrap needs; and two people with the same centre, which it ignores, are an
    error here.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        copies: [n] int, in a bootstrap sample; see ``similarity.labelled``.

    Returns:
        At least 0; lower is more compact.

    Raises:
        ValueError: bad embeddings (``similarity.normalise``) or names.
        NotSupportedError: no genuine pair, no impostor pair, or two people with the same centre.

    Mean over people i of max over j of (s_i + s_j) / d_ij, s the mean Euclidean distance of a
    person's embeddings to their centre, d the distance of centres (Davies & Bouldin 1979, A
    Cluster Separation Measure).

    >>> round(davies_bouldin([[5, 0], [4, 3], [0, 5]], ["ann", "ann", "bob"]), 3)
    0.277
    """
    sample = labelled(embeddings, identities, copies)
    require_genuine_pairs(sample)
    require_impostor_pairs(sample)
    once, times_drawn = _without_copies(sample)
    worst = [overlap.max() for overlap in overlaps(once.vectors, once.person)]
    if np.isinf(worst).any():
        raise NotSupportedError("embeddings: the photos of two people have one centre")
    return float(np.average(worst, weights=times_drawn))


def alignment(
    embeddings: ArrayLike, identities: Sequence[str], *, copies: ArrayLike | None = None
) -> float:
    """Alignment: mean squared distance of genuine pairs on the unit sphere.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        copies: [n] int, in a bootstrap sample; see ``similarity.labelled``.

    Returns:
        0–4; lower is better aligned.

    Raises:
        ValueError: bad embeddings (``similarity.normalise``) or names.
        NotSupportedError: no genuine pair.

    Mean of ||x - y||^2 over genuine pairs (Wang & Isola 2020, Understanding Contrastive
    Representation Learning through Alignment and Uniformity on the Hypersphere, section 4.1, with
    alpha = 2).

    >>> round(alignment([[5, 0], [4, 3], [0, 5]], ["ann", "ann", "bob"]), 3)
    0.4
    """
    sample = labelled(embeddings, identities, copies)
    require_genuine_pairs(sample)
    return float((2 - 2 * genuine_similarities(sample)).mean())


def uniformity(
    embeddings: ArrayLike, identities: Sequence[str], *, copies: ArrayLike | None = None
) -> float:
    """Uniformity: how evenly the embeddings are spread over the unit sphere, whoever they show.

    Args:
        embeddings: [n, d] float.
        identities: [n] names; they matter only with ``copies``.
        copies: [n] int, in a bootstrap sample; see ``similarity.labelled``.

    Returns:
        -8–0; lower is more uniform, 0 means that all embeddings are equal.

    Raises:
        ValueError: bad embeddings (``similarity.normalise``) or names.
        NotSupportedError: fewer than two faces.

    log of the mean of exp(-2 ||x - y||^2) over all pairs (Wang & Isola 2020, section 4.1, with
    t = 2).

    >>> round(uniformity([[5, 0], [0, 5], [0, 5]], ["ann", "ann", "bob"]), 3)
    -1.063
    """
    sample = labelled(embeddings, identities, copies)
    total, pairs = 0.0, 0
    for similarity, genuine, impostor in similarity_blocks(sample, upper=True):
        compared = similarity[genuine | impostor]
        total += np.exp(4 * compared - 4).sum()
        pairs += len(compared)
    if pairs == 0:
        raise NotSupportedError("embeddings: fewer than two photos")
    return float(np.log(total / pairs))
