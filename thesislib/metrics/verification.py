"""Verification: do two faces belong to one person?

A threshold accepts a pair if its similarity is at or above it. TAR, the true accept rate, is the
share of genuine pairs accepted; FAR, the false accept rate, that of impostor pairs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thesislib import seeds
from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.operating_points import (
    MIN_EXPECTED_ERRORS,
    check_expected_errors,
    checked_rate,
    count_at_or_above,
    operating_point,
)
from thesislib.metrics.similarity import (
    DECIMALS,
    genuine_similarities,
    labelled,
    pair_similarities,
    require_genuine_pairs,
    require_impostor_pairs,
    similarity_blocks,
)


class Roc(NamedTuple):
    """Vertices of the ROC curve from (0, 0) to (1, 1), by falling threshold; see ``roc``."""

    far: NDArray[np.float64]
    tar: NDArray[np.float64]
    threshold: NDArray[np.float64]  # cosine; infinite for the first vertex
    genuine_pairs: int
    impostor_pairs: int


class TarAtFar(NamedTuple):
    """A point of ``Roc``; see ``tar_at_far``."""

    tar: float
    far: float  # achieved, at most what was asked for
    threshold: float
    genuine_pairs: int
    impostor_pairs: int


class FoldAccuracy(NamedTuple):
    """Verification accuracy over folds; see ``verification_accuracy``."""

    mean: float
    standard_error: float
    accuracies: NDArray[np.float64]  # of each fold


def roc(
    embeddings: ArrayLike, identities: Sequence[str], *, copies: ArrayLike | None = None
) -> Roc:
    """ROC curve over all pairs, exact: TAR against FAR.

    Between two genuine similarities TAR does not change and the curve is a straight line, so only
    its vertices are kept: the thresholds at each genuine similarity and just above it. Impostor
    pairs are counted a block at a time; memory grows with the number of genuine pairs.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        copies: [n] int, in a bootstrap sample; see ``similarity.labelled``.

    Returns:
        ``Roc``, [V] float64 each; FAR and TAR never fall.

    Raises:
        ValueError: bad embeddings (``similarity.normalise``) or names.
        NotSupportedError: no genuine pair, or no impostor pair.

    TAR(T) = |genuine >= T| / |genuine| and FAR(T) = |impostor >= T| / |impostor|
    (ISO/IEC 19795-1, verification; the project's protocol, Experiment 3).

    >>> curve = roc([[5, 0], [4, 3], [3, 4], [0, 5]], ["ann", "ann", "bob", "bob"])
    >>> curve.far, curve.tar
    (array([0.  , 0.25, 0.25, 1.  ]), array([0., 0., 1., 1.]))
    """
    sample = labelled(embeddings, identities, copies)
    require_genuine_pairs(sample)
    require_impostor_pairs(sample)
    values, counts = np.unique(genuine_similarities(sample), return_counts=True)
    values, counts = values[::-1], counts[::-1]  # by falling threshold
    above, at_or_above, impostors = np.zeros(len(values)), np.zeros(len(values)), 0
    for similarity, _, impostor in similarity_blocks(sample, upper=True):
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


def tar_at_far(
    curve: Roc, far: float, min_expected_errors: float = MIN_EXPECTED_ERRORS
) -> TarAtFar:
    """Highest TAR at a FAR of at most ``far``.

    Args:
        curve: of ``roc``.
        far: highest FAR allowed, above 0 and at most 1.
        min_expected_errors: least number of false accepts, ``far`` x impostor pairs, from which
            the rate is reported. It asks whether the *data* support the number; pass 0 within
            ``statistics.person_bootstrap``, whose samples have a few pairs more or fewer.

    Returns:
        ``TarAtFar``, with the FAR achieved: the lowest at which this TAR is reached.

    Raises:
        ValueError: ``far`` out of range.
        NotSupportedError: fewer false accepts than ``min_expected_errors`` are to be expected.

    The project's protocol, Experiment 3.

    >>> curve = roc([[5, 0], [4, 3], [3, 4], [0, 5]], ["ann", "ann", "bob", "bob"])
    >>> tar_at_far(curve, 0.25, min_expected_errors=1)
    TarAtFar(tar=1.0, far=0.25, threshold=0.8, genuine_pairs=2, impostor_pairs=4)
    >>> tar_at_far(curve, 0.25)
    Traceback (most recent call last):
        ...
    thesislib.metrics.checks.NotSupportedError: far: 0.25 x 4 impostor pairs = 1 expected \
errors, and at least 10 are needed
    """
    far = checked_rate("far", far)
    check_expected_errors("far", far, curve.impostor_pairs, "impostor pairs", min_expected_errors)
    at = operating_point(curve.far, curve.tar, far)
    return TarAtFar(
        float(curve.tar[at]),
        float(curve.far[at]),
        float(curve.threshold[at]),
        curve.genuine_pairs,
        curve.impostor_pairs,
    )


def false_match_rate(
    embeddings: ArrayLike,
    identities: Sequence[str],
    threshold: float,
    *,
    copies: ArrayLike | None = None,
) -> float:
    """Share of impostor pairs that a threshold takes for one person.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        threshold: on the cosine similarity; pairs at or above it match.
        copies: [n] int, in a bootstrap sample; see ``similarity.labelled``.

    Raises:
        ValueError: bad embeddings (``similarity.normalise``) or names.
        NotSupportedError: no impostor pair.

    FMR(T) = |impostor >= T| / |impostor| (ISO/IEC 19795-1).

    >>> false_match_rate([[5, 0], [4, 3], [0, 5]], ["ann", "bob", "eve"], 0.7)
    0.3333333333333333
    """
    sample = labelled(embeddings, identities, copies)
    require_impostor_pairs(sample)
    matches = impostors = 0
    for similarity, _, impostor in similarity_blocks(sample, upper=True):
        matches += int((impostor & (similarity >= threshold)).sum())
        impostors += int(impostor.sum())
    return matches / impostors


def threshold_at(embeddings: ArrayLike, identities: Sequence[str], rate: float) -> float:
    """Lowest similarity of a pair from which at most this share of impostor pairs match.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        rate: false match rate allowed, above 0 and at most 1.

    Raises:
        ValueError: bad embeddings (``similarity.normalise``) or names, ``rate`` out of range.
        NotSupportedError: fewer than ten impostor pairs are to be expected above it.

    >>> threshold_at(np.eye(5), list("abcde"), 1.0)
    0.0
    """
    rate = checked_rate("rate", rate)
    _, impostor = pair_similarities(embeddings, identities)
    check_expected_errors("rate", rate, len(impostor), "impostor pairs", MIN_EXPECTED_ERRORS)
    values = np.unique(impostor)
    allowed = count_at_or_above(impostor, values) <= rate * len(impostor)
    return float(values[allowed].min(initial=np.inf))


def equal_error_rate(curve: Roc) -> float:
    """Error rate at the threshold where false accepts and false rejects are equally frequent.

    Args:
        curve: of ``roc``.

    Returns:
        0–1; 0.5 is chance. Where no threshold makes the two rates equal, the straight line
        between the two vertices on either side is read where they are.

    FAR = 1 - TAR (ISO/IEC 19795-1).

    >>> equal_error_rate(roc([[5, 0], [4, 3], [3, 4], [0, 5]], ["ann", "ann", "bob", "bob"]))
    0.25
    """
    excess = curve.far - (1 - curve.tar)
    after = int((excess >= 0).argmax())  # never 0: the first vertex has an excess of -1
    before = after - 1
    weight = -excess[before] / (excess[after] - excess[before])
    return float(curve.far[before] + weight * (curve.far[after] - curve.far[before]))


def _best_threshold(genuine: NDArray[np.float64], impostor: NDArray[np.float64]) -> float:
    """Threshold of highest balanced accuracy, midway to the next lower similarity."""
    values = np.unique(np.concatenate([genuine, impostor]))[::-1]
    tar = count_at_or_above(genuine, values) / len(genuine)
    far = count_at_or_above(impostor, values) / len(impostor)
    # Sums of shares that are equal may differ in the last digit.
    best = int(np.round(tar - far, DECIMALS).argmax())
    return float(values[best] + values[min(best + 1, len(values) - 1)]) / 2


def folds_of_people(paired: NDArray[np.bool_], folds: int, *, seed: int) -> NDArray[np.int64]:
    """Fold of each person, those with two faces or more assigned first.

    Args:
        paired: [people], in order of name: has two faces or more.
        folds: at least 2.
        seed: of the assignment.

    Returns:
        [people] in 0 to ``folds`` - 1.

    Raises:
        ValueError: ``folds`` below 2.
        NotSupportedError: fewer than two people per fold, one of them with two faces.
    """
    if folds < 2:
        raise ValueError(f"folds: expected at least 2, got {folds}")
    people = len(paired)
    if people < 2 * folds or paired.sum() < folds:
        raise NotSupportedError(
            f"folds: {folds} folds need {2 * folds} people, {folds} of them with two photos; "
            f"there are {people}, {int(paired.sum())} of them with two photos"
        )
    order = seeds.generator(seed, "folds").permutation(people)
    order = order[np.argsort(~paired[order], kind="stable")]
    fold_of = np.empty(people, dtype=np.int64)
    fold_of[order] = np.arange(people) % folds
    return fold_of


def verification_accuracy(
    embeddings: ArrayLike,
    identities: Sequence[str],
    folds: int = 10,
    *,
    seed: int,
    copies: ArrayLike | None = None,
) -> FoldAccuracy:
    """Balanced accuracy of verification by cross-validation over folds of people.

    People, not faces, are assigned to folds, those with two faces or more first, so that each fold
    has genuine pairs. All pairs within a fold are its test pairs. Labeled Faces in the Wild has as
    many genuine as impostor pairs; here the two kinds are weighted to count the same, so that
    rejecting everything scores 0.5. A fold's threshold is the one of highest balanced accuracy on
    the pairs of the other folds, midway to the next lower similarity there; of equally good ones,
    the highest.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        folds: at least 2.
        seed: of the assignment to folds.
        copies: [n] int, in a bootstrap sample; see ``similarity.labelled``. A person's copies
            share a fold.

    Returns:
        ``FoldAccuracy``, in 0–1; 0.5 is chance.

    Raises:
        ValueError: bad embeddings (``similarity.normalise``) or names, ``folds`` below 2.
        NotSupportedError: fewer than two people per fold, one of them with two faces.

    (TAR + 1 - FAR) / 2 of each fold; their mean, and sd / sqrt(folds) with the sample's sd (Huang
    et al. 2007, Labeled Faces in the Wild, View 2).

    >>> angle = np.radians([0, 10, 90, 100, 180, 190, 270, 280])
    >>> circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    >>> names = ["ann", "ann", "bob", "bob", "cat", "cat", "dan", "dan"]
    >>> result = verification_accuracy(circle, names, folds=2, seed=0)
    >>> result.mean, result.standard_error
    (1.0, 0.0)
    """
    sample = labelled(embeddings, identities, copies)
    paired = np.bincount(sample.person[sample.copy == 0]) > 1
    fold_of = folds_of_people(paired, folds, seed=seed)
    genuine, impostor = [], []
    for fold in range(folds):
        intra, inter = [], []
        within = sample.rows(fold_of[sample.person] == fold)
        for similarity, is_genuine, is_impostor in similarity_blocks(within, upper=True):
            intra.append(similarity[is_genuine])
            inter.append(similarity[is_impostor])
        genuine.append(np.concatenate(intra))
        impostor.append(np.concatenate(inter))
    accuracies = np.empty(folds)
    for fold in range(folds):
        threshold = _best_threshold(
            np.concatenate(genuine[:fold] + genuine[fold + 1 :]),
            np.concatenate(impostor[:fold] + impostor[fold + 1 :]),
        )
        tar = (genuine[fold] >= threshold).mean()
        accuracies[fold] = (tar + (impostor[fold] < threshold).mean()) / 2
    error = accuracies.std(ddof=1) / np.sqrt(folds)
    return FoldAccuracy(float(accuracies.mean()), float(error), accuracies)
