"""What the runners share: jobs in worker processes, and what their numbers depend on."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from invaudit.models import resolve_device, resolve_precision
from invaudit.runtime.console import notice, progress
from invaudit.runtime.runs import RunFolder, log_to


def computed_with(device: str) -> dict[str, Any]:
    """Return what the numbers of a run depend on beside its settings, for ``environment.json``.

    Raises:
        SettingError: No such device.
    """
    precision = resolve_precision("auto", resolve_device(device))
    return {"threads_per_job": 1, "auto_precision": str(precision).removeprefix("torch.")}


def run_jobs(
    work: Callable[..., None], jobs: dict[str, tuple[Any, ...]], folder: RunFolder, workers: int, preload: list[str]
) -> None:
    """Do the jobs that have no record yet.

    Args:
        work: Does one job and writes its record.
        jobs: Name of the record -> arguments of ``work``; the longest first, so that no core waits at the end.
        folder: Where the records are.
        workers: Jobs at a time, each in a process of its own.
        preload: Modules that workers need.

    Raises:
        Exception: What a job raised; no further job is begun, and those that run are finished.
    """
    todo = [arguments for name, arguments in jobs.items() if folder.record(name) is None]
    at_once = min(workers, len(todo))
    notice(f"{len(todo)} of {len(jobs)} jobs to do, {at_once} at a time; results go to {folder.path}")
    for _ in progress(_finished(work, todo, folder, at_once, preload), total=len(todo), label="jobs"):
        pass


def _finished(
    work: Callable[..., None], todo: list[tuple[Any, ...]], folder: RunFolder, workers: int, preload: list[str]
) -> Iterator[None]:
    if workers <= 1:
        for arguments in todo:
            work(*arguments)
            yield
        return
    # A server that has imported everything once hands out workers: importing torch takes longer than a short job.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(preload)
    log = (folder.path / "log.txt",)
    with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=log) as pool:
        futures = [pool.submit(work, *arguments) for arguments in todo]
        try:
            for future in as_completed(futures):
                future.result()
                yield
        except Exception as first:
            for future in futures:
                future.cancel()
            notice("a job failed; those that run are finished first")
            for error in (future.exception() for future in futures if not future.cancelled()):
                if error not in (None, first):
                    notice(f"another job failed: {error}")
            raise
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_worker(log: Path) -> None:
    log_to(log)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A run that is killed cannot stop its workers; each would hold its memory and a core until its job is done.
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
