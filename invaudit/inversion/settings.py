"""Settings of an inversion: every open choice of the papers by name, with the reason for its default."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from invaudit.inversion.conditions import MODES
from invaudit.inversion.generators import GENERATORS
from invaudit.inversion.objectives import OBJECTIVES
from invaudit.inversion.views import ViewSettings
from invaudit.runtime.describing import Known
from invaudit.runtime.settings import Batch, Rate


def check_weights(weights: dict[str, float]) -> dict[str, float]:
    """Return weights of objectives unchanged if they can be used.

    Raises:
        ValueError: Unknown objective, a weight that is negative or not finite, or nothing that asks for a class.
    """
    for name, weight in weights.items():
        if name not in OBJECTIVES:
            raise ValueError(f"unknown objective {name!r}; known: {', '.join(OBJECTIVES)}")
        if not 0 <= weight < math.inf:
            raise ValueError(f"weight of {name} is {weight:g}, expected a finite number >= 0")
    if not weights.get("kl") and not weights.get("cross-entropy"):
        raise ValueError("neither kl nor cross-entropy has a weight, so nothing asks for a class; give one of them")
    return weights


ObjectiveWeights = Annotated[dict[str, float], AfterValidator(check_weights), Known(OBJECTIVES)]
"""Name of an objective -> its weight in the loss."""

RecordEvery = Annotated[int, Field(ge=1)]
"""Steps between two records of a search, which also write its checkpoint."""

WantedAccuracy = Annotated[float, Field(gt=0, le=1)]
"""Share of the images of every class that the target must give this class, from which a search counts as converged."""

Schedule = Literal["constant", "cosine"]
"""How a learning rate goes on over the steps of a search."""

Decay = Annotated[float, Field(ge=0, lt=1)]
"""Decay rate of an average."""

LeastSpread = Annotated[float, Field(ge=0, le=1)]
"""Spread (RMS distance of a class's images to their mean, in [0, 1]) under which they count as copies of one image."""


class InversionSettings(ViewSettings):
    """How a generator is trained against a target."""

    mode: Annotated[str, Known(MODES)] = "vector-matrix"
    """Condition mode: how the generator is told which class is wanted; by default the one of all later papers."""

    generator: Annotated[str, Known(GENERATORS)] = "upsample"
    """Kind of generator; by default the light one, which costs less than the target."""

    weights: ObjectiveWeights = Field(
        default={"kl": 1.0, "cross-entropy": 4.0, "cosine": 2.0, "orthogonality": 0.1, "batch-norm": 3.0}
    )
    """Weight of each objective; one that is not named has none. No paper prints its weights. These give an inversion
    accuracy over 0.95 in every class with inversions that differ: cross-entropy over KL, so that the class comes first;
    batch-norm for the contrast and the strokes of training images. A target without batch norm skips it, which is said.
    """

    steps: int = Field(default=500, ge=1)
    """Optimiser steps."""

    batch_size: Batch = 64
    """Images in a step."""

    learning_rate: Rate = 2e-3
    """Learning rate of Adam."""

    schedule: Schedule = "constant"
    """How the learning rate goes on: ``constant``, or down to 0 along half a cosine."""

    betas: tuple[Decay, Decay] = (0.5, 0.99)
    """Decay rates of Adam's averages; a low first one, as is usual for generators."""

    noise: int = Field(default=64, ge=1, le=100_000)
    """Length of a noise vector."""

    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of channels dropped while the generator is trained; never when it is sampled."""

    hot: bool = False
    """Ask for one-hot distributions in the soft modes too: surer images, which are nearer to counterfeits."""

    temperature: float = Field(default=1.0, gt=0, le=1_000_000)
    """Temperature T of a soft condition c = softmax(v / T)."""

    perturbation: float = Field(default=0.1, gt=0, le=1)
    """Change of every pixel for the objectives of perturbed images; no paper prints one."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the training steps; sampling is float32."""

    eval_every: RecordEvery = 100
    """Steps between two evaluations, which also write the checkpoint."""

    eval_images: int = Field(default=40, ge=2, le=100_000)
    """Fresh inversions of each class that an evaluation makes."""

    wanted_accuracy: WantedAccuracy = 0.95
    """Inversion accuracy in every class from which an inversion counts as converged."""

    least_spread: LeastSpread = 0.02
    """Spread (RMS distance of a class's inversions to their mean, in [0, 1]) under which they count as copies."""

    @field_validator("mode", "generator")
    @classmethod
    def _known(cls, value: str, info: ValidationInfo) -> str:
        known: Mapping[str, object] = MODES if info.field_name == "mode" else GENERATORS
        if value not in known:
            raise ValueError(f"unknown {info.field_name} {value!r}; known: {', '.join(known)}")
        return value


def scheduled(schedule: Schedule, rate: float, step: int, steps: int) -> float:
    """Return the learning rate of a step, counted from 0, of so many."""
    return rate if schedule == "constant" else rate * (1 + math.cos(math.pi * step / steps)) / 2


def set_rate(optimizer: torch.optim.Optimizer, schedule: Schedule, rate: float, step: int, steps: int) -> None:
    """Set the scheduled learning rate of a step for everything that an optimiser moves."""
    for group in optimizer.param_groups:
        group["lr"] = scheduled(schedule, rate, step, steps)
