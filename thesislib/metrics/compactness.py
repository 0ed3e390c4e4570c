"""How compact embeddings of one person are, and how far from those of others."""

from collections.abc import Sequence

import numpy as np
from sklearn.manifold import trustworthiness
from sklearn.metrics import silhouette_samples

from thesislib.metrics.similarity import (
    DECIMALS,
    NotSupportedError,
    Photos,
    blocks,
    checked,
    genuine_similarities,
    need_genuine,
    need_impostors,
    normalise,
)

# Compactness


def dprime(
    embeddings: np.ndarray, identities: Sequence[str], *, copies: np.ndarray | None = None
) -> float:
    """How far the similarities of one person's photos lie from those of two people's.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        copies: see :func:`person_bootstrap`.

    Returns:
        At least 0, in standard deviations; 0 is chance.

    Raises:
        ValueError: bad embeddings (:func:`normalise`) or names.
        NotSupportedError: no genuine pair, no impostor pair, or similarities that do not vary.

    d' = |m1 - m2| / sqrt((v1 + v2) / 2), with means and (population) variances of the
    similarities of genuine and of impostor pairs (Daugman 2000, Biometric decision landscapes).

    >>> round(dprime([[5, 0], [4, 3], [3, 4], [0, 5]], ["ann", "ann", "bob", "bob"]), 3)
    1.067
    """
    photos = checked(embeddings, identities, copies)
    need_genuine(photos)
    need_impostors(photos)
    intra = genuine_similarities(photos)
    count = total = squares = 0
    # Squares are summed about a similarity that occurs, so that equal ones give exactly 0.
    near = None
    for _, similarity, _, impostor in blocks(photos, upper=True):
        inter = similarity[impostor]
        if near is None and len(inter):
            near = inter[0]
        if len(inter):
            count += len(inter)
            total += (inter - near).sum()
            squares += np.square(inter - near).sum()
    mean = total / count
    variance = max(0.0, squares / count - mean**2)
    spread = np.sqrt((intra.var() + variance) / 2)
    if spread == 0:
        raise NotSupportedError("embeddings: similarities do not vary, and d' is not defined")
    return float(abs(intra.mean() - near - mean) / spread)


def compactness_ratio(
    embeddings: np.ndarray, identities: Sequence[str], *, copies: np.ndarray | None = None
) -> float:
    """Mean distance within a person over mean distance to the nearest photo of anyone else.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        copies: see :func:`person_bootstrap`.

    Returns:
        At least 0; below 1 a person's photos are nearer to each other than to the nearest other.

    Raises:
        ValueError: bad embeddings (:func:`normalise`) or names.
        NotSupportedError: no genuine pair, no impostor pair, or a nearest distance of 0
            throughout.

    Distance is 1 - cosine; the mean over genuine pairs, divided by the mean over photos of the
    least distance to another person's photo (the project's protocol, Experiment 3).

    >>> round(compactness_ratio([[5, 0], [4, 3], [0, 5]], ["ann", "ann", "bob"]), 3)
    0.333
    """
    photos = checked(embeddings, identities, copies)
    need_genuine(photos)
    need_impostors(photos)
    nearest = np.concatenate(
        [
            1 - np.where(impostor, similarity, -np.inf).max(axis=1)
            for _, similarity, _, impostor in blocks(photos, upper=False)
        ]
    )
    if nearest.max() == 0:
        raise NotSupportedError("embeddings: every photo equals one of another person")
    return float((1 - genuine_similarities(photos)).mean() / nearest.mean())


def silhouette(
    embeddings: np.ndarray, identities: Sequence[str], *, copies: np.ndarray | None = None
) -> float:
    """Whether photos lie with their own person rather than with the next, on average.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        copies: see :func:`person_bootstrap`.

    Returns:
        -1–1; the only photo of a person counts 0.

    Raises:
        ValueError: bad embeddings (:func:`normalise`) or names.
        NotSupportedError: no genuine pair, or no impostor pair.

    Mean of (b - a) / max(a, b), a the mean distance (1 - cosine) to the person's other photos, b
    the least, over other people, mean distance to theirs (Rousseeuw 1987, Silhouettes);
    scikit-learn's ``silhouette_samples``.

    >>> round(silhouette([[5, 0], [4, 3], [0, 5]], ["ann", "ann", "bob"]), 3)
    0.433
    """
    photos = checked(embeddings, identities, copies)
    need_genuine(photos)
    need_impostors(photos)
    once = photos.rows(photos.copy == 0)
    drawn = _times_drawn(photos)[once.person]
    samples = silhouette_samples(once.embeddings, once.person, metric="cosine")
    return float(np.average(samples, weights=drawn))


def _times_drawn(photos: Photos) -> np.ndarray:
    times = np.zeros(photos.person.max() + 1)
    np.maximum.at(times, photos.person, photos.copy + 1)
    return times


