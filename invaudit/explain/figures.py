"""Estimates as they are recorded."""

from typing import overload

from invaudit.records.explain import Figure
from invaudit.stats import Estimate


@overload
def figure(estimate: Estimate) -> Figure: ...
@overload
def figure(estimate: None) -> None: ...
@overload
def figure(estimate: Estimate | None) -> Figure | None: ...
def figure(estimate: Estimate | None) -> Figure | None:
    """Return an estimate as it is recorded; None stays None."""
    return None if estimate is None else Figure(**vars(estimate))
