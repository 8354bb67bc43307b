"""Masks: the smallest part of an image that keeps the target's decision, and curves that say how much a map is worth.

A mask is searched for by the loop that searches for images: a coarse map in [0, 1], enlarged smoothly, so that it
cannot draw a pattern of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.functional import gaussian_blur

from invaudit.data import seeded_rng
from invaudit.explain.aims import Aim, check_images
from invaudit.explain.judging import predictions
from invaudit.inversion.pixels import optimise_pixels
from invaudit.models import Target, frozen_eval
from invaudit.models.devices import images_at_once
from invaudit.runtime.errors import ShapeError
from invaudit.runtime.settings import Rate, Settings, Weight

SEARCHED_AT_ONCE = 64
"""Most images whose masks are searched for at once."""
ORDER = 0.01
"""Share of a mask that is its mean over the search."""


class MaskSettings(Settings):
    """How the part of an image that keeps a decision is searched for, and what stands where the rest was."""

    background: Literal["blur", "mean"] = "blur"
    """What stands where an image is taken away: the image without its details, or its mean colour. A black or grey
    patch would be a thing of its own, and on black pictures like digits no change at all."""

    blur: float = Field(default=0.25, gt=0, le=10)
    """Standard deviation of the blur, as a share of the longer side: wide enough for a digit to be gone."""

    cells: int = Field(default=8, ge=2, le=1_024)
    """Cells of the mask along each side, and not more than pixels: fine enough for a part of an object."""

    area: Weight = 2.0
    """Weight of the mask's mean beside the cross-entropy of the decision: from 1 nat for all of an image to what the
    probability may lose for a smaller part."""

    rest: Weight = 0.3
    """Weight of -log(1 - p), p the probability of the decision for the rest of the image, which shall lose it. With 0 a
    mask takes one of several parts that each would do, and a search costs half as much."""

    steps: int = Field(default=200, ge=1, le=1_000_000)
    """Optimiser steps."""

    learning_rate: Rate = 0.05
    """Learning rate of Adam: a cell can go from 1 to 0 in 20 steps."""

    levels: int = Field(default=64, ge=1, le=10_000)
    """Areas that are tried for the smallest part, and points of a curve beside its start."""


@dataclass(frozen=True)
class Masks:
    """What the decisions on N images rest on.

    Attributes:
        labels: (N,) int64, the target's decisions.
        importance: (N, H, W) float32 in [0, 1], the mask before it is cut, with ``ORDER`` of its mean on the way.
        kept: (N, H, W) bool, the most important pixels, as few as keep the decision.
        area: (N,) float32, their share of the image; 0 where the background alone keeps it.
        probability: (N,) float32, the target's probability of the decision for this part alone.
    """

    labels: Tensor
    importance: Tensor
    kept: Tensor
    area: Tensor
    probability: Tensor


@dataclass(frozen=True)
class Curves:
    """Probability of the decision as pixels go, or come, the most important ones first.

    Attributes:
        shares: (S + 1,) float32, share of the pixels that have gone or come, from 0 to 1.
        deletion: (N, S + 1) float32; one that falls at once shows that the map found what counts.
        insertion: (N, S + 1) float32; here one that rises at once does.
    """

    shares: Tensor
    deletion: Tensor
    insertion: Tensor

    @property
    def deletion_area(self) -> Tensor:
        """Area under each deletion curve (N,); lower is better."""
        return torch.trapezoid(self.deletion, self.shares, dim=1)

    @property
    def insertion_area(self) -> Tensor:
        """Area under each insertion curve (N,); higher is better."""
        return torch.trapezoid(self.insertion, self.shares, dim=1)


def find_masks(target: Target, images: Tensor, settings: MaskSettings | None = None) -> Masks:
    """Find the smallest part of each image that keeps the target's decision; nothing of it is random.

    Args:
        target: Borrowed in eval mode and given back as it was.
        images: (N, C, H, W) float32 in [0, 1].
        settings: How to search.

    Raises:
        SettingError: A pixel outside [0, 1].
        ShapeError: The images have another shape than the target takes.

    References:
        Fong and Vedaldi, arXiv 1704.03296: the part that keeps a class, by gradient, blurred where it is taken away.
        Their jitter is left out, since a coarse mask without it is smooth already.
    """
    settings = settings or MaskSettings()
    labels = _decisions(target, images)
    parts: list[Masks] = []
    with frozen_eval(target), torch.enable_grad():
        for index in torch.arange(len(images)).split(images_at_once(images.shape, SEARCHED_AT_ONCE)):
            importance = _searched(target, images[index], labels[index], settings)
            parts.append(_smallest(target, images[index], labels[index], importance, settings))
    return Masks(*(torch.cat(columns) for columns in zip(*(vars(part).values() for part in parts), strict=True)))


def input_gradients(target: Target, images: Tensor) -> Tensor:
    """Return |gradient x image| summed over channels, (N, H, W), of the logit of each decision.

    Args:
        target: Borrowed in eval mode and given back as it was.
        images: (N, C, H, W) float32 in [0, 1].
    """
    labels = _decisions(target, images)
    maps = []
    with frozen_eval(target), torch.enable_grad():
        at_once = images_at_once(images.shape, SEARCHED_AT_ONCE)
        for some, decided in zip(images.split(at_once), labels.split(at_once), strict=True):
            inputs = some.to(target.device).clone().requires_grad_()
            logits = target(inputs).gather(1, decided.to(target.device)[:, None])
            slopes = torch.autograd.grad(logits.sum(), inputs)[0]
            maps.append((slopes * inputs).detach().abs().sum(1).cpu())
    return torch.cat(maps)


def random_order(images: Tensor, seed: int = 0) -> Tensor:
    """Return an importance (N, H, W) that says nothing: what a map has to be better than."""
    return torch.rand((len(images), *images.shape[2:]), generator=seeded_rng(seed, "masks/random"))


def curves(target: Target, images: Tensor, importance: Tensor, settings: MaskSettings | None = None) -> Curves:
    """Take pixels away, and put them in, in the order of their importance.

    Args:
        target: Borrowed in eval mode and given back as it was.
        images: (N, C, H, W) float32 in [0, 1].
        importance: (N, H, W), larger is more important.
        settings: What stands where an image is taken away, and the number of points.

    Raises:
        ShapeError: The importance does not fit the images.

    References:
        Petsiuk et al., arXiv 1806.07421. One background serves both curves here.
    """
    settings = settings or MaskSettings()
    if importance.shape != (len(images), *images.shape[2:]):
        expected = (len(images), *images.shape[2:])
        raise ShapeError(f"importance has shape {tuple(importance.shape)}, expected {expected}, one number per pixel")
    labels = _decisions(target, images)
    shares = torch.linspace(0, 1, settings.levels + 1)
    gone = background(images, settings)
    ranks = _ranks(importance)
    deletion, insertion = [], []
    for share in shares:
        first = _first(ranks, share)
        deletion.append(_probabilities(target, gone.where(first, images), labels))
        insertion.append(_probabilities(target, images.where(first, gone), labels))
    return Curves(shares, torch.stack(deletion, 1), torch.stack(insertion, 1))


def background(images: Tensor, settings: MaskSettings) -> Tensor:
    """Return what stands where images (N, C, H, W) are taken away, of the same shape."""
    return BACKGROUNDS[settings.background](images, settings)


def _mean_colour(images: Tensor, _settings: MaskSettings) -> Tensor:
    return images.mean((2, 3), keepdim=True).expand_as(images)


def _blurred(images: Tensor, settings: MaskSettings) -> Tensor:
    sigma = settings.blur * max(images.shape[2:])
    # Reflection goes no further than the image is wide.
    sizes = [min(2 * int(3 * sigma) + 1, 2 * side - 1) for side in images.shape[2:]]
    return gaussian_blur(images, [sizes[1], sizes[0]], [sigma, sigma]).clamp(0, 1)


BACKGROUNDS: Mapping[str, Callable[[Tensor, MaskSettings], Tensor]] = MappingProxyType(
    {"blur": _blurred, "mean": _mean_colour}
)
"""Name -> what stands where images are taken away."""


def _decisions(target: Target, images: Tensor) -> Tensor:
    check_images(images)
    return predictions(target, images)


def _searched(target: Target, images: Tensor, labels: Tensor, settings: MaskSettings) -> Tensor:
    """Return the masks (N, H, W) after the search, in [0, 1]."""
    size = (images.shape[2], images.shape[3])
    rows, columns = (min(settings.cells, side) for side in size)
    gone = background(images, settings).to(target.device)
    images, aim = images.to(target.device), Aim(labels.to(target.device), is_wanted=True)
    # From the middle, from where a cell can go either way.
    coarse = torch.full((len(images), 1, rows, columns), 0.5, device=target.device, requires_grad=True)
    way = torch.zeros_like(coarse, requires_grad=False)

    def loss(_step: int) -> Tensor:
        way.add_(coarse.detach())
        mask = _enlarged(coarse, size)
        losses = aim.cross_entropy(target(mask * images + (1 - mask) * gone)) + settings.area * mask.mean((1, 2, 3))
        if settings.rest:
            losses = losses + settings.rest * _loss_of_losing(target(mask * gone + (1 - mask) * images), aim.labels)
        return losses.sum()

    optimise_pixels(coarse, loss, torch.optim.Adam([coarse], settings.learning_rate), range(settings.steps))
    # Cells that end at 0 have an order, too: those that went last come first.
    return _enlarged((1 - ORDER) * coarse.detach() + ORDER * way / settings.steps, size)[:, 0].cpu()


def _loss_of_losing(logits: Tensor, labels: Tensor) -> Tensor:
    """Return -log(1 - p) of each label (N,)."""
    is_label = functional.one_hot(labels, logits.shape[1]).bool()
    return -logits.log_softmax(1).masked_fill(is_label, -torch.inf).logsumexp(1)


def _enlarged(coarse: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(coarse, size, mode="bilinear", align_corners=False)


def _smallest(target: Target, images: Tensor, labels: Tensor, importance: Tensor, settings: MaskSettings) -> Masks:
    """Return the masks cut to the smallest of the areas tried that keeps the decision; all of an image keeps it."""
    gone, ranks = background(images, settings), _ranks(importance)
    kept = torch.ones_like(importance, dtype=torch.bool)
    probability = _probabilities(target, images, labels)
    for share in torch.linspace(1, 0, settings.levels + 1)[1:]:
        first = _first(ranks, share)
        part = images.where(first, gone)
        with torch.no_grad():
            probabilities = target(part.to(target.device)).softmax(1).cpu()
        keeps = probabilities.argmax(1) == labels
        kept = first[:, 0].where(keeps[:, None, None], kept)
        probability = probabilities.gather(1, labels[:, None])[:, 0].where(keeps, probability)
    return Masks(labels, importance, kept, kept.float().mean((1, 2)), probability)


def _ranks(importance: Tensor) -> Tensor:
    """Return the place (N, 1, H, W) of each pixel in the order of importance, from 0 to 1; ties in reading order."""
    flat = importance.flatten(1)
    places = flat.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (places / flat.shape[1]).view_as(importance)[:, None]


def _first(ranks: Tensor, share: Tensor) -> Tensor:
    """Return which pixels (N, 1, H, W) are among the first share of the ranks."""
    return ranks < share


@torch.no_grad()
def _probabilities(target: Target, images: Tensor, labels: Tensor) -> Tensor:
    with frozen_eval(target):
        at_once = images_at_once(images.shape, SEARCHED_AT_ONCE)
        parts = [target(some.to(target.device)).softmax(1).cpu() for some in images.split(at_once)]
    return torch.cat(parts).gather(1, labels[:, None])[:, 0]
