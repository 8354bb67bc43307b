"""Holm's adjustment against his procedure, word for word."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats import holm


def rejected_stepwise(p, alpha):
    """Test the smallest p at alpha / m, the next at alpha / (m - 1), ...; stop at the first that fails."""
    rejected = np.zeros(len(p), dtype=bool)
    for step, index in enumerate(np.argsort(p, kind="stable")):
        if p[index] * (len(p) - step) > alpha:
            break
        rejected[index] = True
    return rejected


def test_worked_example():
    # Sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1; the last is raised to its forerunner.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.5))
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_equals_the_procedure_at_every_level(p, alpha):
    assert np.array_equal(holm(p) <= alpha, rejected_stepwise(np.array(p), alpha))


@given(st.permutations([0.001, 0.01, 0.01, 0.2, 0.7, 1.0]))
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
def test_order_does_not_matter(p):
    expected = dict(zip([0.001, 0.01, 0.2, 0.7, 1.0], [0.006, 0.05, 0.6, 1.0, 1.0], strict=True))
    assert holm(p) == pytest.approx([expected[value] for value in p])


def test_family_of_one_and_of_none():
    assert holm([0.03]) == pytest.approx([0.03])
    assert holm([]).shape == (0,)


def test_keeps_the_family_wise_error():
    p = np.random.default_rng(1).random((4000, 8))
    assert np.mean([holm(row).min() <= 0.05 for row in p]) == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize(
    ("p", "error"),
    [([0.5, 1.1], SettingError), ([-0.1], SettingError), ([np.nan], SettingError), ([[0.5]], ShapeError)],
)
def test_refuses_what_is_no_family_of_probabilities(p, error):
    with pytest.raises(error, match="p_values"):
        holm(p)
