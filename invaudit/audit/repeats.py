"""The tests of an audit once more on other images: a null of its own, and whether one draw of controls decides.

Controls in the place of members must not be called a leak, and the verdict must not hang on which controls were drawn.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from invaudit.records.model_audit import Question, RepeatRow
from invaudit.runtime.errors import InputError
from invaudit.runtime.seeds import child_seed
from invaudit.stats import (
    ALPHA,
    Observational,
    decide,
    holm,
    membership_p_values,
    restricted_lists,
    verdict_test,
)
from invaudit.stats.limits import draws_for

REPEATS = 20
"""Null splits, and draws of controls."""
REPEATS_OF_A_FAMILY = 2 * REPEATS + 1
"""All repeats of one family of tests: null splits, draws, and the controls in their order."""

Positions = NDArray[np.int64]
Lists = tuple[NDArray[np.int64], NDArray[np.float64]]
"""(R, k) nearest pool images of reconstructions, and their similarities; higher = more similar."""
Tested = list[tuple[float, float]]
"""p-value and smallest attainable p-value of each test of a family that could be made."""


@dataclass(frozen=True, eq=False)
class Family:
    """A declared family of tests that can be made on any part of a pool.

    Attributes:
        question: What it answers.
        design: Of the pool.
        given: (N,) position of each pool image among the members, or controls, as they were given.
        size: Number of declared tests.
        test: ``test(part, design, seed, draws)``: the tests on the images at these positions, under their own design.
    """

    question: Question
    design: Observational
    given: Positions
    size: int
    test: Callable[[Positions, Observational, int, int], Tested]


def reconstruction_family(lists: Mapping[str, Lists], design: Observational, given: Positions, size: int) -> Family:
    """Return the family of the verdict tests of reconstructions, by the name of each test."""

    def test(part: Positions, design_of_part: Observational, seed: int, draws: int) -> Tested:
        tested = []
        for name, (index, similarity) in lists.items():
            near = restricted_lists(index, similarity, part, len(design))
            rng = np.random.default_rng(child_seed(seed, name))
            found = verdict_test(*near, design_of_part, rng, draws=draws)
            tested.append((found.p_value, found.attainable_p))
        return tested

    return Family("reconstruction", design, given, size, test)


def membership_family(
    scores: Mapping[str, NDArray[np.float64]], design: Observational, given: Positions, size: int
) -> Family:
    """Return the family of the tests of membership scores, each (N,)."""

    def test(part: Positions, design_of_part: Observational, seed: int, draws: int) -> Tested:
        rng = np.random.default_rng(seed)
        of_part = np.stack([score[part] for score in scores.values()])
        p_values = membership_p_values(of_part, design_of_part, rng, draws=draws)
        attainable = max(design_of_part.attainable_p(np.flatnonzero(design_of_part.member)), 1 / (1 + draws))
        return [(float(p), attainable) for p in p_values]

    return Family("membership", design, given, size, test)


def repeated(family: Family, *, seed: int, alpha: float = ALPHA, repeats: int = REPEATS) -> list[RepeatRow]:
    """Repeat a family of tests: on random halves of the controls, on their first and second half, and on draws of them.

    Args:
        family: The tests.
        seed: Seed of the audit.
        alpha: Level of the family.
        repeats: Number of random halves, and of draws.

    Returns:
        One row for each repeat; one that could not be made says why.
    """
    rows = []
    member = family.design.member
    controls, members = np.flatnonzero(~member), np.flatnonzero(member)
    for number in range(repeats):
        first = _random_half(family, controls, child_seed(seed, f"null/{number}"))
        rows.append(_row(family, "null-halves", number, controls, first, seed, alpha))
    middle = np.median(family.given[controls])
    rows.append(_row(family, "null-order", 0, controls, controls[family.given[controls] < middle], seed, alpha))
    for number in range(repeats):
        drawn = _random_half(family, controls, child_seed(seed, f"draw/{number}"))
        part = np.sort(np.concatenate([members, drawn]))
        rows.append(_row(family, "draw", number, part, members, seed, alpha))
    return rows


def _random_half(family: Family, controls: Positions, seed: int) -> Positions:
    """Return half of the controls, whole units and half of each stratum where units are of one."""
    rng = np.random.default_rng(seed)
    units, first = np.unique(family.design.units[controls], return_index=True)
    order = rng.permutation(len(units))
    order = order[np.argsort(family.design.stratum[controls[first[order]]], kind="stable")]
    chosen = units[order[rng.integers(2) :: 2]]
    return controls[np.isin(family.design.units[controls], chosen)]


def _row(
    family: Family, kind: str, number: int, part: Positions, members: Positions, seed: int, alpha: float
) -> RepeatRow:
    """Make the tests on a part of the pool, with these images in the place of members."""
    group = None if family.design.group is None else family.design.group[part]
    row = {"kind": kind, "question": family.question, "repeat": number}
    try:
        design = Observational(np.isin(part, members), family.design.stratum[part], group)
        name = f"repeats/{family.question}/{kind}/{number}"
        tested = family.test(part, design, child_seed(seed, name), draws_for(alpha, family.size))
    except InputError as error:
        return RepeatRow.model_validate(row | {"status": "failed", "reason": str(error)})
    counts = {"n_members": int(design.member.sum()), "n_control": int((~design.member).sum())}
    if not tested:
        return RepeatRow.model_validate(row | counts | {"status": "skipped", "reason": "no test of the family ran"})
    p_adjusted, leak = _family_verdict(tested, family.size, alpha)
    return RepeatRow.model_validate(row | counts | {"p_adjusted": p_adjusted, "leak": leak})


def _family_verdict(tested: Sequence[tuple[float, float]], size: int, alpha: float) -> tuple[float, bool]:
    """Return the smallest adjusted p-value of a family, and whether any of its tests says leak."""
    p_values = np.ones(max(size, len(tested)))
    p_values[: len(tested)] = [p for p, _ in tested]
    adjusted = holm(p_values)[: len(tested)]
    leak = False
    for p_adjusted, (_, attainable) in zip(adjusted, tested, strict=True):
        # Of the pool itself other controls speak: here only what the test makes of these images.
        verdict = decide(float(p_adjusted), attainable, design="pairs", alpha=alpha, family=len(p_values))
        leak = leak or verdict.verdict == "leak"
    return float(adjusted.min()), leak
