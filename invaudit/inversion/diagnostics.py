"""Diagnostics: whether inversions are of their class, and whether they are more than copies of one image."""

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from invaudit.data import ImageSet
from invaudit.models import Target, collect
from invaudit.runtime.errors import SettingError, ShapeError

SAME_IMAGE = 0.02
"""RMS distance in [0, 1], about five of 255 grey levels, up to which two images count as the same."""


class Sampler(Protocol):
    """Draws inversions of wanted classes, as ``Inversion`` and ``Inverter`` do."""

    def sample(self, wanted: Tensor, rng: torch.Generator, /) -> Tensor: ...


@dataclass(frozen=True)
class Diagnosis:
    """How fresh inversions look to the target, and how much they differ from each other.

    Attributes:
        n_per_class: Inversions of each class.
        accuracy: Inversion accuracy; a garbage prediction counts as an error.
        accuracy_per_class: The same for each class.
        confidence: Mean probability of the wanted class.
        feature_cosine: Mean cosine of features over pairs of one class, mean over classes; 1 = the same features.
        spread: RMS distance of the inversions of a class to their mean image, mean over classes.
        spread_per_class: The same for each class.
        distinct: With a reference, number of different nearest reference images of the class / number of inversions.
            Without, share of inversions whose nearest other inversion of the class is further than ``SAME_IMAGE``
            (RMS).
        reference: Name of the reference set, or None.
    """

    n_per_class: int
    accuracy: float
    accuracy_per_class: tuple[float, ...]
    confidence: float
    feature_cosine: float
    spread: float
    spread_per_class: tuple[float, ...]
    distinct: float
    reference: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the diagnosis as values that JSON can hold."""
        values: dict[str, Any] = {}
        for name, value in asdict(self).items():
            values[name] = list(value) if isinstance(value, tuple) else value
        return values


def diagnose(
    inversion: Sampler, target: Target, rng: torch.Generator, *, per_class: int = 100, reference: ImageSet | None = None
) -> Diagnosis:
    """Draw fresh inversions of every class and describe them.

    Args:
        inversion: Draws them, in eval mode.
        target: The classifier that judges them.
        rng: Source of noise and conditions.
        per_class: Inversions of each class, at least 2.
        reference: Images of the target's classes to find the nearest among, e.g. its training images.

    Raises:
        SettingError: ``per_class`` is under 2, or the reference lacks a class.
        ShapeError: The reference has images of another shape.
    """
    if per_class < 2:
        raise SettingError(f"per_class is {per_class}, expected at least 2: spread needs pairs")
    labels = torch.arange(target.classes).repeat_interleave(per_class)
    images = inversion.sample(labels, rng)
    activations = collect(target, images, keep_maps=False)
    accuracies = (activations.logits.argmax(1) == labels).double().view(-1, per_class).mean(1)
    probabilities = activations.logits.double().softmax(1)[torch.arange(len(labels)), labels]
    images_by_class = images.view(target.classes, per_class, -1)
    spreads = spread(images, labels, target.classes)
    return Diagnosis(
        n_per_class=per_class,
        accuracy=float(accuracies.mean()),
        accuracy_per_class=tuple(accuracies.tolist()),
        confidence=float(probabilities.mean()),
        feature_cosine=pair_cosine(activations.features.view(target.classes, per_class, -1)),
        spread=float(spreads.mean()),
        spread_per_class=tuple(spreads.tolist()),
        distinct=distinct_nearest(images_by_class, reference) if reference else distinct(images_by_class),
        reference=reference.name if reference else None,
    )


def spread(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the RMS distance of the images of each class to their mean image.

    Args:
        images: (N, C, H, W) in [0, 1].
        labels: (N,) in [0, classes); every class occurs.
        classes: Number of classes.

    Returns:
        (classes,) float64.
    """
    pixels = images.double().flatten(1)
    is_of_class = functional.one_hot(labels, classes).double().T
    counts = is_of_class.sum(1, keepdim=True)
    means = is_of_class @ pixels / counts
    squares = (pixels - means[labels]).square().mean(1)
    return (is_of_class @ squares / counts[:, 0]).sqrt()


def pair_cosine(groups: Tensor) -> float:
    """Return the mean cosine over pairs within a group, mean over groups, of rows (groups, n >= 2, D)."""
    directions = functional.normalize(groups.double(), dim=2)
    n = groups.shape[1]
    cosines = directions @ directions.transpose(1, 2)
    with_themselves = cosines.diagonal(dim1=1, dim2=2).sum(1)
    return float(((cosines.sum((1, 2)) - with_themselves) / (n * (n - 1))).mean())


def distinct(groups: Tensor) -> float:
    """Return the share of images whose nearest other image of their group is further than ``SAME_IMAGE`` (RMS).

    Args:
        groups: (groups, n >= 2, pixels) in [0, 1].
    """
    distances = torch.cdist(groups.double(), groups.double()) / groups.shape[2] ** 0.5
    distances.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    return float((distances.amin(2) > SAME_IMAGE).double().mean())


def distinct_nearest(groups: Tensor, reference: ImageSet) -> float:
    """Return the number of different nearest reference images / number of images, mean over classes.

    Args:
        groups: (classes, n, pixels) in [0, 1].
        reference: Images with labels in [0, classes); nearest means the smallest L2 distance of pixels within the
            class.

    Raises:
        ShapeError: The reference has images of another shape.
        SettingError: The reference lacks a class.
    """
    classes, n, pixels = groups.shape
    if reference.images[0].numel() != pixels:
        raise ShapeError(
            f"{reference.name} has images of shape {tuple(reference.images.shape[1:])}, "
            f"expected {pixels} values as the inversions have; pass it through the same transform"
        )
    missing_classes = set(range(classes)) - set(reference.labels.tolist())
    if missing_classes:
        raise SettingError(f"{reference.name} has no image of class {min(missing_classes)}; give one with all classes")
    shares = []
    for label in range(classes):
        gallery = reference.floats(reference.labels == label).flatten(1)
        shares.append(len(torch.cdist(groups[label], gallery).argmin(1).unique()) / n)
    return sum(shares) / classes
