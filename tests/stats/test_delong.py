"""The interval of AUROC against a brute-force variance, a bootstrap, exact probabilities and its coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from invaudit.stats import auroc, auroc_interval, bootstrap_auroc, resample_images

Z = 1.959963984540054


def brute_force(x, y):
    """Value and variance from the table of all pairs."""
    wins = (y[:, None] > x[None, :]) + 0.5 * (y[:, None] == x[None, :])
    return wins.mean(), wins.mean(1).var(ddof=1) / len(y) + wins.mean(0).var(ddof=1) / len(x)


@pytest.mark.parametrize("decimals", [0, 1, 12])
@pytest.mark.parametrize(("n_id", "n_ood"), [(2, 9), (40, 25), (300, 500)])
def test_equals_the_placement_formula(n_id, n_ood, decimals):
    rng = np.random.default_rng(n_id)
    x, y = rng.normal(size=n_id).round(decimals), rng.normal(0.4, 2, size=n_ood).round(decimals)
    value, variance = brute_force(x, y)
    half = Z * np.sqrt(variance) / (value * (1 - value))
    estimate = auroc_interval(x, y)
    assert estimate.value == auroc(x, y) == pytest.approx(value, abs=1e-12)
    assert (estimate.low, estimate.high) == pytest.approx((expit(logit(value) - half), expit(logit(value) + half)))
    assert (estimate.n, estimate.method) == (n_id + n_ood, "DeLong, logit scale")


def test_agrees_with_the_bootstrap():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=400).round(1), rng.normal(1, 1, size=600).round(1)
    resampled = bootstrap_auroc(x, y, *(resample_images(n, rng, n_draws=4000) for n in (400, 600)))
    estimate = auroc_interval(x, y)
    assert estimate.value == pytest.approx(roc_auc_score(np.repeat([0, 1], [400, 600]), np.r_[x, y]), abs=1e-12)
    assert estimate.high - estimate.low == pytest.approx(2 * Z * resampled.std(ddof=1), rel=0.05)


@pytest.mark.parametrize(("mean", "theta"), [(1.0, 0.7602499), (2.7718, 0.975)])
def test_covers_the_true_value(mean, theta):
    rng = np.random.default_rng(6)
    estimates = [auroc_interval(rng.normal(size=100), rng.normal(mean, size=150)) for _ in range(1500)]
    assert np.mean([e.low <= theta <= e.high for e in estimates]) == pytest.approx(0.95, abs=0.02)


def test_perfect_separation_has_an_exact_bound():
    up, down = auroc_interval(np.zeros(50), np.ones(80)), auroc_interval(np.ones(50), np.zeros(80))
    assert (up.value, up.high) == (1.0, 1.0)
    # The worst case for m = 50: each ID image lies beyond all OOD with probability 1 - low.
    assert up.low**50 == pytest.approx(0.025)
    assert (down.value, down.low, down.high) == (0.0, 0.0, 1 - up.low)
    assert up.method == down.method == "exact bound for perfect separation"


def test_the_bound_covers_in_its_worst_case():
    rng = np.random.default_rng(7)
    n, theta = 30, 0.025 ** (1 / 30) - 0.01
    strays = rng.random((4000, n)) > theta
    separated = [auroc_interval(np.where(stray, 2.0, 0.0), np.ones(60)).low for stray in strays if not stray.any()]
    assert len(separated) / 4000 <= 0.025
    assert min(separated) > theta


def test_equal_scores_have_an_exact_bound():
    estimate = auroc_interval(np.zeros(20), np.zeros(90))
    assert estimate.value == 0.5
    assert (2 * estimate.low) ** 20 == pytest.approx(0.025)
    assert estimate.low + estimate.high == pytest.approx(1)
    assert estimate.method == "exact bound for equal scores"


def test_one_image_on_a_side_says_nothing():
    estimate = auroc_interval([0.5], [0.1, 0.7, 0.9])
    assert (estimate.value, estimate.low, estimate.high) == (pytest.approx(2 / 3), 0.0, 1.0)


scores = st.lists(st.integers(0, 4), min_size=1, max_size=12)


@given(scores, scores)
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_never_of_zero_width_and_never_outside(x, y):
    estimate = auroc_interval(x, y)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.high - estimate.low > 0.05
