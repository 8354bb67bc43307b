"""Conformal p-values and thresholds: their definition, their agreement, their guarantee."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom, binom, norm

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats import conformal_p_values, conformal_threshold, false_alarm_band

PROPERTY = settings(max_examples=200, deadline=None, derandomize=True, database=None)
scores = st.lists(st.integers(0, 8), min_size=1, max_size=30)


@given(scores, scores)
@PROPERTY
def test_p_values_equal_the_definition(new, calibration):
    expected = [(1 + sum(c >= s for c in calibration)) / (len(calibration) + 1) for s in new]
    assert conformal_p_values(new, calibration).tolist() == expected


@given(scores, scores, st.floats(0.04, 0.99) | st.integers(4, 99).map(lambda percent: percent / 100))
@PROPERTY
def test_above_the_threshold_is_a_small_p_value(new, calibration, alpha):
    if alpha < 1 / (len(calibration) + 1):
        return
    rejected = np.array(new) > conformal_threshold(calibration, alpha)
    assert np.array_equal(rejected, conformal_p_values(new, calibration) <= alpha)


@pytest.mark.parametrize(("alpha", "k"), [(0.01, 2476), (0.05, 2376), (0.1, 2251)])
def test_rank_of_the_threshold(alpha, k):
    assert conformal_threshold(np.random.default_rng(0).permutation(np.arange(1, 2501)), alpha) == k


def test_rank_is_not_lost_to_rounding():
    # 0.29 * 100 is 28.999999999999996.
    assert conformal_threshold(np.arange(1, 100), 0.29) == 71


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_false_alarms_keep_their_promise(decimals):
    rng = np.random.default_rng(decimals)
    p = np.array([conformal_p_values(s[100:], s[:100])[0] for s in rng.normal(size=(4000, 101)).round(decimals)])
    for alpha in (0.02, 0.05, 0.1, 0.5):
        share, noise = np.mean(p <= alpha), 3 * np.sqrt(alpha * (1 - alpha) / 4000)
        assert share <= alpha + noise
        # Without ties the bound is kept no more tightly than needed.
        assert decimals < 9 or share >= alpha - 1 / 101 - noise


@pytest.mark.parametrize("decimals", [0, 9])
@pytest.mark.parametrize(("alpha", "delta"), [(0.05, 0.1), (0.2, 0.5), (0.1, 0.01)])
def test_with_delta_the_rate_holds_for_nearly_all_calibration_sets(alpha, delta, decimals):
    rng = np.random.default_rng(0)
    sets = [rng.normal(size=200).round(decimals) for _ in range(2000)]
    thresholds = np.array([conformal_threshold(one, alpha, delta) for one in sets])
    # P(round(Z) > t) = P(Z > t + half a step), since t is itself rounded.
    kept = norm.sf(thresholds + 0.5 * 10.0**-decimals) <= alpha
    assert kept.mean() >= 1 - delta - 4 * np.sqrt(delta * (1 - delta) / 2000)
    assert decimals or kept.mean() >= 1 - delta


@pytest.mark.parametrize(("n", "alpha", "delta"), [(100, 0.05, 0.1), (1000, 0.05, 0.05), (59, 0.05, 0.05)])
def test_with_delta_the_rank_is_the_smallest_that_a_binomial_allows(n, alpha, delta):
    # The rate is above alpha exactly if fewer than n - k + 1 of n uniform scores lie in the upper alpha.
    allowed = [k for k in range(1, n + 1) if binom.cdf(n - k, n, alpha) <= delta]
    assert conformal_threshold(np.arange(1, n + 1), alpha, delta) == min(allowed)


@pytest.mark.parametrize(("n", "m", "alpha"), [(1250, 1250, 0.05), (100, 50, 0.1), (19, 400, 0.05)])
def test_the_band_of_false_alarms_is_beta_binomial(n, m, alpha):
    rejected = int(alpha * (n + 1) + 1e-9)
    expected = betabinom(m, rejected, n + 1 - rejected)
    low, high = false_alarm_band(n, m, alpha)
    assert expected.cdf(round(low * m) - 1) <= 0.0005 < expected.cdf(round(low * m))
    assert expected.sf(round(high * m)) <= 0.0005 < expected.sf(round(high * m) - 1)


def test_with_delta_the_band_is_that_of_the_higher_threshold():
    rejected = 200 - int(conformal_threshold(np.arange(1, 201), 0.1, 0.05)) + 1
    low, high = false_alarm_band(200, 300, 0.1, 0.05)
    expected = betabinom(300, rejected, 201 - rejected)
    assert expected.cdf(round(low * 300) - 1) <= 0.0005 < expected.cdf(round(low * 300))
    assert expected.sf(round(high * 300)) <= 0.0005 < expected.sf(round(high * 300) - 1)
    assert high < false_alarm_band(200, 300, 0.1)[1]


def test_false_alarms_lie_in_their_band():
    rng, outside = np.random.default_rng(0), 0
    low, high = false_alarm_band(100, 200, 0.1, level=0.9)
    for _ in range(1000):
        scores = rng.normal(size=300)
        outside += not low <= np.mean(scores[100:] > conformal_threshold(scores[:100], 0.1)) <= high
    assert outside <= 100 + 4 * np.sqrt(90)
    with pytest.raises(SettingError, match="level"):
        false_alarm_band(100, 200, 0.1, level=1.0)


def test_too_few_images_for_delta_are_refused():
    assert conformal_threshold(np.arange(59.0), 0.05, 0.05) == 58.0
    with pytest.raises(SettingError, match="n = 58 calibration images"):
        conformal_threshold(np.arange(58.0), 0.05, 0.05)
    with pytest.raises(SettingError, match="delta"):
        conformal_threshold(np.arange(58.0), 0.05, 0.0)
    assert conformal_threshold(np.arange(10.0), 1 - 0.1 ** (1 / 10), 0.1) == 9.0


def test_the_smallest_alpha_is_the_smallest_p_value():
    calibration = np.arange(19.0)
    assert conformal_threshold(calibration, 1 / 20) == 18.0
    assert conformal_p_values([100.0, -1.0], calibration).tolist() == [1 / 20, 1.0]
    with pytest.raises(SettingError, match="n = 19 calibration images"):
        conformal_threshold(calibration, 0.049)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, np.nan])
def test_refuses_alpha_outside_its_range(alpha):
    with pytest.raises(SettingError, match="alpha"):
        conformal_threshold([1.0, 2.0], alpha)


def test_refuses_bad_scores():
    with pytest.raises(ShapeError, match="calibration is empty"):
        conformal_p_values([1.0], [])
    with pytest.raises(SettingError, match="scores has 1 of 1"):
        conformal_p_values([np.nan], [1.0])
