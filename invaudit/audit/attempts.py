"""Measurements that may fail: how each ended is part of the record, and no failure ends an audit."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from invaudit.records import Ended, Status
from invaudit.runtime.boundary import is_interruption
from invaudit.runtime.errors import InputError, MissingDataError, ModelError

T = TypeVar("T")
E = TypeVar("E", bound=Ended)
logger = logging.getLogger(__name__)


class Failure(NamedTuple):
    """Why there is no result."""

    status: Status
    reason: str


def failure(error: Exception) -> Failure:
    """Return how a measurement ended that raised an error."""
    if isinstance(error, MissingDataError):
        return Failure("skipped", str(error))
    if isinstance(error, ModelError):
        return Failure("not-applicable", str(error))
    if isinstance(error, InputError):
        return Failure("failed", str(error))
    return Failure("failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


@dataclass(frozen=True, eq=False)
class Attempt(Generic[T]):
    """How a measurement went.

    Attributes:
        value: What it gave; None where it failed.
        failure: Why it failed; None where it did not.
        seconds: Time that it took.
    """

    value: T | None
    failure: Failure | None
    seconds: float

    def record(self, kind: type[E], **values: Any) -> E:
        """Return a record of how it ended, with these values of the record's own fields."""
        status, reason = self.failure or ("ok", "")
        return kind.model_validate({"status": status, "reason": reason, "seconds": self.seconds} | values)


def attempt(name: str, measure: Callable[[], T]) -> Attempt[T]:
    """Measure something, and note how long it took and how it ended.

    Args:
        name: What is measured, for the log.
        measure: Measures it, and gives something that is not None; it may raise any exception.
    """
    start = time.perf_counter()
    try:
        value = measure()
    except Exception as error:
        if is_interruption(error):
            raise
        if not isinstance(error, InputError):
            logger.warning("%s failed", name, exc_info=True)
        return Attempt(None, failure(error), time.perf_counter() - start)
    return Attempt(value, None, time.perf_counter() - start)


def restated(ended: Ended, kind: type[E]) -> E:
    """Return a record of another kind that ended the same way."""
    return kind(status=ended.status, reason=ended.reason, seconds=ended.seconds)