def davies_bouldin(
    embeddings: np.ndarray, identities: Sequence[str], *, copies: np.ndarray | None = None
) -> float:
    """How much each person's photos overlap with those of whoever is most confusable with them.

    As scikit-learn's ``davies_bouldin_score`` of the normalised embeddings, which cannot weigh
    people; that two people have one centre is an error here, and passed over there.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        copies: see :func:`person_bootstrap`.

    Returns:
        At least 0; lower is more compact.

    Raises:
        ValueError: bad embeddings (:func:`normalise`) or names.
        NotSupportedError: no genuine pair, no impostor pair, or two people with one centre.

    Mean over people i of max over j of (s_i + s_j) / d_ij, s the mean Euclidean distance of a
    person's photos to their centre, d the distance of centres (Davies & Bouldin 1979, A Cluster
    Separation Measure).

    >>> round(davies_bouldin([[5, 0], [4, 3], [0, 5]], ["ann", "ann", "bob"]), 3)
    0.277
    """
    photos = checked(embeddings, identities, copies)
    need_genuine(photos)
    need_impostors(photos)
    once = photos.rows(photos.copy == 0)
    count = np.bincount(once.person)
    centre = np.zeros((len(count), once.embeddings.shape[1]))
    np.add.at(centre, once.person, once.embeddings)
    centre /= count[:, None]
    off = np.linalg.norm(once.embeddings - centre[once.person], axis=1)
    scatter = np.bincount(once.person, weights=off) / count
    worst = np.empty(len(count))
    for one in range(len(count)):
        apart = np.linalg.norm(centre - centre[one], axis=1)
        apart[one] = np.inf
        if (apart < 10.0**-DECIMALS).any():
            raise NotSupportedError("embeddings: the photos of two people have one centre")
        worst[one] = ((scatter + scatter[one]) / apart).max()
    return float(np.average(worst, weights=_times_drawn(photos)))


def alignment(
    embeddings: np.ndarray, identities: Sequence[str], *, copies: np.ndarray | None = None
) -> float:
    """How far apart the photos of one person lie on the sphere.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        copies: see :func:`person_bootstrap`.

    Returns:
        0–4; lower is better aligned.

    Raises:
        ValueError: bad embeddings (:func:`normalise`) or names.
        NotSupportedError: no genuine pair.

    Mean of ||x - y||^2 over genuine pairs (Wang & Isola 2020, Understanding Contrastive
    Representation Learning through Alignment and Uniformity on the Hypersphere, section 4.1, with
    alpha = 2).

    >>> round(alignment([[5, 0], [4, 3], [0, 5]], ["ann", "ann", "bob"]), 3)
    0.4
    """
    photos = checked(embeddings, identities, copies)
    need_genuine(photos)
    return float((2 - 2 * genuine_similarities(photos)).mean())


def uniformity(
    embeddings: np.ndarray, identities: Sequence[str], *, copies: np.ndarray | None = None
) -> float:
    """How evenly the photos are spread over the sphere, whoever they show.

    Args:
        embeddings: [n, d] float.
        identities: [n] names; they only tell which photos ``copies`` forbids to compare.
        copies: see :func:`person_bootstrap`.

    Returns:
        -8–0; lower is more uniform, 0 means that all photos are alike.

    Raises:
        ValueError: bad embeddings (:func:`normalise`) or names.
        NotSupportedError: fewer than two photos.

    log of the mean of exp(-2 ||x - y||^2) over pairs of photos (Wang & Isola 2020, section 4.1,
    with t = 2).

    >>> round(uniformity([[5, 0], [0, 5], [0, 5]], ["ann", "ann", "bob"]), 3)
    -1.063
    """
    photos = checked(embeddings, identities, copies)
    total = pairs = 0
    for _, similarity, genuine, impostor in blocks(photos, upper=True):
        compared = similarity[genuine | impostor]
        total += np.exp(4 * compared - 4).sum()
        pairs += len(compared)
    if pairs == 0:
        raise NotSupportedError("embeddings: fewer than two photos")
    return float(np.log(total / pairs))


def map_faithfulness(
    embeddings: np.ndarray, coordinates: np.ndarray, k: int = 15
) -> tuple[float, float]:
    """Whether neighbours in a map are neighbours in truth, and neighbours in truth are in the map.

    Memory and time go with n^2 (20 bytes or so): meant for maps of some thousand points.

    Args:
        embeddings: [n, d] float.
        coordinates: [n, 2] float, the map.
        k: neighbours looked at, at least 1 and below n / 2.

    Returns:
        Trustworthiness and continuity, 0–1, higher is better.

    Raises:
        ValueError: bad embeddings (:func:`normalise`); coordinates of another length, NaN.
        NotSupportedError: ``k`` not below n / 2.

    Trustworthiness M(k) = 1 - 2 / (n k (2n - 3k - 1)) times the sum, over the points j among the
    k nearest of i in the map but not in truth, of (rank of j in truth - k); continuity is the same
    with map and truth exchanged (Venna & Kaski 2001, Neighborhood Preservation in Nonlinear
    Projection Methods); scikit-learn's ``trustworthiness``. Distances are Euclidean
    between normalised embeddings, which order neighbours as the cosine does.

    >>> points = np.stack([np.arange(1, 9), np.ones(8)], axis=1)
    >>> map_faithfulness(points, points / np.linalg.norm(points, axis=1, keepdims=True), k=2)
    (1.0, 1.0)
    """
    embeddings = normalise(embeddings)
    coordinates = np.asarray(coordinates, dtype=np.float64)
    n = len(embeddings)
    if coordinates.ndim != 2 or len(coordinates) != n:
        raise ValueError(f"coordinates: expected shape [{n}, 2], got {list(coordinates.shape)}")
    broken = ~np.isfinite(coordinates).all(axis=1)
    if broken.any():
        raise ValueError(f"coordinates: NaN or infinite value in row {int(broken.argmax())}")
    if k < 1:
        raise ValueError(f"k: expected at least 1, got {k}")
    if k >= n / 2:
        raise NotSupportedError(f"k: {k} neighbours need more than {2 * k} points, there are {n}")
    return (
        float(trustworthiness(embeddings, coordinates, n_neighbors=k)),
        float(trustworthiness(coordinates, embeddings, n_neighbors=k)),
    )
