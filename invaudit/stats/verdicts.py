"""Is there a leak? The relabelling test of a set of reconstructions, and the rule that turns it into a verdict.

A per-reconstruction count is no evidence: reconstructions share images, so one lucky image can be many counts. Here
only labels move, and everything is recomputed under each labelling, so the test holds for reconstructions that depend
on one another in any way, copies of one another included.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrc

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats.blind import BlindFinding
from invaudit.stats.checks import at_least_one
from invaudit.stats.designs import Design
from invaudit.stats.relabelling import NearestLists, chunks, min_p, top_count, totals, upper_p

ALPHA = 0.01
"""Level of all tests of one target together: the one default wherever a leak is tested."""
ROUNDING = 1e-9  # so that 12 x (0.01 / 12) is not above 0.01

Word = Literal["leak", "no-evidence", "inconclusive"]
Reason = Literal["exploratory", "no-control", "control-invalid", "shift", "underpowered", "attack-failed"]
# These speak of the pool and the comparison, not of one attack alone: they silence every test that found nothing.
SPOILING: frozenset[Reason] = frozenset({"control-invalid", "shift"})


@dataclass(frozen=True, eq=False)
class VerdictTest:
    """What the relabelling test of one set of reconstructions found.

    Attributes:
        t_all: Sum over reconstructions of similarity to the nearest member minus to the nearest control.
        t_top: The same over its largest twentieth, at least 5.
        p_all: p-value of ``t_all``, one-sided.
        p_top: p-value of ``t_top``, one-sided.
        p_value: p-value of the smaller of both, within the same relabellings: the one to adjust and to judge.
        attainable_p: Smallest p-value that the hits at hand can stand for: the probability, under relabelling, that
            the distinct hits are members as far as they can be (`pairs`: 2 ** -h), at least 1 / (1 + draws). Many
            reconstructions of two images are two coins.
        distinct_hits: Pool units (pairs, groups or images) that are nearest to at least one reconstruction.
        n_reconstructions: Number of reconstructions R.
        draws: Number of relabellings B.
        similarity_member: (R,) similarity to the nearest member.
        similarity_control: (R,) similarity to the nearest control.
    """

    t_all: float
    t_top: float
    p_all: float
    p_top: float
    p_value: float
    attainable_p: float
    distinct_hits: int
    n_reconstructions: int
    draws: int
    similarity_member: NDArray[np.float64]
    similarity_control: NDArray[np.float64]


def verdict_test(
    index: ArrayLike,
    similarity: ArrayLike,
    design: Design,
    rng: np.random.Generator,
    *,
    draws: int = 9999,
) -> VerdictTest:
    """Test whether reconstructions are nearer to members than relabelling explains.

    With d_r the similarity of reconstruction r to its nearest member minus that to its nearest control,

        T_all = sum of all d_r,   T_top = sum of the K largest d_r,   K = max(5, ceil(R / 20)),

    each with p = (1 + #{T* >= T}) / (1 + B) over B relabellings, combined by the smaller p-value, ranked within the
    same relabellings. Exact under ``pairs``; under ``observational`` if labels are exchangeable within strata.

    Args:
        index: (R, k) int nearest pool images of each reconstruction, most similar first, positions 0 .. N - 1 in the
            pool of members and controls together, searched without knowing who is a member.
        similarity: (R, k) similarity to them; higher = more similar, so minus the distance for a distance.
        design: How membership came about, over the N pool images.
        rng: Source of the relabellings.
        draws: Number of relabellings B.

    Returns:
        The test.

    Raises:
        ShapeError: Arrays that do not fit, or a list that ends before both labels have appeared under some
            relabelling. Lists of 64 do under ``pairs`` (it has a probability of 2 ** -63 at most, per list and
            relabelling) and for strata with members and controls in like numbers; in a stratum with hardly any
            controls even long lists can end early. Lists of the whole pool never do.
        SettingError: A value outside its range.

    References:
        Min-p as in Westfall and Young 1993; p-values as in Phipson and Smyth 2010.
    """
    at_least_one(draws, "draws")
    lists = NearestLists.of(index, similarity, len(design))
    n = len(lists.index)
    k = top_count(n)
    observed = lists.differences(design.member[None])
    statistics = [totals(observed, k)]
    for size in chunks(draws, max(n, len(design))):
        statistics.append(totals(lists.differences(design.relabellings(rng, size)), k))
    p = upper_p(np.concatenate(statistics, axis=1))
    hits = lists.index[:, 0]
    d, nearest = observed[0], lists.similarity[:, 0]
    return VerdictTest(
        t_all=float(statistics[0][0, 0]),
        t_top=float(statistics[0][1, 0]),
        p_all=float(p[0, 0]),
        p_top=float(p[1, 0]),
        p_value=float(min_p(p)[0]),
        attainable_p=max(design.attainable_p(hits), 1 / (1 + draws)),
        distinct_hits=len(np.unique(design.units[hits])),
        n_reconstructions=n,
        draws=draws,
        similarity_member=nearest + np.minimum(d, 0),
        similarity_control=nearest - np.maximum(d, 0),
    )


class Verdict(NamedTuple):
    """A verdict and, if it is ``inconclusive``, its reason."""

    verdict: Word
    reason: Reason | None = None


def decide(
    p_adjusted: float | None,
    attainable_p: float | None,
    *,
    design: str,
    alpha: float = ALPHA,
    family: int = 1,
    blind: BlindFinding | None = None,
    negative_control_p: float | None = None,
    attack_control_called: bool | None = None,
    exploratory: bool = False,
) -> Verdict:
    """Return the verdict. The first that applies, in this order:

    1. ``inconclusive (exploratory)``: something used members; no p-value means anything then.
    2. ``inconclusive (no-control)``: no test, for want of controls; under ``observational`` also no blind baseline.
    3. ``inconclusive (control-invalid)``: a negative control has p <= alpha; the comparison itself is broken.
    4. ``inconclusive (shift)``: ``observational`` and the blind baseline finds a shift.
    5. ``inconclusive (underpowered)``: the distinct hits, or the number of relabellings, cannot reach alpha, at the
       family's first Holm step; under ``observational`` also a pool that is too small for the blind baseline.
    6. ``leak``: adjusted p <= alpha, whatever the attack control says: a leak that was found is a leak.
    7. ``inconclusive (no-control)`` or ``(attack-failed)``: nothing was found, and the attack control was not run, or
       the same attack did not find a leak that is known to be there; so that finding nothing says nothing.
    8. ``no-evidence``.

    Args:
        p_adjusted: The test's p-value after Holm over the declared family (`holm`); None without a test.
        attainable_p: ``VerdictTest.attainable_p``; None without a test, if there are no controls to test against.
        design: "pairs" or "observational".
        alpha: Level of the whole family.
        family: Number of tests in the declared family.
        blind: What the blind baseline found; None: not run.
        negative_control_p: Smallest p-value of the negative controls, adjusted for their number; None: none was run.
        attack_control_called: Whether the attack control was called ``leak``; None: not run.
        exploratory: Whether a setting, a choice or a statistic used members of the audited target.

    Returns:
        Verdict and reason.

    Raises:
        SettingError: A design, level, rate or p-value outside its range, or only one of p-value and attainable p-value.
    """
    _check_decision(p_adjusted, attainable_p, design, alpha, family, negative_control_p)
    observational = design == "observational"
    if exploratory:
        return Verdict("inconclusive", "exploratory")
    if p_adjusted is None or attainable_p is None or (observational and blind is None):
        return Verdict("inconclusive", "no-control")
    if negative_control_p is not None and reaches(negative_control_p, alpha):
        return Verdict("inconclusive", "control-invalid")
    if observational and blind == "shift":
        return Verdict("inconclusive", "shift")
    if not reaches(attainable_p * family, alpha) or (observational and blind == "too-small"):
        return Verdict("inconclusive", "underpowered")
    if reaches(p_adjusted, alpha):
        return Verdict("leak")
    if attack_control_called is None:
        return Verdict("inconclusive", "no-control")
    return Verdict("no-evidence") if attack_control_called else Verdict("inconclusive", "attack-failed")


class OverallVerdict(NamedTuple):
    """The verdict on a target over all of its tests.

    Attributes:
        verdict: What its tests say together.
        reasons: Why it is ``inconclusive``: the reasons of the tests, each once, in their order; else empty.
    """

    verdict: Word
    reasons: tuple[Reason, ...] = ()


def overall(verdicts: Sequence[Verdict]) -> OverallVerdict | None:
    """Return the verdict on a target over its tests. The first that applies, in this order:

    1. ``leak``: any test says ``leak``; the p-values are corrected for all of them already.
    2. ``inconclusive``: no test says ``no-evidence``, or a reason of `SPOILING` stands against any of them.
    3. ``no-evidence``.

    Args:
        verdicts: One for each test that has a verdict, in any order.

    Returns:
        Verdict and reasons; None if nothing was tested.
    """
    if not verdicts:
        return None
    words = {verdict.verdict for verdict in verdicts}
    if "leak" in words:
        return OverallVerdict("leak")
    reasons: dict[Reason, None] = {}  # a set that keeps the order of the tests
    for verdict in verdicts:
        if verdict.reason is not None:
            reasons[verdict.reason] = None
    if "no-evidence" not in words or not SPOILING.isdisjoint(reasons):
        return OverallVerdict("inconclusive", tuple(reasons))
    return OverallVerdict("no-evidence")


def null_p_value(leaks: int, halves: int, order_p: float | None, alpha: float = ALPHA) -> float:
    """Return the p-value of an audit's own null, a negative control: controls in the place of members.

    For given images the random halves are independent draws from the relabellings, so each is called a leak with a
    probability of at most alpha. The first half of the controls as they were given, against the second, is called one
    where the controls are not of one source. The smaller of both, times two.

    Args:
        leaks: Random halves that were called a leak.
        halves: Random halves that could be tested.
        order_p: Adjusted p-value of the first half against the second; None: not tested.
        alpha: Level of the family.
    """
    tail = float(bdtrc(leaks - 1, halves, alpha)) if leaks else 1.0
    return min(1.0, 2 * min(tail, 1.0 if order_p is None else order_p))


AGREEING = 0.95
"""Share of draws of controls that have to be called alike, for the verdict not to hang on one."""


def draws_agree(leaks: int, draws: int) -> bool:
    """Return whether draws of controls are called alike, ``leak`` against not, but for one in twenty."""
    return max(leaks, draws - leaks) >= AGREEING * draws


def reaches(p: float, alpha: float) -> bool:
    """Return whether p <= alpha, but for rounding."""
    return p <= alpha * (1 + ROUNDING)


def _check_decision(
    p_adjusted: float | None,
    attainable_p: float | None,
    design: str,
    alpha: float,
    family: int,
    negative_control_p: float | None,
) -> None:
    if design not in ("pairs", "observational"):
        raise SettingError(f'design is {design!r}, expected "pairs" or "observational"; pass the name of the design')
    if not 0 < alpha < 1:
        raise SettingError(f"alpha is {alpha}, expected (0, 1); pass the level of the family")
    at_least_one(family, "family")
    if (p_adjusted is None) != (attainable_p is None):
        raise ShapeError("p_adjusted and attainable_p go together; pass both, or None for both without controls")
    rates = {"p_adjusted": p_adjusted, "negative_control_p": negative_control_p}
    for name, value in rates.items():
        if value is not None and not 0 <= value <= 1:
            raise SettingError(f"{name} is {value}, expected [0, 1]; pass a fraction")
