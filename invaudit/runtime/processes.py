"""Jobs side by side in processes of this machine."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

from invaudit.runtime.jobs import AllWorkersLost, Job, Results, as_they_end
from invaudit.runtime.runs import log_to


@dataclass(frozen=True)
class Processes:
    """Does jobs side by side, each worker in a process of its own with a device of its own.

    Attributes:
        devices: Name of the device of each worker, as ``("cpu", "cpu")`` or ``("cuda:0", "cuda:1")``.
        environment: What the numbers depend on here.
        preload: Modules that workers need.
        log: File that workers append to what the package logs.
    """

    devices: tuple[str, ...]
    environment: dict[str, Any]
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
            yield from as_they_end(_Pool(pool), lambda: workers, jobs)
        except Exception:
            pool.shutdown()
            raise
        except BaseException:  # an interruption, or nobody takes the results any more
            _kill_workers()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()


class _Pool:
    """A pool of processes: where one of them dies, so does the pool."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self.pool = pool

    def begin(self, job: Job) -> Future[Any]:
        try:
            return self.pool.submit(_do, job)
        except BrokenProcessPool as error:
            lost: Future[Any] = Future()
            lost.set_exception(error)
            return lost

    def wait(self, begun: Collection[Future[Any]]) -> Collection[Future[Any]]:
        return wait(begun, return_when=FIRST_COMPLETED).done

    def result(self, handle: Future[Any]) -> Any:
        try:
            return handle.result()
        except BrokenProcessPool as error:
            raise AllWorkersLost from error


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
