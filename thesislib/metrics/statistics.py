"""Intervals, tests and a control: how sure a number is, and what chance alone would give.

The unit of every interval and test is what was sampled: persons where a person has several photos
(or clips, where a person's clips are what varies), photos where several faces share one. Faces of
one unit are not independent, so they are resampled, or have their signs flipped, together.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from thesislib import seeds
from thesislib.metrics.checks import (
    NotSupportedError,
    check_same_length,
    checked_identities,
    checked_values,
    checked_vector,
)
from thesislib.metrics.similarity import labelled

NEAR = 0.02  # of 0 or 1: there a share's interval is Wilson's
_BLOCK = 2**22  # entries of the resampled units computed at a time: 32 MB


def _checked_level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level: expected above 0 and below 1, got {level}")
    return float(level)


def _check_draws(draws: int) -> None:
    if draws < 1:
        raise ValueError(f"draws: expected at least 1, got {draws}")


def _units(groups: ArrayLike | None, name: str, values: NDArray) -> NDArray[np.int64]:
    """Number of the unit that each value belongs to, from 0."""
    if groups is None:
        return np.arange(len(values))
    array = checked_vector("groups", groups)
    check_same_length("groups", array, name, values)
    units = pd.factorize(array)[0]
    if (units < 0).any():
        raise ValueError(f"groups: entry {int((units < 0).argmax())} is missing")
    return units.astype(np.int64)


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[[NDArray], float] = np.mean,
    groups: ArrayLike | None = None,
    draws: int = 2000,
    level: float = 0.95,
    method: Literal["percentile", "BCa"] = "percentile",
    *,
    seed: int,
) -> tuple[float, float]:
    """Bootstrap interval of a statistic, in which whole units are resampled.

    As many units as there are get drawn with replacement, each with all its values
    (``scipy.stats.bootstrap`` over the units' indices). A share of exactly 0 or 1 gives a
    percentile interval of no width, since every sample of it is alike; use ``wilson_interval``
    near 0 and 1.

    Args:
        values: [F] bool or float, say one per face.
        statistic: of a 1-D array of values. The mean is computed for all draws at once; anything
            else is called ``draws`` times.
        groups: [F] the unit of each value, such as its person or clip; None: each value is a unit.
        draws: number of bootstrap samples.
        level: coverage of the interval, above 0 and below 1.
        method: ``percentile``; or ``BCa``, which corrects it for bias and skewness.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        Lower and upper end, in the statistic's unit. NaN and NaN where the data tell nothing of
        how they vary: with a single unit, and for BCa where all samples are alike.

    Raises:
        ValueError: no values, NaN, ``groups`` of another length or with missing entries, ``draws``
            or ``level`` out of range.

    Efron & Tibshirani 1993, An Introduction to the Bootstrap, sections 13.3 (percentiles) and
    14.3 (BCa); resampling whole clusters: Davison & Hinkley 1997, Bootstrap Methods and their
    Application, section 3.8.

    >>> low, high = bootstrap_interval(np.arange(1000) < 900, seed=0)
    >>> round(low, 2), round(high, 2)
    (0.88, 0.92)
    >>> person = np.arange(1000) // 10  # each person all right or all wrong
    >>> low, high = bootstrap_interval(np.arange(1000) < 900, groups=person, seed=0)
    >>> round(low, 2), round(high, 2)
    (0.84, 0.96)
    """
    array = checked_values("values", values)
    _check_draws(draws)
    level = _checked_level(level)
    unit = _units(groups, "values", array)
    size = np.bincount(unit)  # values of each unit
    if len(size) < 2:
        return np.nan, np.nan
    total = np.bincount(unit, weights=array)
    members = np.split(np.argsort(unit, kind="stable"), np.cumsum(size)[:-1])

    def means(drawn: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        return total[drawn].sum(axis=axis) / size[drawn].sum(axis=axis)

    def any_statistic(drawn: NDArray[np.int64]) -> float:
        return statistic(array[np.concatenate([members[one] for one in drawn])])

    is_mean = statistic is np.mean
    interval = stats.bootstrap(
        (np.arange(len(size)),),
        means if is_mean else any_statistic,
        vectorized=is_mean,
        n_resamples=draws,
        batch=max(1, _BLOCK // len(size)),  # so that draws of many units still fit in memory
        confidence_level=level,
        method=method,
        rng=seeds.generator(seed, "bootstrap"),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def person_draws(people: int, draws: int, *, seed: int) -> NDArray[np.int64]:
    """How often each person is drawn in each sample of a bootstrap over persons.

    As many persons as there are get drawn with replacement.

    Args:
        people: number of persons.
        draws: number of bootstrap samples.
        seed: of the draws; the same seed draws the same persons.

    Returns:
        [draws, people], at least 0; each row's sum is ``people``.

    Raises:
        ValueError: ``draws`` below 1.
        NotSupportedError: fewer than two persons.

    >>> person_draws(4, 2, seed=0).sum(axis=1)
    array([4, 4])
    """
    _check_draws(draws)
    if people < 2:
        raise NotSupportedError("identities: one person only, and at least 2 are needed")
    rng = seeds.generator(seed, "person_bootstrap")
    chosen = (rng.integers(people, size=people) for _ in range(draws))
    return np.stack([np.bincount(one, minlength=people) for one in chosen])


def shifted_interval(
    measure: ArrayLike, samples: ArrayLike, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentiles of a bootstrap's samples, shifted as ``person_bootstrap`` says.

    Args:
        measure: of the data, float of any shape.
        samples: [draws, ...] float, of each sample.
        level: coverage of the interval, above 0 and below 1.

    Returns:
        Lower and upper ends, of the shape of ``measure``.

    Raises:
        ValueError: ``level`` out of range.

    measure + percentile - mean over the samples; sources at ``person_bootstrap``.

    >>> low, high = shifted_interval(0.5, np.linspace(0.6, 0.8, 101))
    >>> round(float(low), 3), round(float(high), 3)
    (0.405, 0.595)
    """
    level = _checked_level(level)
    values = np.asarray(samples, dtype=np.float64)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    shift = np.asarray(measure, dtype=np.float64) - values.mean(axis=0)
    return low + shift, high + shift


def person_bootstrap(
    function: Callable[..., float | Sequence[float] | NDArray],
    embeddings: ArrayLike,
    identities: Sequence[str],
    *,
    seed: int,
    draws: int = 1000,
    level: float = 0.95,
    **rows: ArrayLike,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bootstrap interval of a measure of embeddings, over persons.

    As many persons as there are get drawn with replacement, each with all their faces: a face is
    in many pairs, and faces of one person are not independent, so an interval from resampled
    pairs or faces would be too narrow. A person drawn twice is in the sample as two *copies*,
    numbered from 0. Two faces of one person from different copies are never compared: a face and
    its own copy are no genuine pair, though they look like a perfect one, and no impostor pair
    either. What a person drawn c times contributes is thus c times what they contribute once.

    Why not ``scipy.stats.bootstrap``: the measure must be told the copies, and none of scipy's
    intervals fits. A sample holds fewer *different* persons than the data, some 63 %, so whatever
    depends on the most similar other person (retrieval, identification, the compactness ratio,
    silhouette, Davies–Bouldin) comes out better in most samples than in the data, and in all of
    them where people are many. Percentiles then miss the measure itself; BCa corrects for the
    share of such samples, and is not defined where it is 1. The percentiles are therefore shifted
    by the measure less its mean over the samples, which changes little where there is no such
    bias. In a simulation (40 people, 60 sets) a nominal 95 % then covered the truth in 88 to
    100 % of the sets; unshifted, those measures covered it in 73 to 87 %. A shifted end may lie
    outside the measure's range.

    ``person_samples`` has the measures of Experiment 3 for the same draws, fifty times as fast
    and more.

    Args:
        function: called as ``function(embeddings, identities, copies=copies, **rows)``; returns a
            number or several. Within it, operating points take ``min_expected_errors=0``.
        embeddings: [n, d] float.
        identities: [n] names.
        seed: of the draws; the same seed draws the same persons.
        draws: number of bootstrap samples.
        level: coverage of the interval, above 0 and below 1.
        rows: further arrays [n, ...] with an entry per face, such as ``gallery``.

    Returns:
        Lower and upper ends, float64 of the shape of what ``function`` returns (0-d for a number).

    Raises:
        ValueError: bad embeddings (``similarity.normalise``) or names, ``draws`` or ``level`` out
            of range, rows of another length, a function that returns NaN.
        NotSupportedError: fewer than two persons; or ``function`` raised it, for the data or for
            a sample, which is then named.

    measure + percentile - mean over the samples. Efron & Tibshirani 1993, An Introduction to the
    Bootstrap, sections 13.3 (percentiles) and 10.2 (the bias that is taken off); Bolle, Ratha &
    Pankanti 2004, Error analysis of pattern recognition systems: the subsets bootstrap (drawing
    persons, not pairs).

    >>> from thesislib.metrics.compactness import dprime
    >>> rng = np.random.default_rng(0)
    >>> names = [f"person {i // 4}" for i in range(80)]
    >>> faces = rng.normal(size=(20, 8)).repeat(4, axis=0) + rng.normal(size=(80, 8))
    >>> low, high = person_bootstrap(dprime, faces, names, seed=0, draws=200)
    >>> bool(low < dprime(faces, names) < high)
    True
    """
    _check_draws(draws)
    level = _checked_level(level)
    vectors = np.asarray(embeddings)
    person = labelled(vectors, identities).person
    names = np.asarray(identities, dtype=object)
    arrays = {name: np.asarray(values) for name, values in rows.items()}
    for name, values in arrays.items():
        if len(values) != len(person):
            raise ValueError(f"{name}: {len(values)} rows, but embeddings has {len(person)}")
    people = int(person.max()) + 1
    drawn = person_draws(people, draws, seed=seed)
    members = [np.flatnonzero(person == one) for one in range(people)]
    once = np.zeros(len(person), dtype=np.int64)
    measure = np.asarray(function(vectors, names, copies=once, **arrays), dtype=np.float64)
    if np.isnan(measure).any():
        raise ValueError("function: NaN for the data")
    samples = []
    for draw, times in enumerate(drawn):
        chosen = [(one, copy) for one in range(people) for copy in range(times[one])]
        at = np.concatenate([members[one] for one, _ in chosen])
        copies = np.repeat([copy for _, copy in chosen], [len(members[one]) for one, _ in chosen])
        of_draw = {name: values[at] for name, values in arrays.items()}
        try:
            value = function(vectors[at], names[at], copies=copies, **of_draw)
        except NotSupportedError as error:
            raise NotSupportedError(f"draw {draw} of {draws}: {error}") from None
        samples.append(np.asarray(value, dtype=np.float64))
        if np.isnan(samples[-1]).any():
            raise ValueError(f"function: NaN in draw {draw} of {draws}")
    return shifted_interval(measure, np.stack(samples), level)


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, which keeps its width near 0 and 1.

    For independent trials. The project's protocol uses it where a share is within 2 % of 0 or 1,
    where a bootstrap sees too few failures (or none) to tell.

    Args:
        successes: 0 to ``trials``.
        trials: at least 1.
        level: coverage of the interval, above 0 and below 1.

    Returns:
        Lower and upper end, 0–1.

    Raises:
        ValueError: a number out of range.

    (p + z^2 / 2n ± z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n) with p = successes / n and
    z the normal quantile at (1 + level) / 2 (Wilson 1927, Probable Inference, the Law of
    Succession, and Statistical Inference); scipy's ``proportion_ci``.

    >>> low, high = wilson_interval(80, 80)
    >>> round(low, 3), round(high, 3)
    (0.954, 1.0)
    """
    if trials < 1:
        raise ValueError(f"trials: expected at least 1, got {trials}")
    if not 0 <= successes <= trials:
        raise ValueError(f"successes: expected 0 to {trials}, got {successes}")
    level = _checked_level(level)
    interval = stats.binomtest(int(successes), int(trials)).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def share_interval(
    right: ArrayLike,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 2000,
    *,
    seed: int,
) -> tuple[float, float]:
    """Interval of a share of faces, in which faces of one person are not independent.

    A bootstrap over persons; where the share is within :data:`NEAR` of 0 or 1, so that samples
    hardly differ, Wilson's interval with as many trials as the faces are worth: n_eff =
    p (1 - p) / v, with v the variance of the share over persons (at most all faces), and as many
    as there are persons where all faces are alike (Korn and Graubard 1998, Confidence Intervals
    for Proportions with Small Expected Number of Positive Counts Estimated from Survey Data;
    there with Clopper and Pearson's interval).

    Args:
        right: [F] bool.
        groups: [F] the person of each; None: each is one.
        level: coverage, above 0 and below 1.
        draws: of the bootstrap.
        seed: of the draws.

    Returns:
        Lower and upper end in 0-1; NaN and NaN with a single person.

    Raises:
        ValueError: see :func:`bootstrap_interval`.

    >>> low, high = share_interval(np.ones(80, bool), np.arange(80) // 4, seed=0)
    >>> round(low, 3), round(high, 3)  # of 20 persons, all right
    (0.839, 1.0)
    """
    values = checked_values("right", right).astype(bool)
    share = float(values.mean())
    if NEAR < share < 1 - NEAR:
        return bootstrap_interval(values, groups=groups, draws=draws, level=level, seed=seed)
    unit = _units(groups, "right", values)
    size = np.bincount(unit)
    people = len(size)
    if people < 2:
        return np.nan, np.nan
    off = np.bincount(unit, weights=values - share)  # of each person's sum from what was expected
    variance = people / (people - 1) * (off @ off) / len(values) ** 2
    alike = share in (0.0, 1.0)
    worth = float(people)
    if not alike:
        worth = float(np.minimum(len(values), share * (1 - share) / np.maximum(variance, 1e-12)))
    # Written out, as scipy's interval takes whole trials alone.
    z = stats.norm.ppf((1 + _checked_level(level)) / 2)
    centre = (share + z**2 / (2 * worth)) / (1 + z**2 / worth)
    half = z * np.sqrt(share * (1 - share) / worth + z**2 / (4 * worth**2)) / (1 + z**2 / worth)
    # Rounding must not leave the share itself outside.
    return float(min(max(0.0, centre - half), share)), float(max(min(1.0, centre + half), share))


def mcnemar_exact(correct_a: ArrayLike, correct_b: ArrayLike) -> float:
    """McNemar's exact test of two systems on the same photos: do they err equally often?

    Only photos that one system gets right and the other wrong tell them apart; if the systems
    were equally good, each such photo would be a toss of a fair coin. The photos must be
    independent; where a person has several, ``sign_flip_test`` over persons is the one to read.

    Args:
        correct_a: [P] bool.
        correct_b: [P] bool, of the same photos in the same order.

    Returns:
        Two-sided p in 0–1; 1 when the systems are right on the same photos.

    Raises:
        ValueError: no photos, or lengths that differ.

    McNemar 1947; exact form: Agresti 2013, Categorical Data Analysis, section 11.1. The thesis
    reports 639 against 635 right of 651 photos, but not which: at one extreme every mistake of
    the better system is also one of the other, at the other extreme they share none. Neither is a
    difference at the 5 % level.

    >>> photo = np.arange(651)
    >>> joint = photo >= 12
    >>> mcnemar_exact(joint, photo >= 16)
    0.125
    >>> round(mcnemar_exact(joint, (photo < 12) | (photo >= 28)), 3)
    0.572
    """
    a = checked_values("correct_a", correct_a).astype(bool)
    b = checked_values("correct_b", correct_b).astype(bool)
    check_same_length("correct_b", b, "correct_a", a)
    only_a = int((a & ~b).sum())
    only_b = int((b & ~a).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b).pvalue)


def sign_flip_test(
    differences: ArrayLike,
    groups: ArrayLike | None = None,
    draws: int = 9999,
    *,
    seed: int,
) -> float:
    """Sign-flip test of two systems on the same faces: is the mean difference 0?

    If the systems were equally good, they could be exchanged for any one person without changing
    what is likely, and that person's differences would change their sign, all together. The
    observed mean difference is compared with those of all sign patterns, or of random ones where
    there are more than ``draws`` (``scipy.stats.permutation_test``).

    Args:
        differences: [F] float, system A's value less system B's, one per face or person.
        groups: [F] the person of each difference; None: each is a person.
        draws: most sign patterns looked at.
        seed: of the random ones.

    Returns:
        Two-sided p, above 0 and at most 1; exact where ``2 ** persons <= draws``, else at least
        2 / (draws + 1).

    Raises:
        ValueError: no differences, NaN, ``groups`` of another length or with missing entries,
            ``draws`` below 1.

    p = 2 min(P(T >= t), P(T <= t)), at most 1, with T the mean difference under random signs and
    t the one observed; random patterns count the observed one among them (Phipson & Smyth 2010,
    Permutation P-values Should Never Be Zero). The project's protocol, Experiment 1.

    >>> sign_flip_test([0.2, 0.1, 0.3, 0.1, 0.2, 0.4], seed=0)  # 2 of 64 sign patterns
    0.03125
    """
    array = checked_values("differences", differences)
    _check_draws(draws)
    unit = _units(groups, "differences", array)
    total = np.bincount(unit, weights=array)  # their sum is the mean difference times a constant
    if len(total) == 1:
        return 1.0  # either sign is as likely
    return float(
        stats.permutation_test(
            (total,),
            np.sum,
            permutation_type="samples",
            vectorized=True,
            n_resamples=draws,
            batch=max(1, _BLOCK // len(total)),
            rng=seeds.generator(seed, "sign_flip"),
        ).pvalue
    )


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjustment of the p-values of several tests read together.

    Rejecting the tests whose adjusted p is at most alpha keeps the chance of any false rejection
    among them at most alpha, however the tests depend on each other.

    Args:
        p_values: [T] float in 0–1.

    Returns:
        Adjusted p-values [T] float64, in the order given, at most 1.

    Raises:
        ValueError: none, NaN, or one outside 0–1.

    In order of rising p: the largest of (T - i + 1) p_i so far (Holm 1979, A Simple Sequentially
    Rejective Multiple Test Procedure).

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = checked_values("p_values", p_values).astype(np.float64)
    if ((p < 0) | (p > 1)).any():
        raise ValueError(f"p_values: expected 0 to 1, got {p[(p < 0) | (p > 1)][0]}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order])
    return np.minimum(adjusted, 1.0)


def shuffled(identities: Sequence[str], *, seed: int) -> NDArray[Any]:
    """The same names in random order: the control on which every measure must give chance.

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
    names = checked_identities(identities, len(identities))
    return seeds.generator(seed, "shuffled").permutation(names)
