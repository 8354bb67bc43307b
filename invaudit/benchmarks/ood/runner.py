"""The whole OOD benchmark: sets prepared, jobs in parallel, then tables, controls and the report."""

import shutil
from itertools import product
from pathlib import Path
from typing import NamedTuple

from invaudit.benchmarks.ood.check import check_benchmark
from invaudit.benchmarks.ood.controls import check_controls
from invaudit.benchmarks.ood.job import run_job, store_job
from invaudit.benchmarks.ood.sets import Sets, load_sets, sets_file, write_sets
from invaudit.benchmarks.ood.settings import OODBenchmark
from invaudit.benchmarks.ood.side_tables import make_side_tables
from invaudit.benchmarks.ood.stored import detectors_of, read_jobs
from invaudit.benchmarks.ood.tables import make_summary, make_table
from invaudit.benchmarks.running import started
from invaudit.records import OOD_RUN, DetectorInfo, OodJobRecord, OodRow, OodSummaryRow, write_rows
from invaudit.records.folder import read_record, write_scores_record
from invaudit.records.names import CONTROLS_RECORD, DETECTORS, PIXELS, SUMMARY, TABLE, job_name, whole_of
from invaudit.records.ood import SIDE_TABLES
from invaudit.report import ood_page
from invaudit.runtime.console import notice
from invaudit.runtime.errors import SettingError
from invaudit.runtime.executor import THIS_MACHINE, ExecutorChoice
from invaudit.runtime.files import write_json
from invaudit.runtime.jobs import Job, run_jobs
from invaudit.runtime.runs import RunFolder

PRELOAD = ["torch._dynamo", "pytorch_ood.detector", "invaudit.benchmarks.ood.job"]


class Failure(NamedTuple):
    """A detector that failed on a network, or a user's that is not applicable there, and why."""

    detector: str
    network: str
    seed: int
    reason: str


class FinishedRun(NamedTuple):
    """A benchmark that is done.

    Attributes:
        folder: Where its tables and its report are.
        failures: Detectors that failed, and the user's that are not applicable, by network and seed.
    """

    folder: Path
    failures: tuple[Failure, ...]


def run(
    settings: OODBenchmark, out: Path, *, resume: bool = False, executor: ExecutorChoice = THIS_MACHINE
) -> FinishedRun:
    """Run a benchmark and write its folder.

    Args:
        settings: What to run.
        out: The run folder.
        resume: Continue a run that the folder holds.
        executor: What does the jobs, one thread each; by default one at a time for each core or accelerator of this
            machine. The numbers do not depend on it.

    Raises:
        InputError: Bad settings, missing ID data, a folder that cannot be used; or a detector that the settings name by
            path has no result on any network: the tables are written, and say so.
        ControlError: A control failed; the tables are written and cannot be trusted.
    """
    checked = check_benchmark(settings)
    for name, reason in checked.sets.missing.items():
        notice(f"OOD set {name} is skipped: {reason}")
    with started(
        settings, settings.device, out, executor, PRELOAD, kind=OOD_RUN, resume=resume, inputs=checked.inputs
    ) as (folder, workers):
        _prepare_sets(settings, checked.sets, folder)
        run_jobs(_jobs(settings, folder), workers, folder, lambda _, scores: store_job(folder, scores))
        shutil.rmtree(folder.path / "work", ignore_errors=True)
        write_scores_record(folder.path)
        notice("making tables")
        table = write_tables(folder.path, settings)
        notice("making the report")
        ood_page(folder.path)
        finished = FinishedRun(folder.path, _failures(settings, folder))
    _refuse_useless_detectors(settings, table, finished)
    return finished


def write_tables(folder: Path, settings: OODBenchmark) -> list[OodRow]:
    """Write the tables of a run from its stored scores and records, then check its controls.

    Args:
        folder: The run folder, with all its jobs done.
        settings: Settings of the run.

    Returns:
        The rows of ``table.csv``.

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
    return table


def describe_failures(failures: tuple[Failure, ...]) -> str:
    """Say in one line which detectors failed, where, and why; empty where none did."""
    networks: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    for failure in failures:
        places = networks.setdefault(failure.detector, [])
        if failure.network not in places:
            places.append(failure.network)
        reasons.setdefault(failure.detector, failure.reason)
    described = []
    for name, places in networks.items():
        described.append(f"{name} on {', '.join(places)} ({reasons[name]})")
    return f"Failed: {'; '.join(described)}" if described else ""


def _prepare_sets(settings: OODBenchmark, first: Sets, folder: RunFolder) -> None:
    """Read, transform, split and hash the sets of each seed that has jobs to do, once for all of its jobs."""
    for seed in settings.seeds:
        networks = (*settings.networks, PIXELS)
        to_do = [network for network in networks if folder.record(job_name(seed, network)) is None]
        if to_do:
            sets = first if seed == settings.seeds[0] else load_sets(settings, seed)
            write_sets(sets, sets_file(folder.path, seed))


def _jobs(settings: OODBenchmark, folder: RunFolder) -> list[Job]:
    # The longest jobs first.
    networks = sorted(settings.networks, key=lambda name: (not settings.networks[name].baselines, name))
    jobs = []
    for network, seed in product((*networks, PIXELS), settings.seeds):
        jobs.append(Job(job_name(seed, network), run_job, (settings, seed, network, folder.path)))
    return jobs


def _failures(settings: OODBenchmark, folder: RunFolder) -> tuple[Failure, ...]:
    failures = []
    for seed, network in product(settings.seeds, (PIXELS, *settings.networks)):
        record = read_record(folder.path, job_name(seed, network), OodJobRecord)
        for name, outcome in record.detectors.items():
            whole = whole_of(name)
            is_part = whole != name and whole in record.detectors
            if outcome.status == "failed" and not is_part:
                failures.append(Failure(name, network, seed, outcome.reason))
            # Of the library's detectors this is known beforehand; a user may wait for a result.
            if outcome.status == "not-applicable" and name in settings.detectors:
                failures.append(Failure(name, network, seed, f"not applicable: {outcome.reason}"))
    return tuple(failures)


def _refuse_useless_detectors(settings: OODBenchmark, table: list[OodRow], finished: FinishedRun) -> None:
    """Refuse detectors that a user named and that have no result in the table.

    The table decides, not the outcome of a job: one that failed on images of attacks alone has all its rows.
    """
    useful = {row.detector for row in table if row.status == "ok"}
    useless = [path for path in settings.detectors if path not in useful]
    if not useless:
        return
    described = []
    for path in useless:
        reasons = dict.fromkeys(failure.reason for failure in finished.failures if failure.detector == path)
        described.append(f"{path} ({'; '.join(reasons)})")
    others = tuple(failure for failure in finished.failures if failure.detector not in useless)
    message = (
        f"no result on any network: --detector {', '.join(described)}; fix it and run again with another --out. The "
        f"results of all others are in {finished.folder}, tracebacks in its log.txt. {describe_failures(others)}"
    )
    raise SettingError(message.rstrip())
