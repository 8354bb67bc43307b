"""Fusions of scores: scipy's own rules where it has them, a formula by hand, and what a rule may not do."""

import numpy as np
import pytest
from scipy import stats

from invaudit.ood.fusions import RULES, hartung, largest, surprise


def fuse(rule, held_out, scores):
    return RULES[rule](np.stack([surprise(held_out[name], scores[name]) for name in held_out]))


@pytest.fixture(scope="module")
def p_values():
    return np.random.default_rng(0).uniform(1e-4, 1 - 1e-4, (5, 40))


@pytest.mark.parametrize(("rule", "method"), [("fisher", "fisher"), ("stouffer", "stouffer")])
def test_rules_agree_with_scipy(p_values, rule, method):
    found = RULES[rule](-np.log(p_values))
    expected = [stats.combine_pvalues(column, method=method).statistic for column in p_values.T]
    np.testing.assert_allclose(found * (2 if rule == "fisher" else 1), expected, rtol=1e-9)


def test_hartung_by_hand(p_values):
    for column, found in zip(p_values.T, hartung(-np.log(p_values)), strict=True):
        quantiles = stats.norm.isf(column)
        rho = max(1 - sum((quantiles - quantiles.mean()) ** 2) / 4, -1 / 4)
        variance = 5 + (25 - 5) * (rho + 0.2 * np.sqrt(2 / 6) * (1 - rho))
        assert found == pytest.approx(quantiles.sum() / np.sqrt(variance))


def test_the_largest_is_that_of_the_strangest_score():
    np.testing.assert_array_equal(largest(np.array([[1.0, 5.0], [2.0, 0.1]])), [2.0, 5.0])


@pytest.mark.parametrize("rule", RULES)
def test_far_images_score_higher_without_ties_and_an_image_by_itself_the_same(rule):
    rng = np.random.default_rng(1)
    held_out = {name: rng.normal(size=200) for name in "abc"}
    far = np.linspace(0, 60, 50)
    scores = {"a": far, "b": far + 0.5, "c": 2 * far}
    found = fuse(rule, held_out, scores)
    assert np.isfinite(found).all()
    assert (np.diff(found) > 0).all()
    alone = [fuse(rule, held_out, {name: values[i : i + 1] for name, values in scores.items()})[0] for i in range(50)]
    np.testing.assert_array_equal(alone, found)
    assert np.isfinite(fuse(rule, held_out, {name: np.array([-1e9]) for name in "abc"})).all()
