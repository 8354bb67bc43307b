"""Targets that attacks and masks are tried on: linear ones, whose borders are known."""

import torch
from torch import Tensor, nn

from invaudit.data import seeded_rng
from invaudit.models import InputSpec, Target, build

SPEC = InputSpec(1, 8, 8)


def linear_target(weights: Tensor, bias: Tensor, classes: int | None = None) -> Target:
    """Return the target of logits = weights (K, 64) x + bias (K,) for images of 1 x 8 x 8."""
    module = build("mlp", SPEC, len(weights))
    module.blocks = nn.Sequential(nn.Flatten())
    module.head = nn.Linear(64, len(weights))
    with torch.no_grad():
        module.head.weight.copy_(weights)
        module.head.bias.copy_(bias)
    return Target(module, SPEC, classes).eval()


def random_linear_target(outputs: int = 3, classes: int | None = None) -> Target:
    """Return a linear target with random weights."""
    rng = seeded_rng(0, "tests/linear")
    return linear_target(torch.randn((outputs, 64), generator=rng), torch.zeros(outputs), classes)


def grey_images(n: int) -> Tensor:
    """Return images near middle grey, from which every border that matters lies within [0, 1]."""
    return 0.5 + 0.05 * (torch.rand((n, 1, 8, 8), generator=seeded_rng(0, "tests/grey")) - 0.5)


def distances_to_border(target: Target, images: Tensor, labels: Tensor) -> Tensor:
    """Return the Euclidean distance (N,) to the nearest border of a linear target's label, [0, 1] left aside."""
    weights = target.head.weight
    gaps = target(images).gather(1, labels[:, None]) - target(images)
    lengths = (weights[labels][:, None] - weights[None]).norm(dim=2)
    return (gaps / lengths).masked_fill(torch.eye(len(weights), dtype=torch.bool)[labels], torch.inf).amin(1).detach()
