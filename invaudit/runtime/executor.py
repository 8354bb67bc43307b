"""How jobs are done: one after the other, or side by side in processes. A job returns its result, the parent writes it.

Jobs may read what their parent has prepared in the run folder and keep a checkpoint of their own there, so all of them
see its disk. Tables, scores and records are written by the parent alone: no two processes write one file, and a run
that is killed resumes from what is there.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any, Protocol

from invaudit.runtime.console import notice, progress
from invaudit.runtime.errors import InputError
from invaudit.runtime.runs import RunFolder, log_to

Results = Generator[tuple[str, Any], None, None]
"""Key and result of each job, as they are done."""


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
    """

    device: str
    workers: int = 1

    def run(self, jobs: Sequence[Job]) -> Results:
        """Do the jobs in their order."""
        for job in jobs:
            yield job.key, job(self.device)


@dataclass(frozen=True)
class Processes:
    """Does jobs side by side, each worker in a process of its own with a device of its own.

    Attributes:
        devices: Name of the device of each worker, as ``("cpu", "cpu")`` or ``("cuda:0", "cuda:1")``.
        preload: Modules that workers need.
        log: File that workers append to what the package logs.
    """

    devices: tuple[str, ...]
    preload: tuple[str, ...]
    log: Path

    @property
    def workers(self) -> int:
        """Jobs at a time."""
        return len(self.devices)

    def run(self, jobs: Sequence[Job]) -> Results:
        """Do the jobs, as many at a time as there are devices."""
        if not jobs:
            return
        # A server that has imported everything once hands out workers: importing torch takes longer than a short job.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(self.preload))
        _start_server()
        free_devices = context.SimpleQueue()
        for device in self.devices:
            free_devices.put(device)
        workers = min(self.workers, len(jobs))
        pool = ProcessPoolExecutor(workers, context, _start_worker, (self.log, free_devices))
        try:
            yield from _as_they_end(pool, jobs, workers)
        except Exception:
            pool.shutdown()
            raise
        except BaseException:  # an interruption, or nobody takes the results any more
            _kill_workers()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()


def make_executor(devices: Sequence[str], preload: Sequence[str], log: Path) -> Executor:
    """Return what does jobs on these devices, one worker for each: in this process where there is one alone."""
    if len(devices) == 1:
        return Serial(devices[0])
    return Processes(tuple(devices), tuple(preload), log)


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


def _as_they_end(pool: ProcessPoolExecutor, jobs: Sequence[Job], workers: int) -> Results:
    # The pool is handed no more jobs than it has workers: it would begin those that wait in it even after a failure.
    waiting = deque(jobs)
    running: dict[Future[Any], str] = {}
    failure: BaseException | None = None
    while True:
        while waiting and failure is None and len(running) < workers:
            job = waiting.popleft()
            running[pool.submit(_do, job)] = job.key
        if not running:
            break
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            key, error = running.pop(future), future.exception()
            if isinstance(error, BrokenProcessPool):
                raise InputError(
                    f"a worker was killed while it did {key}, perhaps for want of memory; what is finished is kept: "
                    "give --resume with fewer --workers"
                ) from error
            if error is None:
                yield key, future.result()
            elif failure is None:
                failure = error
                notice("a job failed; those that run are finished first")
            elif error is not failure:
                notice(f"another job failed: {error}")
    if failure is not None:
        raise failure


def _start_server() -> None:
    """Start the server that hands out workers, deaf to the interruption of a terminal, which its parent answers.

    A terminal sends SIGINT to all processes of a command. A signal that is blocked here stays so in the server and in
    all workers, and for this process it only waits.
    """
    resource_tracker.ensure_running()  # it takes the block away when it is started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kill_workers() -> None:
    """End the workers and their server at once: a job may take minutes, and all that it has kept is whole."""
    for worker in multiprocessing.active_children():
        worker.kill()
    # The server ends by itself, but not before it has imported all that workers need.
    server = forkserver._forkserver._forkserver_pid  # pyright: ignore[reportAttributeAccessIssue]
    if server is not None:
        with suppress(ProcessLookupError):
            os.kill(server, signal.SIGKILL)


_worker: dict[str, str] = {}
"""What this process is as a worker: the name of its ``device``."""


def _do(job: Job) -> Any:
    return job(_worker["device"])


def _start_worker(log: Path, free_devices: Any) -> None:
    _worker["device"] = free_devices.get()
    log_to(log)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A run that is killed cannot stop its workers; each would hold its memory and a core until its job is done.
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
