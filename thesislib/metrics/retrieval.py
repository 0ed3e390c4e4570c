"""Retrieval: are a person's other photos the nearest?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from thesislib.metrics.similarity import (
    DECIMALS,
    Photos,
    blocks,
    checked,
    need_genuine,
    need_impostors,
)


class Retrieval(NamedTuple):
    """See :func:`retrieval`; each in 0–1."""

    precision_at_1: float
    r_precision: float
    map_at_r: float


# Retrieval


def _nearest(photos: Photos, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Similarities and rows, [n, k] each, of the k photos most like each, itself left out.

    Of equal similarities an impostor comes first. Copies of the person come last of all.
    """
    similarities, nearest = [], []
    for _, similarity, genuine, impostor in blocks(photos, upper=False):
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
    embeddings: np.ndarray, identities: Sequence[str], *, copies: np.ndarray | None = None
) -> Retrieval:
    """Whether the photos most like a photo show its person.

    Each photo in turn is the query, all others are what is searched. Photos of people who have
    only one are searched but are no queries. pytorch-metric-learning's ``AccuracyCalculator``
    (k = "max_bin_count"), given the neighbours by cosine.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        copies: see :func:`person_bootstrap`.

    Returns:
        :class:`Retrieval`, means over queries.

    Raises:
        ValueError: bad embeddings (:func:`normalise`) or names.
        NotSupportedError: no genuine pair, or no impostor pair.

    With R the number of other photos of the query's person, and P(i) the share of them among the
    first i found: precision@1 = P(1), R-precision = P(R), MAP@R = the sum of P(i) over those
    i <= R where the i-th is right, divided by R (Musgrave et al. 2020, A Metric Learning Reality
    Check).

    >>> retrieval([[1, 0], [4, 3], [3, 4], [0, 1]], ["ann", "ann", "bob", "bob"])
    Retrieval(precision_at_1=0.5, r_precision=0.5, map_at_r=0.5)
    """
    photos = checked(embeddings, identities, copies)
    need_genuine(photos)
    need_impostors(photos)
    # Seconds to import, and no other measure needs it.
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    def nearest(
        query: torch.Tensor, k: int, reference: torch.Tensor, ref_includes_query: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # Not from the tensors: they are float32 and know no copies.
        similarity, rows = _nearest(photos, k)
        return torch.from_numpy(1 - similarity), torch.from_numpy(rows)

    measures = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
    calculator = AccuracyCalculator(
        include=measures, k="max_bin_count", device=torch.device("cpu"), knn_func=nearest
    )
    tensor, labels = torch.from_numpy(photos.embeddings), torch.from_numpy(photos.group)
    result = calculator.get_accuracy(tensor, labels, tensor, labels, ref_includes_query=True)
    return Retrieval(*(float(result[one]) for one in measures))
