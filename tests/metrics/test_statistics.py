"""Intervals, tests and the adjustment of several."""

import itertools
import math
import time

import naive
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from thesislib import seeds
from thesislib.metrics.statistics import (
    bootstrap_interval,
    holm,
    mcnemar_exact,
    share_interval,
    sign_flip_test,
    wilson_interval,
)

DTYPES = (np.float32, np.float64)
UNIT = st.floats(0, 1, allow_subnormal=False)


# bootstrap_interval


def naive_bootstrap(values, groups, draws, level, seed):
    """The library's random numbers; all that follows from them is done anew."""
    rng = seeds.generator(seed, "bootstrap")
    units = list(dict.fromkeys(groups))
    drawn_means = []
    for _ in range(draws):
        drawn = []
        for unit in rng.integers(len(units), size=len(units)):
            drawn += [v for v, g in zip(values, groups, strict=True) if g == units[unit]]
        drawn_means.append(float(naive.mean(drawn)))
    drawn_means.sort()

    def percentile(share):
        at = share * (draws - 1)
        below, part = int(at), at - int(at)
        return drawn_means[below] * (1 - part) + drawn_means[min(below + 1, draws - 1)] * part

    return percentile((1 - level) / 2), percentile((1 + level) / 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("grouped", [False, True])
def test_bootstrap_of_the_mean_is_the_loop(dtype, grouped):
    rng = np.random.default_rng(6)
    values = rng.uniform(0, 1, 40).astype(dtype)
    groups = rng.choice(["001", "NA", "Анна Ким", "d", "e", "f"], 40) if grouped else np.arange(40)
    found = bootstrap_interval(
        values, groups=groups if grouped else None, draws=150, level=0.9, seed=1
    )
    expected = naive_bootstrap(values.tolist(), groups.tolist(), 150, 0.9, seed=1)
    assert found == pytest.approx(expected, rel=1e-6)
    assert found[0] < values.mean() < found[1]


@pytest.mark.parametrize("method", ["percentile", "BCa"])
def test_bootstrap_of_any_statistic_is_that_of_the_mean(method):
    rng = np.random.default_rng(6)
    values, groups = rng.uniform(0, 1, 60), rng.integers(0, 9, 60)
    options = {"groups": groups, "draws": 300, "method": method, "seed": 1}
    fast = bootstrap_interval(values, **options)
    slow = bootstrap_interval(values, lambda v: sum(v) / len(v), **options)
    assert fast == pytest.approx(slow, rel=1e-9)
    low, high = bootstrap_interval(values, np.median, draws=300, seed=1)
    assert low < np.median(values) < high


def test_bca_is_the_formula():
    """Efron & Tibshirani 1993, equations 14.9, 14.10, 14.14 and 14.15, with loops."""
    from scipy.stats import norm

    values, draws, seed = np.random.default_rng(3).exponential(size=25), 400, 7
    rng = seeds.generator(seed, "bootstrap")
    means = [values[rng.integers(25, size=25)].mean() for _ in range(draws)]
    left_out = [np.delete(values, one).mean() for one in range(25)]
    cubes = sum((np.mean(left_out) - one) ** 3 for one in left_out)
    squares = sum((np.mean(left_out) - one) ** 2 for one in left_out)
    acceleration = cubes / (6 * squares**1.5)
    below = sum(one < values.mean() for one in means) + sum(one == values.mean() for one in means)
    bias = norm.ppf((below + sum(one < values.mean() for one in means)) / (2 * draws))
    shares = []
    for z in norm.ppf([0.025, 0.975]):
        shares.append(norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z))))
    expected = np.quantile(means, shares)
    found = bootstrap_interval(values, draws=draws, method="BCa", seed=seed)
    assert found == pytest.approx(expected, rel=1e-6)
    assert found != pytest.approx(bootstrap_interval(values, draws=draws, seed=seed), rel=1e-3)


