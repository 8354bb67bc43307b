"""One job: audit one target of one seed, or measure what one pool allows by itself."""

from pathlib import Path
from typing import NamedTuple

from invaudit.audit import audit_target, load_released, released_pool
from invaudit.audit.attempts import failure
from invaudit.audit.metrics import make_metrics
from invaudit.audit.pools import describe_pool
from invaudit.audit.store import scores_folder, store_arrays
from invaudit.audit.target import describe_sizes, not_audited
from invaudit.benchmarks.leakage.pools import draw_pool, load_data
from invaudit.benchmarks.leakage.settings import POOL, LeakageBenchmark, TargetChoice
from invaudit.data import seeded_rng
from invaudit.leakage import BlindBaseline, Pool, train_target
from invaudit.models import Target, limit_threads, resolve_device
from invaudit.records import AuditRecord, Ended, PoolRecord, TargetDescription
from invaudit.records.names import ATTACK_CONTROL
from invaudit.runtime.errors import InputError, ModelError
from invaudit.runtime.runs import RunFolder


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


def target_jobs(settings: LeakageBenchmark) -> list[Job]:
    """Return the audits of a benchmark; the attack control belongs to the first seed."""
    jobs = [Job(settings.seeds[0], ATTACK_CONTROL, "")]
    for seed in settings.seeds:
        jobs += [Job(seed, name, f"{POOL}released-{name}") for name in settings.released]
    for seed in settings.seeds:
        jobs += [Job(seed, name, f"{POOL}{choice.members}") for name, choice in settings.targets.items()]
    return jobs


def pool_jobs(settings: LeakageBenchmark) -> list[Job]:
    """Return what is measured of each pool that targets share; it needs the records of the audits.

    A released target has a pool of its own, which is measured along with it.
    """
    pools = sorted({(job.seed, job.pool) for job in target_jobs(settings) if job.target in settings.targets})
    return [Job(seed, "", pool) for seed, pool in pools]


def run_job(settings: LeakageBenchmark, job: Job, folder: Path) -> None:
    """Do one job and write its scores, then its record."""
    with limit_threads(1):
        if job.target in settings.released:
            _audit_released(settings, job, folder)
        elif job.target:
            _audit_trained(settings, job, folder)
        else:
            _measure_pool(settings, job, folder)


def _audit_trained(settings: LeakageBenchmark, job: Job, folder: Path) -> None:
    """Train a target and audit it; one that does not fit its members is no test of an attack, and its rows say so."""
    choice, rng = settings.choice(job.target), seeded_rng(job.seed, f"target/{job.target}")
    pool, members = draw_pool(settings, load_data(settings), job.seed, job.target)
    device, description = resolve_device(settings.device), _described(choice)
    try:
        target = train_target(choice.recipe, members.floats(), members.labels, pool.classes, rng, device=device)
    except ModelError as error:
        record = not_audited(settings, describe_sizes(pool, description), _ended(error))
    else:
        record = _audit(settings, job, pool, target, description, folder)
    RunFolder(folder).finish(job.name, record.model_dump())


def _audit_released(settings: LeakageBenchmark, job: Job, folder: Path) -> None:
    """Audit a target that somebody else trained; without its files its rows are skipped."""
    choice, run = settings.released[job.target], RunFolder(folder)
    description, pool_record = f"{choice.arch}, released", PoolRecord()
    try:
        pool, blind = released_pool(choice, job.seed)
        target = load_released(choice, pool, settings.device)
        record = _audit(settings, job, pool, target, description, folder)
        pool_record = _describe_pool(settings, job, pool, [record], blind)
    except InputError as error:
        unknown = TargetDescription(design="observational", description=description)
        record = not_audited(settings, unknown, _ended(error))
    run.finish(job.pool_name, pool_record.model_dump())
    run.finish(job.name, record.model_dump())


def _measure_pool(settings: LeakageBenchmark, job: Job, folder: Path) -> None:
    """Measure what a pool allows, for as many reconstructions as the audits on it have."""
    run = RunFolder(folder)
    audits = [audit for audit in target_jobs(settings) if (audit.seed, audit.pool) == (job.seed, job.pool)]
    pool, _ = draw_pool(settings, load_data(settings), job.seed, audits[0].target)
    records = [run.record(audit.name) for audit in audits]
    finished = [AuditRecord.model_validate(record) for record in records if record is not None]
    run.finish(job.name, _describe_pool(settings, job, pool, finished).model_dump())


def _audit(
    settings: LeakageBenchmark, job: Job, pool: Pool, target: Target, description: str, folder: Path
) -> AuditRecord:
    audit = audit_target(
        target,
        pool,
        settings,
        name=job.target,
        seed=job.seed,
        description=description,
        work=folder / "work",
    )
    store_arrays(audit, pool, scores_folder(folder, job.seed, job.target), images=settings.images == "full")
    return audit.record


def _describe_pool(
    settings: LeakageBenchmark, job: Job, pool: Pool, audits: list[AuditRecord], blind: BlindBaseline | None = None
) -> PoolRecord:
    device = resolve_device(settings.device)
    metrics = make_metrics(settings.metrics, pool.reference, device, download=settings.download)
    counts = {outcome.n for record in audits for outcome in record.methods.values() if outcome.n}
    return describe_pool(pool, metrics, counts, settings, seed=job.seed, stage=job.pool_name, blind=blind)


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
