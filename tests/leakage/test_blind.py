import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from invaudit.data import seeded_rng
from invaudit.leakage import blind_baseline
from invaudit.leakage.blind import _cross_fitted, _features, _folds
from invaudit.runtime import ShapeError
from invaudit.stats import Observational, Pairs, auroc


def images(n, seed=0):
    return torch.rand(n, 1, 8, 8, generator=seeded_rng(seed, "blind"))


def pairs(n, seed=0):
    coins = np.random.default_rng(seed).random(n) < 0.5
    return Pairs(np.stack([coins, ~coins], 1).ravel(), np.repeat(np.arange(n), 2))


def test_scores_are_those_of_a_ridge_regression_that_never_saw_the_fold():
    pool, design = images(60), pairs(30)
    features, folds = _features(pool), _folds(design, np.random.default_rng(1))
    scores = _cross_fitted(features, folds, design.member[None], design)[0]
    for fold in range(5):
        inside = folds == fold
        model = Ridge(alpha=features.shape[1], fit_intercept=False)
        model.fit(features[~inside], 2.0 * design.member[~inside] - 1)
        assert scores[inside] == pytest.approx(model.predict(features[inside]), abs=1e-9)


def test_images_of_a_pair_or_group_share_their_fold():
    design = pairs(50)
    folds = _folds(design, np.random.default_rng(0))
    assert all(len(set(folds[design.pair == pair])) == 1 for pair in range(50))
    assert set(np.bincount(folds)) == {20}


def test_a_shift_is_seen_and_no_shift_is_not():
    design = pairs(100)
    member = torch.from_numpy(design.member.copy())
    pool = images(200) * 0.5
    none = blind_baseline(pool, design, np.random.default_rng(0), draws=199)
    pool[member, :, :2] += 0.15  # one standard deviation of a pixel
    found = blind_baseline(pool, design, np.random.default_rng(0), draws=199)
    assert found.auroc > 0.9
    assert found.p_value == pytest.approx(1 / 200)
    assert none.auroc < 0.6
    assert none.p_value > 0.05
    assert found.auroc == auroc(found.score[~design.member], found.score[design.member])


def test_p_values_are_uniform_without_a_shift():
    ps = []
    for seed in range(60):
        member = np.arange(40) < 20
        design = Observational(np.random.default_rng(seed).permutation(member), np.zeros(40, np.int64))
        ps.append(blind_baseline(images(40, seed), design, np.random.default_rng(seed), draws=39).p_value)
    # 60 draws at level 0.2: 12 expected; beyond 22 or below 3 has a probability under 0.2 %.
    assert 3 <= np.sum(np.array(ps) <= 0.2) <= 22


def test_a_feature_that_never_varies_is_left_out():
    pool = images(20)
    pool[:, :, 0, 0] = 0.5
    assert np.isfinite(_features(pool)).all()
    assert np.isfinite(blind_baseline(pool, pairs(10), np.random.default_rng(0), draws=9).score).all()


def test_a_design_of_another_pool_is_refused():
    with pytest.raises(ShapeError, match="give the design of this pool"):
        blind_baseline(images(10), pairs(6), np.random.default_rng(0))


def test_a_mix_of_classes_that_differs_is_no_shift():
    classes = np.arange(400) % 2
    pool = images(400) * 0.5
    pool[torch.from_numpy(classes == 1), :, :4] += 0.4
    member = np.random.default_rng(0).random(400) < np.where(classes == 1, 0.8, 0.2)
    apart = blind_baseline(pool, Observational(member, classes), np.random.default_rng(0), draws=99)
    together = blind_baseline(pool, Observational(member, 0 * classes), np.random.default_rng(0), draws=99)
    assert apart.auroc < 0.6
    assert apart.p_value > 0.05
    assert together.auroc > 0.7
    pool[torch.from_numpy(member), :, :, :2] += 0.15
    assert blind_baseline(pool, Observational(member, classes), np.random.default_rng(0), draws=99).auroc > 0.8


def test_relabellings_in_parts_give_what_they_give_at_once(monkeypatch):
    whole = blind_baseline(images(40), pairs(20), np.random.default_rng(0), draws=30)
    monkeypatch.setattr("invaudit.leakage.blind.AT_ONCE", 7)
    parts = blind_baseline(images(40), pairs(20), np.random.default_rng(0), draws=30)
    assert (parts.auroc, parts.p_value) == (whole.auroc, whole.p_value)
