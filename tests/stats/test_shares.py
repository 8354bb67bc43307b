import numpy as np
import pytest
from scipy.stats import binomtest

from invaudit.runtime import SettingError, ShapeError
from invaudit.stats import change_of_share, counted_share, difference_of_changes, difference_of_shares


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 20), (20, 20), (3, 20), (17, 180), (999, 1000)])
def test_the_interval_is_that_of_scipy(hits, n):
    found = counted_share(hits, n)
    expected = binomtest(hits, n).proportion_ci(0.95, "exact")
    assert (found.value, found.n) == (hits / n, n)
    assert np.allclose((found.low, found.high), (expected.low, expected.high), rtol=1e-9)


@pytest.mark.parametrize(("hits", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(hits, n):
    with pytest.raises(SettingError, match="expected"):
        counted_share(hits, n)


def test_the_difference_of_shares_has_its_own_signs():
    found = difference_of_shares(counted_share(90, 100), counted_share(60, 100))
    assert found.value == pytest.approx(0.3)
    assert 0.15 < found.low < 0.3 < found.high < 0.45


@pytest.mark.parametrize(("kept", "gain", "loss"), [(0.6, 0.1, 0.1), (0.9, 0.02, 0.06), (0.5, 0.0, 0.3)])
def test_the_interval_of_a_change_covers_it(kept, gain, loss):
    rng, n, covered = np.random.default_rng(0), 60, 0
    for _ in range(1000):
        kind = rng.choice(4, size=n, p=[kept, gain, loss, 1 - kept - gain - loss])
        found = change_of_share((kind == 0) | (kind == 2), (kind == 0) | (kind == 1))
        assert found.low <= found.value <= found.high
        covered += found.low <= gain - loss <= found.high
    assert covered >= 930


def test_a_change_of_the_same_images_is_known_better_than_a_difference_of_others():
    before = np.arange(200) < 120
    after = before | (np.arange(200) < 130)
    found = change_of_share(before, after)
    apart = difference_of_shares(counted_share(130, 200), counted_share(120, 200))
    assert found.value == pytest.approx(apart.value)
    assert found.high - found.low < 0.5 * (apart.high - apart.low)
    nothing = change_of_share(before, before)
    assert nothing.low < nothing.value == 0.0 < nothing.high


def test_a_gap_may_change_by_more_than_1():
    n = np.ones(50, bool)
    found = difference_of_changes(change_of_share(~n, n), change_of_share(n, ~n))
    assert found.value == 2.0
    assert 1.8 < found.low < 2.0 <= found.high


@pytest.mark.parametrize(("before", "after"), [([], []), ([True], [True, False]), ([[True]], [[True]])])
def test_answers_that_are_no_pairs_are_refused(before, after):
    with pytest.raises(ShapeError, match="one truth value"):
        change_of_share(before, after)
