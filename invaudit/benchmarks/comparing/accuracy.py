"""How often two networks are right, on the same members and on the same controls."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from invaudit.benchmarks.comparing.audited import Target
from invaudit.benchmarks.comparing.intervals import paired
from invaudit.benchmarks.comparing.shared_images import Shared, shared_scores
from invaudit.records.columns import Better
from invaudit.records.comparison import ComparisonRow
from invaudit.records.leakage import TargetRow
from invaudit.stats import Estimate, change_of_share, difference_of_changes

MARGIN = "margin"
"""The membership score that is positive where the answer is right."""
BETTER: dict[str, Better | None] = {"members": None, "controls": "higher", "gap": "lower"}
"""Which way each accuracy is better."""


def accuracy_rows(before: Target, after: Target) -> Iterator[ComparisonRow]:
    """Yield the accuracy on members and controls and the gap between both, paired where both keep single answers."""
    tables = [target.rows(target.run.targets) for target in (before, after)]
    if not all(tables):
        return
    shared = shared_scores(before.scored(MARGIN), after.scored(MARGIN))
    if isinstance(shared, Shared):
        yield from _paired_rows(shared)
        return
    old, new = (_accuracies(rows[0]) for rows in tables)
    for name in BETTER:
        first, second = old[name], new[name]
        difference = None if first is None or second is None else second - first
        reason = f"no interval: {shared}"
        yield _row(name).model_copy(
            update={"before": first, "after": second, "difference": difference, "reason": reason}
        )


def _row(name: str) -> ComparisonRow:
    return ComparisonRow(part="accuracy", name=name, figure="accuracy", better=BETTER[name], compared="beside")


def _accuracies(row: TargetRow) -> dict[str, float | None]:
    members, controls = row.train_accuracy, row.control_accuracy
    gap = None if members is None or controls is None else members - controls
    return {"members": members, "controls": controls, "gap": gap}


def _paired_rows(shared: Shared) -> Iterator[ComparisonRow]:
    member = shared.design.member
    old, new = (_shares(scores > 0, member) for scores in (shared.before, shared.after))
    for name, found in _changes(shared.before > 0, shared.after > 0, member).items():
        yield paired(_row(name).model_copy(update={"before": old[name], "after": new[name]}), found)


def _shares(right: NDArray[np.bool_], member: NDArray[np.bool_]) -> dict[str, float]:
    members, controls = float(right[member].mean()), float(right[~member].mean())
    return {"members": members, "controls": controls, "gap": members - controls}


def _changes(before: NDArray[np.bool_], after: NDArray[np.bool_], member: NDArray[np.bool_]) -> dict[str, Estimate]:
    """Return the change of each accuracy, given which answers were right and are right."""
    members = change_of_share(before[member], after[member])
    controls = change_of_share(before[~member], after[~member])
    return {"members": members, "controls": controls, "gap": difference_of_changes(members, controls)}
