"""The whole leakage benchmark: audits in parallel, then tables and the report."""

import shutil
from contextlib import suppress
from pathlib import Path

from invaudit.audit.rows import n_reconstructions
from invaudit.benchmarks.leakage.jobs import (
    Job,
    JobResult,
    audits_on,
    pool_jobs,
    run_job,
    target_jobs,
)
from invaudit.benchmarks.leakage.pools import draw_pool, load_data
from invaudit.benchmarks.leakage.settings import LeakageBenchmark
from invaudit.benchmarks.leakage.tables import StoredRun, make_tables
from invaudit.benchmarks.running import started
from invaudit.data import ImageSet, load, seeded_rng
from invaudit.leakage.targets import untrained_target
from invaudit.models import InputSpec
from invaudit.models.loading import model_file
from invaudit.records import LEAKAGE_RUN, AuditRecord
from invaudit.records.folder import read_record, write_scores_record
from invaudit.report import audit_record, leakage_page
from invaudit.runtime.console import notice
from invaudit.runtime.errors import MissingDataError, ModelError
from invaudit.runtime.executor import THIS_MACHINE, ExecutorChoice
from invaudit.runtime.files import content_hash, write_json
from invaudit.runtime.jobs import Job as RunJob
from invaudit.runtime.jobs import run_jobs
from invaudit.runtime.paths import read_bytes
from invaudit.runtime.problems import Problems
from invaudit.runtime.runs import RunFolder

PRELOAD = ["torch._dynamo", "sklearn.linear_model", "invaudit.benchmarks.leakage.jobs"]


def run(
    settings: LeakageBenchmark, out: Path, *, resume: bool = False, executor: ExecutorChoice = THIS_MACHINE
) -> Path:
    """Run a benchmark and write its folder.

    Args:
        settings: What to run.
        out: The run folder.
        resume: Continue a run that the folder holds.
        executor: What does the jobs, one thread each; by default one at a time for each core or accelerator of this
            machine. The numbers do not depend on it.

    Returns:
        The folder.

    Raises:
        InputError: Bad settings, missing data, a folder that cannot be used.
    """
    data = _checked_data(settings)
    inputs = {settings.data: data.hash} | _released_inputs(settings)
    with started(
        settings,
        settings.device,
        out,
        executor,
        PRELOAD,
        kind=LEAKAGE_RUN,
        resume=resume,
        inputs=tuple(inputs.values()),
    ) as (folder, workers):
        for jobs in (target_jobs(settings), pool_jobs(settings)):
            todo = [_run_job(settings, job, folder) for job in jobs]
            run_jobs(todo, workers, folder, lambda _, result: result.store(folder))
        write_scores_record(folder.path)
        notice("making tables")
        shutil.rmtree(folder.path / "work", ignore_errors=True)
        make_tables(StoredRun.read(folder.path, settings)).write(folder.path)
        notice("making the report")
        leakage_page(folder.path)
        write_json(folder.path / "audit.json", audit_record(folder.path, data=inputs).model_dump(mode="json"))
    return folder.path


def _checked_data(settings: LeakageBenchmark) -> ImageSet:
    """Return the data, after a look at everything that would stop a target that is trained.

    Raises:
        InputError: All that is wrong, each with its remedy.
    """
    data = load_data(settings)
    problems = Problems()
    for job in target_jobs(settings):
        if job.target in settings.released:
            continue
        with problems.noted(f"target {job.target}"):
            pool, _ = draw_pool(settings, data, job.seed, job.target)
            spec = InputSpec(*pool.images.shape)
            untrained_target(settings.choice(job.target).recipe, spec, pool.classes, seeded_rng(0, "check"))
    problems.refuse()
    return data


def _run_job(settings: LeakageBenchmark, job: Job, folder: RunFolder) -> RunJob:
    """Return a job as executors take it; that of a pool needs the records of the audits on it."""
    return RunJob(job.name, _do, (settings, job, folder.path / "work", _counts(settings, job, folder)))


def _counts(settings: LeakageBenchmark, job: Job, folder: RunFolder) -> list[int]:
    """Return how many reconstructions the audits on a pool have; none for another job."""
    if job.target:
        return []
    records = []
    for audit in audits_on(settings, job):
        records.append(read_record(folder.path, audit.name, AuditRecord))
    return n_reconstructions(records)


def _do(settings: LeakageBenchmark, job: Job, work: Path, counts: list[int], *, device: str) -> JobResult:
    return run_job(settings.model_copy(update={"device": device}), job, work, counts)


def _released_inputs(settings: LeakageBenchmark) -> dict[str, str]:
    """Return the hash of each model file and image set of released targets that is there."""
    hashes = {}
    for choice in settings.released.values():
        with suppress(MissingDataError):
            hashes[choice.model] = content_hash(read_bytes(model_file(choice.model), ModelError))
        for name in (choice.members, choice.controls, choice.reference):
            with suppress(MissingDataError):
                hashes[name] = load(name).hash
    return hashes
