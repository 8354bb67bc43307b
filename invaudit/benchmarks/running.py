"""How every benchmark runs: what does its jobs, and the folder that they fill."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from invaudit.models.workers import start_executor
from invaudit.runtime.executor import ExecutorChoice
from invaudit.runtime.jobs import Executor
from invaudit.runtime.runs import RunFolder, RunKind
from invaudit.runtime.settings import Settings


@contextmanager
def started(
    settings: Settings,
    device: str,
    out: Path,
    executor: ExecutorChoice,
    preload: Sequence[str],
    *,
    kind: RunKind,
    resume: bool,
    inputs: tuple[str, ...],
    may_change: Collection[str] = (),
) -> Iterator[tuple[RunFolder, Executor]]:
    """Start what does the jobs of a benchmark, open its folder, and end both after.

    Args:
        settings: What to run.
        device: Name of the device of all jobs.
        out: The run folder.
        executor: What does the jobs.
        preload: Modules that jobs need.
        kind, resume, inputs, may_change: As `RunFolder.open` takes them.

    Raises:
        InputError: A folder or an executor that cannot be used.
    """
    with (
        start_executor(executor, device, preload, out) as workers,
        RunFolder.open(
            out, settings, kind=kind, resume=resume, inputs=inputs, may_change=may_change, **workers.environment
        ) as folder,
    ):
        yield folder, workers
