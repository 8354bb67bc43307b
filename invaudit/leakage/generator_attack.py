"""Reconstruction by a conditioned generator: plain inversion, and training-like inversion with the nine terms of TLDR.

Both use the inversion engine, with different settings.
"""

from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from invaudit.inversion import Inversion, InversionSettings, Inverter
from invaudit.inversion.outcome import worst
from invaudit.inversion.settings import ObjectiveWeights
from invaudit.leakage.reconstruction import Reconstructions, balanced_labels, centre_of, history_of
from invaudit.models import Target
from invaudit.runtime.settings import Images


class GeneratorSettings(InversionSettings):
    """How ``generator`` reconstructs: an inversion with defaults found on shadow targets, never on audited members.

    Shadow targets: perceptrons 64-300-10 that fit 40 of scikit-learn's digits, and small convolutional networks with
    batch norm, seeds 100 to 105.
    """

    images: Images = 80
    """Images drawn from each restart, balanced over the classes."""

    restarts: int = Field(default=1, ge=1, le=10_000)
    """Generators trained from different starts; the images of all are kept."""

    weights: ObjectiveWeights = Field(default={"cross-entropy": 1.0, "cosine": 1.0, "distance": 2.0, "batch-norm": 0.1})
    """Distance to the mean of reference images takes away what the target does not ask for; cosine then keeps the
    images of a class apart. More batch norm makes them alike. Without reference images or without batch norm in the
    target their terms are skipped, which is said."""

    hot: bool = True
    """Ask for one-hot distributions: training images are sure."""


class TldrSettings(GeneratorSettings):
    """How ``tldr`` reconstructs: the nine terms of arXiv 2410.16884, which prints no weights.

    Defaults were found on the same shadow targets.
    """

    weights: ObjectiveWeights = Field(
        default={
            "kl": 0.5,
            "kl-perturbed": 0.5,
            "cross-entropy": 0.5,
            "cross-entropy-perturbed": 0.5,
            "cosine": 1.0,
            "orthogonality": 0.03,
            "total-variation": 0.03,
            "pixel-range": 1.0,
            "gradient-norm": 0.3,
        }
    )
    """A weight of 0 switches a term off. With one-hot conditions KL and cross-entropy are one and the same, so each
    gets one half. Cosine is the strongest term that keeps the images of a class apart; orthogonality spans all classes
    and makes each more alike. Total variation is weak for the same reason. The generator keeps the pixel range itself,
    so this term is always 0. ``gradient-norm-all`` in place of ``gradient-norm`` is the gradient term as printed, at
    three times the cost and with no better result."""

    perturbation: float = Field(default=0.2, gt=0, le=1)
    """Change of every pixel for the perturbed terms; larger ones held members apart from controls a little better."""


def from_generator(
    target: Target,
    settings: GeneratorSettings,
    rng: torch.Generator,
    *,
    reference: Tensor | None = None,
    checkpoint: Path | None = None,
) -> Reconstructions:
    """Train generators against a target and sample them.

    Args:
        target: Is borrowed: frozen, in eval mode, and given back as it was.
        settings: ``GeneratorSettings`` or ``TldrSettings``.
        rng: CPU generator of everything random.
        reference: (M, C, H, W) in [0, 1], images like the members that hold no pool image.
        checkpoint: File from which a killed run goes on; each restart writes one with its number appended.

    Returns:
        The images of all restarts, and the worst of their outcomes.

    Raises:
        SettingError: The target's images are too small for a generator.
        ShapeError: The reference has images of another shape.
        RunFolderError: The checkpoint belongs to another run.

    References:
        arXiv 2411.17777 (``generator``), arXiv 2410.16884 (``tldr``).
    """
    labels, centre = balanced_labels(target.classes, settings.images), centre_of(reference, target.spec.shape)
    inversions: list[Inversion] = []
    images_by_restart: list[Tensor] = []
    labels_by_restart: list[Tensor] = []
    for restart in range(settings.restarts):
        file = None if checkpoint is None else checkpoint.with_name(f"{checkpoint.name}.{restart}")
        inversion = Inverter(settings, target, rng, centre=centre).run(target, checkpoint=file, watch=True)
        inversions.append(inversion)
        if inversion.outcome == "diverged":
            images_by_restart.append(torch.empty(0, *target.spec.shape))
            labels_by_restart.append(labels[:0])
        else:
            images_by_restart.append(inversion.sample(labels, rng))
            labels_by_restart.append(labels)
    counts = torch.tensor(list(map(len, images_by_restart)))
    return Reconstructions(
        images=torch.cat(images_by_restart),
        labels=torch.cat(labels_by_restart),
        restart=torch.arange(settings.restarts).repeat_interleave(counts),
        outcome=worst(inversion.outcome for inversion in inversions),
        history=_history(inversions),
        message="; ".join(dict.fromkeys(inversion.message for inversion in inversions)),
    )


def _history(inversions: list[Inversion]) -> dict[str, list[float]]:
    """Return loss, terms, and accuracy and spread of the worst class, of one restart after the other."""
    records: list[dict[str, float]] = []
    for inversion in inversions:
        for evaluation in inversion.history:
            record = {"step": evaluation.step, "loss": evaluation.loss}
            record |= {"accuracy": min(evaluation.accuracy), "spread": min(evaluation.spread)}
            records.append(record | evaluation.objectives)
    return history_of(records)
