"""A student: a network trained on inversions alone, and tested on real images.

What it gets right it can only know from the inversions, so no pattern that merely fools the target helps it.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field

from invaudit.data import ImageSet
from invaudit.data.image_set import eight_bits
from invaudit.inversion import Inversion, PixelInversion
from invaudit.inversion.diagnostics import Sampler
from invaudit.inversion.views import turned
from invaudit.models import InputSpec, Target, TrainingSettings, build, collect, train
from invaudit.models.architectures import full_name
from invaudit.models.devices import resolve_precision, seed_torch
from invaudit.models.suitability import labelled_for
from invaudit.runtime.settings import Settings
from invaudit.stats import Estimate, counted_share

MOST_INVERSIONS = 20_000
"""Inversions that a student may see: with ever more of them, a student would copy the target by sheer number."""
FALLBACK = "vgg-small"
"""Architecture of a student of a network whose architecture is not one of ours."""
SAMPLED_AT_ONCE = 250
"""Inversions in floats at once: 150 MB at 224 pixels."""
SHIFT_OF_SIDE = 8
"""A side is so many times the largest shift: 4 pixels of 32, as is usual for CIFAR-10."""


class StudentSettings(Settings):
    """How a student is trained."""

    inversions: int = Field(default=MOST_INVERSIONS, ge=2, le=MOST_INVERSIONS)
    """Pictures of inversions that it is trained on, the same number of every class. A generator draws an inversion for
    each; those by pixels are repeated, each time turned, sized and shifted anew where the target saw them so."""

    darkening: float = Field(default=0.0, ge=0, lt=1)
    """Largest grey level, in [0, 1], that is made black, drawn for each picture; lighter ones are stretched. A search
    leaves a haze around what it draws, where real pictures may have an even background."""

    fading: float = Field(default=0.0, ge=0, lt=1)
    """Largest share of its brightness that a picture loses, drawn for each: a search likes white."""

    noise: float = Field(default=0.0, ge=0, le=1)
    """Largest standard deviation of noise over a picture, drawn for each, so that no fine pattern counts."""

    arch: str | None = None
    """Architecture of ours; unset: that of the target where it is one of ours, else ``vgg-small``."""

    training: TrainingSettings | None = None
    """How it is trained; unset: 12 epochs with shifts, and mirrored images where they have colours."""


@dataclass(frozen=True)
class Student:
    """What a student has learned from inversions.

    Attributes:
        accuracy: Share of the real images that it gets right, with its interval and their number.
        by_class: The same for each class; None where there is no real image of it.
        inversion_accuracy: Share of the inversions that it gives the class that was asked for, after training: where
            this is high and ``accuracy`` is not, the inversions show something else than the classes.
        arch: Its architecture.
        n_inversions: Pictures of inversions that it was trained on.
        seconds: Time that the inversions and the training took, without what a kill took.
    """

    accuracy: Estimate
    by_class: tuple[Estimate | None, ...]
    inversion_accuracy: Estimate
    arch: str
    n_inversions: int
    seconds: float


def train_student(
    inversion: Sampler | PixelInversion,
    target: Target,
    real: ImageSet,
    rng: torch.Generator,
    settings: StudentSettings | None = None,
    *,
    checkpoint: Path | None = None,
) -> Student:
    """Train a student on inversions, with the class that was asked for as the label, and test it on real images.

    Nothing of a real image reaches the student before the test, not even through batch norm: its running statistics
    are those of inversions. So contrast and brightness of the inversions, where they are not those of real images, cost
    accuracy, as they should.

    Args:
        inversion: Draws the inversions, or has them.
        target: The network that they were made for: classes, shape, device, and the architecture of the student.
        real: Labelled real images, ones that the target was not trained on for an honest figure.
        rng: Source of the inversions, the first weights and the training.
        settings: How to train; by default 20,000 inversions.
        checkpoint: File that is written after every epoch; where it exists, the training goes on from it.

    Raises:
        ShapeError: Real images of another shape.
        DataError: Labels of the real images that the target does not have.
        ModelError: An unknown architecture.
        RunFolderError: The checkpoint is of another training.
    """
    settings = settings or StudentSettings()
    real = labelled_for(target, real)
    arch = settings.arch or _own_architecture(target)
    with seed_torch(rng):
        module = build(arch, target.spec, target.classes)
    student = Target(module, target.spec, arch=full_name(arch)).to(target.device)
    start = time.perf_counter()
    inversions = _seen(inversion, target.classes, settings, rng)
    seconds = time.perf_counter() - start
    training = settings.training or default_training(target.spec, epochs=12)
    precision = resolve_precision(training.precision, target.device)
    history = train(student, inversions, training, rng, precision=precision, checkpoint=checkpoint)
    is_right = _is_right(student, real)
    by_class: list[Estimate | None] = []
    for label in range(target.classes):
        of_class = is_right[real.labels == label]
        by_class.append(counted_share(int(of_class.sum()), len(of_class)) if len(of_class) else None)
    own = _is_right(student, inversions)
    return Student(
        accuracy=counted_share(int(is_right.sum()), len(real)),
        by_class=tuple(by_class),
        inversion_accuracy=counted_share(int(own.sum()), len(own)),
        arch=full_name(arch),
        n_inversions=len(inversions),
        seconds=seconds + history.seconds,
    )


def default_training(spec: InputSpec, *, epochs: int) -> TrainingSettings:
    """Return how images of a shape are trained on: with shifts, mirrored where they have colours, and that alone."""
    is_colour = spec.channels == 3
    return TrainingSettings(
        epochs=epochs,
        shift=min(spec.height, spec.width) // SHIFT_OF_SIDE,
        flip=is_colour,
        weight_decay=0.05 if is_colour else 5e-4,
    )


def _own_architecture(target: Target) -> str:
    family, _, name = (target.arch or "").partition(":")
    return name if family == "invaudit" else FALLBACK


def _drawn(
    inversion: Sampler | PixelInversion, classes: int, n: int, rng: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield about n inversions and their classes in batches, the same number of every class, at least one."""
    each = max(1, n // classes)
    if isinstance(inversion, PixelInversion):
        ranks = torch.arange(each) % inversion.images.shape[1]
        for some in ranks.split(max(1, SAMPLED_AT_ONCE // classes)):
            yield inversion.images[:, some].flatten(0, 1), torch.arange(classes).repeat_interleave(len(some))
        return
    for labels in torch.arange(classes).repeat(each).split(SAMPLED_AT_ONCE):
        yield inversion.sample(labels, rng), labels


def _seen(
    inversion: Sampler | PixelInversion, classes: int, settings: StudentSettings, rng: torch.Generator
) -> ImageSet:
    """Return about as many pictures of inversions as are wanted, with 8 bits: as the target was shown them, varied."""
    pictures, classes_of = [], []
    for images, labels in _drawn(inversion, classes, settings.inversions, rng):
        pictures.append(eight_bits(varied(_turned(inversion, images, rng), settings, rng)))
        classes_of.append(labels)
    return ImageSet("inversions", torch.cat(pictures), torch.cat(classes_of))


def varied(images: torch.Tensor, settings: StudentSettings, rng: torch.Generator) -> torch.Tensor:
    """Return images (N, C, H, W) in [0, 1], each darkened, faded and made noisy by an amount of its own."""

    def amount(largest: float) -> torch.Tensor:
        return largest * torch.rand((len(images), 1, 1, 1), generator=rng)

    if settings.darkening:
        black = amount(settings.darkening)
        images = ((images - black) / (1 - black)).clamp_min(0)
    if settings.fading:
        images = images * (1 - amount(settings.fading))
    if settings.noise:
        images = (images + amount(settings.noise) * torch.randn(images.shape, generator=rng)).clamp(0, 1)
    return images


def _turned(inversion: Sampler | PixelInversion, images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Return images each turned, sized and shifted by itself, if the target was shown them so."""
    if not (isinstance(inversion, Inversion | PixelInversion) and inversion.settings.turns):
        return images
    with seed_torch(rng):
        return turned(images, inversion.settings, len(images))


def _is_right(network: Target, images: ImageSet) -> torch.Tensor:
    return collect(network, images, keep_maps=False).logits.argmax(1) == images.labels
