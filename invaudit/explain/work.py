"""What the stages of an explanation work on: networks, real images and inversions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from invaudit.data import ImageSet, seeded_rng
from invaudit.data.image_set import eight_bits
from invaudit.data.joining import with_classes
from invaudit.explain.judging import Guard
from invaudit.explain.second import Second
from invaudit.explain.settings import ExplainSettings
from invaudit.inversion import Inversion, PixelInversion, draw_each, invert_by
from invaudit.models import Target, collect
from invaudit.runtime.errors import DataError, SettingError

CHECKPOINT = "work.pt"
"""State of the search; it stays until all stages are done, so that those which are missing can go on from it."""


@dataclass
class Work:
    """What the stages work on; classes are numbered among those that are explained.

    Attributes:
        target: The network, of the classes that are explained.
        settings: What is looked at.
        place: The folder where the state of the search lies.
        real: Real images of these classes; None: none were given.
        second: Another network of these classes.
        photos: Images whose masks are asked for by name.
        guard: Is asked which adversarial samples it accepts.
    """

    target: Target
    settings: ExplainSettings
    place: Path
    real: ImageSet | None = None
    second: Second | None = None
    photos: ImageSet | None = None
    guard: Guard | None = None

    @property
    def seed(self) -> int:
        """The seed of everything random."""
        return self.settings.seeds[0]

    @property
    def second_network(self) -> Target | None:
        """The second network itself."""
        return None if self.second is None else self.second.network

    def rng(self, name: str) -> torch.Generator:
        """Return the source of draws of a stage, the same whatever ran before."""
        return seeded_rng(self.seed, f"explain/{name}")

    @cached_property
    def inversion(self) -> Inversion | PixelInversion:
        """The search, done or gone on with when it is first asked for."""
        settings, checkpoint = self.settings.search(self.target.spec.channels), self.place / CHECKPOINT
        return invert_by(self.target, settings, seed=self.seed, checkpoint=checkpoint, real=self.real)

    @property
    def classes(self) -> Tensor:
        """(n,) int64, the classes."""
        return torch.arange(self.target.classes)

    def inversions(self, most: int, name: str) -> tuple[Tensor, Tensor]:
        """Return inversions (N, C, H, W) of each class in turn, and the classes (N,) that they were made for.

        Args:
            most: Inversions of each class; a search by pixels may have fewer.
            name: Of the draws.

        Raises:
            SettingError: The search diverged.
        """
        return draw_each(self.inversion, most, self.rng(name))

    def gallery(self) -> Tensor:
        """Return the inversions that are shown, (classes, n, C, H, W) uint8."""
        images, _ = self.inversions(self.settings.images, "gallery")
        return eight_bits(images).view(self.target.classes, -1, *self.target.spec.shape)

    def needs_real(self) -> ImageSet:
        """Return the real images.

        Raises:
            DataError: None were given.
        """
        if self.real is None:
            raise DataError("no labelled real images were given (--data)")
        return self.real

    def rightly_answered(self) -> Tensor:
        """Return the positions of the real images that the network gives their class."""
        real = self.needs_real()
        predicted = collect(self.target, real, keep_maps=False).logits.argmax(1)
        return (predicted == real.labels).nonzero()[:, 0]


def of_classes(images: ImageSet, chosen: Sequence[int], target: Target) -> ImageSet:
    """Return the images of some classes of a network, numbered in their order.

    Raises:
        DataError: There are none of two of them.
    """
    images = with_classes(images, target.class_names, known_by="the model")
    if int(images.labels.min()) < 0:
        raise DataError(f"{images.name} has images without a class; give labelled ones")
    numbers = torch.full((max(target.classes, int(images.labels.max()) + 1) + 1,), -1)
    numbers[list(chosen)] = torch.arange(len(chosen))
    labels = numbers[images.labels]
    kept = images.subset(labels >= 0)
    if len(kept.labels.unique()) < 2:
        raise DataError(
            f"{images.name} holds images of {len(kept.labels.unique())} of the classes, expected two at least"
        )
    known = target.class_names or images.class_names
    names = tuple(known[label] for label in chosen) if len(known) > max(chosen) else ()
    return replace(kept, labels=labels[labels >= 0], class_names=names)


def chosen_classes(target: Target, first: int | None, named: Sequence[str] = ()) -> tuple[int, ...]:
    """Return the numbers of the classes to explain: all, the first few, or those that are named.

    Raises:
        SettingError: A class that the network does not know, twice the same, or fewer than two.
    """
    if first is not None and not 2 <= first <= target.classes:
        raise SettingError(f"classes is {first}, expected 2 to {target.classes}: the classes of the model")
    if not named:
        return tuple(range(first or target.classes))
    chosen = []
    for name in named:
        if name in target.class_names:
            chosen.append(target.class_names.index(name))
        elif name.isdecimal() and name.isascii() and len(name) < 10 and int(name) < target.classes:
            chosen.append(int(name))
        else:
            raise SettingError(
                f"class {name!r} is none of the model's; give a name, or a number under {target.classes}"
            )
    if len(set(chosen)) < max(2, len(chosen)):
        raise SettingError(f"classes {', '.join(named)}: expected two different ones at least, none twice")
    return tuple(chosen)
