"""Threads that read picture files: one for each core, unless the command line says how many. No byte depends on it."""

import os

_state: dict[str, int | None] = {"readers": None}


def configure(readers: int | None) -> None:
    """Set how many threads read pictures in this process; None: one for each core that it may use."""
    _state["readers"] = readers


def readers() -> int:
    """Return how many threads read pictures."""
    return _state["readers"] or _usable_cores()


def _usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
