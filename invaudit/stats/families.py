"""Declared families of tests: every test of one question judged together, and what all of them say."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from invaudit.stats.blind import BlindFinding
from invaudit.stats.multiple import holm
from invaudit.stats.verdicts import ALPHA, OverallVerdict, Reason, Verdict, Word, decide, overall


class Measured(Protocol):
    """A test of a family, with its p-value if it gave one."""

    @property
    def p_value(self) -> float | None:
        """Its p-value; None where it gave none."""
        ...

    @property
    def attainable_p(self) -> float | None:
        """The smallest p-value that it could have given."""
        ...


class Decided(Protocol):
    """A row of a table of tests."""

    @property
    def verdict(self) -> Word | None:
        """What the test says; None where there is no test."""
        ...

    @property
    def verdict_reason(self) -> Reason | None:
        """Why the verdict is ``inconclusive``."""
        ...


class Judged(NamedTuple):
    """A test of a family as it was judged."""

    p_adjusted: float
    verdict: Verdict


def judge_family(
    tests: Mapping[str, Measured],
    *,
    design: str,
    alpha: float = ALPHA,
    blind: BlindFinding | None = None,
    negative_control_p: float | None = None,
    called: Mapping[str, bool] | None = None,
) -> dict[str, Judged]:
    """Return the verdict of every test of a declared family that gave a p-value, by `decide` after Holm.

    Args:
        tests: All declared tests by name; one without a p-value counts as p = 1, so that a test that failed does not
            make the others easier.
        design: Design of the pool, see `decide`.
        alpha: Level of the family.
        blind: What the blind baseline found on the pool, which ``observational`` needs.
        negative_control_p: p-value of the negative controls; None: none was run.
        called: Name -> whether its attack control was called ``leak``; a test without one is left out.
    """
    p_values = [1.0 if test.p_value is None else test.p_value for test in tests.values()]
    judged = {}
    for (name, test), p_adjusted in zip(tests.items(), holm(np.array(p_values)) if p_values else (), strict=True):
        if test.p_value is not None:
            verdict = decide(
                float(p_adjusted),
                test.attainable_p or 0.0,
                design=design,
                alpha=alpha,
                family=len(tests),
                blind=blind,
                negative_control_p=negative_control_p,
                attack_control_called=(called or {}).get(name),
            )
            judged[name] = Judged(float(p_adjusted), verdict)
    return judged


def known_leak_found(tests: Mapping[str, Measured], *, design: str, alpha: float = ALPHA) -> dict[str, bool]:
    """Return for every test that gave a p-value whether it calls a leak that is known to be there; else as above."""
    judged = judge_family(tests, design=design, alpha=alpha, called=dict.fromkeys(tests, True))
    return {name: one.verdict.verdict == "leak" for name, one in judged.items()}


def overall_of(rows: Iterable[Decided]) -> OverallVerdict | None:
    """Return the verdict over all rows that have one; None if none has."""
    return overall([Verdict(row.verdict, row.verdict_reason) for row in rows if row.verdict is not None])
