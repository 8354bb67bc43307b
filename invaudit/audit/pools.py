"""Pools of an audit: drawn by coins, or as they were found with a released target; and what a pool allows by itself."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invaudit.audit.attempts import attempt
from invaudit.audit.method import AuditSetup
from invaudit.audit.settings import AuditSettings, ReleasedTarget
from invaudit.data import ImageSet, load, refuse_duplicates, seeded_rng
from invaudit.data.folders import PictureInput
from invaudit.data.joining import with_classes, without_classes
from invaudit.leakage import (
    PairsDraw,
    Pool,
    blind_baseline,
    degraded_copies,
    draw_pairs,
    make_pool,
    unrelated,
)
from invaudit.leakage.pool import stratified
from invaudit.records import BlindResult, LimitResult, PoolRecord
from invaudit.runtime.errors import DataError
from invaudit.runtime.seeds import child_seed
from invaudit.similarity import Metric
from invaudit.similarity.embedded import embedding
from invaudit.similarity.protocol import sign_of
from invaudit.stats import BlindBaseline, Pairs, ScoringLimit, scoring_limit

BLOCK = 512
"""Pool images that are screened at once."""

TOO_SMALL = "too small to tell: not even members and controls that differ in every image would be called a shift"

Similarities = NDArray[np.float64]


def load_labelled(name: str, wanted: PictureInput | None = None) -> ImageSet:
    """Load images of which each has a class; ``wanted`` says what picture files become.

    Raises:
        InputError: They are not there, or some have no class.
    """
    data = load(name, wanted=wanted)
    if int(data.labels.min()) < 0:
        raise DataError(f"{name} has images without labels, expected a class for each; give labelled data")
    return data


def coin_pool(
    data: ImageSet,
    n_pairs: int,
    rng: torch.Generator,
    *,
    leave_out_rare: bool = False,
    most_reference: int | None = None,
) -> tuple[Pool, PairsDraw]:
    """Draw a pool under the ``pairs`` design: of two images of one class a coin names the member.

    Args:
        data: Images with classes.
        n_pairs: Number of pairs, and so of members.
        rng: Source of the draw.
        leave_out_rare: Leave out classes with too few images; the others are numbered anew.
        most_reference: Largest number of reference images, evenly spread over those that are drawn; None: all of them.

    Returns:
        The pool, and where its images are in the data.

    Raises:
        SettingError: Too few images of a class.
    """
    draw = draw_pairs(data.labels, n_pairs, rng, leave_out_rare=leave_out_rare)
    reference = data.subset(draw.reference)
    pool = Pool(
        images=without_classes(data.subset(draw.index), draw.left_out),
        design=Pairs(draw.member.numpy(), draw.pair.numpy()),
        classes=data.classes - len(draw.left_out),
        reference=(reference if most_reference is None else reference.spread(most_reference)).floats(),
    )
    return pool, draw


def released_pool(choice: ReleasedTarget, seed: int) -> tuple[Pool, BlindBaseline]:
    """Draw the pool of a released target, and measure the blind baseline on it, whose score makes the strata.

    Raises:
        InputError: Data that is missing, has no labels, or does not fit together.
    """
    members, controls, reference = load_labelled(choice.members), load_labelled(choice.controls), load(choice.reference)
    controls = with_classes(controls, members.class_names, known_by=choice.members)
    refuse_duplicates({"members": members, "controls": controls, "reference": reference})
    rng = np.random.default_rng(child_seed(seed, f"pool/{choice.members}"))
    return stratified(make_pool(members, controls, reference=reference.floats()), rng, most=choice.most)


def describe_pool(
    setup: AuditSetup, counts: Iterable[int], settings: AuditSettings, *, blind: BlindBaseline | None = None
) -> PoolRecord:
    """Measure what needs no target: the blind baseline, and the scoring limit by metric and number of reconstructions.

    Args:
        setup: The pool that is tested, and the metrics; without its reference images, which stand in for unrelated
            reconstructions, there is no scoring limit.
        counts: Numbers of reconstructions.
        settings: The rule of the verdict, and what the simulated copies look like.
        blind: The blind baseline where it is already known.
    """
    pool = setup.pool
    measured = attempt("blind baseline", lambda: blind or blind_baseline(pool.floats, pool.design, setup.rng("blind")))
    blind_result = measured.record(BlindResult, **({} if measured.value is None else _blind_figures(measured.value)))
    limits: dict[str, LimitResult] = {}
    if pool.reference is None:
        return PoolRecord(blind=blind_result)
    copy_rng = seeded_rng(setup.seed, f"{setup.stage}/copies")
    copies = degraded_copies(pool.floats, copy_rng, blur=settings.limit_blur, noise=settings.limit_noise)
    for name, metric in setup.metrics.ready.items():
        copied = attempt(f"scoring limit of {name}", partial(_screened, copies, pool, metric))
        for count in sorted(counts):
            if copied.value is None:
                limits[f"{name}/{count}"] = copied.record(LimitResult)
            else:
                limits[f"{name}/{count}"] = _scoring_limit(setup, name, copied.value, count, settings)
    return PoolRecord(blind=blind_result, limits=limits)


def _blind_figures(blind: BlindBaseline) -> dict[str, Any]:
    """Return the fields of the record of a blind baseline."""
    figures = {name: getattr(blind, name) for name in ("finding", "auroc", "low", "high", "p_value", "called_above")}
    if blind.finding == "too-small":
        figures["reason"] = TOO_SMALL
    return figures


def _scoring_limit(
    setup: AuditSetup, name: str, copied: Similarities, count: int, settings: AuditSettings
) -> LimitResult:
    """Return the scoring limit by one metric among so many reconstructions, of which most are unrelated to the pool."""
    pool, metric = setup.pool, setup.metrics.ready[name]
    others_rng, rng = seeded_rng(setup.seed, f"{setup.stage}/unrelated/{count}"), setup.rng(f"limit/{name}/{count}")

    def measure() -> ScoringLimit:
        assert pool.reference is not None  # noqa: S101 - ``describe_pool`` asks for no limit then
        others = _screened(unrelated(pool.reference, count, others_rng), pool, metric)
        return scoring_limit(others, copied, pool.design, rng, alpha=settings.alpha, family=settings.family)

    measured = attempt(f"scoring limit of {name}", measure)
    if measured.value is None:
        return measured.record(LimitResult)
    limit = measured.value
    similarity = sign_of(metric.better) * limit.similarity
    return measured.record(LimitResult, members=limit.members, power=limit.power, similarity=similarity)


@torch.no_grad()
def _screened(queries: Tensor, pool: Pool, metric: Metric) -> Similarities:
    """Return the (Q, N) similarities of all pairs as the search screens them: rough, and good enough to simulate."""
    compare = metric.screen(metric.embed(queries))
    blocks = []
    for part in pool.embeddings.by(metric).split(BLOCK):
        values, _ = compare(embedding(part, metric))
        blocks.append(values.double().cpu())
    return sign_of(metric.better) * torch.cat(blocks, 1).numpy()
