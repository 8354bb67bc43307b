"""The plan of an audit: a short timing turns the time that is given into steps for each stage.

The plan is made once, before the first stage; the clock decides nothing later.
"""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from invaudit.audit.gallery import explained, gallery_cost
from invaudit.audit.metrics import MetricSet, make_metrics
from invaudit.audit.model_inputs import AuditImages, AuditPools
from invaudit.audit.model_settings import ModelAuditSettings
from invaudit.audit.readiness import DETECTORS
from invaudit.audit.reference_training import Trainings, usable_images
from invaudit.audit.repeats import REPEATS_OF_A_FAMILY
from invaudit.audit.timing import step_seconds, unheard, warm_seconds
from invaudit.data import seeded_rng
from invaudit.leakage import METHODS, Pool, TargetRecipe, attribute, reconstruct
from invaudit.leakage.membership_signals import gradient_norm, loss
from invaudit.leakage.targets import untrained_target
from invaudit.models import InputSpec, Target, collect, resolve_device
from invaudit.records.audit_gallery import GALLERY
from invaudit.records.model_audit import PlannedStage, PlanRecord
from invaudit.runtime.errors import InputError
from invaudit.similarity import nearest
from invaudit.stats.limits import draws_for

FEW_IMAGES = 64
"""Images that scores and comparisons are timed on."""
SHARES = (1.0, 0.5, 0.25, 0.125, 0.0625)
"""Shares of a method's steps that a plan may choose: halves, so that the same machine chooses alike every time."""
GALLERY_SHARE = 0.05
"""Share of the budget that a gallery may have even where the attacks leave less."""
POOLS = (1_000, 500, 250, 100)
"""Sizes of the pool that reconstructions are compared with that a plan may choose, where there are so many images."""
SIMULATED_AUDITS, RECONSTRUCTIONS, SECONDS_A_VALUE = 1_500, 100, 1e-8
"""Of the scoring limit: simulated audits, reconstructions in each, and seconds for each value; rough figures."""

PREFLIGHT, KNOWN, REFERENCES, MEMBERSHIP, ATTACKS, POOL, REPEATS, READINESS = (
    "preflight",
    "known-leak",
    "references",
    "membership",
    "attacks",
    "pool",
    "repeats",
    "readiness",
)
"""Names of the stages."""


@dataclass(frozen=True)
class Costs:
    """What the parts of an audit take, in seconds.

    Attributes:
        step: A step of each method that fits the model, on it.
        known_step: The same on the attack control.
        known_training: The training of the attack control.
        scoring: The membership scores that take a forward pass, of one image.
        gradient: The gradient norm of one image.
        attribution: Attribution of the images that were timed.
        pair: One comparison, by all metrics together.
        forward: One image through the model.
    """

    step: Mapping[str, float]
    known_step: Mapping[str, float]
    known_training: float
    scoring: float
    gradient: float
    attribution: float
    pair: float
    forward: float


def make_plan(
    target: Target, images: AuditImages, pools: AuditPools, recipe: TargetRecipe, settings: ModelAuditSettings
) -> PlanRecord:
    """Time the parts of an audit for a few steps, and fit the audit into the budget.

    Scores by gradients may take a tenth of it, all that is fixed beside the attacks a half; then the steps of attacks
    are cut to what is left, and never to nothing. Reference models are not within the budget, but have their price.

    Args:
        target: The model.
        images: The images that were given.
        pools: What is tested of them.
        recipe: How the attack control is trained.
        settings: What is wanted, and the time for it.
    """
    metrics = make_metrics(
        settings.metrics, pools.scored.reference, resolve_device(settings.device), download=settings.download
    )
    costs, left_out = _timed(target, pools, recipe, settings, metrics)
    budget = settings.budget or math.inf
    scored = pools.scored
    weighed = _largest(settings.most, scored, lambda most: _weighing(costs, _images(scored, most)) <= budget / 10)
    most = _largest(
        settings.most, scored, lambda most: _total(_fixed_stages(costs, pools, settings, most, weighed)) <= budget / 2
    )
    stages = _fixed_stages(costs, pools, settings, most, weighed)
    share = _share(costs, settings, budget - _total(stages))
    steps = {name: max(1, round(share * _steps(settings, name))) for name in costs.step}
    attacks = _attack_stages(costs, steps, share)
    gallery, gallery_share = [], None
    if settings.images == "full":
        # Of what the rest leaves, so that a gallery takes no step from an attack.
        left = budget - _total([*attacks, *stages])
        stage, gallery_share = gallery_stage(target, max(left, GALLERY_SHARE * budget))
        gallery = [stage]
    return PlanRecord(
        budget_s=settings.budget,
        steps=steps,
        left_out=left_out,
        most=most,
        weighed=weighed,
        stages=(
            *stages[:1],
            *attacks,
            *_reference_stage(target, images, pools, settings, costs),
            *stages[1:],
            *gallery,
        ),
        unavailable=metrics.unavailable,
        detectors=DETECTORS,
        gallery=gallery_share,
    )


