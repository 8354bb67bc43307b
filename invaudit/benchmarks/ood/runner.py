"""The whole OOD benchmark: jobs in parallel, then tables, controls and the report."""

import os
import shutil
from itertools import product
from pathlib import Path
from typing import Any

from invaudit.benchmarks.ood.controls import check_controls
from invaudit.benchmarks.ood.jobs import checked_inputs, job_name, run_job
from invaudit.benchmarks.ood.settings import PIXELS, OODBenchmark
from invaudit.benchmarks.ood.side_tables import make_side_tables
from invaudit.benchmarks.ood.stored import detectors_of, read_jobs
from invaudit.benchmarks.ood.tables import make_summary, make_table
from invaudit.benchmarks.running import computed_with, run_jobs
from invaudit.records import OOD_RUN, DetectorInfo, OodRow, OodSummaryRow, write_rows
from invaudit.records.names import CONTROLS_RECORD, DETECTORS, SUMMARY, TABLE
from invaudit.records.ood import SIDE_TABLES
from invaudit.report import ood_page
from invaudit.runtime.console import notice
from invaudit.runtime.files import write_json
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
    environment = computed_with(settings.device)
    with RunFolder.open(
        out, settings, kind=OOD_RUN.name, schema=OOD_RUN.schema, resume=resume, inputs=inputs, **environment
    ) as folder:
        run_jobs(run_job, _jobs(settings, folder), folder, workers, PRELOAD)
        shutil.rmtree(folder.path / "work", ignore_errors=True)
        notice("making tables")
        write_tables(folder.path, settings)
        notice("making the report")
        ood_page(folder.path)
    return folder.path


def write_tables(folder: Path, settings: OODBenchmark) -> None:
    """Write the tables of a run from its stored scores and records, then check its controls.

    Args:
        folder: The run folder, with all its jobs done.
        settings: Settings of the run.

    Raises:
        RunFolderError: Its jobs do not belong together.
        ControlError: A control failed; the tables are written and cannot be trusted.
    """
    controls = folder / CONTROLS_RECORD
    controls.unlink(missing_ok=True)
    jobs = read_jobs(folder, settings)
    table = make_table(jobs, settings.name)
    write_rows(folder / TABLE, OodRow, table)
    write_rows(folder / SUMMARY, OodSummaryRow, make_summary(jobs, table, settings))
    write_rows(folder / DETECTORS, DetectorInfo, detectors_of(jobs))
    for name, rows in make_side_tables(jobs, settings.name).items():
        write_rows(folder / f"{name}.csv", SIDE_TABLES[name], rows)
    write_json(controls, {"passed": check_controls(jobs, table)})


def _jobs(settings: OODBenchmark, folder: RunFolder) -> dict[str, tuple[Any, ...]]:
    # The longest jobs first.
    networks = sorted(settings.networks, key=lambda name: (not settings.networks[name].baselines, name))
    wanted = [(seed, network) for network, seed in product((*networks, PIXELS), settings.seeds)]
    return {job_name(*job): (settings, *job, folder.path) for job in wanted}
