"""Comparisons of detectors: who is a baseline, what is corrected together, and the verdict."""

import numpy as np
import pytest

from invaudit.stats import ComparedRow, adjusted_p_values, comparison_verdict, holm, holm_family, is_baseline
from invaudit.stats.comparison import COMPARISON_ALPHA

AGGREGATES = ("mean-near", "worst")


def test_a_baseline_is_somebody_elses_detector_on_a_trained_network():
    assert [is_baseline(role, on_trained_network=True) for role in ("ours", "library", "user", "statistic")] == [
        False,
        True,
        True,
        False,
    ]
    assert not any(is_baseline(role, on_trained_network=False) for role in ("ours", "library", "user", "statistic"))


def test_a_family_is_all_baselines_of_an_aggregate_or_of_the_sets_of_a_group():
    rows = [
        (True, "mean-near", "near", 0.01),
        (True, "mean-near", "near", 0.04),
        (False, "mean-near", "near", 0.001),
        (True, "letters", "near", 0.02),
        (True, "held-out-digits", "near", 0.03),
        (True, "letters", "near", 0.01),
        (True, "photos", "far", 0.02),
        (True, "photos", "far", None),
    ]
    compared = []
    for baseline, ood_set, group, p_value in rows:
        compared.append(ComparedRow(baseline, holm_family(ood_set, group, aggregates=AGGREGATES), p_value))
    # By hand: the smallest p times 2 or 3, the next times one less, and never below the one before.
    expected = [0.02, 0.04, None, 0.04, 0.04, 0.03, 0.02, None]
    assert adjusted_p_values(compared) == [None if p is None else pytest.approx(p) for p in expected]


def test_an_aggregate_is_not_the_group_of_its_name():
    assert holm_family("mean-near", "near", aggregates=AGGREGATES) != holm_family(
        "a", "mean-near", aggregates=AGGREGATES
    )


def test_the_order_of_rows_changes_nothing():
    rng = np.random.default_rng(0)
    rows = [ComparedRow(bool(rng.random() < 0.8), str(rng.integers(3)), float(rng.random())) for _ in range(60)]
    adjusted = adjusted_p_values(rows)
    order = rng.permutation(len(rows))
    assert adjusted_p_values([rows[number] for number in order]) == [adjusted[number] for number in order]
    for family in "012":
        numbers = [number for number, row in enumerate(rows) if row.family == family and row.is_baseline]
        expected = holm([rows[number].p_value for number in numbers])
        assert [adjusted[number] for number in numbers] == expected.tolist()


def test_no_rows():
    assert adjusted_p_values([]) == []


@pytest.mark.parametrize(
    ("low", "high", "p_adjusted", "verdict"),
    [
        (-0.03, -0.01, 0.01, "ahead"),
        (0.01, 0.03, 0.01, "behind"),
        (-0.03, -0.01, COMPARISON_ALPHA, "ahead"),
        (-0.03, -0.01, 0.051, "unclear"),
        (0.01, 0.03, 0.051, "unclear"),
        (-0.03, 0.01, 0.001, "unclear"),
        (-0.03, 0.0, 0.001, "unclear"),
        (0.0, 0.0, None, "unclear"),
        (-0.03, -0.01, None, "ahead"),
        (None, None, None, "untested"),
        (None, 0.1, 0.001, "untested"),
    ],
)
def test_a_difference_counts_where_interval_and_p_agree(low, high, p_adjusted, verdict):
    assert comparison_verdict(low, high, p_adjusted) == verdict
    # Seen from the other side: what is ahead is behind.
    turned = {"ahead": "behind", "behind": "ahead"}.get(verdict, verdict)
    negative_low, negative_high = (None if end is None else -end for end in (high, low))
    assert comparison_verdict(negative_low, negative_high, p_adjusted) == turned


def test_another_level_may_be_asked_for():
    assert comparison_verdict(-0.03, -0.01, 0.02, alpha=0.01) == "unclear"