def _largest(wanted: int, pool: Pool, fits: Callable[[int], bool]) -> int:
    """Return the largest number of members, and of controls, that fits; the smallest that may be chosen if none does.

    Numbers that a pool does not have mean the same as all of it.
    """
    sizes = [wanted, *(size for size in POOLS if size < wanted)]
    smaller = [size for size in sizes if size < max(pool.n_members, pool.n_control)]
    for size in (sizes[0], *smaller):
        if fits(size):
            return size
    return min(smaller, default=sizes[0])


def _images(pool: Pool, most: int) -> int:
    return min(most, pool.n_members) + min(most, pool.n_control)


def _total(stages: Sequence[PlannedStage]) -> float:
    return sum(stage.seconds for stage in stages)


def _steps(settings: ModelAuditSettings, name: str) -> int:
    """Return the steps of a method without a budget."""
    choice = settings.methods[name]
    return METHODS[choice.kind].settings.model_validate(choice.settings).steps  # pyright: ignore[reportAttributeAccessIssue]


def _share(costs: Costs, settings: ModelAuditSettings, seconds: float) -> float:
    """Return the largest share of the steps that fits into the time; the smallest one where none does."""
    whole = costs.known_training
    for name, step in costs.step.items():
        whole += _steps(settings, name) * (step + costs.known_step.get(name, 0.0))
    return max((share for share in SHARES if share * whole <= seconds), default=SHARES[-1])


def _weighing(costs: Costs, n_images: int) -> float:
    """Return the seconds of the scores by gradients on so many images."""
    return n_images * costs.gradient + (n_images / FEW_IMAGES) ** 2 * costs.attribution


def _fixed_stages(
    costs: Costs, pools: AuditPools, settings: ModelAuditSettings, most: int, weighed: int
) -> list[PlannedStage]:
    """Return the stages whose work does not depend on the steps of attacks, preflight first."""
    scored = pools.scored
    n_compared, n_weighed = _images(scored, most), _images(scored, weighed)
    near = min(most, scored.n_members) * min(most, scored.n_control) * costs.pair
    limit = 0.0
    if scored.reference is not None:
        simulated = SIMULATED_AUDITS * RECONSTRUCTIONS * draws_for(settings.alpha, settings.family)
        limit = n_compared**2 * costs.pair + len(settings.metrics) * simulated * SECONDS_A_VALUE
    both = "members and as many controls" if scored.n_members == scored.n_control else "members or controls"
    return [
        PlannedStage(
            name=PREFLIGHT,
            settings=f"accuracy on {len(scored)} images, near copies",
            seconds=near + len(scored) * costs.forward,
        ),
        PlannedStage(
            name=MEMBERSHIP,
            settings=f"{scored.n_members} members and {scored.n_control} controls, by gradients {n_weighed} images",
            seconds=len(scored) * costs.scoring + _weighing(costs, n_weighed),
            cut=_fewer("scores by gradients are", weighed, settings.most, scored, both),
        ),
        PlannedStage(
            name=POOL,
            settings=f"{n_compared} images" + (", scoring limit" if limit else ""),
            seconds=limit + 1e-3 * len(scored),
            cut=_fewer("reconstructions are compared with", most, settings.most, scored, both),
        ),
        PlannedStage(
            name=REPEATS, settings=f"{REPEATS_OF_A_FAMILY} repeats of each family", seconds=5 + 2e-3 * len(scored)
        ),
        PlannedStage(
            name=READINESS,
            settings=f"{len(DETECTORS)} detectors",
            seconds=15 + (scored.n_control + 1_000) * costs.forward,
        ),
    ]


def _reference_stage(
    target: Target, images: AuditImages, pools: AuditPools, settings: ModelAuditSettings, costs: Costs
) -> list[PlannedStage]:
    """Return the stage of reference models, where there are some."""
    if not settings.n_references:
        return []
    pool = pools.scored.images
    seconds = settings.n_references * len(pool) * costs.forward
    words = [f"{len(settings.reference_models)} given"] if settings.reference_models else []
    if images.trained_references is not None:
        data = usable_images(target, images.trained_references, pool, images.labelled_reference)
        training, seed = settings.reference_training, settings.seeds[0]
        with tempfile.TemporaryDirectory() as folder:
            trainings = Trainings(target, data, settings.train_references, training, seed, Path(folder))
            seconds += trainings.price_s()
        words.append(f"{settings.train_references} trained for {training.epochs} epochs, beside the budget")
    return [PlannedStage(name=REFERENCES, settings=", ".join(words), seconds=seconds)]


