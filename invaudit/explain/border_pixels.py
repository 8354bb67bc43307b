"""Border images by pixels: images move from where they start until two classes are level in them.

The search ends with a bisection across the border, so that the gap does not depend on how well it converged.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from invaudit.explain.borders import (
    LEAST_PROBABILITY,
    Attack,
    Borders,
    Pair,
    check_pairs,
    lengths,
    measure,
    probabilities,
)
from invaudit.explain.crossings import OTHERS_AIM, crossing, log_odds, others_odds
from invaudit.inversion.pixels import optimise_pixels
from invaudit.inversion.settings import set_rate
from invaudit.models import Target, frozen_eval
from invaudit.models.devices import images_at_once
from invaudit.runtime.errors import ShapeError
from invaudit.runtime.settings import Batch, Settings

DOUBLINGS = 8
"""Of a step down the log-odds, until their sign has changed."""


class _Try(NamedTuple):
    """How images are searched for that were not found before."""

    lighter: float = 1.0
    """Factor of the weight of the distance."""
    faster: float = 1.0
    """Factor of the pace."""
    begin: float = 0.0
    """Where the search begins: 0 at the start, 1 at the goal, if there is one."""


TRIES = (_Try(), _Try(1 / 4), _Try(1 / 16), _Try(1 / 16, 5), _Try(1 / 16, 5, begin=0.5))
"""In turn. Half-way to the goal is the last one: such a mixture lies beyond classes that stand in the way."""


class PixelBorderSettings(Settings):
    """How border images are searched for by pixels."""

    distance: float = Field(default=0.3, ge=0)
    """Weight of the distance from the start. The log-odds are measured in it, too (over their slope where the search
    begins), so that a weight under 1 asks for the border first, whatever the network and the size of its images. An
    image that does not reach the border is tried again with a quarter of it and a sixteenth."""

    steps: int = Field(default=200, ge=1)
    """Steps of Adam by pixels."""

    pace: float = Field(default=0.1, gt=0, le=1)
    """Length of the first step of an image, as a share of its way to the border by the slope where the search begins;
    later steps shrink to 0 along half a cosine. The last tries take five times as long steps. Networks of small and of
    large images need paces that differ a hundredfold in pixels."""

    batch_size: Batch = 64
    """Most images that are searched for together."""


def pixel_borders(
    target: Target,
    pairs: Sequence[Pair],
    starts: Tensor,
    settings: PixelBorderSettings | None = None,
    *,
    goals: Tensor | None = None,
    attack: Attack | None = None,
    second: Target | None = None,
) -> Borders:
    """Move images to the border of two classes, as near to where they start as the weight of the distance asks.

    Minimises |log p_a - log p_b| / s + max(0, log(others / (p_a + p_b)) - log(0.05 / 0.95)) / s + w |x - start|, where
    s is the slope of the log-odds where the search begins. Then the gap is closed along the slope by bisection. An
    image that does not reach the border is searched for again with less weight on the distance, with longer steps, and
    at last from half-way to its goal.

    Args:
        target: Is borrowed: frozen, in eval mode, and given back as it was.
        pairs: N pairs of classes (a, b).
        starts: (N, C, H, W) in [0, 1]; as a rule images of class a, though any will do.
        settings: How to search.
        goals: (N, C, H, W) in [0, 1], images of class b, which are kept beside the borders.
        attack: Minimal-norm attack for comparison, see ``measure``.
        second: Another network of the same classes, to be asked about the images.

    Raises:
        ShapeError: Not one start for each pair, or of another shape than the target takes.
        SettingError: A pair that is none, or a second model of other classes.
    """
    settings = settings or PixelBorderSettings()
    check_pairs(pairs, target.classes)
    if len(starts) != len(pairs):
        raise ShapeError(f"got {len(starts)} starts for {len(pairs)} pairs, expected one for each")
    classes = torch.tensor(pairs, dtype=torch.int64).view(-1, 2)
    images = starts.cpu().clone()
    missing = torch.arange(len(pairs))
    with frozen_eval(target):
        for way in TRIES:
            if not len(missing):
                break
            if goals is None and way.begin:
                continue
            begin = starts.lerp(goals, way.begin) if goals is not None else starts
            changes = {"distance": way.lighter * settings.distance, "pace": min(1.0, way.faster * settings.pace)}
            tried = settings.model_copy(update=changes)
            for rows in missing.split(images_at_once(starts.shape, settings.batch_size)):
                images[rows] = _searched(target, classes[rows], starts[rows], begin[rows], tried)
            told = torch.from_numpy(probabilities(target, images[missing])).gather(1, classes[missing])
            missing = missing[told.amin(1) < LEAST_PROBABILITY]
    return measure(target, pairs, starts, images, by="pixels", goals=goals, attack=attack, second=second)


def _searched(target: Target, pairs: Tensor, starts: Tensor, begin: Tensor, settings: PixelBorderSettings) -> Tensor:
    """Return images (N, C, H, W) on the CPU between the classes ``pairs`` (N, 2) and near to starts, from ``begin``."""
    starts, pairs = starts.to(target.device), pairs.to(target.device)
    images = begin.to(target.device).clone().requires_grad_()
    _, slope = _sloped(target, images, pairs)
    scale = lengths(slope).to(starts.dtype).clamp_min(1e-6)

    def way_left() -> Tensor:
        """Distance to the border (N,), were the network linear."""
        logits = target(images)
        return (log_odds(logits, pairs).abs() + functional.relu(others_odds(logits, pairs) - OTHERS_AIM)) / scale

    def loss(_step: int) -> Tensor:
        # A distance of 0 has no slope; the start itself is the only image that has it.
        away = (images - starts).flatten(1).square().sum(1).add(1e-12).sqrt()
        return (way_left() + settings.distance * away).sum()

    with torch.no_grad():
        paces = settings.pace * way_left() / starts[0].numel() ** 0.5
    optimizer = _PacedAdam(images, paces)

    def slow_down(step: int) -> None:
        set_rate(optimizer, "cosine", 1.0, step, settings.steps)

    optimise_pixels(images, loss, optimizer, range(settings.steps), before_step=slow_down)
    return _levelled(target, images.detach(), pairs).cpu()


class _PacedAdam(torch.optim.Adam):
    """Adam with steps of a length of its own for each image: one is at its border after a tenth of another's way.

    Args:
        images: What is moved.
        paces: (N,), change of a pixel in a step at a learning rate of 1, in units of [0, 1].
    """

    def __init__(self, images: Tensor, paces: Tensor) -> None:
        super().__init__([images], 1.0)
        self.paces = _wide(paces)

    @torch.no_grad()
    def step(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take a step of Adam, and shorten it for each image to its pace."""
        (images,) = self.param_groups[0]["params"]
        before = images.clone()
        super().step()
        images.copy_(before + self.paces * (images - before))


