"""The measures of Experiment 3: what the embeddings of people are worth, as pure functions.

Embeddings are [n, d], identities [n] names, one row a photo of one face; similarity is cosine, in
float64 and in the full dimension. A pair of photos is *genuine* if both show one person, else
*impostor*. A threshold accepts what is *at or above* it, and wherever two similarities are equal
the tie counts against the system: embeddings that are all alike recognise nobody.

What the data cannot tell is a :class:`NotSupportedError`, never a number. Many measures take
``copies``, which :func:`person_bootstrap` fills in and nobody else needs.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.manifold import trustworthiness
from sklearn.metrics import silhouette_samples

from thesislib import seeds

# Equal embeddings must give equal similarities, whatever the order in which they were summed.
DECIMALS = 12
LEAST_ERRORS = 10  # false accepts that must be expected at a rate for it to be reported
LEAST_IOU = 0.5
_BLOCK = 2**22  # similarities at a time: 32 MB


class NotSupportedError(ValueError):
    """The measure is defined, but these data cannot support it; the message says what is short."""


class Roc(NamedTuple):
    """Vertices of the curve from (0, 0) to (1, 1), by falling threshold; see :func:`roc`."""

    far: np.ndarray  # share of impostor pairs accepted
    tar: np.ndarray  # share of genuine pairs accepted
    threshold: np.ndarray  # cosine; infinite for the first vertex
    genuine_pairs: int
    impostor_pairs: int


class TarAtFar(NamedTuple):
    """A point of :class:`Roc`; see :func:`tar_at_far`."""

    tar: float
    far: float  # achieved, at most what was asked for
    threshold: float
    genuine_pairs: int
    impostor_pairs: int


class FoldAccuracy(NamedTuple):
    """Verification accuracy over folds; see :func:`verification_accuracy`."""

    mean: float
    standard_error: float
    accuracies: np.ndarray  # of each fold
    thresholds: np.ndarray  # of each fold, chosen on the others


class Retrieval(NamedTuple):
    """See :func:`retrieval`; each in 0–1."""

    precision_at_1: float
    r_precision: float
    map_at_r: float


class OpenSet(NamedTuple):
    """FNIR against FPIR by falling threshold; see :func:`open_set`. DIR is 1 - FNIR."""

    fpir: np.ndarray
    fnir: np.ndarray
    threshold: np.ndarray  # cosine; infinite for the first point
    rank_one: float  # share of mated probes whose mate comes first, at any score
    mated_probes: int
    non_mated_probes: int


class FnirAtFpir(NamedTuple):
    """A point of :class:`OpenSet`; see :func:`fnir_at_fpir`."""

    fnir: float
    fpir: float  # achieved, at most what was asked for
    threshold: float
    mated_probes: int
    non_mated_probes: int


class JointOpenSet(NamedTuple):
    """TPIR against FPIPI by falling threshold; see :func:`joint_open_set`."""

    tpir: np.ndarray
    fpipi: np.ndarray
    taken_for_another: np.ndarray  # known faces accepted as another known person / known faces
    threshold: np.ndarray  # of the score; infinite for the first point
    known_faces: int
    photos: int


class TpirAtFpipi(NamedTuple):
    """A point of :class:`JointOpenSet`; see :func:`tpir_at_fpipi`."""

    tpir: float
    fpipi: float  # achieved, at most what was asked for
    taken_for_another: float
    threshold: float
    known_faces: int
    photos: int


class _Photos(NamedTuple):
    embeddings: np.ndarray  # [n, d] float64, of norm 1
    person: np.ndarray  # [n] int, the people in order of name
    copy: np.ndarray  # [n] int
    group: np.ndarray  # [n] int, one a person and copy

    def rows(self, chosen: np.ndarray) -> "_Photos":
        return _Photos(*(one[chosen] for one in self))


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


def _checked(
    embeddings: np.ndarray, identities: Sequence[str], copies: np.ndarray | None
) -> _Photos:
    embeddings = normalise(embeddings)
    identities = _checked_identities(identities, len(embeddings))
    person = np.unique(identities.astype(str), return_inverse=True)[1]
    if copies is None:
        return _Photos(embeddings, person, np.zeros_like(person), person)
    copy = np.asarray(copies)
    if copy.shape != person.shape or copy.dtype.kind not in "iu" or (copy < 0).any():
        raise ValueError(f"copies: expected [{len(person)}] integers from 0")
    if len(np.unique(person[copy == 0])) != person.max() + 1:
        raise ValueError("copies: expected each person's to begin with 0")
    group = np.unique(person * (copy.max() + 1) + copy, return_inverse=True)[1]
    return _Photos(embeddings, person, copy, group)


def _need_impostors(photos: _Photos) -> None:
    if photos.person.max() == 0:
        raise NotSupportedError("identities: one person only, so there is no impostor pair")


def _need_genuine(photos: _Photos) -> None:
    if np.bincount(photos.group).max() < 2:
        raise NotSupportedError("identities: nobody has two photos, so there is no genuine pair")


def _checked_rate(name: str, rate: float) -> float:
    if not 0 < rate <= 1:
        raise ValueError(f"{name}: expected above 0 and at most 1, got {rate}")
    return float(rate)


def _need_errors(name: str, rate: float, trials: int, of: str, least: float) -> None:
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


def _blocks(
    photos: _Photos, upper: bool
) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    """Rows, their similarities [rows, columns], which are genuine pairs and which impostor pairs.

    With ``upper`` the columns begin at the first of the rows and each pair comes once; without,
    they are all photos and each pair comes from both sides. Copies of a person are neither.
    """
    n = len(photos.person)
    size = max(1, _BLOCK // n)
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


def _genuine_similarities(photos: _Photos) -> np.ndarray:
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
    photos = _checked(embeddings, identities, copies)
    intra, inter = [], []
    for _, similarity, genuine, impostor in _blocks(photos, upper=True):
        intra.append(similarity[genuine])
        inter.append(similarity[impostor])
    return np.concatenate(intra), np.concatenate(inter)


# Verification


def roc(
    embeddings: np.ndarray, identities: Sequence[str], *, copies: np.ndarray | None = None
) -> Roc:
    """Share of genuine against share of impostor pairs accepted, over all pairs, exactly.

    Between two genuine similarities the curve is a straight line, so only its vertices are kept:
    the thresholds at each genuine similarity and just above it. Impostor pairs are counted a
    block at a time; memory goes with the number of genuine pairs.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        copies: see :func:`person_bootstrap`.

    Returns:
        :class:`Roc`, [V] float64 each; FAR and TAR never fall.

    Raises:
        ValueError: bad embeddings (:func:`normalise`) or names.
        NotSupportedError: no genuine pair, or no impostor pair.

    TAR(T) = |genuine >= T| / |genuine| and FAR(T) = |impostor >= T| / |impostor|
    (ISO/IEC 19795-1, verification; the project's protocol, Experiment 3).

    >>> curve = roc([[5, 0], [4, 3], [3, 4], [0, 5]], ["ann", "ann", "bob", "bob"])
    >>> curve.far, curve.tar
    (array([0.  , 0.25, 0.25, 1.  ]), array([0., 0., 1., 1.]))
    """
    photos = _checked(embeddings, identities, copies)
    _need_genuine(photos)
    _need_impostors(photos)
    values, counts = np.unique(_genuine_similarities(photos), return_counts=True)
    values, counts = values[::-1], counts[::-1]  # by falling threshold
    above, at_or_above, impostors = np.zeros(len(values)), np.zeros(len(values)), 0
    for _, similarity, _, impostor in _blocks(photos, upper=True):
        block = np.sort(similarity[impostor])
        above += len(block) - np.searchsorted(block, values, side="right")
        at_or_above += len(block) - np.searchsorted(block, values, side="left")
        impostors += len(block)
    accepted = np.cumsum(counts)
    genuine = int(accepted[-1])
    far = np.stack([above, at_or_above], axis=1).ravel() / impostors
    tar = np.stack([accepted - counts, accepted], axis=1).ravel() / genuine
    threshold = np.stack([np.nextafter(values, np.inf), values], axis=1).ravel()
    far = np.concatenate([[0.0], far, [1.0]])
    tar = np.concatenate([[0.0], tar, [1.0]])
    threshold = np.concatenate([[np.inf], threshold, [-1.0]])
    new = np.append(True, (np.diff(far) > 0) | (np.diff(tar) > 0))
    return Roc(far[new], tar[new], threshold[new], genuine, impostors)


def _last_within(rate: np.ndarray, gain: np.ndarray, limit: float) -> int:
    """Where ``gain`` is first as good as it gets while ``rate``, which never falls, is allowed."""
    last = int(np.searchsorted(rate, limit, side="right")) - 1
    return int((gain[: last + 1] == gain[last]).argmax())


def tar_at_far(curve: Roc, far: float, least: float = LEAST_ERRORS) -> TarAtFar:
    """Highest share of genuine pairs accepted while at most ``far`` of the impostor pairs are.

    Args:
        curve: of :func:`roc`.
        far: largest FAR allowed, above 0 and at most 1.
        least: false accepts to be expected, far x impostor pairs. It asks whether the *data*
            support the number; within :func:`person_bootstrap`, whose draws have a few pairs more
            or less, pass 0.

    Returns:
        :class:`TarAtFar`, with the FAR achieved: the lowest at which this TAR is reached.

    Raises:
        ValueError: ``far`` out of range.
        NotSupportedError: fewer than ``least`` false accepts to be expected.

    The project's protocol, Experiment 3.

    >>> curve = roc([[5, 0], [4, 3], [3, 4], [0, 5]], ["ann", "ann", "bob", "bob"])
    >>> tar_at_far(curve, 0.25, least=1)
    TarAtFar(tar=1.0, far=0.25, threshold=0.8, genuine_pairs=2, impostor_pairs=4)
    >>> tar_at_far(curve, 0.25)
    Traceback (most recent call last):
        ...
    thesislib.embedding_metrics.NotSupportedError: far: 0.25 of 4 impostor pairs is 1, and at \
least 10 are needed
    """
    far = _checked_rate("far", far)
    _need_errors("far", far, curve.impostor_pairs, "impostor pairs", least)
    at = _last_within(curve.far, curve.tar, far)
    return TarAtFar(
        float(curve.tar[at]),
        float(curve.far[at]),
        float(curve.threshold[at]),
        curve.genuine_pairs,
        curve.impostor_pairs,
    )


def area_under_roc(curve: Roc) -> float:
    """Chance that a genuine pair is more alike than an impostor pair, equal ones counting half.

    Args:
        curve: of :func:`roc`.

    Returns:
        0–1; 0.5 is chance.

    The trapezoids under the curve, which is P(genuine > impostor) + P(genuine = impostor) / 2
    (Hanley & McNeil 1982, The meaning and use of the area under a ROC curve).

    >>> area_under_roc(roc([[5, 0], [4, 3], [3, 4], [0, 5]], ["ann", "ann", "bob", "bob"]))
    0.75
    """
    return float(np.trapezoid(curve.tar, curve.far))


def equal_error_rate(curve: Roc) -> float:
    """Error at the threshold that accepts impostors as often as it rejects genuine pairs.

    Args:
        curve: of :func:`roc`.

    Returns:
        0–1; 0.5 is chance. No threshold may hit it exactly; then it lies on the straight line
        between the two vertices around it.

    FAR = 1 - TAR (ISO/IEC 19795-1).

    >>> equal_error_rate(roc([[5, 0], [4, 3], [3, 4], [0, 5]], ["ann", "ann", "bob", "bob"]))
    0.25
    """
    excess = curve.far - (1 - curve.tar)
    after = int((excess >= 0).argmax())  # never 0: the first vertex has an excess of -1
    before = after - 1
    weight = -excess[before] / (excess[after] - excess[before])
    return float(curve.far[before] + weight * (curve.far[after] - curve.far[before]))


def _balanced_best(genuine: np.ndarray, impostor: np.ndarray) -> float:
    """Threshold of highest balanced accuracy, midway to the next lower similarity."""
    values = np.unique(np.concatenate([genuine, impostor]))[::-1]
    tar = _at_or_above(genuine, values) / len(genuine)
    far = _at_or_above(impostor, values) / len(impostor)
    # Sums of shares that are equal may differ in the last digit.
    best = int(np.round(tar - far, DECIMALS).argmax())
    return float(values[best] + values[min(best + 1, len(values) - 1)]) / 2


def verification_accuracy(
    embeddings: np.ndarray,
    identities: Sequence[str],
    folds: int = 10,
    *,
    seed: int,
    copies: np.ndarray | None = None,
) -> FoldAccuracy:
    """How often it is told right whether two photos show one person, over folds of people.

    People, not photos, are dealt to the folds, those with two photos or more first, so that each
    fold has genuine pairs. Pairs are taken within a fold, all of them. As Labeled Faces in the
    Wild has as many genuine as impostor pairs, so the two kinds weigh the same here: rejecting
    everything is 0.5. The threshold of a fold is the one that does best on the pairs of the other
    folds, midway to the next lower similarity there; of equally good ones, the highest.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        folds: at least 2.
        seed: of the dealing.
        copies: see :func:`person_bootstrap`; a person's copies share a fold.

    Returns:
        :class:`FoldAccuracy`, in 0–1; 0.5 is chance.

    Raises:
        ValueError: bad embeddings (:func:`normalise`) or names, ``folds`` below 2.
        NotSupportedError: fewer than two people a fold, one of them with two photos.

    (TAR + 1 - FAR) / 2 of each fold; their mean, and sd / sqrt(folds) with the sample's sd (Huang
    et al. 2007, Labeled Faces in the Wild, View 2).

    >>> angle = np.radians([0, 10, 90, 100, 180, 190, 270, 280])
    >>> circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    >>> names = ["ann", "ann", "bob", "bob", "cat", "cat", "dan", "dan"]
    >>> result = verification_accuracy(circle, names, folds=2, seed=0)
    >>> result.mean, result.standard_error
    (1.0, 0.0)
    """
    if folds < 2:
        raise ValueError(f"folds: expected at least 2, got {folds}")
    photos = _checked(embeddings, identities, copies)
    people = int(photos.person.max()) + 1
    paired = np.bincount(photos.person[photos.copy == 0]) > 1
    if people < 2 * folds or paired.sum() < folds:
        raise NotSupportedError(
            f"folds: {folds} folds need {2 * folds} people, {folds} of them with two photos; "
            f"there are {people}, {int(paired.sum())} of them with two photos"
        )
    order = seeds.generator(seed, "folds").permutation(people)
    order = order[np.argsort(~paired[order], kind="stable")]
    fold = np.empty(people, dtype=np.int64)
    fold[order] = np.arange(people) % folds
    genuine, impostor = [], []
    for one in range(folds):
        intra, inter = [], []
        for _, similarity, same, other in _blocks(photos.rows(fold[photos.person] == one), True):
            intra.append(similarity[same])
            inter.append(similarity[other])
        genuine.append(np.concatenate(intra))
        impostor.append(np.concatenate(inter))
    accuracies, thresholds = np.empty(folds), np.empty(folds)
    for one in range(folds):
        threshold = _balanced_best(
            np.concatenate(genuine[:one] + genuine[one + 1 :]),
            np.concatenate(impostor[:one] + impostor[one + 1 :]),
        )
        right = (genuine[one] >= threshold).mean() + (impostor[one] < threshold).mean()
        accuracies[one], thresholds[one] = right / 2, threshold
    error = accuracies.std(ddof=1) / np.sqrt(folds)
    return FoldAccuracy(float(accuracies.mean()), float(error), accuracies, thresholds)


# Retrieval


def _nearest(photos: _Photos, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Similarities and rows, [n, k] each, of the k photos most like each, itself left out.

    Of equal similarities an impostor comes first. Copies of the person come last of all.
    """
    similarities, nearest = [], []
    for _, similarity, genuine, impostor in _blocks(photos, upper=False):
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
    photos = _checked(embeddings, identities, copies)
    _need_genuine(photos)
    _need_impostors(photos)
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


