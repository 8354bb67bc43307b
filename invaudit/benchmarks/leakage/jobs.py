"""One job: audit one target of one seed, or measure what one pool allows by itself."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from invaudit.audit import audit_target, load_released, released_pool
from invaudit.audit.attempts import failure
from invaudit.audit.method import AuditSetup
from invaudit.audit.metrics import make_metrics
from invaudit.audit.pools import describe_pool
from invaudit.audit.rows import n_reconstructions
from invaudit.audit.store import array_files, write_array_files
from invaudit.audit.target import TargetAudit, describe_sizes, not_audited
from invaudit.benchmarks.leakage.pools import draw_pool, load_data
from invaudit.benchmarks.leakage.settings import POOL, LeakageBenchmark, TargetChoice
from invaudit.data import ImageSet, seeded_rng
from invaudit.leakage import Pool, train_target
from invaudit.models import Target, limit_threads, resolve_device
from invaudit.records import AuditRecord, Ended, PoolRecord, TargetDescription
from invaudit.records.names import ATTACK_CONTROL
from invaudit.runtime.errors import InputError, ModelError
from invaudit.runtime.runs import RunFolder
from invaudit.stats import BlindBaseline


class Job(NamedTuple):
    """What is done at once: a target of a seed, or (``target`` empty) one of its pools."""

    seed: int
    target: str
    pool: str

    @property
    def name(self) -> str:
        """Name of its record."""
        return f"seed-{self.seed}-{self.target or self.pool}"

    @property
    def pool_name(self) -> str:
        """Name of the record of its pool."""
        return f"seed-{self.seed}-{self.pool}"


def attack_control_job(settings: LeakageBenchmark) -> Job:
    """Return the audit of the attack control, which belongs to the first seed."""
    return Job(settings.seeds[0], ATTACK_CONTROL, "")


def target_jobs(settings: LeakageBenchmark) -> list[Job]:
    """Return the audits of a benchmark: the attack control, then released targets, then those that are trained."""
    jobs = [attack_control_job(settings)]
    for seed in settings.seeds:
        for name in settings.released:
            jobs.append(Job(seed, name, f"{POOL}released-{name}"))
    for seed in settings.seeds:
        for name, choice in settings.targets.items():
            jobs.append(Job(seed, name, f"{POOL}{choice.members}"))
    return jobs


def pool_jobs(settings: LeakageBenchmark) -> list[Job]:
    """Return what is measured of each pool that targets share; it needs the records of the audits.

    A released target has a pool of its own, which is measured along with it.
    """
    jobs = set()
    for job in target_jobs(settings):
        if job.target in settings.targets:
            jobs.add(Job(job.seed, "", job.pool))
    return sorted(jobs)


@dataclass(frozen=True, eq=False)
class JobResult:
    """What a job gives, for whoever started it to write.

    Attributes:
        job: The job.
        record: Record of the job.
        pool_record: Record of the pool of a released target, which is measured along with it.
        files: Arrays of the audit, from ``array_files``.
    """

    job: Job
    record: AuditRecord | PoolRecord
    pool_record: PoolRecord | None = None
    files: dict[str, bytes] = field(default_factory=dict)

    def store(self, folder: RunFolder) -> None:
        """Write all of it, the record of the job last: it says that the job is done."""
        write_array_files(self.files, folder.path, self.job.seed, self.job.target)
        if self.pool_record is not None:
            folder.finish(self.job.pool_name, self.pool_record.model_dump())
        folder.finish(self.job.name, self.record.model_dump())


def run_job(settings: LeakageBenchmark, job: Job, work: Path, counts: Sequence[int] = ()) -> JobResult:
    """Do one job.

    Args:
        settings: The benchmark.
        job: The job.
        work: Folder for the state of searches that were stopped.
        counts: Numbers of reconstructions that the audits on a pool have; only the job of a pool reads them.
    """
    with limit_threads(1):
        if job.target in settings.released:
            return _audit_released(settings, job, work)
        pool, members = draw_pool(settings, load_data(settings), job.seed, job.target or _any_target(settings, job))
        if job.target:
            return _audit_trained(settings, job, pool, members, work)
        return JobResult(job, _describe_pool(settings, job, pool, counts))


def _any_target(settings: LeakageBenchmark, pool_job: Job) -> str:
    """Return a target that is audited on a pool: the pool is the same for each of them."""
    return audits_on(settings, pool_job)[0].target


def audits_on(settings: LeakageBenchmark, pool_job: Job) -> list[Job]:
    """Return the audits on a pool that targets share."""
    return [job for job in target_jobs(settings) if job.pool_name == pool_job.pool_name]


def _audit_trained(settings: LeakageBenchmark, job: Job, pool: Pool, members: ImageSet, work: Path) -> JobResult:
    """Train a target and audit it; one that does not fit its members is no test of an attack, and its rows say so."""
    choice, rng = settings.choice(job.target), seeded_rng(job.seed, f"target/{job.target}")
    device, description = resolve_device(settings.device), _described(choice)
    try:
        target = train_target(choice.recipe, members.floats(), members.labels, pool.classes, rng, device=device)
    except ModelError as error:
        return JobResult(job, not_audited(settings, describe_sizes(pool, description), _ended(error)))
    audit = _audit(settings, job, pool, target, description, work)
    return JobResult(job, audit.record, files=_files(settings, audit, pool))


def _audit_released(settings: LeakageBenchmark, job: Job, work: Path) -> JobResult:
    """Audit a target that somebody else trained; without its files its rows are skipped."""
    choice = settings.released[job.target]
    description = f"{choice.arch or choice.model}, released"
    try:
        pool, blind = released_pool(choice, job.seed)
        target = load_released(choice, pool, settings.device)
        audit = _audit(settings, job, pool, target, description, work)
        pool_record = _describe_pool(settings, job, pool, n_reconstructions([audit.record]), blind)
        return JobResult(job, audit.record, pool_record, _files(settings, audit, pool))
    except InputError as error:
        unknown = TargetDescription(design="observational", description=description)
        return JobResult(job, not_audited(settings, unknown, _ended(error)), PoolRecord())


def _audit(
    settings: LeakageBenchmark, job: Job, pool: Pool, target: Target, description: str, work: Path
) -> TargetAudit:
    return audit_target(target, pool, settings, name=job.target, seed=job.seed, description=description, work=work)


def _files(settings: LeakageBenchmark, audit: TargetAudit, pool: Pool) -> dict[str, bytes]:
    return array_files(audit, pool, images=settings.images == "full")


def _describe_pool(
    settings: LeakageBenchmark, job: Job, pool: Pool, counts: Sequence[int], blind: BlindBaseline | None = None
) -> PoolRecord:
    device = resolve_device(settings.device)
    metrics = make_metrics(settings.metrics, pool.reference, device, download=settings.download)
    setup = AuditSetup(pool, metrics, job.seed, job.pool_name, settings.draws)
    return describe_pool(setup, counts, settings, blind=blind)


def _ended(error: InputError) -> Ended:
    status, reason = failure(error)
    return Ended(status=status, reason=reason)


def _described(choice: TargetChoice) -> str:
    recipe = choice.recipe
    parts = [recipe.arch, f"{recipe.optimizer} {recipe.learning_rate:g}", f"{recipe.steps} full-batch steps"]
    if recipe.weight_decay:
        parts.append(f"weight decay {recipe.weight_decay:g}")
    if recipe.dropout:
        parts.append(f"dropout {recipe.dropout:g}")
    if recipe.shift:
        parts.append(f"shifts of {recipe.shift} px")
    if choice.negative:
        parts.append("trained on other images than the pool's")
    return ", ".join(parts)
