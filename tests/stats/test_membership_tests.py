"""Membership measures against scikit-learn, brute force and simulation; epsilon bounds against published values."""

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats import (
    Observational,
    Pairs,
    auroc,
    auroc_interval,
    epsilon_lower_bound,
    membership,
    membership_difference,
)


def pairs(n, rng):
    first = rng.integers(2, size=n).astype(bool)
    return Pairs(np.concatenate([first, ~first]), np.tile(np.arange(n), 2))


def observational(n, rng):
    return Observational(rng.permuted(np.arange(2 * n) < n), np.arange(2 * n) % 2)


DESIGNS = {"pairs": pairs, "observational": observational}


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("decimals", [0, 12])
def test_auroc_is_scikit_learns(name, decimals):
    rng = np.random.default_rng(0)
    design = DESIGNS[name](40, rng)
    scores = (rng.normal(size=80) + design.member).round(decimals)
    found = membership(scores, design, rng, draws=199)
    assert found.auroc == pytest.approx(roc_auc_score(design.member, scores))
    assert found.auroc_low < found.auroc < found.auroc_high
    assert found.tpr_at_fpr_1pct is None
    assert (found.epsilon_lower is None) is (name == "observational")


def test_p_value_agrees_with_brute_force():
    rng = np.random.default_rng(1)
    design = pairs(6, rng)
    scores = (rng.normal(size=12) + 0.5 * design.member).round(1)
    every = []
    for swaps in itertools.product([False, True], repeat=6):
        labels = np.where(np.tile(swaps, 2), ~design.member, design.member)
        every.append(roc_auc_score(labels, scores))
    exact = np.mean(np.array(every) >= roc_auc_score(design.member, scores) - 1e-12)
    found = membership(scores, design, rng, draws=20_000).p_value
    assert found == pytest.approx(exact, abs=5 * np.sqrt(exact * (1 - exact) / 20_000))


def test_p_value_of_one_stratum_is_the_rank_sum_test():
    rng = np.random.default_rng(2)
    member = np.arange(60) < 25
    scores = rng.normal(size=60) + 0.4 * member
    exact = stats.mannwhitneyu(scores[member], scores[~member], alternative="greater", method="exact").pvalue
    found = membership(scores, Observational(member, np.zeros(60, dtype=int)), rng, draws=20_000).p_value
    assert found == pytest.approx(exact, abs=5 * np.sqrt(exact * (1 - exact) / 20_000))


def test_images_by_themselves_give_delongs_interval():
    rng = np.random.default_rng(3)
    design = observational(50, rng)
    scores = rng.normal(size=100) + design.member
    expected = auroc_interval(scores[~design.member], scores[design.member])
    found = membership(scores, design, rng, draws=9)
    assert (found.auroc_low, found.auroc_high) == pytest.approx((expected.low, expected.high))


