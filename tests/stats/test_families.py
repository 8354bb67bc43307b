"""A declared family of tests judged together: Holm over all that were declared, one rule for each."""

from dataclasses import dataclass

import numpy as np
import pytest

from invaudit.stats import decide, holm, judge_family, known_leak_found, overall_of


@dataclass(frozen=True)
class Measured:
    p_value: float | None
    attainable_p: float | None = 0.0001


@dataclass(frozen=True)
class Row:
    verdict: str | None
    verdict_reason: str | None = None


FAMILY = {"loss": Measured(0.0004), "margin": Measured(0.004), "failed": Measured(None, None), "norm": Measured(0.6)}


def test_a_test_without_a_result_makes_the_others_no_easier():
    judged = judge_family(FAMILY, design="pairs", called=dict.fromkeys(FAMILY, True))
    expected = holm(np.array([0.0004, 0.004, 1.0, 0.6]))
    assert [one.p_adjusted for one in judged.values()] == pytest.approx(expected[[0, 1, 3]])
    assert {name: one.verdict.verdict for name, one in judged.items()} == {
        "loss": "leak", "margin": "no-evidence", "norm": "no-evidence"
    }  # fmt: skip


def test_each_test_is_decided_with_its_own_attack_control_and_what_all_share():
    judged = judge_family(
        FAMILY, design="observational", blind="no-shift", negative_control_p=0.5, called={"norm": False}
    )
    for name, one in judged.items():
        shared = {"design": "observational", "family": 4, "blind": "no-shift", "negative_control_p": 0.5}
        called = {"norm": False}.get(name)
        assert one.verdict == decide(one.p_adjusted, 0.0001, attack_control_called=called, **shared)
    shift = judge_family(FAMILY, design="observational", blind="shift")
    assert {one.verdict.reason for one in shift.values()} == {"shift"}


def test_a_known_leak_is_found_by_whatever_calls_it():
    assert known_leak_found(FAMILY, design="pairs") == {"loss": True, "margin": False, "norm": False}
    assert known_leak_found({}, design="pairs") == {}


def test_rows_without_a_test_say_nothing_together():
    assert overall_of([Row(None)]) is None
    found = overall_of([Row(None), Row("inconclusive", "attack-failed"), Row("inconclusive", "shift")])
    assert (found.verdict, found.reasons) == ("inconclusive", ("attack-failed", "shift"))
