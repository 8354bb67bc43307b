"""Outcomes have an order."""

import itertools
from typing import get_args

import pytest

from invaudit.inversion.outcome import Outcome, worst


@pytest.mark.parametrize(("better", "worse"), list(itertools.combinations(get_args(Outcome), 2)))
def test_the_worse_of_two_outcomes_counts(better, worse):
    assert worst([better, worse]) == worst([worse, better, better]) == worse


def test_a_search_that_went_wrong_is_worse_than_one_that_needs_more_steps():
    assert worst(["converged", "budget"]) == "budget"
    assert worst(["budget", "collapsed"]) == "collapsed"
    assert worst(iter(["diverged", "converged", "collapsed"])) == "diverged"
