"""The plan of an audit: a short timing turns the time that is given into steps for each stage.

The plan is made once, before the first stage; the clock decides nothing later.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch

from invaudit.audit.method import AuditSetup
from invaudit.audit.metrics import make_metrics
from invaudit.audit.model_inputs import AuditPools
from invaudit.audit.model_settings import ModelAuditSettings
from invaudit.data import seeded_rng
from invaudit.leakage import METHODS, Pool, TargetRecipe, attribute, reconstruct
from invaudit.leakage.membership_signals import SIGNALS
from invaudit.leakage.targets import untrained_target
from invaudit.models import InputSpec, Target, collect, resolve_device
from invaudit.records.model_audit import PlannedStage, PlanRecord
from invaudit.runtime.errors import InputError, ModelError
from invaudit.similarity import nearest

FEW_STEPS, MORE_STEPS = 1, 4
"""Steps of the two runs from whose difference the time of a step comes."""
FEW_IMAGES = 64
"""Images that scores and comparisons are timed on."""
SHARES = (1.0, 0.5, 0.25, 0.125, 0.0625)
"""Shares of a method's steps that a plan may choose: halves, so that the same machine chooses alike every time."""
POOLS = (1_000, 500, 250, 100)
"""Sizes of the pool that reconstructions are compared with that a plan may choose, where there are so many images."""
SIMULATIONS = 5e-8
"""Seconds for each value of a simulated audit, of which the scoring limit makes 1,500: a rough figure."""

