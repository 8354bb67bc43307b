"""Short runs of every reconstruction method."""

import torch

from invaudit.data import seeded_rng
from invaudit.leakage import METHODS, Reconstructions, reconstruct
from invaudit.models import InputSpec, Target, build
from invaudit.models.devices import seed_torch

SHORT = {"images": 20, "restarts": 2, "steps": 6, "eval_every": 2, "record_every": 2, "eval_images": 4}
"""Settings of a short run; each method takes those that it knows."""

OF_METHODS = {
    "generator": {"batch_size": 20, "noise": 8},
    "tldr": {"batch_size": 20, "noise": 8},
    "deepinversion": {"batch_size": 10},
}
"""What a short run of a method needs beside; a method is short without an entry if its settings have usual names."""

SPEC = InputSpec(1, 8, 8, mean=(0.3,), std=(0.4,))


def new_target(arch: str, classes: int = 10) -> Target:
    with seed_torch(seeded_rng(0, "tests/weights")):
        return Target(build(arch, SPEC, classes), SPEC, classes).eval()


def short_settings(method: str) -> dict[str, int]:
    known = METHODS[method].settings.model_fields
    return {name: value for name, value in SHORT.items() if name in known} | OF_METHODS.get(method, {})


def run(method: str, target: Target, *, seed: int = 0, settings: dict | None = None, **options) -> Reconstructions:
    return reconstruct(target, method, short_settings(method) | (settings or {}), seeded_rng(seed, "tests"), **options)


def same(first: Reconstructions, second: Reconstructions) -> bool:
    tensors = all(torch.equal(getattr(first, name), getattr(second, name)) for name in ("images", "labels", "restart"))
    return tensors and (first.outcome, first.history, first.message) == (
        second.outcome,
        second.history,
        second.message,
    )
