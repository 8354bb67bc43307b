"""A target that knows its members by heart, and other images of their kind."""

import pytest
import torch
from torch.nn import functional

from invaudit.data.digits import digits
from invaudit.models import Target, limit_threads
from tests.leakage.short_runs import new_target
from tests.threads import one_thread

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def reference() -> torch.Tensor:
    """Return digits that no target of the tests has seen."""
    return digits().floats(slice(1000, 1400))


@pytest.fixture(scope="session")
def target() -> Target:
    """Return a perceptron that has memorised 40 digits; borrow it, never train it."""
    target = new_target("mlp-100")
    images, labels = digits().floats(slice(0, 40)), digits().labels[:40]
    with limit_threads(1):
        optimizer = torch.optim.SGD(target.parameters(), 0.5)
        for _ in range(200):
            optimizer.zero_grad()
            functional.cross_entropy(target(images), labels).backward()
            optimizer.step()
    target.zero_grad(set_to_none=True)
    return target
