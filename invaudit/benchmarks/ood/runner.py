"""The whole OOD benchmark: jobs in parallel, then tables, controls and the report."""

import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from pathlib import Path

import pandas as pd

from invaudit.benchmarks.ood.controls import check_controls
from invaudit.benchmarks.ood.jobs import PIXELS, check_jobs, job_name, run_job
from invaudit.benchmarks.ood.settings import OODBenchmark
from invaudit.benchmarks.ood.tables import make_side_tables, make_summary, make_table, read_jobs
from invaudit.report import ood_page
from invaudit.runtime.console import notice, progress
from invaudit.runtime.files import write_json, write_text
from invaudit.runtime.runs import RunFolder, log_to


def run(settings: OODBenchmark, out: Path, *, resume: bool = False, workers: int | None = None) -> Path:
    """Run a benchmark and write its folder.

    Args:
        settings: What to run.
        out: The run folder.
        resume: Continue a run that the folder holds.
        workers: Jobs at a time, one thread each; by default one for each core. The numbers do not depend on it.

    Returns:
        The folder.

    Raises:
        InputError: Bad settings, missing ID data, a folder that cannot be used.
        ControlError: A control failed; the tables are written and cannot be trusted.
    """
    check_jobs(settings)
    workers = workers or os.cpu_count() or 1
    with RunFolder.open(out, settings, resume=resume, threads_per_job=1) as folder:
        _do_jobs(settings, folder, workers)
        notice("making tables")
        shutil.rmtree(folder.path / "work", ignore_errors=True)
        jobs = read_jobs(folder.path, settings)
        table = make_table(jobs, settings.name)
        _write_csv(folder.path / "table.csv", table)
        _write_csv(folder.path / "summary.csv", make_summary(jobs, table, settings))
        for name, side in make_side_tables(jobs, settings.name).items():
            _write_csv(folder.path / f"{name}.csv", side)
        passed = check_controls(jobs, table)
        write_json(folder.path / "records" / "controls.json", {"passed": passed})
        notice("making the report")
        ood_page(folder.path)
    return folder.path


def _do_jobs(settings: OODBenchmark, folder: RunFolder, workers: int) -> None:
    # The longest jobs first, so that no core waits at the end.
    networks = sorted(settings.networks, key=lambda name: (not settings.networks[name].baselines, name))
    wanted = [(seed, network) for network, seed in product((*networks, PIXELS), settings.seeds)]
    todo = [job for job in wanted if folder.record(job_name(*job)) is None]
    notice(f"{len(todo)} of {len(wanted)} jobs to do, {min(workers, len(todo))} at a time; results go to {folder.path}")
    for _ in progress(_finished(settings, folder, todo, workers), total=len(todo), label="jobs"):
        pass


def _finished(settings: OODBenchmark, folder: RunFolder, todo: list[tuple[int, str]], workers: int) -> Iterator[None]:
    if workers == 1 or len(todo) <= 1:
        for seed, network in todo:
            run_job(settings, seed, network, folder.path)
            yield
        return
    # A server that has imported everything once hands out workers: importing torch takes longer than a short job.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "pytorch_ood.detector", "invaudit.benchmarks.ood.jobs"])
    log = (folder.path / "log.txt",)
    with ProcessPoolExecutor(min(workers, len(todo)), context, initializer=log_to, initargs=log) as pool:
        futures = [pool.submit(run_job, settings, seed, network, folder.path) for seed, network in todo]
        try:
            for future in as_completed(futures):
                future.result()
                yield
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
