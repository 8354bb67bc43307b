"""What the repeats of an audit say together: its own null, and whether the verdict hangs on one draw of controls."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from invaudit.stats.verdicts import draws_agree, null_p_value


class Repeated(Protocol):
    """A family of tests once more, on other images: a row of a table of repeats."""

    @property
    def kind(self) -> str:
        """What was repeated: ``null-halves``, ``null-order`` or ``draw``."""
        ...

    @property
    def question(self) -> str:
        """Which family."""
        ...

    @property
    def p_adjusted(self) -> float | None:
        """Smallest adjusted p-value."""
        ...

    @property
    def leak(self) -> bool | None:
        """Whether the family would be called a leak; None where it could not be tested."""
        ...


@dataclass(frozen=True)
class Repeats:
    """The repeats of the family of tests of one question.

    Attributes:
        halves: Random halves of the controls that were tested in the place of members.
        halves_called: How many of them were called a leak.
        order_p: Adjusted p-value of the first half of the controls against the second; None: not tested.
        null_p: p-value of both together; None: no half was tested.
        draws: Draws of controls that the tests were repeated with.
        draws_called: How many of them were called a leak.
        draws_alike: Whether they are called alike, but for one in twenty; None: no draw was tested.
    """

    halves: int
    halves_called: int
    order_p: float | None
    null_p: float | None
    draws: int
    draws_called: int
    draws_alike: bool | None

    @property
    def most_alike(self) -> int:
        """Draws that are called as most of them are, ``leak`` against not."""
        return max(self.draws_called, self.draws - self.draws_called)


def repeats_of(rows: Iterable[Repeated], question: str, alpha: float) -> Repeats:
    """Return what the repeats of one question say together.

    Args:
        rows: Rows of ``repeats.csv``.
        question: Which family.
        alpha: Level of the family.
    """
    called: dict[str, list[bool]] = {"null-halves": [], "null-order": [], "draw": []}
    order_p = None
    for row in rows:
        if row.question != question or row.leak is None:
            continue
        called[row.kind].append(row.leak)
        if row.kind == "null-order":
            order_p = row.p_adjusted
    halves, draws = called["null-halves"], called["draw"]
    return Repeats(
        halves=len(halves),
        halves_called=sum(halves),
        order_p=order_p,
        null_p=null_p_value(sum(halves), len(halves), order_p, alpha) if halves else None,
        draws=len(draws),
        draws_called=sum(draws),
        draws_alike=draws_agree(sum(draws), len(draws)) if draws else None,
    )
