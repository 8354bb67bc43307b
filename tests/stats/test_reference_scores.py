"""Scores from reference models: formulas by hand, a case whose best AUROC is known, coins that say nothing."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, ndtr

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats import auroc, lira_offline, lira_online, offline_a, rmia
from invaudit.stats.reference_scores import moderated_variance

GAP, SPREAD = 1.0, 1.0
BEST = ndtr(GAP / (math.sqrt(2) * SPREAD))
"""AUROC of the likelihood ratio, the best test there is: two Gaussians around each image's own difficulty."""


def gaussian_case(seed, references, *, images=16_000, difficulty=-6.0, gap_spread=0.0):
    """Return answers of a target and its references, and who is a member: coins, noise, and a difficulty each.

    At log-odds around -6 probabilities are small, so that their logarithm, on which RMIA works, is Gaussian too.
    """
    rng = np.random.default_rng(seed)
    hard = difficulty + 2 * rng.normal(size=images)
    gap = GAP + gap_spread * rng.normal(size=images)
    member, coins = rng.random(images) < 0.5, rng.random((references, images)) < 0.5
    target = hard + gap * member + SPREAD * rng.normal(size=images)
    answers = hard + gap * coins + SPREAD * rng.normal(size=(references, images))
    return target, answers, coins, member


def area(score, member):
    return auroc(score[~member], score[member])


SCORES = {"lira-offline": lira_offline, "lira-online": lira_online, "rmia": rmia}


@pytest.mark.parametrize("name", SCORES)
def test_with_many_references_each_score_is_as_good_as_the_best_test(name):
    target, answers, coins, member = gaussian_case(0, 256)
    assert area(SCORES[name](target, answers, coins), member) == pytest.approx(BEST, abs=0.01)


@pytest.mark.parametrize(("name", "loss"), [("lira-offline", 0.05), ("lira-online", 0.03), ("rmia", 0.035)])
def test_with_four_references_little_is_lost(name, loss):
    # The figures are those of benchmarks/results/reference_scores.json, rounded up.
    target, answers, coins, member = gaussian_case(1, 4)
    found = area(SCORES[name](target, answers, coins), member)
    assert BEST - loss <= found < BEST
    assert found > area(target, member) + 0.05


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("swapped", ["target", "references"])
def test_coins_that_say_nothing_give_an_area_of_one_half(name, swapped):
    target, answers, coins, member = gaussian_case(2, 8)
    other = np.random.default_rng(3)
    if swapped == "target":
        member = other.random(len(member)) < 0.5
        assert area(SCORES[name](target, answers, coins), member) == pytest.approx(0.5, abs=0.01)
        return
    # A target that is like its references, none of which was trained on any of the images.
    answers -= GAP * coins
    target -= GAP * member
    assert area(SCORES[name](target, answers, other.random(coins.shape) < 0.5), member) == pytest.approx(0.5, abs=0.01)


def test_gaps_of_their_own_are_learned_where_there_are_references_enough():
    target, answers, coins, member = gaussian_case(4, 200, gap_spread=1.0, images=6_000)
    rng = np.random.default_rng(5)
    # What knows all means and the spread: the likelihood ratio on fresh draws of the same model.
    gap = GAP + rng.normal(size=100_000)
    inside = gap * (gap + rng.normal(size=100_000) - gap / 2)
    outside = gap * (rng.normal(size=100_000) - gap / 2)
    assert area(lira_online(target, answers, coins), member) == pytest.approx(auroc(outside, inside), abs=0.015)


def small_case(seed=0, references=5, images=7):
    rng = np.random.default_rng(seed)
    coins = rng.random((references, images)) < 0.5
    coins[:2], coins[2:4] = True, False  # both kinds, twice at least
    return rng.normal(size=images), rng.normal(size=(references, images)) + 3 * coins, coins


