"""Steps of an inversion made by hand, for tests of objectives."""

import torch

from invaudit.inversion import Step, sample_condition
from invaudit.inversion.conditions import Condition
from invaudit.inversion.objectives import Statistics

N, CLASSES, WIDTH = 12, 4, 6


def step(*, garbage: bool = False, seed: int = 0, dtype=torch.float64) -> Step:
    rng = torch.Generator().manual_seed(seed)
    condition = sample_condition("vector", torch.arange(N) % CLASSES, rng, classes=CLASSES)
    condition = Condition(condition.labels, condition.wanted.to(dtype), None, None)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=rng, dtype=dtype)

    statistics = Statistics(normal(3), normal(3).square(), normal(3), normal(3).square() + 0.1)
    images = torch.rand((N, 2, 5, 6), generator=rng, dtype=dtype)
    logits, features, noisy = normal(N, CLASSES + garbage), normal(N, WIDTH), normal(N, CLASSES + garbage)
    gradients, centre = (normal(4, 3), normal(4)), normal(2, 5, 6)
    return Step(images, condition, logits, features, (statistics, statistics), noisy, gradients, centre)


def with_rows(rows: torch.Tensor, labels: list[int]) -> Step:
    condition = Condition(torch.tensor(labels), torch.eye(max(labels) + 1)[labels], None, None)
    return Step(rows.view(len(rows), 1, 1, -1), condition, torch.zeros(len(rows), max(labels) + 1), rows)
