"""One job: audit one target of one seed, or measure what one pool allows by itself."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from invaudit.benchmarks.leakage.pools import DrawnPool, draw_pool, load_data
from invaudit.benchmarks.leakage.settings import ATTACK_CONTROL, LeakageBenchmark, TargetChoice
from invaudit.data import generator
from invaudit.leakage import METHODS, Audit, Row, describe_pool, make_metrics, reconstruct, train_target
from invaudit.models import Target, accuracy, collect, resolve_device, threads
from invaudit.runtime.files import npz_bytes, write_bytes
from invaudit.runtime.runs import RunFolder
from invaudit.similarity import Metric


class Job(NamedTuple):
    """What is done at once: a target of a seed, or (``target`` empty) the pool of a seed with so many members."""

    seed: int
    target: str
    members: int

    @property
    def name(self) -> str:
        """Name of its record."""
        return f"seed-{self.seed}-{self.target or f'pool-{self.members}'}"


def target_jobs(settings: LeakageBenchmark) -> list[Job]:
    """Return the audits of a benchmark; the attack control belongs to the first seed."""
    return [
        Job(settings.seeds[0], ATTACK_CONTROL, settings.attack_control.members),
        *(Job(seed, name, choice.members) for seed in settings.seeds for name, choice in settings.targets.items()),
    ]


def pool_jobs(settings: LeakageBenchmark) -> list[Job]:
    """Return what is measured of each pool; it needs the records of the audits."""
    sizes = sorted({choice.members for choice in settings.targets.values()})
    return [Job(seed, "", members) for seed in settings.seeds for members in sizes]


def run_job(settings: LeakageBenchmark, job: Job, folder: Path) -> None:
    """Do one job and write its scores, then its record."""
    with threads(1):
        first = job.target or next(name for name, one in settings.targets.items() if one.members == job.members)
        pool = draw_pool(settings, load_data(settings), job.seed, first)
        record = _audit(settings, job, pool, folder) if job.target else _describe_pool(settings, job, pool, folder)
        RunFolder(folder).finish(job.name, record)


def _audit(settings: LeakageBenchmark, job: Job, pool: DrawnPool, folder: Path) -> Row:
    choice = settings.attack_control if job.target == ATTACK_CONTROL else settings.targets[job.target]
    target = _train(settings, job, choice, pool)
    metrics = _metrics(settings, pool)
    where = {"seed": job.seed, "stage": job.name, "draws": settings.draws}
    audit = Audit(pool.images, pool.labels, pool.design, metrics, **where)
    audit.signals(target, attribution=settings.attribution)
    for name, method in settings.methods.items():
        checkpoint = folder / "work" / f"{job.name}-{name}.pt"
        rng = generator(job.seed, f"method/{job.target}/{name}")
        given = (target, method.kind, METHODS[method.kind].settings(**method.settings), rng)
        more = {"reference": pool.reference, "checkpoint": checkpoint}
        audit.method(name, lambda given=given, more=more: reconstruct(*given, **more))
        checkpoint.unlink(missing_ok=True)
    _store(audit, pool, folder / "scores" / f"seed-{job.seed}" / job.target, images=settings.images == "full")
    return {"target": _about(target, pool, choice), **audit.record}


def _store(audit: Audit, pool: DrawnPool, folder: Path, *, images: bool) -> None:
    design = {"labels": pool.labels.numpy(), "member": pool.design.member, "pair": pool.design.pair}
    write_bytes(folder / "pool.npz", npz_bytes(design))
    write_bytes(folder / "membership.npz", npz_bytes(audit.scores))
    for method, arrays in audit.nearest.items():
        shown = {"images": _bytes(audit.images_of[method])} if images else {}
        write_bytes(folder / f"{method}.npz", npz_bytes(arrays | shown))
    if images:
        write_bytes(folder / "images.npz", npz_bytes({"images": _bytes(pool.images)}))


def _train(settings: LeakageBenchmark, job: Job, choice: TargetChoice, pool: DrawnPool) -> Target:
    member = pool.member
    images = pool.others if choice.negative else pool.images[member]
    labels = pool.other_labels if choice.negative else pool.labels[member]
    rng = generator(job.seed, f"target/{job.target}")
    return train_target(choice.recipe, images, labels, pool.classes, rng, device=resolve_device(settings.device))


def _about(target: Target, pool: DrawnPool, choice: TargetChoice) -> Row:
    right = collect(target, pool.images, keep_maps=False).logits.argmax(1)
    member = pool.member
    return {
        "hash": target.hash,
        "n_members": int(member.sum()),
        "train_accuracy": accuracy(right[member], pool.labels[member]),
        "control_accuracy": accuracy(right[~member], pool.labels[~member]),
        "description": _described(choice),
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


def _describe_pool(settings: LeakageBenchmark, job: Job, pool: DrawnPool, folder: Path) -> Row:
    return describe_pool(
        pool.images,
        pool.design,
        pool.reference,
        _metrics(settings, pool),
        _counts(settings, job, folder),
        seed=job.seed,
        stage=job.name,
        alpha=settings.alpha,
        family=settings.family,
        blur=settings.limit_blur,
        noise=settings.limit_noise,
    )


def _counts(settings: LeakageBenchmark, job: Job, folder: Path) -> set[int]:
    """Return how many reconstructions the methods gave, for targets of this pool."""
    audited = [one for one in target_jobs(settings) if (one.seed, one.members) == (job.seed, job.members)]
    records = [RunFolder(folder).record(one.name) for one in audited]
    return {method["n"] for record in records if record for method in record["methods"].values() if method["n"]}


def _bytes(images: Tensor) -> np.ndarray:
    return (images * 255).round().to(torch.uint8).cpu().numpy()
