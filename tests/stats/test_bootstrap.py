"""Weighted AUROC against resampled arrays, and the behaviour of draws, combinations, intervals and p-values."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats import (
    SeedDraws,
    auroc,
    bootstrap_auroc,
    bootstrap_fpr95,
    combine,
    fpr95,
    percentile_interval,
    resample_images,
    resample_seeds,
    two_sided_p,
)


@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_weights_equal_resampled_arrays(decimals):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=60).round(decimals), rng.normal(0.5, 1, size=90).round(decimals)
    id_counts, ood_counts = (resample_images(n, rng, n_draws=40) for n in (60, 90))
    got = bootstrap_auroc(x, y, id_counts, ood_counts)
    for value, a, b in zip(got, id_counts.T, ood_counts.T, strict=True):
        again_x, again_y = np.repeat(x, a), np.repeat(y, b)
        assert value == auroc(again_x, again_y)
        is_ood = np.repeat([0, 1], [len(again_x), len(again_y)])
        assert value == pytest.approx(roc_auc_score(is_ood, np.r_[again_x, again_y]), abs=1e-12)


@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_weighted_fpr95_equals_that_of_resampled_arrays(decimals):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=60).round(decimals), rng.normal(1.5, 1, size=90).round(decimals)
    id_counts, ood_counts = (resample_images(n, rng, n_draws=40) for n in (60, 90))
    got = bootstrap_fpr95(x, y, id_counts, ood_counts)
    expected = [fpr95(np.repeat(x, a), np.repeat(y, b)) for a, b in zip(id_counts.T, ood_counts.T, strict=True)]
    assert got.tolist() == expected


def test_real_weights_equal_scikit_learn():
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 9, 50), rng.integers(2, 12, 30)
    a, b = rng.random((5, 50)), rng.random((5, 30)).astype(np.float32)
    expected = [
        roc_auc_score(np.repeat([0, 1], [50, 30]), np.r_[x, y], sample_weight=np.r_[a[i], b[i]]) for i in range(5)
    ]
    assert bootstrap_auroc(x, y, a.T, b.T) == pytest.approx(expected, abs=1e-6)


def test_many_resamples_equal_one_draw_at_a_time():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=30_000).round(2), rng.normal(size=20_000).round(2)
    counts = [resample_images(n, rng, n_draws=11) for n in (len(x), len(y))]
    whole = bootstrap_auroc(x, y, *counts)
    parts = [bootstrap_auroc(x, y, *(part[:, i : i + 1] for part in counts)) for i in range(11)]
    assert np.array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("n", [7, 40])
def test_resamples_are_multinomial_and_repeatable(n):
    counts, again = (resample_images(n, np.random.default_rng(4), n_draws=3000) for _ in range(2))
    assert counts.shape == (n, 3000)
    assert np.array_equal(counts, again)
    assert (counts.sum(axis=0) == n).all()
    assert counts.mean(axis=1) == pytest.approx(1, abs=0.1)
    assert counts.astype(float).var() == pytest.approx(1 - 1 / n, rel=0.05)


@pytest.mark.parametrize(
    ("a", "b", "error", "word"),
    [
        (np.ones((3, 2)), np.ones((9, 2)), ShapeError, r"ood_counts has shape \(9, 2\), expected \(4, 2\)"),
        (np.ones((2, 3)), np.ones((2, 4)), ShapeError, r"id_counts has shape \(2, 3\), expected \(3, B\)"),
        (np.ones((3, 2)), np.ones((4, 5)), ShapeError, r"expected \(4, 2\)"),
        (np.ones(3), np.ones((4, 2)), ShapeError, r"expected \(3, B\)"),
        (np.zeros((3, 2)), np.ones((4, 2)), SettingError, "id_counts"),
        (np.ones((3, 2)), np.ones((4, 2)) * [[1], [1], [1], [-1]], SettingError, "ood_counts"),
        (np.ones((3, 2)), np.full((4, 2), np.nan), SettingError, "ood_counts"),
    ],
)
def test_refuses_counts_that_do_not_fit(a, b, error, word):
    with pytest.raises(error, match=word):
        bootstrap_auroc(np.arange(3.0), np.arange(4.0), a, b)


def test_refuses_counts_below_one():
    rng = np.random.default_rng(0)
    for call in (
        lambda: resample_images(0, rng),
        lambda: resample_images(3, rng, n_draws=0),
        lambda: resample_seeds(0, rng),
        lambda: resample_seeds(5, rng, n_draws=0),
    ):
        with pytest.raises(SettingError, match="at least 1"):
            call()


def test_combine_is_mean_or_worst_per_seed_and_then_the_mean():
    values = np.array([[[0.9, 0.8], [0.7, 1.0]], [[0.5, 0.6], [0.6, 0.2]]])
    assert combine(values) == pytest.approx([0.675, 0.65])
    assert combine(values, over_sets="worst") == pytest.approx([(0.7 + 0.5) / 2, (0.8 + 0.2) / 2])
    weights = SeedDraws(np.array([[1.0, 0.0], [0.25, 0.75]]), "images and seeds")
    assert combine(values, over_sets="worst", seeds=weights) == pytest.approx([0.7, 0.25 * 0.8 + 0.75 * 0.2])


def test_combine_refuses_what_does_not_fit():
    rng = np.random.default_rng(0)
    with pytest.raises(ShapeError, match="values has shape"):
        combine(np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"\(B, S\) = \(4, 2\)"):
        combine(np.ones((2, 3, 4)), seeds=resample_seeds(2, rng, n_draws=9))
    with pytest.raises(SettingError, match="over_sets"):
        combine(np.ones((2, 3, 4)), over_sets="best")  # pyright: ignore[reportArgumentType]
    with pytest.raises(SettingError, match="NaN"):
        combine(np.full((1, 1, 1), np.nan))


def test_few_seeds_weigh_the_same():
    few = resample_seeds(4, np.random.default_rng(0), n_draws=6)
    assert few.over == "images"
    assert (few.weights == 0.25).all()
    assert few.weights.shape == (6, 4)


def test_resampled_seeds_follow_the_t_test():
    rng = np.random.default_rng(8)
    differences = rng.normal(0.6, 1, size=6)
    seeds = resample_seeds(6, rng, n_draws=40_000)
    resampled = combine(np.broadcast_to(differences[:, None, None], (6, 1, 40_000)), seeds=seeds)
    mean, error = differences.mean(), differences.std(ddof=1) / np.sqrt(6)
    assert seeds.over == "images and seeds"
    assert seeds.weights.sum(axis=1) == pytest.approx(1)
    assert two_sided_p(resampled) == pytest.approx(2 * stats.t.sf(abs(mean) / error, 5), rel=0.05)
    assert np.quantile(resampled, [0.025, 0.975]) == pytest.approx(stats.t.interval(0.95, 5, mean, error), abs=0.05)


def test_null_differences_are_rejected_no_more_often_than_promised():
    rng = np.random.default_rng(9)
    p = []
    for _ in range(300):
        ours, other = rng.normal(size=(2, 60)), rng.normal(1, 1, size=(2, 80))
        counts = [resample_images(n, rng, n_draws=400) for n in (60, 80)]
        a, b = (bootstrap_auroc(x, y, *counts) for x, y in zip(ours, other, strict=True))
        p.append(two_sided_p(a - b))
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_p_is_never_zero_and_sees_both_sides():
    assert two_sided_p(np.ones(999)) == two_sided_p(-np.ones(999)) == pytest.approx(2 / 1000)
    assert two_sided_p(np.zeros(99)) == 1.0
    assert two_sided_p([-1.0, 1.0, 1.0]) == 1.0
    assert two_sided_p(np.r_[-np.ones(4), np.ones(95)]) == pytest.approx(0.1)


def test_percentile_interval():
    estimate = percentile_interval(np.arange(1001.0), value=480.0, n=750, over="images and seeds")
    assert (estimate.low, estimate.value, estimate.high, estimate.n) == (25.0, 480.0, 975.0, 750)
    assert estimate.method == "percentile bootstrap over images and seeds"
