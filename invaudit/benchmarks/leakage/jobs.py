"""One job: audit one target of one seed, or measure what one pool allows by itself."""

from pathlib import Path
from typing import NamedTuple

from invaudit.benchmarks.leakage.pools import DrawnPool, draw_pool, load_data, released_pool
from invaudit.benchmarks.leakage.settings import ATTACK_CONTROL, POOL, LeakageBenchmark, ReleasedTarget, TargetChoice
from invaudit.data import ImageSet, seeded_rng
from invaudit.data.image_set import eight_bits
from invaudit.leakage import (
    METHODS,
    Audit,
    BlindBaseline,
    Row,
    describe_pool,
    make_metrics,
    not_audited,
    reconstruct,
    train_target,
)
from invaudit.models import InputSpec, Target, accuracy, collect, limit_threads, load_model, resolve_device
from invaudit.models.training import chance_limit
from invaudit.runtime.errors import InputError, MissingDataError, ModelError, SettingError
from invaudit.runtime.files import npz_bytes, write_bytes
from invaudit.runtime.runs import RunFolder
from invaudit.similarity import Metric
from invaudit.stats import Pairs

CHANCE_SPREADS = 5
"""A released target has to beat chance on its members by this many standard deviations."""


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
    return [
        Job(settings.seeds[0], ATTACK_CONTROL, ""),
        *(Job(seed, name, f"{POOL}released-{name}") for seed in settings.seeds for name in settings.released),
        *(
            Job(seed, name, f"{POOL}{choice.members}")
            for seed in settings.seeds
            for name, choice in settings.targets.items()
        ),
    ]


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
            _released(settings, job, folder)
            return
        pool_of = job.seed, job.pool
        audited = [job] if job.target else [one for one in target_jobs(settings) if (one.seed, one.pool) == pool_of]
        pool, members = draw_pool(settings, load_data(settings), job.seed, audited[0].target)
        if not job.target:
            records = [RunFolder(folder).record(one.name) for one in audited]
            record = _describe_pool(settings, job, pool, [one for one in records if one])
        else:
            record = _trained(settings, job, pool, members, folder)
        RunFolder(folder).finish(job.name, record)


def _trained(settings: LeakageBenchmark, job: Job, pool: DrawnPool, members: ImageSet, folder: Path) -> Row:
    """Train a target and audit it; one that does not fit its members is no test of an attack, and its rows say so."""
    choice, rng = settings.choice(job.target), seeded_rng(job.seed, f"target/{job.target}")
    device = resolve_device(settings.device)
    try:
        target = train_target(choice.recipe, members.floats(), members.labels, pool.classes, rng, device=device)
    except ModelError as error:
        return {"target": _sizes(pool) | {"description": _described(choice)}, **_not_audited(settings, error)}
    return _audit(settings, job, pool, target, _described(choice), folder)


def _released(settings: LeakageBenchmark, job: Job, folder: Path) -> None:
    """Audit a target that somebody else trained; without its files its rows are skipped."""
    choice, run = settings.released[job.target], RunFolder(folder)
    described: Row = {"blind": {}, "limits": {}}
    try:
        pool, blind = released_pool(choice, job.seed)
        target = _load(settings, choice, pool)
        record = _audit(settings, job, pool, target, f"{choice.arch}, released", folder)
        described = _describe_pool(settings, job, pool, [record], blind)
    except InputError as error:
        about = {"design": "observational", "n_members": None, "n_control": None}
        record = {"target": {**about, "description": f"{choice.arch}, released"}, **_not_audited(settings, error)}
    run.finish(job.pool_name, described)
    run.finish(job.name, record)


def _not_audited(settings: LeakageBenchmark, error: InputError) -> Row:
    row = {"status": _status(error), "reason": str(error)}
    return not_audited(settings.methods, settings.metrics, row, attribution=settings.attribution)


def _status(error: InputError) -> str:
    if isinstance(error, MissingDataError):
        return "skipped"
    return "not-applicable" if isinstance(error, ModelError) else "failed"


def _sizes(pool: DrawnPool) -> Row:
    n_members = int(pool.design.member.sum())
    return {"design": pool.design.name, "n_members": n_members, "n_control": len(pool.images) - n_members}