def gallery_stage(target: Target, seconds: float) -> tuple[PlannedStage, float]:
    """Return the stage of a gallery that fits into some seconds, the smallest if none does; and its share of steps."""
    cost = gallery_cost(target)
    share = max((share for share in SHARES if share * cost.searches + cost.rest <= seconds), default=SHARES[-1])
    stage = PlannedStage(
        name=GALLERY,
        settings=f"images and borders of {explained(target).classes} classes",
        seconds=share * cost.searches + cost.rest,
        cut=f"{share:.0%} of the steps of each search" if share < 1 else "",
    )
    return stage, share


def _fewer(what: str, most: int, wanted: int, pool: Pool, both: str) -> str:
    """Return what was cut of a number of images, in words; empty for nothing."""
    whole = min(wanted, max(pool.n_members, pool.n_control))
    return f"{what} {most} {both} in place of {whole}" if most < whole else ""


def _attack_stages(costs: Costs, steps: Mapping[str, int], share: float) -> list[PlannedStage]:
    cut = f"{share:.0%} of the steps of each attack" if share < 1 else ""
    words = ", ".join(f"{name} {count} steps" for name, count in steps.items()) or "no method fits the model"
    own = sum(costs.step[name] * count for name, count in steps.items())
    known = sum(costs.known_step.get(name, 0.0) * count for name, count in steps.items())
    return [
        PlannedStage(name=KNOWN, settings=f"training, {words}", seconds=costs.known_training + known, cut=cut),
        PlannedStage(name=ATTACKS, settings=words, seconds=own, cut=cut),
    ]


def _timed(
    target: Target, pools: AuditPools, recipe: TargetRecipe, settings: ModelAuditSettings, metrics: MetricSet
) -> tuple[Costs, dict[str, str]]:
    """Time everything for a moment; return also which methods do not fit the model, and why."""
    # Images alone: so few may all be of one side.
    few = pools.scored.images.spread(FEW_IMAGES)
    images = few.floats()
    known = _untrained(recipe, pools.known).to(target.device).eval()
    step, known_step = {}, {}
    left_out = {}
    with unheard():
        for name in settings.methods:
            try:
                step[name] = _time_of_step(target, name, settings, pools.scored.reference)
            except InputError as error:
                left_out[name] = str(error)
                continue
            try:
                known_step[name] = _time_of_step(known, name, settings, pools.known.reference)
            except InputError:  # an attack control that it does not fit says so by itself
                continue
    scoring = warm_seconds(partial(loss, target, images, few.labels)) * 2 / len(few)
    gradient = warm_seconds(partial(gradient_norm, target, images, few.labels)) / len(few)
    attribution = warm_seconds(partial(attribute, target, images, few.labels)) if settings.attribution else 0.0
    pair = 0.0
    for metric in metrics.ready.values():
        pair += warm_seconds(partial(nearest, images, images, metric, 1)) / len(few) ** 2
    forward = warm_seconds(lambda: collect(target, images, keep_maps=False)) / len(few)
    training = _time_of_training(recipe, pools.known)
    return Costs(step, known_step, training, scoring, gradient, attribution, pair, forward), left_out


def _untrained(recipe: TargetRecipe, pool: Pool) -> Target:
    spec = InputSpec(*pool.images.shape)
    return untrained_target(recipe, spec, pool.classes, seeded_rng(0, "timing"))


def _time_of_step(target: Target, name: str, settings: ModelAuditSettings, reference: torch.Tensor | None) -> float:
    """Return the seconds of one step of a method, all of its restarts together."""
    choice = settings.methods[name]

    def attack(steps: int) -> None:
        few = choice.settings | {"steps": steps}
        reconstruct(target, choice.kind, few, seeded_rng(0, "timing"), reference=reference)

    return step_seconds(attack)[0]


def _time_of_training(recipe: TargetRecipe, pool: Pool) -> float:
    """Return the seconds of the training of the attack control."""
    target = _untrained(recipe, pool).train()
    member = pool.member
    images, labels = pool.floats[member], pool.labels[member]

    def step() -> None:
        torch.nn.functional.cross_entropy(target(images), labels).backward()

    return recipe.steps * warm_seconds(step)