def test_bootstrap_draws_the_faces_of_a_unit_together():
    # Each person is all right or all wrong: 10 persons of 50 faces know no more than 10 faces do.
    values = np.repeat([True, False] * 5, 50)
    together = bootstrap_interval(values, groups=np.repeat(np.arange(10), 50), seed=0)
    apart = bootstrap_interval(values, seed=0)
    assert np.diff(together) > 4 * np.diff(apart)
    assert together == pytest.approx(bootstrap_interval(values[::50], seed=0))


def test_bootstrap_depends_on_seed_and_level():
    values = np.random.default_rng(7).uniform(0, 1, 40)
    interval = bootstrap_interval(values, seed=0)
    assert interval == bootstrap_interval(values, seed=0)
    assert interval != bootstrap_interval(values, seed=1)
    narrow = bootstrap_interval(values, level=0.5, seed=0)
    assert interval[0] < narrow[0] < narrow[1] < interval[1]
    assert bootstrap_interval([1, 1, 1], seed=0) == (1, 1)


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_a_single_unit_has_no_interval():
    assert np.isnan(bootstrap_interval([0.5], seed=0)).all()
    assert np.isnan(bootstrap_interval([0.5, 0.7], groups=["ann", "ann"], seed=0)).all()
    with pytest.warns(RuntimeWarning, match="BCa confidence interval cannot be calculated"):
        assert np.isnan(bootstrap_interval([1, 1, 1], method="BCa", seed=0)).all()


@pytest.mark.parametrize("method", ["percentile", "BCa"])
def test_bootstrap_covers_the_truth_about_as_often_as_it_says(method):
    """30 persons with one to five faces each, whose faces agree more than those of two people."""
    rng = np.random.default_rng(8)
    covered = 0
    for trial in range(150):
        person = np.repeat(np.arange(30), rng.integers(1, 6, 30))
        values = rng.normal(size=30)[person] + 0.3 * rng.normal(size=len(person))
        low, high = bootstrap_interval(values, groups=person, draws=300, method=method, seed=trial)
        covered += low <= 0 <= high
    assert 0.87 <= covered / 150 <= 0.99


def test_bootstrap_of_many_faces_is_quick_and_fits_in_memory():
    rng = np.random.default_rng(9)
    values, groups = rng.random(5000), rng.integers(0, 400, 5000)
    start = time.process_time()
    bootstrap_interval(values, groups=groups, seed=0)
    assert time.process_time() - start < 0.5
    # More units than are drawn at a time, so that the draws come in several parts.
    low, high = bootstrap_interval(np.tile([0.0, 1.0], 50_000), draws=100, seed=0)
    assert 0.49 < low < 0.5 < high < 0.51


@settings(max_examples=50)
@given(st.lists(st.tuples(UNIT, st.integers(0, 4)), min_size=3, max_size=20), st.data())
def test_bootstrap_interval_holds_the_mean_and_moves_with_the_values(rows, data):
    values, groups = (np.array(column) for column in zip(*rows, strict=True))
    assume(len(set(groups)) > 1)
    low, high = bootstrap_interval(values, groups=groups, draws=200, seed=0)
    mean = values.mean()
    assert values.min() - 1e-12 <= low <= mean + 1e-12 and mean - 1e-12 <= high
    assert high <= values.max() + 1e-12
    scale, shift = data.draw(st.sampled_from([0.5, 3.0])), data.draw(st.sampled_from([-1.0, 2.0]))
    moved = bootstrap_interval(scale * values + shift, groups=groups, draws=200, seed=0)
    assert moved == pytest.approx((scale * low + shift, scale * high + shift), abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": []}, "^values: empty"),
        ({"values": [0.5, np.nan]}, "^values: NaN"),
        ({"values": [[0.5]]}, "^values: expected one dimension"),
        ({"values": ["a", "b"]}, "^values: expected real numbers, got <U1"),
        ({"groups": ["a"]}, "^groups: 1 entries, but values has 2"),
        ({"groups": [np.nan, 1.0]}, "^groups: NaN"),
        ({"groups": np.array(["a", None], object)}, "^groups: entry 1 is missing"),
        ({"draws": 0}, "^draws: expected at least 1, got 0"),
        ({"level": 1}, "^level: expected above 0 and below 1, got 1"),
    ],
)
def test_bootstrap_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(**({"values": [0.5, 1.0], "seed": 0} | arguments))


