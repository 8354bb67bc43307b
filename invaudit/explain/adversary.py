"""Adversarial samples by inversion: a generator that is shown a photo and a class, and draws a sample near the photo.

It is trained once, on photos, against the frozen target; a sample for a new photo then takes one pass of it.
"""

import math
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from invaudit.explain.aims import checked_aim, euclidean_norms
from invaudit.inversion.settings import set_rate
from invaudit.models import Target, frozen_eval
from invaudit.models.devices import images_at_once, seed_torch
from invaudit.runtime.errors import SettingError
from invaudit.runtime.settings import Batch, Rate, Settings, Weight

DRAWN_AT_ONCE = 256
"""Most images in one pass outside of training."""
SMALLEST_SIDE = 8
"""Smallest side of a photo, in pixels."""


class AdversarySettings(Settings):
    """How a generator of adversarial samples is trained."""

    distance: Weight = 1.0
    """Weight of the Euclidean norm of the change beside the cross-entropy to the wanted class. Less makes more samples
    the wanted class, and further from their photos."""

    steps: int = Field(default=600, ge=1, le=10_000_000)
    """Optimiser steps."""

    batch_size: Batch = 64
    """Photos in a step."""

    learning_rate: Rate = 3e-3
    """Learning rate of Adam, which falls to 0 along half a cosine."""

    width: int = Field(default=32, ge=1, le=4_096)
    """Channels of the generator at full size; twice as many at half the size."""


class NearGenerator(nn.Module):
    """From photos and wanted classes to samples near the photos, in [0, 1].

    Two convolutions see the photo at full and at half size, the class is added to the maps at half size, and two more
    draw a picture and, for each pixel, the share of it that joins the photo.

    Args:
        shape: (C, H, W) of an image.
        classes: Number of classes.
        width: Channels at full size.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int) -> None:
        super().__init__()
        channels = shape[0]
        self.seen = nn.Sequential(_convolution(channels, width), _convolution(width, width))
        self.shrunk = _convolution(width, 2 * width, stride=2)
        self.wanted = nn.Embedding(classes, 2 * width)
        self.middle = nn.Sequential(_convolution(2 * width, 2 * width), _convolution(2 * width, 2 * width))
        self.joined = _convolution(3 * width, width)
        self.drawn = nn.Conv2d(width, 2 * channels, 3, padding=1)

    def forward(self, photos: Tensor, wanted: Tensor) -> Tensor:
        """Return samples (N, C, H, W) for photos of this shape and wanted classes (N,)."""
        seen = self.seen(photos)
        maps = self.shrunk(seen) + self.wanted(wanted)[:, :, None, None]
        maps = functional.interpolate(self.middle(maps), seen.shape[2:])
        picture, share = self.drawn(self.joined(torch.cat([seen, maps], 1))).sigmoid().chunk(2, 1)
        # A sum that is cut to [0, 1] would have no slope where it is cut.
        return photos + share * (picture - photos)


@dataclass(frozen=True)
class Adversary:
    """A trained generator of adversarial samples.

    Attributes:
        generator: In eval mode, on the device of the target.
        settings: How it was trained.
        history: Mean over each tenth of the training of the cross-entropy, and of the Euclidean norm of the change.
    """

    generator: NearGenerator
    settings: AdversarySettings
    history: tuple[tuple[float, float], ...]

    @torch.no_grad()
    def sample(self, photos: Tensor, wanted: Tensor) -> Tensor:
        """Return samples (N, C, H, W) in [0, 1] on the CPU, one near each photo.

        Args:
            photos: (N, C, H, W) float32 in [0, 1].
            wanted: (N,) int64, the class that the target shall give each sample.
        """
        device = self.generator.wanted.weight.device
        parts = []
        at_once = images_at_once(photos.shape, DRAWN_AT_ONCE)
        for some, classes in zip(photos.split(at_once), wanted.split(at_once), strict=True):
            parts.append(self.generator(some.to(device), classes.to(device)).cpu())
        return torch.cat(parts)


def train_adversary(
    target: Target, photos: Tensor, labels: Tensor, rng: torch.Generator, settings: AdversarySettings | None = None
) -> Adversary:
    """Train a generator that makes the target take photos for any other class.

    Args:
        target: Borrowed: frozen, in eval mode, and given back as it was.
        photos: (N, C, H, W) float32 in [0, 1].
        labels: (N,) int64, their classes; a photo is drawn with each other class as the wanted one.
        rng: CPU generator of weights and batches.
        settings: How to train it.

    Raises:
        SettingError: The photos are too small, a pixel lies outside [0, 1], or a class outside its range.
        ShapeError: Photos and labels do not fit.
    """
    settings = settings or AdversarySettings()
    checked_aim(target, photos, labels, None)
    if min(target.spec.shape[1:]) < SMALLEST_SIDE:
        raise SettingError(f"photos of {target.spec.height} x {target.spec.width}, expected sides from {SMALLEST_SIDE}")
    with seed_torch(rng):
        generator = NearGenerator(target.spec.shape, target.classes, settings.width).to(target.device)
    optimizer = torch.optim.Adam(generator.parameters(), settings.learning_rate)
    terms = []
    with frozen_eval(target), torch.enable_grad():
        for step in range(settings.steps):
            set_rate(optimizer, "cosine", settings.learning_rate, step, settings.steps)
            index = torch.randint(len(photos), (settings.batch_size,), generator=rng)
            some = photos[index].to(target.device)
            wanted = other_classes(labels[index], target.classes, rng).to(target.device)
            samples = generator(some, wanted)
            # The root has no slope at 0, where nothing is changed.
            norm = (euclidean_norms(samples - some).square() + 1e-12).sqrt().mean()
            cross_entropy = functional.cross_entropy(target(samples), wanted)
            optimizer.zero_grad(set_to_none=True)
            (cross_entropy + settings.distance * norm).backward()
            optimizer.step()
            terms.append(torch.stack([cross_entropy, norm]).detach())
    tenth = math.ceil(settings.steps / 10)
    history = [tuple(part.mean(0).tolist()) for part in torch.stack(terms).cpu().split(tenth)]
    return Adversary(generator.eval(), settings, tuple(history))


def other_classes(labels: Tensor, classes: int, rng: torch.Generator) -> Tensor:
    """Return a class (N,) for each label, drawn from all the others."""
    return (labels + torch.randint(1, classes, labels.shape, generator=rng)) % classes


def _convolution(before: int, after: int, *, stride: int = 1) -> nn.Module:
    # Without batch norm: a sample shall depend on its own photo alone, in training as well.
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, padding_mode="reflect"), nn.SiLU())
