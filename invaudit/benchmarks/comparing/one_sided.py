"""What only one of two runs has."""

from collections.abc import Hashable, Iterable
from typing import TypeVar

from invaudit.records.comparison import ComparisonRow, Part

N = TypeVar("N", bound=Hashable)

ONLY_BEFORE, ONLY_AFTER = "only in the first run", "only in the second run"


def in_both(before: Iterable[N], after: Iterable[N]) -> list[N]:
    """Return the names that both have, in the order of the first."""
    others = set(after)
    return [name for name in dict.fromkeys(before) if name in others]


def one_sided(part: Part, column: str, before: Iterable[N], after: Iterable[N]) -> list[ComparisonRow]:
    """Return a row for each name that only one of two runs has, with the reason.

    Args:
        part: What the names are of.
        column: Column of the row that takes the name.
        before: Names in the first run.
        after: Names in the second.
    """
    first, second = dict.fromkeys(before), dict.fromkeys(after)
    rows = []
    for names, others, reason in ((first, second, ONLY_BEFORE), (second, first, ONLY_AFTER)):
        for name in names:
            if name not in others:
                rows.append(ComparisonRow.model_validate(unpaired(part, reason) | {column: name}))
    return rows


def unpaired(part: Part, reason: str) -> dict[str, str]:
    """Return the fields of a row without a second value."""
    return {"part": part, "compared": "not-paired", "reason": reason}