def _load(settings: LeakageBenchmark, choice: ReleasedTarget, pool: DrawnPool) -> Target:
    spec = InputSpec(*pool.images.shape[1:], mean=choice.mean, std=choice.std)
    target = load_model(choice.model, arch=choice.arch, spec=spec).to(resolve_device(settings.device))
    if pool.classes > target.classes:
        raise SettingError(f"{choice.members} has {pool.classes} classes, {choice.model} knows {target.classes}")
    member = pool.member
    fit = accuracy(collect(target, pool.images[member], keep_maps=False).logits.argmax(1), pool.labels[member])
    if fit < chance_limit(target.classes, int(member.sum()), spreads=CHANCE_SPREADS):
        raise ModelError(
            f"{choice.model} gives {fit:.0%} of its members their class, hardly more than chance; "
            "check arch, mean, std and members"
        )
    return target


def _audit(
    settings: LeakageBenchmark, job: Job, pool: DrawnPool, target: Target, description: str, folder: Path
) -> Row:
    metrics = _metrics(settings, pool)
    where = {"seed": job.seed, "stage": job.name, "draws": settings.draws}
    audit = Audit(pool.images, pool.labels, pool.design, metrics, **where)
    audit.signals(target, attribution=settings.attribution)
    for name, method in settings.methods.items():
        checkpoint = folder / "work" / f"{job.name}-{name}.pt"
        rng = seeded_rng(job.seed, f"method/{job.target}/{name}")
        given = (target, method.kind, METHODS[method.kind].settings(**method.settings), rng)
        more = {"reference": pool.reference, "checkpoint": checkpoint}
        audit.method(name, lambda given=given, more=more: reconstruct(*given, **more))
        checkpoint.unlink(missing_ok=True)
    _store(audit, pool, folder / "scores" / f"seed-{job.seed}" / job.target, images=settings.images == "full")
    return {"target": {**_about(target, pool), "description": description}, **audit.record}


def _store(audit: Audit, pool: DrawnPool, folder: Path, *, images: bool) -> None:
    design = pool.design
    units = {"pair": design.pair} if isinstance(design, Pairs) else {"stratum": design.stratum}
    write_bytes(folder / "pool.npz", npz_bytes({"labels": pool.labels.numpy(), "member": design.member, **units}))
    write_bytes(folder / "membership.npz", npz_bytes(audit.scores))
    for method, arrays in audit.nearest.items():
        shown = {"images": eight_bits(audit.images_of[method]).cpu().numpy()} if images else {}
        write_bytes(folder / f"{method}.npz", npz_bytes(arrays | shown))
    if images:
        write_bytes(folder / "images.npz", npz_bytes({"images": eight_bits(pool.images).cpu().numpy()}))


def _about(target: Target, pool: DrawnPool) -> Row:
    right = collect(target, pool.images, keep_maps=False).logits.argmax(1)
    member = pool.member
    return {
        "hash": target.hash,
        **_sizes(pool),
        "train_accuracy": accuracy(right[member], pool.labels[member]),
        "control_accuracy": accuracy(right[~member], pool.labels[~member]),
    }


def _described(choice: TargetChoice) -> str:
    recipe = choice.recipe
    parts = [recipe.arch, f"{recipe.optimizer} {recipe.learning_rate:g}", f"{recipe.steps} full-batch steps"]
    parts += [f"weight decay {recipe.weight_decay:g}"] if recipe.weight_decay else []
    parts += [f"dropout {recipe.dropout:g}"] if recipe.dropout else []
    parts += [f"shifts of {recipe.shift} px"] if recipe.shift else []
    parts += ["trained on other images than the pool's"] if choice.negative else []
    return ", ".join(parts)


def _metrics(settings: LeakageBenchmark, pool: DrawnPool) -> dict[str, Metric | Row]:
    resizes = {name: choice.resize for name, choice in settings.metrics.items()}
    device = resolve_device(settings.device)
    return make_metrics(resizes, pool.reference, device, download=settings.download)


def _describe_pool(
    settings: LeakageBenchmark, job: Job, pool: DrawnPool, audits: list[Row], blind: BlindBaseline | None = None
) -> Row:
    return describe_pool(
        pool.images,
        pool.design,
        pool.reference,
        _metrics(settings, pool),
        {method["n"] for record in audits for method in record["methods"].values() if method["n"]},
        seed=job.seed,
        stage=job.pool_name,
        alpha=settings.alpha,
        family=settings.family,
        blur=settings.limit_blur,
        noise=settings.limit_noise,
        blind=blind,
    )
