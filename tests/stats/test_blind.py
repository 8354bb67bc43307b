"""The blind baseline: no label of what it judges has reached it, and what it says of exchangeable pools is chance."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats import Observational, Pairs, blind_test, decide, nearest_lists, strata, verdict_test
from invaudit.stats.blind import _CrossFit, _folds, _result, is_shift

# Classes, and members and controls of each.
SHAPES = [(100, 1, 1), (100, 2, 2), (10, 5, 5), (10, 20, 20), (2, 100, 100)]
UNEQUAL = [(40, 1, 5), (40, 5, 1), (10, 2, 10), (1, 10, 50), (3, 30, 6)]


def pool(classes, members, controls):
    label = np.repeat(np.arange(classes), members + controls)
    return Observational(np.tile(np.arange(members + controls) < members, classes), label)


def features(design, seed, shift=0.0, dimensions=16):
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(design.stratum.max() + 1, dimensions))
    values = rng.normal(size=(len(design), dimensions)) + centre[design.stratum]
    values[design.member, :4] += shift
    return values


def pairs(n, seed=0):
    coins = np.random.default_rng(seed).random(n) < 0.5
    return Pairs(np.stack([coins, ~coins], 1).ravel(), np.repeat(np.arange(n), 2))


def crossed(values, design, seed):
    """Folds, cells and the cross-fit of a pool, as the test makes them."""
    fold = _folds(design, np.random.default_rng(seed))
    cell = np.unique(np.stack([design.stratum, fold]), axis=1, return_inverse=True)[1].reshape(-1)
    return fold, cell, _CrossFit(values, cell, fold)


@pytest.mark.parametrize("shape", [(12, 2, 2), (1, 20, 20), (3, 30, 6)])
def test_scores_and_auroc_against_a_ridge_regression_that_never_saw_the_fold(shape):
    design = pool(*shape)
    values = features(design, 0, shift=0.5)
    fold, cell, fit = crossed(values, design, 1)
    scores = fit.scores(design.member[:, None])
    centred, label = values.copy(), design.member.astype(float)
    for number in np.unique(cell):
        centred[cell == number] -= centred[cell == number].mean(0)
        label[cell == number] -= label[cell == number].mean()
    wins = comparisons = 0
    for number in np.unique(fold):
        inside = fold == number
        scale = centred[~inside].std(0)
        model = Ridge(alpha=values.shape[1], fit_intercept=False).fit(centred[~inside] / scale, label[~inside])
        assert scores[inside, 0] == pytest.approx(model.predict(centred[inside] / scale), abs=1e-9)
        weight = design.member[inside].sum() * (~design.member[inside]).sum()
        wins += weight * roc_auc_score(design.member[inside], scores[inside, 0])
        comparisons += weight
    assert fit.aurocs(scores, design.member[:, None])[0] == pytest.approx(wins / comparisons)


@pytest.mark.parametrize("shape", [(6, 1, 1), (5, 1, 2), (1, 4, 4), (1, 3, 6), (2, 4, 4)])
def test_the_mean_auroc_over_all_labellings_is_one_half(shape):
    design = pool(*shape)
    _, cell, fit = crossed(features(design, 3, dimensions=3), design, 0)
    options = []
    for number in np.unique(cell):
        inside = np.flatnonzero(cell == number)
        options.append(list(itertools.combinations(inside, int(design.member[inside].sum()))))
    labels = np.zeros((len(design), np.prod([len(option) for option in options])), dtype=bool)
    for column, chosen in enumerate(itertools.product(*options)):
        labels[[place for part in chosen for place in part], column] = True
    assert fit.aurocs(fit.scores(labels), labels).mean() == pytest.approx(0.5, abs=1e-12)


def test_whole_classes_pairs_and_groups_lie_in_one_fold():
    rng = np.random.default_rng(0)
    classes = pool(20, 3, 5)
    fold = _folds(classes, rng)
    assert all(len(set(fold[classes.stratum == label])) == 1 for label in range(20))
    assert len(set(fold)) == 5
    group = np.repeat(np.arange(40), 3)
    grouped = Observational(group % 2 == 0, np.zeros(120, int), group)
    fold = _folds(grouped, rng)
    assert all(len(set(fold[group == one])) == 1 for one in range(40))
    assert [int(grouped.member[fold == one].sum()) for one in range(5)] == [12] * 5
    assert [int((~grouped.member[fold == one]).sum()) for one in range(5)] == [12] * 5


@pytest.mark.parametrize("shape", [(1, 20, 20), (2, 10, 50), (4, 25, 5)])
def test_few_classes_are_split_with_equal_shares_of_both_sides(shape):
    design = pool(*shape)
    fold = _folds(design, np.random.default_rng(0))
    for label in range(shape[0]):
        inside = design.stratum == label
        parts = [np.bincount(fold[inside & side], minlength=5) for side in (design.member, ~design.member)]
        assert all(np.ptp(part[part > 0]) <= 1 for part in parts)
        assert np.array_equal(parts[0] > 0, parts[1] > 0)
        assert min(parts[0][parts[0] > 0].min(), parts[1][parts[1] > 0].min()) >= 2


@pytest.mark.parametrize("shape", SHAPES + UNEQUAL)
def test_exchangeable_pools_look_like_chance(shape):
    design, runs = pool(*shape), 30
    found = [blind_test(features(design, seed), design, np.random.default_rng(seed), draws=19) for seed in range(runs)]
    aurocs = np.array([blind.auroc for blind in found])
    assert abs(aurocs.mean() - 0.5) < 4 * aurocs.std() / np.sqrt(runs)
    assert sum(blind.p_value <= 0.05 for blind in found) <= binom.ppf(0.9999, runs, 0.05)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_perfect_leak_is_called_and_a_shift_is_not(shape):
    design = pool(*shape)

    def verdict(shift, copied):
        values = features(design, 7, shift)
        blind = blind_test(values, design, np.random.default_rng(0), draws=199)
        made = values[design.member] + 0.01 if copied else features(design, 8, shift)[design.member]
        similarity = -np.linalg.norm(made[:, None] - values, axis=2)
        tested = Observational(design.member, strata(design, blind.score))
        test = verdict_test(*nearest_lists(similarity), tested, np.random.default_rng(1), draws=199)
        found = decide(
            test.p_value, test.attainable_p, design="observational", blind=blind.finding, attack_control_called=True
        )
        return found.reason or found.verdict

    assert verdict(0, copied=True) == "leak"
    assert verdict(1.5, copied=False) == "shift"


@pytest.mark.parametrize("shape", [(10, 20, 20), (2, 100, 100), (10, 10, 50)])
def test_a_shift_is_found_about_as_often_as_it_should_be(shape):
    # 0.6 sd in 4 of 16 dimensions: the best classifier there could be has an AUROC of 0.80.
    design = pool(*shape)
    found = [
        blind_test(features(design, seed, 0.6), design, np.random.default_rng(seed), draws=99) for seed in range(8)
    ]
    assert [blind.finding for blind in found] == ["shift"] * 8
    assert 0.7 < np.mean([blind.auroc for blind in found]) < 0.82


def test_a_mix_of_classes_that_differs_is_no_shift():
    rng = np.random.default_rng(0)
    label = np.arange(600) % 6
    member = rng.random(600) < np.where(label % 2, 0.8, 0.2)
    values = rng.normal(size=(600, 8)) + 3 * (label % 2)[:, None]
    apart = blind_test(values, Observational(member, label), rng, draws=99)
    together = blind_test(values, Observational(member, 0 * label), rng, draws=99)
    assert apart.finding == "no-shift"
    assert apart.auroc < 0.6
    assert together.finding == "shift"


def test_a_class_on_one_side_alone_changes_nothing():
    design = pool(10, 5, 5)
    values = features(design, 0)
    more = Observational(np.append(design.member, [True] * 4), np.append(design.stratum, [10, 10, 11, 11]))
    alone = blind_test(values, design, np.random.default_rng(0), draws=99)
    beside = blind_test(np.append(values, 9 * np.ones((4, 16)), 0), more, np.random.default_rng(0), draws=99)
    assert (alone.auroc, alone.p_value) == (beside.auroc, beside.p_value)
    assert np.array_equal(beside.score, np.append(alone.score, [0.5] * 4))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 30), (1, 5, 5), (7, 1, 1), (3, 2, 1)])
def test_a_pool_too_small_to_tell_is_said_to_be_so(shape):
    design = pool(*shape)
    blind = blind_test(features(design, 0, shift=50.0), design, np.random.default_rng(0))
    assert blind.finding == "too-small"
    assert blind.called_above is None
    assert len(blind.score) == len(design)
    if shape[0] == 1 and shape[1] == 1:
        assert (blind.auroc, blind.p_value) == (None, None)


@pytest.mark.parametrize("shape", [(1, 8, 8), (12, 1, 1), (5, 2, 2), (1, 3, 30)])
def test_a_small_pool_that_is_told_apart_is_a_shift(shape):
    design = pool(*shape)
    for seed in range(3):
        assert blind_test(features(design, seed, 50.0), design, np.random.default_rng(seed)).finding == "shift"


def test_the_auroc_from_which_a_pool_would_be_called():
    relabelled = np.random.default_rng(0).normal(0.5, 0.03, size=999)
    calls = []
    for auroc in np.linspace(0.5, 0.7, 41):
        blind = _result(np.append(auroc, relabelled), 0.001, np.zeros(4))
        assert (blind.finding == "shift") == (auroc > blind.called_above and auroc >= 0.55)
        assert (blind.p_value <= 0.01) == (auroc > np.sort(relabelled)[-10])
        calls.append(blind.finding)
    assert {"shift", "no-shift"} == set(calls)


@pytest.mark.parametrize(
    ("auroc", "low", "p_value", "expected"),
    [(0.7, 0.6, 0.001, True), (0.7, 0.6, 0.01, True), (0.7, 0.6, 0.011, False), (0.7, 0.5, 0.001, False),
     (0.549, 0.54, 0.001, False)],
)  # fmt: skip
def test_the_rule_of_a_shift(auroc, low, p_value, expected):
    assert is_shift(auroc, low, p_value) is expected


def test_relabellings_in_parts_give_what_they_give_at_once(monkeypatch):
    design = pairs(20)
    values = np.random.default_rng(0).normal(size=(40, 5))
    whole = blind_test(values, design, np.random.default_rng(0), draws=250)
    monkeypatch.setattr("invaudit.stats.blind.AT_ONCE", 250 // 2)
    parts = blind_test(values, design, np.random.default_rng(0), draws=250)
    assert (parts.auroc, parts.finding) == (whole.auroc, whole.finding)
    assert parts.p_value == pytest.approx(whole.p_value, abs=0.1)


def test_features_that_do_not_vary_are_left_out():
    design = pool(6, 3, 3)
    values = features(design, 0)
    same = blind_test(values, design, np.random.default_rng(0), draws=99)
    more = np.concatenate([values, np.full((36, 1), 0.1), 0.3 * design.stratum[:, None]], axis=1)
    assert blind_test(more, design, np.random.default_rng(0), draws=99).auroc == same.auroc


def test_what_does_not_fit_is_refused():
    design = pool(6, 3, 3)
    with pytest.raises(ShapeError, match="one per pool image"):
        blind_test(np.zeros((4, 2)), design, np.random.default_rng(0))
    with pytest.raises(SettingError, match="NaN"):
        blind_test(np.full((36, 2), np.nan), design, np.random.default_rng(0))
    with pytest.raises(ShapeError, match="one per pool image"):
        strata(design, np.zeros(4))
    with pytest.raises(SettingError, match="bins is 0"):
        strata(design, np.zeros(36), bins=0)


def test_strata_are_quantile_bins_within_classes():
    design = pool(3, 50, 50)
    score = np.random.default_rng(1).normal(size=300)
    found = strata(design, score, bins=4)
    for label in range(3):
        inside = np.flatnonzero(design.stratum == label)
        bins = found[inside]
        assert len(np.unique(bins)) == 4
        assert np.ptp(np.bincount(bins)[np.unique(bins)]) <= 1
        order = inside[np.argsort(score[inside])]
        assert (np.diff(found[order]) >= 0).all()
    assert len(np.unique(found)) == 12


@pytest.mark.parametrize(
    ("shape", "bins"), [((4, 1, 1), 1), ((4, 2, 2), 1), ((4, 5, 5), 2), ((4, 5, 50), 2), ((4, 30, 10), 5)]
)
def test_bins_have_room_for_two_of_the_smaller_side(shape, bins):
    design = pool(*shape)
    found = strata(design, np.random.default_rng(1).random(len(design)))
    assert len(np.unique(found)) == 4 * bins


def test_strata_with_ties_and_groups():
    assert len(np.unique(strata(pool(1, 20, 20), np.ones(40), bins=4))) == 1
    group = np.repeat(np.arange(20), 2)
    grouped = Observational(group < 10, np.zeros(40, int), group)
    found = strata(grouped, np.random.default_rng(0).normal(size=40), bins=5)
    np.testing.assert_array_equal(found[::2], found[1::2])
    assert len(np.unique(found)) == 5