def test_rmia_is_its_formula():
    target, answers, coins = small_case()
    population, of_population = np.random.default_rng(1).normal(size=4), np.random.default_rng(2).normal(size=(5, 4))
    for gamma in (0.7, 1.0, 2.0):
        for a in (0.0, 0.3, 1.0):
            found = rmia(
                target, answers, np.zeros_like(coins), population=population, population_references=of_population,
                gamma=gamma, a=a,
            )  # fmt: skip
            for i in range(len(target)):
                count = 0
                for z in range(len(population)):
                    p_x = 0.5 * ((1 + a) * expit(answers[:, i]).mean() + 1 - a)
                    p_z = 0.5 * ((1 + a) * expit(of_population[:, z]).mean() + 1 - a)
                    count += (expit(target[i]) / p_x) / (expit(population[z]) / p_z) >= gamma
                assert found[i] == count / len(population)


def test_rmia_with_coins_takes_the_mean_of_both_sides_and_the_pool_as_population():
    target, answers, coins = small_case()
    ratios = []
    for i in range(len(target)):
        seen, unseen = expit(answers[coins[:, i], i]).mean(), expit(answers[~coins[:, i], i]).mean()
        ratios.append(expit(target[i]) / (0.5 * (seen + unseen)))
    expected = [np.mean([ratio / other >= 1.0 for other in ratios]) for ratio in ratios]
    assert rmia(target, answers, coins).tolist() == expected


def test_lira_is_its_formula_where_all_images_have_one_variance():
    """Variances that spread less than chance would have it make the prior infinite, and t the Gaussian."""
    rng = np.random.default_rng(3)
    answers, target = rng.normal(size=400) + np.array([[-0.9], [0.1], [1.0]]), rng.normal(size=400) + 1
    squares = ((answers - answers.mean(0)) ** 2).sum(0)
    variance, freedom = moderated_variance(squares, np.full(400, 2.0))
    assert np.isinf(freedom).all()
    assert variance == pytest.approx(squares.sum() / 800)
    found = lira_offline(target, answers, np.zeros(answers.shape, dtype=bool))
    for i in range(20):
        scale = math.sqrt(squares.sum() / 800 * (1 + 1 / 3))
        assert found[i] == pytest.approx(-stats.norm.logsf(target[i], answers[:, i].mean(), scale), rel=1e-9)


def test_lira_is_students_t_where_variances_differ():
    rng = np.random.default_rng(4)
    width = np.exp(rng.normal(size=500))
    answers, target = width * rng.normal(size=(6, 500)), rng.normal(size=500)
    squares = ((answers - answers.mean(0)) ** 2).sum(0)
    variance, freedom = moderated_variance(squares, np.full(500, 5.0))
    assert (freedom < 20).all()
    # Drawn towards the others, not to them.
    assert np.corrcoef(np.log(variance), np.log(width))[0, 1] > 0.8
    found = lira_offline(target, answers, np.zeros(answers.shape, dtype=bool))
    for i in range(20):
        scale = math.sqrt(variance[i] * (1 + 1 / 6))
        expected = stats.t.logsf(target[i], freedom[i], answers[:, i].mean(), scale)
        assert found[i] == pytest.approx(-expected, rel=1e-9)


def test_online_is_the_difference_of_two_log_densities():
    """Gaps that differ much between images leave each image its own means."""
    rng = np.random.default_rng(5)
    gap = 1e4 * rng.normal(size=300)
    coins = np.arange(8)[:, None] % 2 == np.zeros(300)
    answers = gap * coins + rng.normal(size=(8, 300))
    target = np.where(rng.random(300) < 0.5, gap, 0) + rng.normal(size=300)
    found = lira_online(target, answers, coins)
    densities = []
    for side in (coins, ~coins):
        own = answers[side].reshape(4, 300)
        squares = ((own - own.mean(0)) ** 2).sum(0)
        variance, freedom = moderated_variance(squares, np.full(300, 3.0))
        freedom = np.where(np.isinf(freedom), 1e12, freedom)
        densities.append(stats.t.logpdf(target, freedom, own.mean(0), np.sqrt(variance * 1.25)))
    assert found == pytest.approx(densities[0] - densities[1], rel=1e-3, abs=1e-3)


