"""What the detectors of one network are fitted with."""

from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from invaudit.data import ImageSet
from invaudit.models import Activations, Target
from invaudit.runtime.errors import DataError, SettingError


@dataclass(frozen=True)
class FitInputs:
    """What the detectors of one network are fitted with; each takes of it what it consumes.

    Attributes:
        target: The network.
        train: Activations of N training images; images and maps may be left out.
        train_labels: (N,) int64, every class present.
        maps: Activations with images and maps of training images, perhaps of the first M only.
        maps_labels: (M,) int64.
        fit: Activations of held-out ID images.
        fit_labels: Their labels, int64.
        rng: Source of what a detector draws.
        held_out: The held-out ID images themselves, for a detector that makes outliers from them.
        tuning: Activations of synthetic outliers that settings are chosen on.

    Raises:
        SettingError: The logits are not those of the network's outputs.
        DataError: A class has no training image.
    """

    target: Target
    train: Activations
    train_labels: Tensor
    maps: Activations
    maps_labels: Tensor
    fit: Activations
    fit_labels: Tensor
    rng: torch.Generator
    held_out: ImageSet | None = None
    tuning: Activations | None = None

    def __post_init__(self) -> None:
        """Check that the activations are those of the network, and that no class is missing."""
        outputs = self.train.logits.shape[1]
        if outputs != self.target.outputs:
            raise SettingError(
                f"got {outputs} logits for each training image, expected one for each of the network's "
                f"{self.target.outputs} outputs; collect them with this network"
            )
        present = self.train_labels.unique().tolist()
        if present != list(range(self.target.classes)):
            raise DataError(
                f"training labels hold the classes {present}, expected every one of 0 to {self.target.classes - 1}"
            )

    def classes_only(self) -> "FitInputs":
        """Return the same of the ID classes alone, as most detectors see a network: without its garbage class."""
        if not self.target.has_garbage:
            return self
        classes = self.target.classes
        return replace(
            self,
            target=self.target.first_outputs(classes),
            train=self.train.classes_only(classes),
            maps=self.maps.classes_only(classes),
            fit=self.fit.classes_only(classes),
            tuning=self.tuning.classes_only(classes) if self.tuning else None,
        )

    @property
    def head(self) -> nn.Linear:
        """A frozen copy of the last linear layer, on the CPU."""
        return deepcopy(self.target.head).cpu().requires_grad_(False)

    def seed(self) -> int:
        """Draw a seed."""
        return int(torch.randint(2**62, (), generator=self.rng))
