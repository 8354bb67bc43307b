"""Targets that are not trained."""

from collections.abc import Callable

import pytest
import torch

from invaudit.data import seeded_rng
from invaudit.models import InputSpec, Target, build
from invaudit.models.devices import seed_torch
from tests.threads import one_thread

__all__ = ["one_thread"]


@pytest.fixture
def rng() -> torch.Generator:
    """Return a fresh generator."""
    return seeded_rng(0, "tests")


@pytest.fixture(scope="session")
def make() -> Callable[..., Target]:
    """Return a function that builds an untrained target with batch-norm statistics that are not the initial ones."""

    def built(
        arch: str, *, side: int = 8, channels: int = 1, classes: int = 5, garbage: bool = False, seed: int = 0
    ) -> Target:
        mean, std = tuple(0.1 * (i + 1) for i in range(channels)), tuple(0.3 + 0.1 * i for i in range(channels))
        spec = InputSpec(channels, side, side, mean, std)
        with seed_torch(seeded_rng(seed, "tests/weights")):
            module = build(arch, spec, classes + garbage)
            for part in module.modules():
                if isinstance(part, torch.nn.BatchNorm2d):
                    torch.nn.init.uniform_(part.get_buffer("running_mean"), -0.2, 0.2)
                    torch.nn.init.uniform_(part.get_buffer("running_var"), 0.5, 1.5)
        return Target(module, spec, classes, arch=f"invaudit:{arch}").eval()

    return built
