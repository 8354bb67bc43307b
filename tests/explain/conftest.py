"""The digits in two halves, and a small classifier of the first, trained once per test process."""

import numpy as np
import pytest
import torch

from invaudit.data import ImageSet, seeded_rng
from invaudit.data.digits import digits
from invaudit.models import InputSpec, Target, TrainingSettings, build, limit_threads, train
from invaudit.models.devices import seed_torch
from tests.threads import one_thread

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def training_digits() -> ImageSet:
    """Return the first two thirds of the digits."""
    return digits().subset(slice(0, 1200))


@pytest.fixture(scope="session")
def held_out_digits() -> ImageSet:
    """Return the other digits."""
    return digits().subset(slice(1200, None))


@pytest.fixture(scope="session")
def trained(training_digits: ImageSet) -> Target:
    """Return a classifier of the digits; borrow it, never train it."""
    spec = InputSpec(1, 8, 8, mean=(0.3,), std=(0.4,))
    with limit_threads(1), seed_torch(seeded_rng(0, "tests/weights")):
        target = Target(build("small-cnn", spec, 10), spec, arch="invaudit:small-cnn")
        train(target, training_digits, TrainingSettings(epochs=4), seeded_rng(0, "tests/training"))
    return target


@pytest.fixture
def draws() -> np.random.Generator:
    """Return a fresh numpy generator."""
    return np.random.default_rng(0)


@pytest.fixture
def rng() -> torch.Generator:
    """Return a fresh torch generator."""
    return seeded_rng(0, "tests")
