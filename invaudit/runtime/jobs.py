"""Jobs of a run, and the loop that does them side by side. A job returns its result, the parent writes it.

Jobs may read what their parent has prepared in the run folder and keep a checkpoint of their own there, so all of them
see its disk. Tables, scores and records are written by the parent alone: no two processes write one file, and a run
that is killed resumes from what is there.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from invaudit.runtime.console import notice, progress
from invaudit.runtime.errors import InputError
from invaudit.runtime.runs import RunFolder

Results = Generator[tuple[str, Any], None, None]
"""Key and result of each job, as they are done."""
TRIES = 3
"""Times that a job is begun whose worker dies of it, or with its machine."""


@dataclass(frozen=True)
class Job:
    """One piece of work: a function of its arguments and of files that they name, to be done in any process, or again.

    Attributes:
        key: Its name, unique in the run; its record is called so.
        function: Called with the arguments, and with ``device=`` the name of the device to compute on.
        arguments: What the function takes; they can be pickled.
    """

    key: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __call__(self, device: str) -> Any:
        """Do the job on a device and return its result."""
        return self.function(*self.arguments, device=device)


class Executor(Protocol):
    """Something that does jobs."""

    @property
    def workers(self) -> int:
        """Jobs at a time."""
        ...

    @property
    def environment(self) -> dict[str, Any]:
        """What the numbers depend on where the jobs are done, beside settings and versions."""
        ...

    def run(self, jobs: Sequence[Job]) -> Results:
        """Do the jobs and give each result as soon as it is there, in any order.

        Args:
            jobs: The longest first, so that no worker waits at the end.

        Raises:
            Exception: What the first job that failed raised. No further job is begun after it; those that run are
                finished, and their results given, before it is raised.
        """
        ...


@dataclass(frozen=True)
class Serial:
    """Does jobs one after the other, in this process.

    Attributes:
        device: Name of the device that all jobs compute on.
        environment: What the numbers depend on here.
    """

    device: str
    environment: dict[str, Any]
    workers: int = 1

    def run(self, jobs: Sequence[Job]) -> Results:
        """Do the jobs in their order."""
        for job in jobs:
            yield job.key, job(self.device)


class WorkerLost(Exception):  # noqa: N818 - what happened, as KeyboardInterrupt is
    """A worker is gone, and the job that it did with it."""


class AllWorkersLost(Exception):  # noqa: N818
    """All workers are gone with one of them, and no job can be begun again."""


class Workers(Protocol):
    """Workers that do one job each at a time, for `as_they_end`."""

    def begin(self, job: Job) -> Any:
        """Begin a job and return a handle of it."""
        ...

    def wait(self, begun: Collection[Any]) -> Collection[Any]:
        """Wait a while for jobs that were begun, and return the handles of those that have ended, perhaps none."""
        ...

    def result(self, handle: Any) -> Any:
        """Return what an ended job returned.

        Raises:
            WorkerLost: Its worker died, and the job may be begun again.
            AllWorkersLost: So did the others.
            Exception: What the job raised.
        """
        ...


def as_they_end(workers: Workers, at_once: Callable[[], int], jobs: Sequence[Job]) -> Results:
    """Give the jobs to workers, no more than ``at_once()`` at a time, and yield their results; see `Executor.run`.

    The workers are handed no more jobs than they do at a time: they would begin those that wait even after a failure.
    """
    waiting = deque(jobs)
    running: dict[Any, Job] = {}
    begun: Counter[str] = Counter()
    failure: Exception | None = None
    while True:
        while waiting and failure is None and len(running) < at_once():
            job = waiting.popleft()
            begun[job.key] += 1
            running[workers.begin(job)] = job
        if not running:
            break
        for handle in workers.wait(running):
            job = running.pop(handle)
            try:
                result = workers.result(handle)
            except WorkerLost as lost:
                if begun[job.key] < TRIES:
                    notice(f"a worker was lost while it did {job.key} ({lost})")
                    waiting.appendleft(job)
                elif failure is None:
                    failure = InputError(
                        f"{TRIES} workers were lost while they did {job.key} ({lost}); what is finished is kept: give "
                        "--resume, with fewer --workers or a larger --memory-per-job if it was for want of memory"
                    )
            except AllWorkersLost:
                if failure is None:
                    failure = InputError(
                        f"a worker was killed while it did {job.key} or another job, perhaps for want of memory; what "
                        "is finished is kept: give --resume with fewer --workers"
                    )
            except Exception as error:  # noqa: BLE001 - of somebody's job; the first is raised in the end
                if failure is None:
                    failure = error
                    notice("a job failed; those that run are finished first")
                else:
                    notice(f"another job failed: {error}")
            else:
                yield job.key, result
    if failure is not None:
        raise failure


def run_jobs(jobs: Sequence[Job], executor: Executor, folder: RunFolder, store: Callable[[str, Any], None]) -> None:
    """Do the jobs that have no record yet, and store what each returns.

    Args:
        jobs: The longest first.
        executor: What does them.
        folder: Where the records are.
        store: Takes key and result of a job and writes its files, the record last: it says that the job is done.

    Raises:
        Exception: What a job raised; no further job is begun, and those that run are finished and stored.
    """
    todo = [job for job in jobs if folder.record(job.key) is None]
    at_once = min(executor.workers, len(todo))
    notice(f"{len(todo)} of {len(jobs)} jobs to do, {at_once} at a time; results go to {folder.path}")
    # Closed at once when something goes wrong here: else the workers would go on until the traceback is forgotten.
    with closing(executor.run(todo)) as results:
        for key, result in progress(results, total=len(todo), label="jobs"):
            store(key, result)
