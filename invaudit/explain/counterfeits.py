"""Counterfeits: images without meaning that the target is sure of, from a generator that is asked for nothing else."""

from dataclasses import dataclass

import torch
from torch import Tensor

from invaudit.explain.judging import Guard, accepted_share, predictions
from invaudit.inversion import Inversion, InversionSettings, Inverter
from invaudit.models import Target, collect
from invaudit.stats import Estimate, counted_share

SURE = 0.99
"""Probability from which the target counts as sure of an image."""

COUNTERFEIT = InversionSettings(weights={"cross-entropy": 1.0}, hot=True, steps=300)
"""A class and nothing else: no statistics, no diversity, no views. 300 steps are enough where nothing has to be like
anything."""


@dataclass(frozen=True)
class Counterfeits:
    """Counterfeits of every class.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1], on the CPU.
        labels: (N,) int64, the class that was asked for.
        inversion: The generator, and how its training went; that images of a class are alike is nothing against it.
    """

    images: Tensor
    labels: Tensor
    inversion: Inversion


@dataclass(frozen=True)
class CounterfeitRow:
    """What networks and a guard say of counterfeits.

    Attributes:
        n: Number of counterfeits.
        success: Share that the target gives the class that was asked for.
        sure: Share of which it is sure, with a probability of that class of ``SURE`` or more.
        confidence: Median probability of that class.
        transfer: Share that a second network gives that class, too; None without one.
        accepted: Share that the guard accepts; None without one.
    """

    n: int
    success: Estimate
    sure: Estimate
    confidence: float
    transfer: Estimate | None
    accepted: Estimate | None


def counterfeits(
    target: Target, per_class: int, rng: torch.Generator, settings: InversionSettings = COUNTERFEIT
) -> Counterfeits:
    """Make images that the target is sure of, each class the same number.

    Args:
        target: Borrowed: frozen, in eval mode, and given back as it was.
        per_class: Images of each class.
        rng: CPU generator of everything random.
        settings: How the generator is trained.

    Raises:
        SettingError: The target's images are too small, or the training diverged.

    References:
        arXiv 2503.20187: one-hot conditions give near-certain images that mean nothing.
    """
    inversion = Inverter(settings, target, rng).run(target)
    labels = torch.arange(target.classes).repeat_interleave(per_class)
    return Counterfeits(inversion.sample(labels, rng), labels, inversion)


def counterfeit_row(
    target: Target, made: Counterfeits, *, second: Target | None = None, guard: Guard | None = None
) -> CounterfeitRow:
    """Measure counterfeits.

    Args:
        target: The network that they were made for.
        made: Of the target.
        second: Another network of the same classes.
        guard: Which images are accepted.
    """
    images, labels = made.images, made.labels
    probabilities = collect(target, images, keep_maps=False).logits.double().softmax(1)
    of_class = probabilities.gather(1, labels[:, None])[:, 0]

    def share(is_counted: Tensor) -> Estimate:
        return counted_share(int(is_counted.sum()), len(labels))

    return CounterfeitRow(
        n=len(labels),
        success=share(probabilities.argmax(1) == labels),
        sure=share(of_class >= SURE),
        confidence=float(of_class.median()),
        transfer=None if second is None else share(predictions(second, images) == labels),
        accepted=accepted_share(guard, images),
    )