# wilson_interval


def naive_wilson(successes, trials, z):
    share = successes / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return middle - half / (1 + z**2 / trials), middle + half / (1 + z**2 / trials)


@pytest.mark.parametrize(("level", "z"), [(0.95, 1.959963985), (0.9, 1.644853627)])
def test_wilson_is_the_formula(level, z):
    for trials in (1, 2, 7, 80, 651):
        for successes in {0, 1, trials // 2, trials - 1, trials}:
            expected = naive_wilson(successes, trials, z)
            assert wilson_interval(successes, trials, level) == pytest.approx(expected, abs=1e-8)


@given(st.integers(1, 1000), st.data())
def test_wilson_holds_the_share_and_mirrors(trials, data):
    successes = data.draw(st.integers(0, trials))
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    assert low < high
    assert wilson_interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low))


def test_wilson_refuses():
    with pytest.raises(ValueError, match=r"^trials: expected at least 1, got 0"):
        wilson_interval(0, 0)
    for successes in (-1, 6):
        with pytest.raises(ValueError, match=rf"^successes: expected 0 to 5, got {successes}"):
            wilson_interval(successes, 5)
    with pytest.raises(ValueError, match=r"^level: expected above 0 and below 1, got 0"):
        wilson_interval(1, 5, level=0)


# mcnemar_exact


# share_interval


def test_away_from_the_ends_a_share_has_the_bootstraps_interval():
    rng = np.random.default_rng(2)
    right, person = rng.uniform(size=200) < 0.8, np.arange(200) // 4
    assert share_interval(right, person, seed=1) == bootstrap_interval(right, groups=person, seed=1)


@pytest.mark.parametrize("wrong", [1, 2, 3])
def test_near_the_ends_it_is_wilsons_with_as_many_trials_as_the_faces_are_worth(wrong):
    right = np.ones(400, bool)
    right[:wrong] = False  # all of one person
    person = [f"p{at // 8}" for at in range(400)]
    share, people = 1 - wrong / 400, 50
    squares = 0.0
    for name in set(person):
        own = [r for r, who in zip(right, person, strict=True) if who == name]
        squares += (sum(own) - share * len(own)) ** 2
    variance = people / (people - 1) * squares / 400**2
    worth = min(400, share * (1 - share) / variance)
    z = 1.959963984540054
    middle = (share + z * z / (2 * worth)) / (1 + z * z / worth)
    root = math.sqrt(share * (1 - share) / worth + z * z / (4 * worth**2))
    half = z * root / (1 + z * z / worth)
    low, high = share_interval(right, person, seed=0)
    assert (low, high) == (pytest.approx(middle - half), pytest.approx(middle + half))
    mirrored = share_interval(~right, person, seed=0)
    assert mirrored == (pytest.approx(1 - high), pytest.approx(1 - low))


def test_where_every_face_is_a_person_it_is_wilsons():
    right = np.arange(500) >= 3
    # The variance is that of a sample, n / (n - 1) times the share's own.
    low, high = share_interval(right, seed=0)
    assert (low, high) == (
        pytest.approx(wilson_interval(497, 500)[0], abs=1e-4),
        pytest.approx(wilson_interval(497, 500)[1], abs=1e-4),
    )


