"""Training-time baselines: losses of pytorch-ood that train an n-class network in place of a garbage class.

Each takes logits (B, K), features (B, D) and labels (B,), outliers with labels below 0, and gives one number.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from pytorch_ood.loss import EnergyRegularizedLoss, LogitNorm, OutlierExposureLoss, VirtualOutlierSynthesizingRegLoss
from torch import Tensor, nn

from invaudit.models import Target
from invaudit.models.devices import seed_torch

TEMPERATURE = 0.04
"""Temperature of LogitNorm: its authors' value for CIFAR-10. At the library's 1 a network can never be sure."""

QUEUE, SAMPLES = 100, 1_000
"""Features of a class that VOS keeps, and draws of which it takes the least likely; a tenth of the library's defaults,
which suit long trainings: its queues must fill before it does anything."""


class OfLogits(nn.Module):
    """A loss that does not look at the features."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: Tensor, features: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002 (one interface)
        """Return the mean loss."""
        return self.loss(logits, labels)


class Vos(VirtualOutlierSynthesizingRegLoss):
    """Virtual outlier synthesis, whose queues go into checkpoints."""

    def __init__(self, target: Target) -> None:
        energy = nn.Linear(target.classes, 1)
        nn.init.uniform_(energy.weight)
        super().__init__(nn.Linear(1, 2), energy, target.head, sample_number=QUEUE, sample_from=SAMPLES)
        self.to(target.device)

    def get_extra_state(self) -> dict[str, Any]:
        """Return the queues."""
        return {"queues": self.data_dict, "lengths": dict(self.number_dict)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take the queues."""
        self.data_dict = state["queues"].to(self.eye_matrix.device)
        self.number_dict = dict(state["lengths"])


LOSSES: Mapping[str, Callable[[Target], nn.Module]] = MappingProxyType(
    {
        "logit-norm": lambda _target: OfLogits(LogitNorm(t=TEMPERATURE)),
        "outlier-exposure": lambda _target: OfLogits(OutlierExposureLoss()),
        "energy": lambda _target: OfLogits(EnergyRegularizedLoss()),
        "vos": Vos,
    }
)
"""Name -> what makes the loss for a target; settings are the library's defaults but for the two above.

References:
    LogitNorm arXiv 2205.09310, Outlier Exposure arXiv 1812.04606, energy arXiv 2010.03759, VOS arXiv 2202.01197.
"""


def loss_of(name: str, target: Target, rng: torch.Generator) -> nn.Module:
    """Return the loss for a target, its own parameters drawn from the generator."""
    with seed_torch(rng):
        return LOSSES[name](target)