def test_the_prior_of_variances_is_found_again():
    """Degrees of freedom and centre of a scaled inverse chi-square, from which variances were drawn."""
    rng = np.random.default_rng(6)
    variances = 2.0 * 8 / rng.chisquare(8, size=50_000)
    variance, freedom = moderated_variance(variances * rng.chisquare(3, size=50_000), np.full(50_000, 3.0))
    assert freedom[0] - 3 == pytest.approx(8, rel=0.1)
    # The posterior mean of the precision of images of one variance is right on average.
    assert np.mean(1 / variance) == pytest.approx(np.mean(1 / variances), rel=0.02)


def test_images_with_references_of_one_side_have_scores_that_compare_with_the_rest():
    target, answers, coins, member = gaussian_case(7, 3)
    lonely = coins.all(0) | ~coins.any(0)
    assert 0.2 < lonely.mean() < 0.3
    for score in SCORES.values():
        values = score(target, answers, coins)
        assert np.isfinite(values).all()
        assert area(values[lonely], member[lonely]) > 0.68
        # Members with references of one side are no more suspect than others, nor are controls.
        for side in (member, ~member):
            assert auroc(values[side & ~lonely], values[side & lonely]) == pytest.approx(0.5, abs=0.05)


def test_one_reference_is_enough_for_the_offline_scores():
    target, answers, coins, member = gaussian_case(8, 1)
    nowhere = np.zeros_like(coins)
    answers -= GAP * coins
    assert area(lira_offline(target, answers, nowhere), member) > 0.68
    assert area(rmia(target, answers, nowhere, a=1.0), member) > 0.68


def test_answers_without_spread_or_far_out_give_finite_scores():
    coins = np.arange(6)[:, None] % 2 == np.zeros(4)
    for answers in (np.zeros((6, 4)), np.where(coins, 900.0, -900.0), np.arange(24.0).reshape(6, 4)):
        for score in SCORES.values():
            assert np.isfinite(score(np.array([-2000.0, 0.0, 0.5, 2000.0]), answers, coins)).all()


def test_scores_rise_with_the_targets_answer():
    _, answers, coins = small_case(9)
    low, high = np.full(7, -1.0), np.full(7, 1.0)
    assert (lira_offline(high, answers, coins) > lira_offline(low, answers, coins)).all()


def test_offline_a_is_the_share_that_stays_missing():
    rng = np.random.default_rng(10)
    outside = rng.random((50, 400))
    coins = rng.random((50, 400)) < 0.5
    p = np.where(coins, 0.25 * outside + 0.75, outside)
    assert offline_a(np.log(p / (1 - p)), coins) == pytest.approx(0.25, abs=0.01)
    assert offline_a(np.zeros((2, 3)), np.zeros((2, 3), dtype=bool)) == 0.3


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda t, r, c: lira_offline(t[:-1], r, c), ShapeError, "references has shape"),
        (lambda t, r, c: lira_offline(t, r, c[:-1]), ShapeError, "trained_on"),
        (lambda t, r, c: lira_offline(t, r, c.astype(int)), ShapeError, "trained_on is int64"),
        (lambda t, r, c: lira_offline(t, r * np.nan, c), SettingError, "NaN"),
        (lambda t, r, c: lira_offline(t, r, np.ones_like(c)), SettingError, "every reference was trained"),
        (lambda t, r, c: lira_online(t, r, np.zeros_like(c)), SettingError, "lira_offline"),
        (lambda t, r, c: rmia(t, r, c, gamma=0.0), SettingError, "gamma"),
        (lambda t, r, c: rmia(t, r, c, a=1.5), SettingError, "a is 1.5"),
        (lambda t, r, c: rmia(t, r, c, population=t), ShapeError, "both or neither"),
    ],
)
def test_bad_input_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call(*small_case())
