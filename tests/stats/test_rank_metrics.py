"""Rank metrics against scikit-learn, against their definitions, and under maps that must not matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats import aupr, auroc, fpr95, fpr95_id, ranking

METRICS = {
    "auroc": auroc,
    "aupr_in": lambda x, y: aupr(x, y, positive="id"),
    "aupr_out": aupr,
    "fpr95": fpr95,
    "fpr95_id": fpr95_id,
}
PROPERTY = settings(max_examples=150, deadline=None, derandomize=True, database=None)
# Whole numbers from a short range make ties within and between the sides; the others are mostly distinct.
few = st.lists(st.integers(0, 6), min_size=1, max_size=30)
many = st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=30)
sides = st.tuples(few, few) | st.tuples(many, many)


def by_definition(x, y):
    """Every metric by scikit-learn, or by trying each threshold."""
    is_ood = np.r_[np.zeros(len(x)), np.ones(len(y))]
    scores = np.r_[x, y]
    accepting = min(t for t in scores if 100 * np.sum(x <= t) >= 95 * len(x))
    rejecting = max(t for t in scores if 100 * np.sum(y >= t) >= 95 * len(y))
    return {
        "auroc": roc_auc_score(is_ood, scores),
        "aupr_in": average_precision_score(1 - is_ood, -scores),
        "aupr_out": average_precision_score(is_ood, scores),
        "fpr95": np.mean(y <= accepting),
        "fpr95_id": np.mean(x >= rejecting),
    }


def measured(x, y):
    return {name: metric(x, y) for name, metric in METRICS.items()}


@given(sides)
@PROPERTY
def test_equals_the_reference(pair):
    x, y = (np.array(side, dtype=float) for side in pair)
    assert measured(x, y) == pytest.approx(by_definition(x, y), abs=1e-12)
    assert measured(x, y) == vars(ranking(x, y))


@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_equals_the_reference_on_larger_samples(decimals):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=1500).round(decimals), rng.normal(0.7, 1.5, size=400).round(decimals)
    assert measured(x, y) == pytest.approx(by_definition(x, y), abs=1e-12)


@given(sides)
@PROPERTY
def test_monotone_maps_change_nothing(pair):
    x, y = (np.array(side, dtype=float) for side in pair)
    assert ranking(x, y) == ranking(np.cbrt(x), np.cbrt(y)) == ranking(3 * x - 7, 3 * y - 7)


@given(sides)
@PROPERTY
def test_the_other_sign_and_the_other_side_mirror(pair):
    x, y = (np.array(side, dtype=float) for side in pair)
    there, back, flipped = ranking(x, y), ranking(-y, -x), ranking(-x, -y)
    assert there.auroc == back.auroc
    assert there.auroc + flipped.auroc == pytest.approx(1, abs=1e-15)
    assert (there.aupr_in, there.fpr95) == (back.aupr_out, back.fpr95_id)


def test_constant_scores_say_nothing():
    result = vars(ranking(np.zeros(30), np.zeros(10)))
    assert result == {"auroc": 0.5, "aupr_in": 0.75, "aupr_out": 0.25, "fpr95": 1.0, "fpr95_id": 1.0}


def test_perfect_separation():
    result = vars(ranking([0, 1, 2], [3, 4]))
    assert result == {"auroc": 1.0, "aupr_in": 1.0, "aupr_out": 1.0, "fpr95": 0.0, "fpr95_id": 0.0}


def test_exactly_95_of_100_are_enough():
    # 0.95 is not a binary fraction, so a comparison of shares could ask for 96.
    x = np.arange(100.0)
    assert fpr95(x, [94.0]) == 1.0
    assert fpr95(x, [94.5]) == 0.0
    assert fpr95_id([5.0], x) == 1.0
    assert fpr95_id([4.5], x) == 0.0


def test_both_zeros_are_one_score():
    assert auroc([0.0], [-0.0]) == 0.5


@pytest.mark.parametrize("metric", [*METRICS.values(), ranking])
@pytest.mark.parametrize(
    ("x", "y", "error", "word"),
    [
        ([], [1.0], ShapeError, "id_scores is empty"),
        ([1.0], [], ShapeError, "ood_scores is empty"),
        ([[1.0]], [1.0], ShapeError, "shape"),
        (["a"], [1.0], ShapeError, "numbers"),
        ([1.0, np.nan], [1.0], SettingError, "1 of 2"),
        ([1.0], [np.inf], SettingError, "NaN or infinite"),
    ],
)
def test_refuses_bad_scores(metric, x, y, error, word):
    with pytest.raises(error, match=word):
        metric(x, y)


def test_refuses_an_unknown_positive_class():
    with pytest.raises(SettingError, match="positive"):
        aupr([0.0], [1.0], positive="both")  # pyright: ignore[reportArgumentType]
