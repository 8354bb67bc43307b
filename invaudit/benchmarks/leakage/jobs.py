"""One job: audit one target of one seed, or measure what one pool allows by itself."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from invaudit.benchmarks.leakage.pools import DrawnPool, draw_pool, load_data
from invaudit.benchmarks.leakage.settings import ATTACK_CONTROL, LeakageBenchmark, TargetChoice
from invaudit.benchmarks.running import npz_bytes
from invaudit.data import generator
from invaudit.leakage import (
    METHODS,
    Reconstructions,
    attribute,
    best_similarity,
    blind_baseline,
    degraded_copies,
    membership_scores,
    reconstruct,
    score_reconstructions,
    sign_of,
    train_target,
    unrelated,
)
from invaudit.models import Target, accuracy, collect, resolve_device, threads
from invaudit.runtime.errors import InputError, MissingDataError, ModelError
from invaudit.runtime.files import write_bytes
from invaudit.runtime.runs import RunFolder
from invaudit.runtime.seeds import child
from invaudit.similarity import Metric, make_metric, pairwise
from invaudit.stats import Pairs, membership, scoring_limit

logger = logging.getLogger(__name__)
Row = dict[str, Any]


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
    scores = folder / "scores" / f"seed-{job.seed}" / job.target
    choice = settings.attack_control if job.target == ATTACK_CONTROL else settings.targets[job.target]
    target = _train(settings, job, choice, pool)
    record: Row = {"target": _about(target, pool, choice), "methods": {}, "tests": {}, "membership": {}}
    arrays: dict[str, np.ndarray] = {}
    _signals(settings, job, target, pool, record, arrays)
    metrics = _metrics(settings, pool)
    for name in settings.methods:
        _method(settings, job, name, target, pool, metrics, record, arrays, scores, folder / "work")
    write_bytes(scores / "membership.npz", npz_bytes(arrays))
    design = {"labels": pool.labels.numpy(), "member": pool.design.member, "pair": pool.design.pair}
    write_bytes(scores / "pool.npz", npz_bytes(design))
    if settings.images == "full":
        write_bytes(scores / "images.npz", npz_bytes({"images": _bytes(pool.images)}))
    return record


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


@contextmanager
def _noted(row: Row, name: str) -> Iterator[None]:
    """Time what happens inside and note how it ended; a failure is a row, not the end."""
    start = time.perf_counter()
    row |= {"status": "ok", "reason": ""}
    try:
        yield
    except MissingDataError as error:
        row |= {"status": "skipped", "reason": str(error)}
    except ModelError as error:
        row |= {"status": "not-applicable", "reason": str(error)}
    except InputError as error:
        row |= {"status": "failed", "reason": str(error)}
    except Exception as error:
        row |= {"status": "failed", "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        logger.warning("%s failed", name, exc_info=True)
    row["seconds"] = time.perf_counter() - start


def _signals(
    settings: LeakageBenchmark,
    job: Job,
    target: Target,
    pool: DrawnPool,
    record: Row,
    arrays: dict[str, np.ndarray],
) -> None:
    """Score membership without reconstruction: attribution, and the usual scores."""
    if settings.attribution:
        _measure(job, "attribution", lambda: attribute(target, pool.images, pool.labels), pool.design, record, arrays)
    usual = membership_scores(target, pool.images, pool.labels)
    for name, values in usual.items():
        _measure(job, name, lambda values=values: values, pool.design, record, arrays)


def _measure(
    job: Job, name: str, score: Callable[[], Tensor], design: Pairs, record: Row, arrays: dict[str, np.ndarray]
) -> None:
    row: Row = {}
    with _noted(row, name):
        values = score().double().cpu().numpy()
        row |= asdict(membership(values, design, _rng(job, f"membership/{name}")))
        arrays[name] = values
    record["membership"][name] = row


def _metrics(settings: LeakageBenchmark, pool: DrawnPool) -> dict[str, Metric | Row]:
    """Return the metrics by name; for one that cannot be had, the row that says why."""
    made: dict[str, Metric | Row] = {}
    for name, choice in settings.metrics.items():
        row: Row = {}
        with _noted(row, name):
            made[name] = make_metric(
                name, resize=choice.resize, reference=pool.reference, device=resolve_device(settings.device)
            )
        made.setdefault(name, row)
    return made


def _method(
    settings: LeakageBenchmark,
    job: Job,
    name: str,
    target: Target,
    pool: DrawnPool,
    metrics: dict[str, Metric | Row],
    record: Row,
    arrays: dict[str, np.ndarray],
    scores: Path,
    work: Path,
) -> None:
    """Reconstruct by one method, and score what it gave by every metric."""
    about: Row = {"n": 0, "outcome": None}
    checkpoint = work / f"{job.name}-{name}.pt"
    found: Reconstructions | None = None
    with _noted(about, name):
        choice = settings.methods[name]
        found = reconstruct(
            target,
            choice.kind,
            METHODS[choice.kind].settings(**choice.settings),
            generator(job.seed, f"method/{job.target}/{name}"),
            reference=pool.reference,
            checkpoint=checkpoint,
        )
        about |= {"n": len(found), "outcome": found.outcome, "message": found.message}
        if not len(found):
            raise InputError(f"{found.outcome}: {found.message}")
    record["methods"][name] = about
    lists: dict[str, np.ndarray] = {}
    record["tests"][name] = {
        metric: _test(settings, job, (name, metric), made, about, found, pool, lists)
        for metric, made in metrics.items()
    }
    for metric, made in metrics.items():
        key = f"{name}:{metric}"
        if isinstance(made, dict) or about["status"] != "ok" or found is None:
            failed = made if isinstance(made, dict) else about
            record["membership"][key] = {"status": failed["status"], "reason": failed["reason"], "seconds": 0.0}
            continue
        of_pool = (found.images, found.labels, found.restart, pool.images, pool.labels, made)
        _measure(job, key, lambda of_pool=of_pool: best_similarity(*of_pool), pool.design, record, arrays)
    if found is not None and len(found):
        lists |= {"labels": found.labels.numpy(), "restart": found.restart.numpy()}
        lists |= {"images": _bytes(found.images)} if settings.images == "full" else {}
        write_bytes(scores / f"{name}.npz", npz_bytes(lists))
    checkpoint.unlink(missing_ok=True)


def _test(
    settings: LeakageBenchmark,
    job: Job,
    names: tuple[str, str],
    metric: Metric | Row,
    method: Row,
    found: Reconstructions | None,
    pool: DrawnPool,
    lists: dict[str, np.ndarray],
) -> Row:
    if method["status"] != "ok" or found is None:
        return {"status": method["status"], "reason": method["reason"], "seconds": method["seconds"]}
    if isinstance(metric, dict):
        return metric
    row: Row = {}
    with _noted(row, ":".join(names)):
        scored = score_reconstructions(found.images, pool.images, metric)
        test = scored.test(pool.design, _rng(job, f"verdict/{':'.join(names)}"), draws=settings.draws)
        lists |= {f"{names[1]}-index": scored.index, f"{names[1]}-value": scored.value}
        row |= {
            "p_value": test.p_value,
            "attainable_p": test.attainable_p,
            "distinct_hits": test.distinct_hits,
            "similarity_member": scored.sign * float(test.similarity_member.mean()),
            "similarity_control": scored.sign * float(test.similarity_control.mean()),
        }
    row["seconds"] += method["seconds"]
    if method["outcome"] == "collapsed":
        row["reason"] = f"collapsed: {method['message']}"
    return row


def _describe_pool(settings: LeakageBenchmark, job: Job, pool: DrawnPool, folder: Path) -> Row:
    """Measure what needs no target: the blind baseline, and the scoring limit of every metric and number of images."""
    record: Row = {"blind": {}, "limits": {}, "n_members": job.members}
    with _noted(record["blind"], "blind baseline"):
        blind = blind_baseline(pool.images, pool.design, _rng(job, "blind"))
        record["blind"] |= {"auroc": blind.auroc, "p_value": blind.p_value}
    rng = generator(job.seed, f"limit/{job.members}")
    copies = degraded_copies(pool.images, rng, blur=settings.limit_blur, noise=settings.limit_noise)
    for name, metric in _metrics(settings, pool).items():
        if isinstance(metric, dict):
            continue
        copied = sign_of(metric) * pairwise(copies, pool.images, metric).numpy()
        for count in sorted(_counts(settings, job, folder)):
            row: Row = {}
            with _noted(row, f"scoring limit of {name}"):
                images = unrelated(pool.reference, count, generator(job.seed, f"unrelated/{count}"))
                similarity = sign_of(metric) * pairwise(images, pool.images, metric).numpy()
                limit = scoring_limit(
                    similarity,
                    copied,
                    pool.design,
                    _rng(job, f"limit/{name}/{count}"),
                    alpha=settings.alpha,
                    family=settings.family,
                )
                row |= {"members": limit.members, "power": limit.power, "similarity": limit.similarity}
            record["limits"][f"{name}/{count}"] = row
    return record


def _counts(settings: LeakageBenchmark, job: Job, folder: Path) -> set[int]:
    """Return how many reconstructions the methods gave, for targets of this pool."""
    audited = [one for one in target_jobs(settings) if (one.seed, one.members) == (job.seed, job.members)]
    records = [RunFolder(folder).record(one.name) for one in audited]
    return {method["n"] for record in records if record for method in record["methods"].values() if method["n"]}


def _rng(job: Job, stage: str) -> np.random.Generator:
    return np.random.default_rng(child(job.seed, f"{job.name}/{stage}"))


def _bytes(images: Tensor) -> np.ndarray:
    return (images * 255).round().to(torch.uint8).cpu().numpy()