def _sloped(target: Target, images: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log-odds (N,) of images and their slope (N, C, H, W)."""
    images = images.detach().requires_grad_()
    odds = log_odds(target(images), pairs)
    return odds.detach(), torch.autograd.grad(odds.sum(), images)[0]


def _levelled(target: Target, images: Tensor, pairs: Tensor) -> Tensor:
    """Return images moved along the slope of their log-odds until these are 0; where that fails, as they were."""
    odds, slope = _sloped(target, images, pairs)
    length = slope.flatten(1).square().sum(1).clamp_min(1e-12)
    # Of Newton's rule, which would do where a network is linear.
    step = slope * (-odds / length).view(-1, 1, 1, 1)

    def odds_at(moved: Tensor) -> Tensor:
        with torch.no_grad():
            return log_odds(target(moved), pairs)

    far = images
    is_open = odds != 0
    for doubling in range(DOUBLINGS):
        moved = (images + 2**doubling * step).clamp(0, 1)
        has_turned = is_open & (odds_at(moved).sign() != odds.sign())
        far = torch.where(_wide(has_turned), moved, far)
        is_open &= ~has_turned

    def between(share: Tensor) -> Tensor:
        return images + _wide(share) * (far - images)

    return between(crossing(lambda share: odds_at(between(share)), torch.zeros_like(odds)))


def _wide(values: Tensor) -> Tensor:
    """Return values (N,) as (N, 1, 1, 1), to go with images."""
    return values.view(-1, 1, 1, 1)
