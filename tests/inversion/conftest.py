"""A small classifier of the digits, trained once per test process."""

from collections.abc import Callable

import pytest
import torch

from invaudit.data import ImageSet, seeded_rng
from invaudit.data.digits import digits
from invaudit.models import InputSpec, Target, TrainingSettings, build, limit_threads, train
from invaudit.models.devices import seed_torch
from tests.threads import one_thread

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def digit_images() -> ImageSet:
    """Return the digits."""
    return digits()


@pytest.fixture(scope="session")
def trained(digit_images: ImageSet) -> Target:
    """Return a classifier of the digits; borrow it, never train it."""
    with limit_threads(1):
        target = _new_target("small-cnn")
        train(target, digit_images, TrainingSettings(epochs=3), seeded_rng(0, "tests/training"))
    return target


@pytest.fixture(scope="session")
def new_target() -> Callable[..., Target]:
    """Return a function that builds an untrained network, by default for images of 1 x 8 x 8."""
    return _new_target


def _new_target(
    arch: str, *, classes: int = 10, garbage: bool = False, shape: tuple[int, int, int] = (1, 8, 8)
) -> Target:
    spec = InputSpec(*shape, mean=(0.3,), std=(0.4,))
    with seed_torch(seeded_rng(0, "tests/weights")):
        module = build(arch, spec, classes + garbage)
    return Target(module, spec, classes, arch=f"invaudit:{arch}").eval()


@pytest.fixture
def rng() -> torch.Generator:
    """Return a fresh generator."""
    return seeded_rng(0, "tests")