def test_all_right_is_as_sure_as_there_are_people():
    low, high = share_interval(np.ones(400), np.arange(400) // 8, seed=0)
    assert (low, high) == (pytest.approx(wilson_interval(50, 50)[0]), 1.0)
    assert np.isnan(share_interval(np.ones(4), ["a"] * 4, seed=0)).all()


def test_near_the_ends_a_share_is_covered_about_as_often_as_it_says():
    """People of 8 faces each, all right or all wrong, 99 % of them right."""
    rng, held = np.random.default_rng(5), 0
    for _ in range(400):
        right = (rng.uniform(size=150) < 0.99).repeat(8)
        low, high = share_interval(right, np.arange(1200) // 8, seed=0)
        held += low <= 0.99 <= high
    assert 0.9 <= held / 400 <= 1


def test_mcnemar_is_the_count_of_all_coin_tosses():
    rng = np.random.default_rng(10)
    for _ in range(20):
        a, b = rng.random(12) < 0.5, rng.random(12) < 0.7
        only_a = sum(x and not y for x, y in zip(a, b, strict=True))
        tosses = only_a + sum(y and not x for x, y in zip(a, b, strict=True))
        distance, extreme = abs(2 * only_a - tosses), 0
        for toss in itertools.product([0, 1], repeat=int(tosses)):
            extreme += abs(2 * sum(toss) - tosses) >= distance
        assert mcnemar_exact(a, b) == pytest.approx(extreme / 2**tosses)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_mcnemar_is_symmetric_and_sees_only_what_differs(rows):
    a, b = (np.array(column) for column in zip(*rows, strict=True))
    p = mcnemar_exact(a, b)
    assert 0 < p <= 1
    assert p == mcnemar_exact(b, a)
    assert p == mcnemar_exact(np.append(a, [True, False]), np.append(b, [True, False]))


def test_mcnemar_of_systems_right_on_the_same_photos():
    assert mcnemar_exact([True, False], [True, False]) == 1


def test_mcnemar_refuses_other_photos():
    with pytest.raises(ValueError, match=r"^correct_b: 1 entries, but correct_a has 2"):
        mcnemar_exact([True, False], [True])
    with pytest.raises(ValueError, match=r"^correct_a: empty"):
        mcnemar_exact([], [])


def test_the_thesis_accuracies_differ_at_no_overlap_of_mistakes():
    photo = np.arange(651)
    joint = photo >= 12  # 639 right
    for shared in range(13):
        two_stage = (photo < 12 - shared) | (photo >= 28 - shared)
        assert two_stage.sum() == 635
        assert mcnemar_exact(joint, two_stage) > 0.05


# sign_flip_test


def naive_sign_flip(differences, groups):
    totals = {}
    for value, group in zip(differences, groups, strict=True):
        totals[group] = totals.get(group, 0) + value
    observed, extreme = sum(totals.values()), 0
    patterns = list(itertools.product([-1, 1], repeat=len(totals)))
    for signs in patterns:
        flipped = sum(sign * total for sign, total in zip(signs, totals.values(), strict=True))
        extreme += abs(flipped) >= abs(observed) - 1e-9
    return extreme / len(patterns)


@pytest.mark.parametrize("grouped", [False, True])
def test_sign_flip_test_is_the_count_of_all_patterns(grouped):
    rng = np.random.default_rng(11)
    for _ in range(20):
        differences = rng.choice([-1.0, 0.0, 1.0, 0.25], 10, p=[0.1, 0.3, 0.3, 0.3])
        groups = rng.choice(["001", "NA", "c", "d", "e"], 10) if grouped else np.arange(10)
        p = sign_flip_test(differences, groups if grouped else None, seed=0)
        assert p == pytest.approx(naive_sign_flip(differences, groups.tolist()))


def test_sign_flip_test_of_many_persons_is_near_the_exact_one():
    differences = np.random.default_rng(12).normal(0.5, 1, 12)
    exact = sign_flip_test(differences, draws=5000, seed=0)
    assert exact == pytest.approx(naive_sign_flip(differences, range(12)))
    drawn = [sign_flip_test(differences, draws=4000, seed=seed) for seed in range(10)]
    assert len(set(drawn)) > 1  # not all patterns were looked at
    assert np.mean(drawn) == pytest.approx(exact, rel=0.1)
    assert sign_flip_test(differences, draws=4000, seed=3) == drawn[3]
    # The smallest p that 999 random patterns can give.
    assert sign_flip_test(np.ones(60), draws=999, seed=0) == pytest.approx(2 / 1000)


def test_sign_flip_test_agrees_with_mcnemar_where_a_person_has_one_photo():
    rng = np.random.default_rng(13)
    for _ in range(10):
        a, b = rng.random(12) < 0.5, rng.random(12) < 0.8
        p = sign_flip_test(a.astype(float) - b, seed=0)
        assert p == pytest.approx(mcnemar_exact(a, b))


@settings(max_examples=50)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8), st.sampled_from([0.5, 4.0]))
def test_sign_flip_test_knows_neither_sign_nor_scale(differences, scale):
    values = np.array(differences, float)
    p = sign_flip_test(values, seed=0)
    assert 0 < p <= 1
    assert sign_flip_test(-scale * values, seed=0) == pytest.approx(p)
    # Persons between whom there is no difference change nothing.
    assert sign_flip_test(np.append(values, 0), seed=0) == pytest.approx(p)


