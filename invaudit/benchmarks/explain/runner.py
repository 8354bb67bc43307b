"""The whole benchmark of explanations: networks, then inversions in parallel, then the tables."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from invaudit.benchmarks.explain.check import check_benchmark
from invaudit.benchmarks.explain.jobs import InversionJob, inversion_jobs, run_inversion_job
from invaudit.benchmarks.explain.networks import NetworkJob, network_jobs, run_network_job
from invaudit.benchmarks.explain.settings import ExplainBenchmark
from invaudit.benchmarks.explain.tables import write_tables
from invaudit.benchmarks.running import started
from invaudit.records.folder import EXPLAIN_BENCHMARK_RUN
from invaudit.runtime.console import notice
from invaudit.runtime.executor import THIS_MACHINE, ExecutorChoice
from invaudit.runtime.jobs import Job, run_jobs

PRELOAD = ["torch._dynamo", "invaudit.benchmarks.explain.jobs"]
MAY_CHANGE = ("only",)
"""Settings that a run may be resumed with other values of."""


def run(
    settings: ExplainBenchmark, out: Path, *, resume: bool = False, executor: ExecutorChoice = THIS_MACHINE
) -> Path:
    """Run a benchmark and write its folder.

    Args:
        settings: What to run.
        out: The run folder.
        resume: Continue a run that the folder holds, perhaps with other variants under ``only``.
        executor: What does the jobs, one thread each; by default one at a time for each core or accelerator of this
            machine. The numbers do not depend on it.

    Returns:
        The folder.

    Raises:
        InputError: Bad settings, missing data, a folder that cannot be used.
    """
    inputs = check_benchmark(settings)
    with started(
        settings,
        settings.device,
        out,
        executor,
        PRELOAD,
        kind=EXPLAIN_BENCHMARK_RUN,
        resume=resume,
        inputs=inputs,
        may_change=MAY_CHANGE,
    ) as (folder, workers):
        networks = [_job(run_network_job, settings, job, folder.path) for job in network_jobs(settings)]
        run_jobs(networks, workers, folder, lambda key, row: folder.finish(key, row.model_dump(mode="json")))
        inversions = [_job(run_inversion_job, settings, job, folder.path) for job in inversion_jobs(settings)]
        run_jobs(inversions, workers, folder, lambda _, result: result.store(folder))
        shutil.rmtree(folder.path / "work", ignore_errors=True)
        notice("making tables")
        write_tables(folder.path, settings)
    return folder.path


def _job(function: Callable[..., Any], settings: ExplainBenchmark, job: NetworkJob | InversionJob, folder: Path) -> Job:
    return Job(job.name, function, (settings, job, folder))
