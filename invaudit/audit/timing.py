"""Short timings, from which the plan of an audit is made."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from invaudit.runtime.errors import InputError

FEW_STEPS, MORE_STEPS = 1, 4
"""Steps of the two runs from whose difference the time of a step comes."""


def seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds of one run."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def warm_seconds(work: Callable[[], object]) -> float:
    """Return the shorter time of two runs: the first one often loads and sets up what later ones have.

    What does not fit the model takes no time: its stage says so by itself.
    """
    try:
        return min(seconds_of(work), seconds_of(work))
    except InputError:
        return 0.0


def step_seconds(search: Callable[[int], object]) -> tuple[float, float]:
    """Return the seconds of one step of a search, which is given a number of steps, and of all that is not a step."""
    few, more = (seconds_of(lambda steps=steps: search(steps)) for steps in (FEW_STEPS, MORE_STEPS))
    step = max((more - few) / (MORE_STEPS - FEW_STEPS), more / MORE_STEPS / 10)
    return step, max(0.0, few - FEW_STEPS * step)


@contextmanager
def unheard() -> Iterator[None]:
    """Keep what a few steps of a search have to say out of the log: nothing of it is meant."""
    logger = logging.getLogger("invaudit")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
