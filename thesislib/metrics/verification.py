"""Verification: do two photos show one person?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from thesislib import seeds
from thesislib.metrics.similarity import (
    DECIMALS,
    MIN_EXPECTED_ERRORS,
    NotSupportedError,
    _at_or_above,
    blocks,
    checked,
    checked_rate,
    genuine_similarities,
    last_within,
    need_errors,
    need_genuine,
    need_impostors,
)


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
    photos = checked(embeddings, identities, copies)
    need_genuine(photos)
    need_impostors(photos)
    values, counts = np.unique(genuine_similarities(photos), return_counts=True)
    values, counts = values[::-1], counts[::-1]  # by falling threshold
    above, at_or_above, impostors = np.zeros(len(values)), np.zeros(len(values)), 0
    for _, similarity, _, impostor in blocks(photos, upper=True):
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


def tar_at_far(curve: Roc, far: float, least: float = MIN_EXPECTED_ERRORS) -> TarAtFar:
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
    far = checked_rate("far", far)
    need_errors("far", far, curve.impostor_pairs, "impostor pairs", least)
    at = last_within(curve.far, curve.tar, far)
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
    photos = checked(embeddings, identities, copies)
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
        for _, similarity, same, other in blocks(photos.rows(fold[photos.person] == one), True):
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
