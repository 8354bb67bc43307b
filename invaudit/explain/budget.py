"""What an explanation costs, and how its steps are cut where it may cost less."""

import time

import torch
from torch.nn import functional

from invaudit.explain.atlas import MOST_PAIRS
from invaudit.explain.attacks import chosen_attack
from invaudit.explain.border_pixels import TRIES
from invaudit.explain.border_stage import ATTACK
from invaudit.explain.settings import ExplainSettings
from invaudit.inversion import PixelInversionSettings
from invaudit.models import Target, frozen_eval
from invaudit.records.explain import ADVERSARIAL, BORDERS, INVERSION, MASKS

TIMED = 8
"""Images of the pass that is timed."""
LEAST_STEPS = 10
"""Steps that no search is cut below."""
TWICE = 2
"""Passes in a step of a mask, which looks at what is kept and at the rest."""
LEAST_SHARE = 0.01
"""Smallest share of the steps, whatever the budget."""


def seconds_per_pass(target: Target) -> float:
    """Return the seconds that one image takes forward and back through a network, of the quicker of two tries."""
    images = torch.rand(TIMED, *target.spec.shape, device=target.device)
    taken = []
    with frozen_eval(target), torch.enable_grad():
        for _ in range(2):
            begun = time.perf_counter()
            shown = images.clone().requires_grad_()
            loss = functional.cross_entropy(target(shown), torch.zeros(TIMED, dtype=torch.int64, device=target.device))
            float(torch.autograd.grad(loss, shown)[0].sum())
            taken.append((time.perf_counter() - begun) / TIMED)
    return min(taken)


def passes(settings: ExplainSettings, target: Target, *, has_real: bool) -> dict[str, int]:
    """Return how many images go forward and back through the network in the searches of each stage, about."""
    classes, search = target.classes, settings.search(target.spec.channels)
    by_pixels = isinstance(search, PixelInversionSettings)
    at_once = classes * search.per_class if by_pixels else search.batch_size
    fooling = 0 if by_pixels else settings.counterfeits.steps * settings.counterfeits.batch_size
    if has_real:
        fooling += settings.attacked * sum(_steps_of(settings, name) for name in settings.attacks)
        fooling += 0 if by_pixels else settings.adversary.steps * settings.adversary.batch_size
    return {
        INVERSION: search.steps * at_once,
        BORDERS: len(TRIES) * settings.borders.steps * min(classes * (classes - 1) // 2, MOST_PAIRS),
        ADVERSARIAL: fooling,
        MASKS: TWICE * settings.masks.steps * settings.masked,
    }


def attack_passes(target: Target) -> int:
    """Return how many images go through the network in the attack that borders are compared with; no budget cuts it."""
    return int(chosen_attack(ATTACK, None)[1].model_dump()["steps"]) * target.classes


def share_within(budget: float, target: Target, settings: ExplainSettings, *, has_real: bool, one_pass: float) -> float:
    """Return the share of all steps that can be done within a budget in seconds, and ``one_pass`` seconds a pass."""
    left = budget - one_pass * attack_passes(target)
    needed = one_pass * sum(passes(settings, target, has_real=has_real).values())
    return min(1.0, max(LEAST_SHARE, left / needed))


def cut(settings: ExplainSettings, share: float, channels: int) -> ExplainSettings:
    """Return settings with the same share of the steps of each search, though never under ``LEAST_STEPS``."""

    def fewer(steps: int) -> dict[str, int]:
        return {"steps": min(steps, max(LEAST_STEPS, int(share * steps)))}

    attacks = {name: {**values, **fewer(_steps_of(settings, name))} for name, values in settings.attacks.items()}
    searches = ("borders", "adversary", "counterfeits", "masks")
    changed = {
        name: getattr(settings, name).model_copy(update=fewer(getattr(settings, name).steps)) for name in searches
    }
    changed |= {"inversion": {**settings.inversion, **fewer(settings.search(channels).steps)}, "attacks": attacks}
    return settings.model_copy(update=changed)


def _steps_of(settings: ExplainSettings, name: str) -> int:
    return int(chosen_attack(name, settings.attacks[name])[1].model_dump()["steps"])
