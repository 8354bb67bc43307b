"""The whole OOD benchmark: jobs in parallel, then tables, controls and the report."""

import os
import shutil
from itertools import product
from pathlib import Path
from typing import Any

from invaudit.benchmarks.ood.controls import check_controls
from invaudit.benchmarks.ood.jobs import checked_inputs, job_name, run_job
from invaudit.benchmarks.ood.settings import PIXELS, OODBenchmark
from invaudit.benchmarks.ood.tables import make_side_tables, make_summary, make_table, read_jobs
from invaudit.benchmarks.running import computed_with, run_jobs
from invaudit.report import ood_page
from invaudit.report.ood.run import CONTROLS
from invaudit.runtime.console import notice
from invaudit.runtime.files import write_csv, write_json
from invaudit.runtime.runs import RunFolder

PRELOAD = ["torch._dynamo", "pytorch_ood.detector", "invaudit.benchmarks.ood.jobs"]


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
    inputs = tuple(checked_inputs(settings))
    workers = workers or os.cpu_count() or 1
    with RunFolder.open(out, settings, resume=resume, inputs=inputs, **computed_with(settings.device)) as folder:
        run_jobs(run_job, _jobs(settings, folder), folder, workers, PRELOAD)
        notice("making tables")
        shutil.rmtree(folder.path / "work", ignore_errors=True)
        controls = folder.path / CONTROLS
        controls.unlink(missing_ok=True)
        jobs = read_jobs(folder.path, settings)
        table = make_table(jobs, settings.name)
        write_csv(folder.path / "table.csv", table)
        write_csv(folder.path / "summary.csv", make_summary(jobs, table, settings))
        for name, side in make_side_tables(jobs, settings.name).items():
            write_csv(folder.path / f"{name}.csv", side)
        passed = check_controls(jobs, table)
        write_json(controls, {"passed": passed})
        notice("making the report")
        ood_page(folder.path)
    return folder.path


def _jobs(settings: OODBenchmark, folder: RunFolder) -> dict[str, tuple[Any, ...]]:
    # The longest jobs first.
    networks = sorted(settings.networks, key=lambda name: (not settings.networks[name].baselines, name))
    wanted = [(seed, network) for network, seed in product((*networks, PIXELS), settings.seeds)]
    return {job_name(*job): (settings, *job, folder.path) for job in wanted}