def test_sign_flip_test_of_no_difference_and_of_one_person():
    assert sign_flip_test([0.0, 0.0, 0.0], seed=0) == 1
    assert sign_flip_test([0.3], seed=0) == 1
    assert sign_flip_test([0.3, 0.4], ["ann", "ann"], seed=0) == 1


def test_sign_flip_test_is_right_as_often_as_it_says_where_persons_have_several_faces():
    """Under no difference, a p below 0.1 comes in a tenth of the trials; by face in far more."""
    rng = np.random.default_rng(14)
    person = np.repeat(np.arange(20), 5)
    low, low_by_face = 0, 0
    for trial in range(200):
        values = rng.normal(size=20)[person] + 0.2 * rng.normal(size=100)
        low += sign_flip_test(values, person, draws=199, seed=trial) <= 0.1
        low_by_face += sign_flip_test(values, draws=199, seed=trial) <= 0.1
    assert 0.04 <= low / 200 <= 0.17
    assert low_by_face / 200 > 0.3


def test_sign_flip_test_refuses():
    with pytest.raises(ValueError, match=r"^differences: empty"):
        sign_flip_test([], seed=0)
    with pytest.raises(ValueError, match=r"^differences: NaN"):
        sign_flip_test([np.nan], seed=0)
    with pytest.raises(ValueError, match=r"^groups: 1 entries, but differences has 2"):
        sign_flip_test([0.5, 0.5], ["ann"], seed=0)
    with pytest.raises(ValueError, match=r"^draws: expected at least 1, got 0"):
        sign_flip_test([0.5, 0.5], draws=0, seed=0)


# holm


def naive_holm(p_values):
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    left = list(range(len(p_values)))
    while left:
        smallest = min(left, key=lambda at: p_values[at])
        highest = max(highest, len(left) * p_values[smallest])
        adjusted[smallest] = min(1.0, highest)
        left.remove(smallest)
    return adjusted


def test_holm_is_the_loop():
    rng = np.random.default_rng(15)
    for _ in range(50):
        p = rng.choice([0.001, 0.01, 0.02, 0.04, 0.3, 1.0], int(rng.integers(1, 9)))
        np.testing.assert_allclose(holm(p), naive_holm(p.tolist()), rtol=1e-12)


@given(st.lists(UNIT, min_size=1, max_size=12), st.data())
def test_holm_keeps_the_order_and_never_lowers_a_p(p_values, data):
    p = np.array(p_values)
    adjusted = holm(p)
    assert (adjusted >= p).all() and (adjusted <= 1).all()
    assert (adjusted <= np.minimum(1, len(p) * p)).all()  # never beyond Bonferroni's
    order = np.array(data.draw(st.permutations(range(len(p)))))
    np.testing.assert_array_equal(holm(p[order]), adjusted[order])
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()


def test_holm_refuses():
    with pytest.raises(ValueError, match=r"^p_values: empty"):
        holm([])
    with pytest.raises(ValueError, match=r"^p_values: NaN"):
        holm([0.5, np.nan])
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match=rf"^p_values: expected 0 to 1, got {wrong}"):
            holm([0.5, wrong])
