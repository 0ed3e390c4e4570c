"""How faithful a two-dimensional map of embeddings is to the embeddings."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.manifold import trustworthiness

from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.similarity import normalise


def trustworthiness_and_continuity(
    embeddings: ArrayLike, coordinates: ArrayLike, neighbours: int = 15
) -> tuple[float, float]:
    """Whether neighbours in the map are neighbours among the embeddings, and the other way round.

    Memory and time grow with n^2 (about 20 bytes per pair): meant for maps of some thousand points.

    Args:
        embeddings: [n, d] float.
        coordinates: [n, 2] float, the map.
        neighbours: size of the neighbourhoods compared, k, at least 1 and below n / 2.

    Returns:
        Trustworthiness and continuity, 0–1, higher is better.

    Raises:
        ValueError: bad embeddings (``similarity.normalise``); coordinates of another length, NaN;
            ``neighbours`` below 1.
        NotSupportedError: ``neighbours`` not below n / 2.

    Trustworthiness M(k) = 1 - 2 / (n k (2n - 3k - 1)) times the sum, over the points j among the
    k nearest of i in the map but not among the embeddings, of (rank of j among the embeddings -
    k); continuity is the same with map and embeddings exchanged (Venna & Kaski 2001, Neighborhood
    Preservation in Nonlinear Projection Methods); scikit-learn's ``trustworthiness``. Distances
    are Euclidean between normalised embeddings, which order neighbours as the cosine does.

    >>> points = np.stack([np.arange(1, 9), np.ones(8)], axis=1)
    >>> unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    >>> trustworthiness_and_continuity(points, unit, neighbours=2)
    (1.0, 1.0)
    """
    unit = normalise(embeddings)
    shown = np.asarray(coordinates, dtype=np.float64)
    n = len(unit)
    if shown.ndim != 2 or len(shown) != n:
        raise ValueError(f"coordinates: expected shape [{n}, 2], got {list(shown.shape)}")
    broken = ~np.isfinite(shown).all(axis=1)
    if broken.any():
        raise ValueError(f"coordinates: NaN or infinite value in row {int(broken.argmax())}")
    if neighbours < 1:
        raise ValueError(f"neighbours: expected at least 1, got {neighbours}")
    if neighbours >= n / 2:
        raise NotSupportedError(
            f"neighbours: {neighbours} need more than {2 * neighbours} points, there are {n}"
        )
    return (
        float(trustworthiness(unit, shown, n_neighbors=neighbours)),
        float(trustworthiness(shown, unit, n_neighbors=neighbours)),
    )
