"""What a comparison of detectors says: who is a baseline, which tests are corrected together, and the verdict.

Each row of a run is compared with one, its reference: ours, unless the config names another.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from invaudit.stats.multiple import holm

COMPARISON_ALPHA = 0.05
"""Share of families of comparisons in which a difference may be called where there is none; 95 % intervals match it."""

ComparisonVerdict = Literal["ahead", "behind", "unclear", "untested"]
"""What a comparison says of the reference against another row."""

BASELINE_ROLES = ("library", "user")
"""Roles of detectors that are baselines of any reference; statistics of pixels never are."""


def is_baseline(
    role: str, *, on_trained_network: bool, is_part: bool = False, reference_role: str | None = "ours"
) -> bool:
    """Return whether a row is compared with the reference as a baseline: a detector on a trained network.

    Args:
        role: Whose the detector is: ``ours``, ``library``, ``user`` or ``statistic``.
        on_trained_network: Whether it reads a trained network; an untrained one is a control.
        is_part: Whether it is a part of another detector.
        reference_role: Whose the reference is. Where it is ours, our other detectors are ablations of it, and no
            baselines; to somebody else's they are. None: there is no reference.
    """
    if role == "ours":
        return on_trained_network and reference_role != "ours" and not is_part
    return on_trained_network and role in BASELINE_ROLES


def holm_family(ood_set: str, group: str, *, aggregates: Collection[str]) -> str:
    """Return the family of a comparison: that of its aggregate, or of all single sets of its group.

    Args:
        ood_set: Name of the OOD set or aggregate.
        group: Group of the set.
        aggregates: Names of the aggregates over several sets.
    """
    return f"aggregate {ood_set}" if ood_set in aggregates else f"group {group}"


@dataclass(frozen=True)
class ComparedRow:
    """A row that was compared with the reference.

    Attributes:
        is_baseline: Whether it is a baseline, see `is_baseline`.
        family: The family of its test, see `holm_family`.
        p_value: p-value of its difference to the reference; None where it was not tested.
    """

    is_baseline: bool
    family: str
    p_value: float | None


def adjusted_p_values(rows: Sequence[ComparedRow]) -> list[float | None]:
    """Return Holm's adjusted p-value of each row; None for a row that is no baseline or was not tested.

    Args:
        rows: All rows of a run, in any order; each family is corrected apart.
    """
    families: dict[str, list[int]] = {}
    p_values: dict[int, float] = {}
    for number, row in enumerate(rows):
        if row.is_baseline and row.p_value is not None:
            families.setdefault(row.family, []).append(number)
            p_values[number] = row.p_value
    adjusted: list[float | None] = [None] * len(rows)
    for numbers in families.values():
        values = holm([p_values[number] for number in numbers])
        for number, value in zip(numbers, values.tolist(), strict=True):
            adjusted[number] = value
    return adjusted


def comparison_verdict(
    low: float | None, high: float | None, p_adjusted: float | None, *, alpha: float = COMPARISON_ALPHA
) -> ComparisonVerdict:
    """Say what the difference of a row to the reference means: it counts where interval and p-value agree.

    Args:
        low: Lower end of the interval of the row minus the reference; None where it was not tested.
        high: Upper end of it.
        p_adjusted: p-value after the correction for the family; None where the row belongs to none.
        alpha: Largest p-value that counts.

    Returns:
        ``ahead`` where the reference is ahead, ``behind`` where it is behind.
    """
    if low is None or high is None:
        return "untested"
    if low <= 0 <= high or (p_adjusted is not None and p_adjusted > alpha):
        return "unclear"
    return "ahead" if high < 0 else "behind"
