"""Faces of nobody who is enrolled, put together by person, so that they can be named at once."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist, squareform

from thesislib.deploy.threshold import checked_threshold
from thesislib.metrics.similarity import normalise


def clusters(
    embeddings: ArrayLike, threshold: float, photos: ArrayLike | None = None
) -> np.ndarray:
    """Number the people among faces.

    Two groups of faces become one while the mean cosine between their faces is at or above the
    threshold, the most alike first (average linkage, Sokal & Michener 1958).

    Args:
        embeddings: [n, E] real numbers, of any length but 0; n may be 0. Memory grows with n².
        threshold: cosine, -1 to 1: a gallery's is one at which two faces are one person.
        photos: [n], which photo each face is in; faces of one photo are never put together. None
            where that is not known.

    Returns:
        int64 [n], 0 for the largest group, then 1, ...; groups of one size in order of their
        first face.

    Raises:
        TypeError: a threshold that is no number.
        ValueError: bad embeddings or threshold, or another number of photos.
    """
    threshold = checked_threshold(threshold)
    array = np.asarray(embeddings)
    if not len(array):
        return np.zeros(0, dtype=np.int64)
    unit = normalise(array)
    if photos is not None and len(np.asarray(photos)) != len(unit):
        raise ValueError(f"photos: {len(np.asarray(photos))} for {len(unit)} embeddings")
    if len(unit) == 1:
        return np.zeros(1, dtype=np.int64)
    distances = np.clip(pdist(unit, "cosine"), 0, 2)
    if photos is not None:
        names = np.unique(np.asarray(photos), return_inverse=True)[1]
        apart = squareform(names[:, None] == names, checks=False)
        # So far apart that no mean with it falls to the threshold.
        distances[apart] = 2.0 * len(unit) ** 2
    found = fcluster(linkage(distances, "average"), 1 - threshold + 1e-9, "distance")
    _, first, label, size = np.unique(
        found, return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.empty(len(size), dtype=np.int64)
    rank[np.lexsort([first, -size])] = np.arange(len(size))
    return rank[label]