def drawn(name, n, shift, rng):
    """Scores with a strong effect of the unit, and the true AUROC."""
    if name == "pairs":
        design, unit = pairs(n, rng), np.tile(rng.normal(size=n), 2)
    else:
        group = np.repeat(np.arange(2 * n // 4), 4)
        design = Observational(np.repeat(rng.permuted(np.arange(2 * n // 4) < n // 4), 4), np.zeros(2 * n, int), group)
        unit = np.repeat(rng.normal(size=2 * n // 4), 4)
    scores = 2 * unit + rng.normal(size=2 * n) + shift * design.member
    return scores, design, stats.norm.cdf(shift / np.sqrt(2 * 5))


@pytest.mark.parametrize("name", ["pairs", "groups"])
def test_interval_covers_and_respects_the_units(name):
    rng = np.random.default_rng(4)
    covered = widths = plain = 0
    for _ in range(400):
        scores, design, truth = drawn(name, 60, 1.0, rng)
        found = membership(scores, design, rng, draws=1)
        covered += found.auroc_low <= truth <= found.auroc_high
        widths += found.auroc_high - found.auroc_low
        by_image = auroc_interval(scores[~design.member], scores[design.member])
        plain += by_image.high - by_image.low
    assert 400 * 0.95 - 4 * np.sqrt(400 * 0.0475) <= covered
    # Within pairs the effect of the unit cancels, within groups it adds up.
    assert widths < 0.8 * plain if name == "pairs" else widths > 1.3 * plain


@pytest.mark.parametrize("name", DESIGNS)
def test_perfect_and_constant_scores_have_an_interval(name):
    rng = np.random.default_rng(5)
    design = DESIGNS[name](20, rng)
    perfect = membership(design.member.astype(float), design, rng, draws=999)
    assert perfect.auroc == perfect.auroc_high == 1
    assert 0.5 < perfect.auroc_low < 0.9
    assert perfect.p_value == 0.001
    constant = membership(np.ones(40), design, rng, draws=99)
    assert constant.auroc_low < constant.auroc == 0.5 < constant.auroc_high
    assert constant.p_value == 1
    assert constant.epsilon_lower in (None, 0.0)


@pytest.mark.parametrize("n", [5, 13, 40])
def test_equal_scores_within_every_pair_are_no_certainty(n):
    rng = np.random.default_rng(0)
    scores = np.tile(rng.normal(size=n), 2)
    found = membership(scores, Pairs(np.repeat([True, False], n), np.tile(np.arange(n), 2)), rng, draws=9)
    assert found.auroc == 0.5
    assert found.auroc_high - found.auroc_low > 0.05


def test_one_pair_says_nothing():
    found = membership([1.0, 0.0], Pairs([1, 0], [0, 0]), np.random.default_rng(0), draws=9)
    assert (found.auroc, found.auroc_low, found.auroc_high) == (1, 0, 1)


@pytest.mark.parametrize("name", DESIGNS)
def test_tpr_from_1000_controls_on(name):
    rng = np.random.default_rng(6)
    found = []
    for _ in range(20):
        design = DESIGNS[name](1000, rng)
        scores = rng.normal(size=2000) + 2 * design.member
        found.append(membership(scores, design, rng, draws=1).tpr_at_fpr_1pct)
    truth = stats.norm.sf(stats.norm.ppf(0.99) - 2)
    assert np.mean(found) == pytest.approx(truth, abs=0.05)
    design = DESIGNS[name](999, rng)
    assert membership(rng.normal(size=1998), design, rng, draws=1).tpr_at_fpr_1pct is None


def test_null_p_values_hold_their_level():
    rng = np.random.default_rng(7)
    scores = rng.normal(size=60)
    p = np.array([membership(scores, pairs(30, rng), rng, draws=99).p_value for _ in range(500)])
    for level in (0.05, 0.2, 0.5):
        assert abs(np.mean(p <= level) - level) <= 4 * np.sqrt(level * (1 - level) / 500)


def test_epsilon_takes_the_largest_label_blind_margins():
    rng = np.random.default_rng(8)
    design = pairs(100, rng)
    # The 20 pairs with the largest margins are right, all others wrong.
    margin = np.where(np.arange(100) < 20, 5.0, -1.0)
    scores = np.where(design.member, np.tile(margin, 2), 0.0)
    found = membership(scores, design, rng, draws=9, delta=0)
    assert found.epsilon_lower == pytest.approx(epsilon_lower_bound(100, 20, 20, 0))
    assert membership(scores, design, rng, draws=9, guesses=50).epsilon_lower == 0
    assert membership(-scores, design, rng, draws=9).epsilon_lower == 0


@pytest.mark.parametrize(
    ("r", "v", "expected"),
    [
        (5, 5, 0.20),
        (10, 10, 1.05),
        (20, 20, 1.82),
        (20, 18, 0.93),
        (50, 50, 2.78),
        (50, 40, 0.77),
        (100, 60, 0.05),
        (100, 75, 0.70),
        (100, 90, 1.63),
        (100, 100, 3.49),
        (1000, 560, 0.13),
    ],
)
def test_epsilon_table(r, v, expected):
    assert epsilon_lower_bound(1000, r, v, 0.0) == pytest.approx(expected, abs=0.0051)


def test_epsilon_check_value():
    assert epsilon_lower_bound(1000, 100, 75, 1e-4, 0.05) == pytest.approx(0.673, abs=5e-4)


def test_epsilon_without_delta_is_a_binomial_bound():
    # P[Bin(r, q) >= v] = beta is the Clopper-Pearson lower limit of q.
    for r, v in ((20, 15), (100, 70), (300, 299)):
        low = stats.beta.ppf(0.05, v, r - v + 1)
        assert epsilon_lower_bound(500, r, v, 0.0) == pytest.approx(np.log(low / (1 - low)), abs=1e-5)


def test_epsilon_of_the_definition_by_brute_force():
    m, r, v, delta, beta = 200, 30, 24, 1e-4, 0.05
    found = epsilon_lower_bound(m, r, v, delta, beta)

    def right_side(epsilon):
        guesses = stats.binom(r, 1 / (1 + np.exp(-epsilon)))
        worst = max(sum(guesses.pmf(j) for j in range(v - i, v)) / i for i in range(1, v + 1))
        return guesses.sf(v - 1) + 2 * m * delta * worst

    assert right_side(found) <= beta <= right_side(found + 1e-5)
    assert all(right_side(e) < beta for e in np.linspace(0, found, 50))


def test_epsilon_is_zero_when_nothing_is_shown_and_falls_with_delta():
    assert epsilon_lower_bound(100, 0, 0, 1e-5) == 0
    assert epsilon_lower_bound(200, 200, 110, 1e-5) == 0
    bounds = [epsilon_lower_bound(1000, 100, 80, delta) for delta in (0, 1e-5, 1e-4, 1e-3)]
    assert bounds == sorted(bounds, reverse=True)


def test_refusals():
    rng = np.random.default_rng(0)
    design = pairs(5, rng)
    with pytest.raises(ShapeError, match="expected 10"):
        membership(np.ones(9), design, rng)
    with pytest.raises(SettingError, match="NaN"):
        membership(np.full(10, np.nan), design, rng)
    with pytest.raises(SettingError, match="guesses is 0"):
        membership(np.ones(10), design, rng, guesses=0)
    with pytest.raises(SettingError, match="0 <= v <= r <= m"):
        epsilon_lower_bound(10, 11, 5, 0.0)
    with pytest.raises(SettingError, match="delta is 1"):
        epsilon_lower_bound(10, 5, 5, 1.0)


def resampled_differences(before, after, design, rng, n):
    """Differences of AUROC over whole units drawn again, members and controls apart unless a unit holds both."""
    units = [np.flatnonzero(design.units == unit) for unit in np.unique(design.units)]
    if design.name == "pairs":
        sides = [units]
    else:
        sides = [[unit for unit in units if design.member[unit[0]] == member] for member in (True, False)]
    differences = []
    for _ in range(n):
        drawn = []
        for side in sides:
            drawn += [side[place] for place in rng.integers(len(side), size=len(side))]
        images = np.concatenate(drawn)
        member = design.member[images]
        old, new = (auroc(scores[images][~member], scores[images][member]) for scores in (before, after))
        differences.append(new - old)
    return np.array(differences)


@pytest.mark.parametrize("name", ["pairs", "groups", "images"])
def test_a_paired_difference_agrees_with_drawing_units_again(name):
    rng = np.random.default_rng(6)
    if name == "images":
        design, before = observational(120, rng), rng.normal(size=240)
        before = before + design.member
    else:
        before, design, _ = drawn(name, 120, 1.5, rng)
    after = before - 0.8 * design.member + 0.3 * rng.normal(size=240)
    found = membership_difference(before, after, design)
    expected = roc_auc_score(design.member, after) - roc_auc_score(design.member, before)
    assert found.value == pytest.approx(expected, abs=1e-12)
    low, high = np.quantile(resampled_differences(before, after, design, rng, 800), (0.025, 0.975))
    assert found.high - found.low == pytest.approx(high - low, rel=0.2)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.2 * (high - low))
    # Pairing helps: the interval is narrower than that of two audits of different images.
    apart = [auroc_interval(scores[~design.member], scores[design.member]) for scores in (before, after)]
    if name == "images":
        assert found.high - found.low < 0.7 * np.hypot(*(one.high - one.low for one in apart))


def test_a_difference_turns_round_with_its_sides():
    rng = np.random.default_rng(7)
    design = observational(30, rng)
    before, after = rng.normal(size=60) + design.member, rng.normal(size=60)
    there, back = membership_difference(before, after, design), membership_difference(after, before, design)
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))


def test_equal_scores_differ_by_nothing_and_two_perfect_ones_may_differ():
    design = observational(20, np.random.default_rng(8))
    perfect = design.member.astype(float)
    same = membership_difference(perfect, perfect, design)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    other = membership_difference(perfect, 3 * perfect, design)
    assert other.value == 0
    assert other.low == -other.high
    assert 0.1 < other.high < 0.5


def test_differences_under_no_change_are_called_no_more_often_than_promised():
    rng = np.random.default_rng(9)
    called = 0
    for _ in range(400):
        design = observational(40, rng)
        shared = rng.normal(size=80) + design.member
        found = membership_difference(shared + rng.normal(size=80), shared + rng.normal(size=80), design)
        called += not found.low <= 0 <= found.high
    assert called <= 400 * 0.05 + 4 * np.sqrt(400 * 0.0475)


def test_a_difference_needs_a_score_for_each_image():
    design = observational(5, np.random.default_rng(0))
    with pytest.raises(ShapeError, match="after has 3 entries, expected 10"):
        membership_difference(np.arange(10), np.arange(3), design)
