"""Progress and notices on stderr: bars on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

from invaudit.runtime.text import printable

T = TypeVar("T")
LINE_EVERY_S = 10.0
_state = {"quiet": True}


def configure(*, quiet: bool) -> None:
    """Switch progress and notices on or off; a library is quiet until its command line says otherwise."""
    _state["quiet"] = quiet


def notice(text: str) -> None:
    """Print one line for the person who waits, unless quiet."""
    if not _state["quiet"]:
        say(text)


def say(text: str) -> None:
    """Print one line on stderr, whatever is in it; a terminal that has gone away is no reason to stop working."""
    with suppress(OSError, ValueError):
        print(printable(text), file=sys.stderr, flush=True)


def progress(items: Iterable[T], *, total: int, label: str) -> Iterator[T]:
    """Yield the items and show how many are done and how long the rest will take."""
    if _state["quiet"]:
        yield from items
    elif sys.stderr is not None and sys.stderr.isatty():
        yield from _bar(items, total, label)
    else:
        yield from _lines(items, total, label)


def _bar(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield from bar.track(items, total=total, description=label)


def _lines(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    start = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= LINE_EVERY_S and done < total:
            last = now
            say(f"{label}: {done}/{total}, about {(now - start) / done * (total - done):.0f} s left")