# Identification


class _Search(NamedTuple):
    mated: np.ndarray  # [probes] bool, whether the person is enrolled
    mate: np.ndarray  # [probes] score of the person, -inf if not enrolled
    best_other: np.ndarray  # [probes] highest score of anyone else
    rank: np.ndarray  # [probes] of the mate; ties count against it
    enrolled: int


def _search(
    embeddings: np.ndarray,
    identities: Sequence[str],
    gallery: np.ndarray,
    copies: np.ndarray | None,
) -> _Search:
    photos = _checked(embeddings, identities, copies)
    gallery = np.asarray(gallery)
    if gallery.shape != photos.person.shape or gallery.dtype != bool:
        raise ValueError(f"gallery: expected [{len(photos.person)}] bool, one an embedding")
    if gallery.all() or not gallery.any():
        what = "gallery" if not gallery.any() else "probe"
        raise NotSupportedError(f"gallery: there is no {what} photo")
    enrolled, probes = photos.rows(gallery), photos.rows(~gallery)
    if len(np.unique(enrolled.person)) < 2:
        raise NotSupportedError("gallery: one person enrolled, and at least 2 are needed")
    enrolled = enrolled.rows(np.argsort(enrolled.group, kind="stable"))
    groups, first = np.unique(enrolled.group, return_index=True)
    people = enrolled.person[first]
    mated = np.isin(probes.group, groups)
    mate, best_other, rank = [], [], []
    size = max(1, _BLOCK // len(enrolled.person))
    for start in range(0, len(probes.person), size):
        rows = slice(start, start + size)
        similarity = _similarity(probes.embeddings[rows], enrolled.embeddings)
        score = np.maximum.reduceat(similarity, first, axis=1)  # [rows, enrolled]
        own = probes.group[rows, None] == groups
        other = np.where(probes.person[rows, None] == people, -np.inf, score)
        mate.append(np.where(own, score, -np.inf).max(axis=1))
        best_other.append(other.max(axis=1))
        rank.append(1 + (other >= mate[-1][:, None]).sum(axis=1))
    found = (np.concatenate(one) for one in (mate, best_other, rank))
    return _Search(mated, *found, len(groups))


def cumulative_match(
    embeddings: np.ndarray,
    identities: Sequence[str],
    gallery: np.ndarray,
    *,
    copies: np.ndarray | None = None,
) -> np.ndarray:
    """How often a probe's person is among the first r of the gallery: the CMC of a closed set.

    A person's score is the highest over their gallery photos.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        gallery: [n] bool: enrolled; the others are probes, each of an enrolled person.
        copies: see :func:`person_bootstrap`.

    Returns:
        [people enrolled] float64; the first is rank-1 accuracy, the last 1 unless there are ties.

    Raises:
        ValueError: bad embeddings (:func:`normalise`) or names, ``gallery`` of another shape or
            dtype, a probe whose person is not enrolled.
        NotSupportedError: no probes, or fewer than two people enrolled.

    |{rank <= r}| / probes, where rank = 1 + the others scoring at least as high (Phillips, Grother
    & Micheals 2011, Evaluation Methods in Face Recognition; here with ties against).

    >>> gallery = np.array([True, True, False, False])
    >>> cumulative_match([[1, 0], [0, 1], [4, 3], [2, 1]], ["ann", "bob", "bob", "ann"], gallery)
    array([0.5, 1. ])
    """
    found = _search(embeddings, identities, gallery, copies)
    if not found.mated.all():
        row = int(np.flatnonzero(~np.asarray(gallery))[(~found.mated).argmax()])
        raise ValueError(f"gallery: the person of the probe in row {row} is not enrolled")
    ranks = np.arange(1, found.enrolled + 1)
    return (found.rank[:, None] <= ranks).mean(axis=0)


def open_set(
    embeddings: np.ndarray,
    identities: Sequence[str],
    gallery: np.ndarray,
    *,
    copies: np.ndarray | None = None,
) -> OpenSet:
    """People missed against strangers let in, when not every probe's person is enrolled.

    A person's score is the highest over their gallery photos. A mated probe (its person is
    enrolled) is missed unless its person comes first, ahead of all others, at or above the
    threshold. A non-mated probe is a false positive if anyone's score is.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        gallery: [n] bool: enrolled; the others are probes.
        copies: see :func:`person_bootstrap`.

    Returns:
        :class:`OpenSet`, exact: a point at each score where either rate changes.

    Raises:
        ValueError: bad embeddings (:func:`normalise`) or names, ``gallery`` of another shape or
            dtype.
        NotSupportedError: no mated probes, no non-mated ones, or fewer than two people enrolled.

    FNIR(T) = mated probes with the mate not at rank 1 or below T / mated probes; FPIR(T) =
    non-mated probes with a candidate at or above T / non-mated probes (Grother, Ngan & Hanaoka,
    Face Recognition Technology Evaluation, Part 2: Identification, NISTIR 8271; here at rank 1).
    DIR(T) = 1 - FNIR(T) (Phillips, Grother & Micheals 2011).

    >>> gallery = np.array([True, True, False, False, False])
    >>> names = ["ann", "bob", "ann", "bob", "cat"]
    >>> curve = open_set([[1, 0], [0, 1], [4, 3], [5, 12], [3, 4]], names, gallery)
    >>> curve.fpir, curve.fnir
    (array([0., 0., 1.]), array([1. , 0.5, 0. ]))
    """
    found = _search(embeddings, identities, gallery, copies)
    mated, strangers = int(found.mated.sum()), int((~found.mated).sum())
    if mated == 0 or strangers == 0:
        what = "is enrolled" if mated == 0 else "is not enrolled"
        raise NotSupportedError(f"gallery: there is no probe whose person {what}")
    first = found.mated & (found.rank == 1)
    hits, alarms = found.mate[first], found.best_other[~found.mated]
    threshold = np.append(np.inf, np.unique(np.concatenate([hits, alarms]))[::-1])
    return OpenSet(
        fpir=_at_or_above(alarms, threshold) / strangers,
        fnir=1 - _at_or_above(hits, threshold) / mated,
        threshold=threshold,
        rank_one=len(hits) / mated,
        mated_probes=mated,
        non_mated_probes=strangers,
    )


def fnir_at_fpir(curve: OpenSet, fpir: float, least: float = LEAST_ERRORS) -> FnirAtFpir:
    """Lowest share of enrolled people missed while at most ``fpir`` of the strangers get in.

    Args:
        curve: of :func:`open_set`.
        fpir: largest FPIR allowed, above 0 and at most 1; the project reports 0.01 and 0.1.
        least: false positives to be expected, fpir x non-mated probes; see :func:`tar_at_far`.

    Returns:
        :class:`FnirAtFpir`, with the FPIR achieved: the lowest at which this FNIR is reached.

    Raises:
        ValueError: ``fpir`` out of range.
        NotSupportedError: fewer than ``least`` false positives to be expected.

    The rule is that of the project's protocol for FAR, with probes for pairs.

    >>> gallery = np.array([True, True, False, False, False])
    >>> names = ["ann", "bob", "ann", "bob", "cat"]
    >>> curve = open_set([[1, 0], [0, 1], [4, 3], [5, 12], [3, 4]], names, gallery)
    >>> fnir_at_fpir(curve, 0.5, least=0).fnir
    0.5
    """
    fpir = _checked_rate("fpir", fpir)
    _need_errors("fpir", fpir, curve.non_mated_probes, "non-mated probes", least)
    at = _last_within(curve.fpir, curve.fnir, fpir)
    return FnirAtFpir(
        float(curve.fnir[at]),
        float(curve.fpir[at]),
        float(curve.threshold[at]),
        curve.mated_probes,
        curve.non_mated_probes,
    )


_DETECTION_COLUMNS = ("photo", "score", "predicted_identity", "iou", "identity")


def _checked_detections(detections: pd.DataFrame) -> pd.DataFrame:
    missing = [one for one in _DETECTION_COLUMNS if one not in detections.columns]
    if missing:
        raise ValueError(f"detections: column {missing[0]!r} is missing")
    table = detections[list(_DETECTION_COLUMNS)].reset_index(drop=True)
    for column in ("photo", "predicted_identity", "identity"):
        bad = ~table[column].map(lambda text: isinstance(text, str)).to_numpy(dtype=bool)
        if bad.any():
            raise ValueError(f"detections: {column} of row {int(bad.argmax())} is no text")
    for column, low, high in (("score", -np.inf, np.inf), ("iou", 0, 1)):
        values = table[column].to_numpy(dtype=np.float64)
        bad = ~np.isfinite(values) | (values < low) | (values > high)
        if bad.any():
            row = int(bad.argmax())
            raise ValueError(f"detections: {column} of row {row} is {values[row]}")
    return table


def joint_open_set(detections: pd.DataFrame, known_faces: int, photos: int) -> JointOpenSet:
    """Known people found and named against strangers and walls taken for them, from whole photos.

    A detection counts for the face it was matched to if their IoU is at least 0.5, else it is
    background. It is accepted at T if its score is at or above T and it names somebody.

    Args:
        detections: one row a detection, with columns ``photo`` (str), ``score`` (float, similarity
            of the best gallery identity), ``predicted_identity`` (str, that identity; "" is never
            accepted), ``iou`` (float in 0–1, with the face it was matched to, 0 for none),
            ``identity`` (str, of that face; "" for a person not in the gallery, or background).
            Each face is matched to one detection at most.
        known_faces: faces of people in the gallery, found or not, at least 1.
        photos: photos looked at, with faces or without, at least 1.

    Returns:
        :class:`JointOpenSet`, exact: a point at each score.

    Raises:
        ValueError: a column missing, NaN, an IoU outside 0–1, a known person found twice in one
            photo, more known faces or photos in the table than in all; the row is named.
        NotSupportedError: no known faces, or no photos.

    TPIR(T) = known faces accepted as who they are / known faces; FPIPI(T) = (faces of unknown
    people + background accepted) / photos (Günther et al. 2017, Unconstrained Face Detection and
    Open-Set Face Recognition Challenge; the project's protocol, Experiment 3). Known
    faces taken for another are in neither, as there, and are reported apart.

    >>> detections = pd.DataFrame({
    ...     "photo": ["a.jpg", "a.jpg", "b.jpg"],
    ...     "score": [0.9, 0.6, 0.7],
    ...     "predicted_identity": ["ann", "ann", "bob"],
    ...     "iou": [0.8, 0.1, 0.9],
    ...     "identity": ["ann", "", "ann"],
    ... })
    >>> curve = joint_open_set(detections, known_faces=4, photos=2)
    >>> curve.tpir, curve.fpipi
    (array([0.  , 0.25, 0.25, 0.25]), array([0. , 0. , 0. , 0.5]))
    >>> curve.taken_for_another
    array([0.  , 0.  , 0.25, 0.25])
    """
    table = _checked_detections(detections)
    for name, count, what in (
        ("known_faces", known_faces, "known face"),
        ("photos", photos, "photo"),
    ):
        if count < 1:
            raise NotSupportedError(f"{name}: there is no {what}")
    if table["photo"].nunique() > photos:
        raise ValueError(f"photos: {photos}, but detections has {table['photo'].nunique()}")
    known = (table["identity"] != "") & (table["iou"] >= LEAST_IOU)
    twice = table[known].duplicated(["photo", "identity"])
    if twice.any():
        row = int(twice.index[twice.to_numpy()][0])
        raise ValueError(
            f"detections: {table['identity'][row]!r} of row {row} is found in "
            f"{table['photo'][row]!r} already"
        )
    if known.sum() > known_faces:
        raise ValueError(f"known_faces: {known_faces}, but detections has {int(known.sum())}")
    names = table["predicted_identity"] != ""
    right = table["predicted_identity"] == table["identity"]
    score = table["score"].to_numpy(dtype=np.float64)
    threshold = np.append(np.inf, np.unique(score[names])[::-1])
    accepted = [
        _at_or_above(score[which], threshold)
        for which in (names & known & right, names & ~known, names & known & ~right)
    ]
    return JointOpenSet(
        tpir=accepted[0] / known_faces,
        fpipi=accepted[1] / photos,
        taken_for_another=accepted[2] / known_faces,
        threshold=threshold,
        known_faces=int(known_faces),
        photos=int(photos),
    )


def tpir_at_fpipi(curve: JointOpenSet, fpipi: float, least: float = LEAST_ERRORS) -> TpirAtFpipi:
    """Highest share of known faces found and named at ``fpipi`` false positives a photo or fewer.

    Args:
        curve: of :func:`joint_open_set`.
        fpipi: largest FPIPI allowed, above 0; the project reports 0.1.
        least: false positives to be expected, fpipi x photos; see :func:`tar_at_far`.

    Returns:
        :class:`TpirAtFpipi`, with the FPIPI achieved: the lowest at which this TPIR is reached.

    Raises:
        ValueError: ``fpipi`` not above 0.
        NotSupportedError: fewer than ``least`` false positives to be expected.

    >>> detections = pd.DataFrame({
    ...     "photo": ["a.jpg", "a.jpg"], "score": [0.9, 0.6], "predicted_identity": ["ann", "bob"],
    ...     "iou": [0.8, 0.1], "identity": ["ann", ""],
    ... })
    >>> tpir_at_fpipi(joint_open_set(detections, known_faces=2, photos=100), 0.1).tpir
    0.5
    """
    if not 0 < fpipi < np.inf:
        raise ValueError(f"fpipi: expected above 0, got {fpipi}")
    _need_errors("fpipi", fpipi, curve.photos, "false positives a photo", least)
    at = _last_within(curve.fpipi, curve.tpir, fpipi)
    return TpirAtFpipi(
        float(curve.tpir[at]),
        float(curve.fpipi[at]),
        float(curve.taken_for_another[at]),
        float(curve.threshold[at]),
        curve.known_faces,
        curve.photos,
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
    photos = _checked(embeddings, identities, copies)
    _need_genuine(photos)
    _need_impostors(photos)
    intra = _genuine_similarities(photos)
    count = total = squares = 0
    # Squares are summed about a similarity that occurs, so that equal ones give exactly 0.
    near = None
    for _, similarity, _, impostor in _blocks(photos, upper=True):
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
    photos = _checked(embeddings, identities, copies)
    _need_genuine(photos)
    _need_impostors(photos)
    nearest = np.concatenate(
        [
            1 - np.where(impostor, similarity, -np.inf).max(axis=1)
            for _, similarity, _, impostor in _blocks(photos, upper=False)
        ]
    )
    if nearest.max() == 0:
        raise NotSupportedError("embeddings: every photo equals one of another person")
    return float((1 - _genuine_similarities(photos)).mean() / nearest.mean())


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
    photos = _checked(embeddings, identities, copies)
    _need_genuine(photos)
    _need_impostors(photos)
    once = photos.rows(photos.copy == 0)
    drawn = _times_drawn(photos)[once.person]
    samples = silhouette_samples(once.embeddings, once.person, metric="cosine")
    return float(np.average(samples, weights=drawn))


def _times_drawn(photos: _Photos) -> np.ndarray:
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
    photos = _checked(embeddings, identities, copies)
    _need_genuine(photos)
    _need_impostors(photos)
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
    photos = _checked(embeddings, identities, copies)
    _need_genuine(photos)
    return float((2 - 2 * _genuine_similarities(photos)).mean())


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
    photos = _checked(embeddings, identities, copies)
    total = pairs = 0
    for _, similarity, genuine, impostor in _blocks(photos, upper=True):
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


# Uncertainty


def person_bootstrap(
    function: Callable[..., float | Sequence[float]],
    embeddings: np.ndarray,
    identities: Sequence[str],
    *,
    seed: int,
    draws: int = 1000,
    level: float = 0.95,
    **rows: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap interval of any measure here, people being what is drawn.

    As many people as there are get drawn with replacement, with all their photos: photos of one
    person, and the many pairs a photo is in, are not independent, so drawing those would give an
    interval that is too narrow. A person drawn twice is there as two *copies*, which ``copies``
    numbers from 0. Two photos of one person from different copies are never compared: the
    pair of a photo with its own copy is no genuine pair, though it looks like a perfect one, and
    no impostor pair either. What a person drawn c times adds is thus c times what they add once.

    A draw has fewer *different* people than the data, some 63 %, so whatever depends on the most
    similar stranger (retrieval, identification, the compactness ratio, silhouette, Davies–Bouldin)
    comes out better in it. The percentiles are therefore moved by what takes the mean of the draws
    to the measure itself, which leaves alone what has no such bias. In a simulation (40 people, 60
    sets) a nominal 95 % then covered the truth in 88 to 100 % of the sets; unmoved, those measures
    covered it in 73 to 87 %. A moved end may lie outside the measure's range.

    Args:
        function: called as ``function(embeddings, identities, copies=copies, **rows)``; gives a
            number or some numbers. Numbers at a stated error rate ask for ``least=0`` within.
        embeddings: [n, d] float.
        identities: [n] names.
        seed: of the draws; the same seed draws the same people.
        draws: number of draws.
        level: share of the draws within the interval, above 0 and below 1.
        rows: further arrays [n, ...] that go with the photos, such as ``gallery``.

    Returns:
        Lower and upper ends, float64 of the shape of what ``function`` gives (0-d for a number).

    Raises:
        ValueError: bad embeddings (:func:`normalise`) or names, ``draws`` or ``level`` out of
            range, rows of another length, a function that gives NaN.
        NotSupportedError: fewer than two people; or ``function`` raised it, for the data or for
            a draw, which is then named.

    measure + percentile - mean of the draws. Efron & Tibshirani 1993, An Introduction to the
    Bootstrap, section 13.3 (percentiles) and 10.2 (the bias that is taken off); Bolle,
    Ratha & Pankanti 2004, Error analysis of pattern recognition systems: the subsets bootstrap
    (drawing people, not pairs).

    >>> rng = np.random.default_rng(0)
    >>> names = [f"person {i // 4}" for i in range(80)]
    >>> photos = rng.normal(size=(20, 8)).repeat(4, axis=0) + rng.normal(size=(80, 8))
    >>> low, high = person_bootstrap(dprime, photos, names, seed=0, draws=200)
    >>> bool(low < dprime(photos, names) < high)
    True
    """
    if draws < 1:
        raise ValueError(f"draws: expected at least 1, got {draws}")
    if not 0 < level < 1:
        raise ValueError(f"level: expected above 0 and below 1, got {level}")
    embeddings = np.asarray(embeddings)
    person = _checked(embeddings, identities, None).person
    identities = np.asarray(identities, dtype=object)
    rows = {name: np.asarray(values) for name, values in rows.items()}
    for name, values in rows.items():
        if len(values) != len(person):
            raise ValueError(f"{name}: {len(values)} rows, but embeddings has {len(person)}")
    people = int(person.max()) + 1
    if people < 2:
        raise NotSupportedError("identities: one person only, and at least 2 are needed")
    photos = [np.flatnonzero(person == one) for one in range(people)]
    once = np.zeros(len(person), dtype=np.int64)
    measure = np.asarray(function(embeddings, identities, copies=once, **rows), dtype=np.float64)
    if np.isnan(measure).any():
        raise ValueError("function: NaN for the data")
    rng = seeds.generator(seed, "person_bootstrap")
    values = []
    for draw in range(draws):
        times = np.bincount(rng.integers(people, size=people), minlength=people)
        chosen = [(one, copy) for one in range(people) for copy in range(times[one])]
        at = np.concatenate([photos[one] for one, _ in chosen])
        copies = np.repeat([copy for _, copy in chosen], [len(photos[one]) for one, _ in chosen])
        drawn = {name: array[at] for name, array in rows.items()}
        try:
            value = function(embeddings[at], identities[at], copies=copies, **drawn)
        except NotSupportedError as error:
            raise NotSupportedError(f"draw {draw} of {draws}: {error}") from None
        values.append(np.asarray(value, dtype=np.float64))
        if np.isnan(values[-1]).any():
            raise ValueError(f"function: NaN in draw {draw} of {draws}")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    shift = measure - np.mean(values, axis=0)
    return low + shift, high + shift