KNOWN, MEMBERSHIP, ATTACKS, POOL, REPEATS, READINESS = (
    "known leak",
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
        scoring: All membership scores, of one image.
        attribution: Attribution of the images that were timed.
        pair: One comparison, by all metrics together.
        forward: One image through the model.
    """

    step: Mapping[str, float]
    known_step: Mapping[str, float]
    known_training: float
    scoring: float
    attribution: float
    pair: float
    forward: float


def make_plan(target: Target, pools: AuditPools, recipe: TargetRecipe, settings: ModelAuditSettings) -> PlanRecord:
    """Time the parts of an audit for a few steps, and fit the audit into the budget.

    Args:
        target: The model.
        pools: The images.
        recipe: How the attack control is trained.
        settings: What is wanted, and the time for it.
    """
    costs, left_out = _timed(target, pools, recipe, settings)
    sizes = [settings.most]
    if settings.budget is not None:
        sizes += [size for size in POOLS if size < min(settings.most, max(pools.scored.n_members, 7))]
    for most in sizes:
        stages = _fixed_stages(costs, pools, settings, most)
        fixed = sum(stage.seconds for stage in stages)
        if settings.budget is None or fixed <= settings.budget / 2:
            break
    share = _share(costs, settings, fixed)
    steps = {}
    for name in costs.step:
        steps[name] = max(1, round(share * _steps(settings, name)))
    attacks = _attack_stages(costs, steps, settings, share)
    if most < settings.most and most < pools.scored.n_members:
        cut = f"reconstructions are compared with {most} members and controls in place of {settings.most}"
        stages = [stage.model_copy(update={"cut": cut}) if stage.name == POOL else stage for stage in stages]
    by_name = {stage.name: stage for stage in (*stages, *attacks)}
    order = (KNOWN, MEMBERSHIP, ATTACKS, POOL, REPEATS, READINESS)
    return PlanRecord(
        budget_s=settings.budget,
        steps=steps,
        left_out=left_out,
        most=most,
        stages=tuple(by_name[name] for name in order),
    )


def _steps(settings: ModelAuditSettings, name: str) -> int:
    """Return the steps of a method without a budget."""
    choice = settings.methods[name]
    return METHODS[choice.kind].settings.model_validate(choice.settings).steps  # pyright: ignore[reportAttributeAccessIssue]


def _share(costs: Costs, settings: ModelAuditSettings, fixed: float) -> float:
    """Return the largest share of the steps that fits beside the rest; the smallest one where none does."""
    whole = 0.0
    for name, step in costs.step.items():
        whole += _steps(settings, name) * (step + costs.known_step.get(name, 0.0))
    if settings.budget is None:
        return 1.0
    fitting = [share for share in SHARES if fixed + share * whole <= settings.budget]
    return max(fitting, default=SHARES[-1])


def _fixed_stages(costs: Costs, pools: AuditPools, settings: ModelAuditSettings, most: int) -> list[PlannedStage]:
    """Return the stages whose work does not depend on the steps of attacks."""
    scored = pools.scored
    compared = min(most, scored.n_members) + min(most, scored.n_control)
    rounds = (compared / FEW_IMAGES) ** 2
    membership = len(scored) * costs.scoring + (rounds * costs.attribution if settings.attribution else 0.0)
    limit = 0.0
    if scored.reference is not None:
        simulated = 1_500 * 100 * 6 * settings.family / settings.alpha * SIMULATIONS / 10
        limit = compared**2 * costs.pair + len(settings.metrics) * simulated
    near = min(most, scored.n_members) * min(most, scored.n_control) * costs.pair
    return [
        PlannedStage(
            name=MEMBERSHIP,
            settings=f"{scored.n_members} members, {scored.n_control} controls",
            seconds=membership,
        ),
        PlannedStage(name=POOL, settings=f"{compared} images, scoring limit, near copies", seconds=limit + near),
        PlannedStage(name=REPEATS, settings="41 repeats of each family", seconds=5.0 + 2e-3 * len(scored)),
        PlannedStage(
            name=READINESS, settings="7 detectors", seconds=15.0 + (scored.n_control + 1_000) * costs.forward
        ),
    ]


def _attack_stages(
    costs: Costs, steps: Mapping[str, int], settings: ModelAuditSettings, share: float
) -> list[PlannedStage]:
    cut = f"{share:g} of the steps of each attack" if share < 1 else ""
    words = ", ".join(f"{name} {count} steps" for name, count in steps.items()) or "no method fits the model"
    own = sum(costs.step[name] * count for name, count in steps.items())
    known = sum(costs.known_step.get(name, 0.0) * count for name, count in steps.items())
    return [
        PlannedStage(name=KNOWN, settings=f"training, {words}", seconds=costs.known_training + known, cut=cut),
        PlannedStage(name=ATTACKS, settings=words, seconds=own, cut=cut),
    ]


def _timed(
    target: Target, pools: AuditPools, recipe: TargetRecipe, settings: ModelAuditSettings
) -> tuple[Costs, dict[str, str]]:
    """Time everything for a moment; return also which methods do not fit the model, and why."""
    few = pools.scored.subset(np_spread(len(pools.scored), FEW_IMAGES))
    known = _untrained(recipe, pools.known).to(target.device).eval()
    step, known_step = {}, {}
    left_out = {}
    with _unheard():
        for name in settings.methods:
            try:
                step[name] = _time_of_step(target, name, settings, pools.scored.reference)
            except ModelError as error:
                left_out[name] = str(error)
                continue
            try:
                known_step[name] = _time_of_step(known, name, settings, pools.known.reference)
            except InputError:  # an attack control that it does not fit says so by itself
                continue
    scoring = 0.0
    for score in SIGNALS.values():
        scoring += _time(partial(score, target, few.floats, few.labels)) / len(few)
    attribution = _time(partial(attribute, target, few.floats, few.labels)) if settings.attribution else 0.0
    device = resolve_device(settings.device)
    metrics = make_metrics(settings.metrics, few.reference, device, download=settings.download)
    setup = AuditSetup(few, metrics, settings.seeds[0], "timing", settings.draws)
    pair = 0.0
    for metric in setup.metrics.ready.values():
        pair += _time(partial(nearest, few.floats, few.floats, metric, 1)) / len(few) ** 2
    forward = _time(lambda: collect(target, few.floats, keep_maps=False)) / len(few)
    training = _time_of_training(recipe, pools.known)
    return Costs(step, known_step, training, scoring, attribution, pair, forward), left_out


def np_spread(n: int, count: int) -> "torch.Tensor":
    """Return the positions of so many images, evenly spread over n."""
    return torch.linspace(0, n - 1, min(n, count)).long().numpy()  # pyright: ignore[reportReturnType]


def _untrained(recipe: TargetRecipe, pool: Pool) -> Target:
    spec = InputSpec(*pool.images.shape)
    return untrained_target(recipe, spec, pool.classes, seeded_rng(0, "timing"))


def _time_of_step(target: Target, name: str, settings: ModelAuditSettings, reference: torch.Tensor | None) -> float:
    """Return the seconds of one step of a method, all of its restarts together."""
    choice = settings.methods[name]
    seconds = []
    for steps in (FEW_STEPS, MORE_STEPS):
        few = choice.settings | {"steps": steps}
        attack = partial(reconstruct, target, choice.kind, few, seeded_rng(0, "timing"), reference=reference)
        seconds.append(_time(attack))
    return max((seconds[1] - seconds[0]) / (MORE_STEPS - FEW_STEPS), seconds[1] / MORE_STEPS / 10)


def _time_of_training(recipe: TargetRecipe, pool: Pool) -> float:
    """Return the seconds of the training of the attack control."""
    target = _untrained(recipe, pool).train()
    member = pool.member
    images, labels = pool.floats[member], pool.labels[member]

    def step() -> None:
        torch.nn.functional.cross_entropy(target(images), labels).backward()

    step()
    return recipe.steps * min(_time(step), _time(step))


def _time(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def _unheard() -> Iterator[None]:
    """Keep what a few steps of an attack have to say out of the log: nothing of it is meant."""
    logger = logging.getLogger("invaudit")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
