"""Retrieval: are the most similar faces those of the same person?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from thesislib import environment
from thesislib.metrics.similarity import (
    DECIMALS,
    LabelledEmbeddings,
    labelled,
    require_genuine_pairs,
    require_impostor_pairs,
    similarity_blocks,
)


class Retrieval(NamedTuple):
    """Means over queries, each in 0–1; see ``retrieval``."""

    precision_at_1: float
    r_precision: float
    map_at_r: float


def _nearest(sample: LabelledEmbeddings, k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Similarities and rows, [n, k] each, of the k faces most similar to each, itself left out.

    Of equal similarities an impostor comes first. Other copies of the person come last of all.
    """
    similarities, nearest = [], []
    for similarity, genuine, impostor in similarity_blocks(sample, upper=False):
        # Less than the last decimal kept, so that it decides between equals and nothing else.
        key = np.where(genuine, similarity - 10.0**-DECIMALS / 2, similarity)
        key[~(genuine | impostor)] = -np.inf
        among = np.argpartition(-key, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(key, among, axis=1), axis=1, kind="stable")
        among = np.take_along_axis(among, order, axis=1)
        nearest.append(among)
        similarities.append(np.take_along_axis(similarity, among, axis=1))
    return np.concatenate(similarities), np.concatenate(nearest)


def retrieval(
    embeddings: ArrayLike, identities: Sequence[str], *, copies: ArrayLike | None = None
) -> Retrieval:
    """Precision at 1, R-precision and MAP@R, with each face in turn as the query.

    All other faces are searched. Faces of people who have only one are searched but are no
    queries. Computed by pytorch-metric-learning's ``AccuracyCalculator`` (k = "max_bin_count")
    from the nearest neighbours by cosine.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        copies: [n] int, in a bootstrap sample; see ``similarity.labelled``.

    Returns:
        ``Retrieval``, means over queries.

    Raises:
        ValueError: bad embeddings (``similarity.normalise``) or names.
        NotSupportedError: no genuine pair, or no impostor pair.
        MissingExtraError: pytorch-metric-learning is not installed (extra ``gallery``).

    With R the number of other faces of the query's person, and P(i) the share of them among the
    first i found: precision@1 = P(1), R-precision = P(R), MAP@R = the sum of P(i) over those
    i <= R where the i-th is right, divided by R (Musgrave et al. 2020, A Metric Learning Reality
    Check).

    >>> retrieval([[1, 0], [4, 3], [3, 4], [0, 1]], ["ann", "ann", "bob", "bob"])
    Retrieval(precision_at_1=0.5, r_precision=0.5, map_at_r=0.5)
    """
    sample = labelled(embeddings, identities, copies)
    require_genuine_pairs(sample)
    require_impostor_pairs(sample)
    # Seconds to import, and no other measure needs it.
    calculators = environment.require(
        "pytorch_metric_learning.utils.accuracy_calculator", extra="gallery"
    )

    def nearest(
        query: torch.Tensor, k: int, reference: torch.Tensor, ref_includes_query: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # Not from the tensors, which know nothing of copies and would be compared in float32.
        similarity, rows = _nearest(sample, k)
        return torch.from_numpy(1 - similarity), torch.from_numpy(rows)

    measures = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
    calculator = calculators.AccuracyCalculator(
        include=measures, k="max_bin_count", device=torch.device("cpu"), knn_func=nearest
    )
    tensor, labels = torch.from_numpy(sample.vectors), torch.from_numpy(sample.group)
    result = calculator.get_accuracy(tensor, labels, tensor, labels, ref_includes_query=True)
    return Retrieval(*(float(result[one]) for one in measures))


class OfQueries(NamedTuple):
    """Each query for itself; see ``of_queries``."""

    precision_at_1: NDArray[np.float64]
    map_at_r: NDArray[np.float64]


def of_queries(embeddings: ArrayLike, identities: Sequence[str]) -> OfQueries:
    """Precision at 1 and average precision at R of every face as the query.

    Args:
        embeddings, identities: see :func:`retrieval`, whose means over queries are the means of
            these.

    Returns:
        ``OfQueries``, [n] in 0-1 each; NaN where the face is its person's only one.

    Raises:
        ValueError, NotSupportedError: as :func:`retrieval`.

    >>> of_queries([[1, 0], [4, 3], [3, 4], [0, 1]], ["ann", "ann", "bob", "bob"]).map_at_r
    array([1., 0., 0., 1.])
    """
    sample = labelled(embeddings, identities)
    require_genuine_pairs(sample)
    require_impostor_pairs(sample)
    relevant = np.bincount(sample.person)[sample.person] - 1
    k = int(relevant.max())
    right = sample.person[_nearest(sample, k)[1]] == sample.person[:, None]
    place = np.arange(1, k + 1)
    counted = right & (place <= relevant[:, None])
    precision = np.cumsum(right, axis=1) / place
    alone = relevant == 0
    average = (counted * precision).sum(axis=1) / np.maximum(relevant, 1)
    return OfQueries(np.where(alone, np.nan, right[:, 0]), np.where(alone, np.nan, average))
