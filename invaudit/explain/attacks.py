"""Attacks: images near given ones that the target answers otherwise, by the methods that everybody compares with.

``pgd`` keeps the largest change of a pixel under a bound, ``ddn`` and ``fmn`` look for the smallest Euclidean norm.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from invaudit.data import seeded_rng
from invaudit.explain.aims import Aim, checked_aim, euclidean_norms, largest_changes
from invaudit.inversion.pixels import SignDescent, optimise_pixels
from invaudit.inversion.settings import scheduled
from invaudit.models import Target, frozen_eval
from invaudit.models.devices import images_at_once
from invaudit.runtime.errors import SettingError
from invaudit.runtime.settings import Settings

ATTACKED_AT_ONCE = 256
"""Most images that are attacked at once."""
_TINY = 1e-12


class PGDSettings(Settings):
    """Projected gradient descent on the cross-entropy, in a ball of the largest norm."""

    radius: float = Field(default=8 / 255, gt=0, le=1)
    """Largest change of a pixel, in units of [0, 1]; by default 8 grey levels, as is usual for colour photographs. For
    MNIST 0.3 is usual."""

    steps: int = Field(default=40, ge=1, le=100_000)
    """Steps; by default those of the paper for MNIST."""

    step: float = Field(default=0.1, gt=0, le=2)
    """Change of every pixel in a step, as a share of the radius; 40 steps of a tenth cross the ball twice."""

    random_start: bool = True
    """Start at a random point of the ball, as in the paper; otherwise at the image itself."""


class DDNSettings(Settings):
    """Decoupled direction and norm: steps of the cross-entropy on a sphere that shrinks where the aim is reached."""

    steps: int = Field(default=100, ge=1, le=100_000)
    """Steps; by default as in the paper."""

    first_norm: float = Field(default=1.0, gt=0, le=1_000)
    """Radius of the first sphere, in units of [0, 1]; as in the paper."""

    gamma: float = Field(default=0.05, gt=0, lt=1)
    """Share by which the radius shrinks or grows in a step; as in the paper."""

    levels: int | None = Field(default=None, ge=2, le=65_536)
    """Grey levels that images are rounded to in every step, 256 in the paper; by default none, as in the other attacks,
    so that norms can be compared."""


class FMNSettings(Settings):
    """Fast minimum norm: steps of the margin of the logits on a sphere that follows the border."""

    steps: int = Field(default=1_000, ge=1, le=100_000)
    """Steps; by default as many as the largest number in the paper. 100 are the quick choice."""

    first_step: float = Field(default=1.0, gt=0, le=1_000)
    """Length of the first step, in units of [0, 1]; the last one is a hundredth of it. As in the paper."""

    first_gamma: float = Field(default=0.05, gt=0, lt=1)
    """Share by which the radius shrinks or grows in the first step; as in the paper."""

    last_gamma: float = Field(default=0.001, gt=0, lt=1)
    """Share by which the radius shrinks or grows in the last step; as in the paper."""

    overshoot: float = Field(default=0.05, ge=0, le=1)
    """Share by which the radius goes beyond where the border seems to be, until the aim is reached for the first time.
    In the paper 0: then a search of images with pixels at 0 and 1 comes ever nearer to the border and crosses it for
    less than half of them."""


@dataclass(frozen=True)
class Attacked:
    """What an attack made of N images.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1] on the CPU; ``ddn`` and ``fmn`` give back an image that they found
            nothing for.
        reached: (N,) bool, whether the target answers them as was asked for.
        euclidean: (N,) float32, Euclidean norm of the change.
        largest: (N,) float32, largest change of a pixel.
    """

    images: Tensor
    reached: Tensor
    euclidean: Tensor
    largest: Tensor


def pgd(target: Target, images: Tensor, aim: Aim, settings: PGDSettings, rng: torch.Generator) -> Tensor:
    """Return images (N, C, H, W) in the ball of the largest norm around given ones, after the last step.

    Args:
        target: Frozen and in eval mode.
        images: (N, C, H, W) in [0, 1], on the target's device.
        aim: What the target shall answer.
        settings: Radius and steps.
        rng: CPU generator of the start.

    References:
        Madry et al., arXiv 1706.06083.
    """
    radius = settings.radius
    lowest, highest = (images - radius).clamp_min(0), (images + radius).clamp_max(1)
    moved = images.clone()
    if settings.random_start:
        moved += radius * (2 * torch.rand(images.shape, generator=rng).to(images.device) - 1)

    def into_ball() -> None:
        with torch.no_grad():
            moved.copy_(moved.clamp(lowest, highest))

    def loss(_step: int) -> Tensor:
        return aim.cross_entropy(target(moved)).sum()

    into_ball()
    moved.requires_grad_()
    rule = SignDescent(moved, settings.step * radius)
    optimise_pixels(moved, loss, rule, range(settings.steps), before_step=lambda _step: into_ball())
    into_ball()
    return moved.detach()


def ddn(target: Target, images: Tensor, aim: Aim, settings: DDNSettings, rng: torch.Generator) -> Tensor:
    """Return the nearest images in the Euclidean norm that were found to reach the aim; arguments as of ``pgd``.

    References:
        Rony et al., arXiv 1811.09600.
    """
    nearest, farthest = _Nearest(images), _farthest(images)
    change, radius = torch.zeros_like(images), torch.full_like(farthest, settings.first_norm)
    for step in range(settings.steps):
        answers = _answers(target, images + change, aim.cross_entropy)
        reached = aim.reached(answers.logits)
        nearest.keep(images + change, reached)
        length = _falling(1.0, 0.01, step, settings.steps)
        change = change - length * _directions(answers.slopes, rng)
        radius = (radius * torch.where(reached, 1 - settings.gamma, 1 + settings.gamma)).minimum(farthest)
        change = change * _each(radius / euclidean_norms(change).clamp_min(_TINY))
        moved = (images + change).clamp(0, 1)
        if settings.levels is not None:
            moved = (moved * (settings.levels - 1)).round() / (settings.levels - 1)
        change = moved - images
    return nearest.images


def fmn(target: Target, images: Tensor, aim: Aim, settings: FMNSettings, rng: torch.Generator) -> Tensor:
    """Return the nearest images in the Euclidean norm that were found to reach the aim; arguments as of ``pgd``.

    References:
        Pintor et al., arXiv 2102.12827. The change is brought to the radius also where it is shorter, as in
        adversarial-library; the paper projects into the ball. ``overshoot`` is ours.
    """
    nearest, farthest = _Nearest(images), _farthest(images)
    change, radius = torch.zeros_like(images), torch.full_like(farthest, torch.inf)
    for step in range(settings.steps):
        answers = _answers(target, images + change, aim.margin)
        reached = aim.reached(answers.logits)
        nearest.keep(images + change, reached)
        gamma = _falling(settings.first_gamma, settings.last_gamma, step, settings.steps)
        to_border = answers.losses.abs() / euclidean_norms(answers.slopes).clamp_min(_TINY)
        to_cross = (euclidean_norms(change) + to_border) * (1 + settings.overshoot)
        outside = torch.where(nearest.found, radius * (1 + gamma), to_cross)
        radius = torch.where(reached, (radius * (1 - gamma)).minimum(nearest.norms), outside).minimum(farthest)
        length = _falling(settings.first_step, settings.first_step / 100, step, settings.steps)
        change = change - length * _directions(answers.slopes, rng)
        change = change * _each(radius / euclidean_norms(change).clamp_min(_TINY))
        change = (images + change).clamp(0, 1) - images
    return nearest.images


@dataclass(frozen=True)
class Attack:
    """An attack.

    Attributes:
        settings: Class of its settings.
        run: ``run(target, images, aim, settings, rng) -> images``.
        norm: The norm that it keeps small.
    """

    settings: type[Settings]
    run: Callable[..., Tensor]
    norm: str


ATTACKS: Mapping[str, Attack] = MappingProxyType(
    {
        "pgd": Attack(PGDSettings, pgd, "largest"),
        "ddn": Attack(DDNSettings, ddn, "Euclidean"),
        "fmn": Attack(FMNSettings, fmn, "Euclidean"),
    }
)
"""Name -> attack."""


def attack(
    target: Target,
    images: Tensor,
    labels: Tensor,
    method: str = "ddn",
    settings: Settings | Mapping[str, Any] | None = None,
    rng: torch.Generator | None = None,
    *,
    wanted: Tensor | None = None,
    seed: int = 0,
) -> Attacked:
    """Change images a little, so that the target answers them otherwise.

    Args:
        target: Borrowed in eval mode and given back as it was.
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N,) int64, their classes, which the target shall not give; a garbage class is none of them.
        method: A name of ``ATTACKS``.
        settings: Settings of the attack, or their values, by default its own.
        rng: CPU generator of all draws; by default made from ``seed``.
        wanted: (N,) int64, classes that the target shall give instead; None: any other answer.
        seed: Seed where no ``rng`` is given.

    Raises:
        SettingError: Unknown attack, settings of another one, pixels outside [0, 1] or a class outside its range.
        ShapeError: Images and classes do not fit.

    Example:
        >>> from invaudit.data import load
        >>> from invaudit.models import InputSpec, build
        >>> digits = load("digits@0:4")
        >>> spec = InputSpec(channels=1, height=8, width=8)
        >>> target = Target(build("small-cnn", spec, 10), spec, classes=10)
        >>> attack(target, digits.floats(), digits.labels, "fmn", {"steps": 20}).euclidean.shape
        torch.Size([4])
    """
    aim = checked_aim(target, images, labels, wanted)
    known, chosen = chosen_attack(method, settings)
    rng = rng or seeded_rng(seed, f"attack/{method}")
    moved, reached = [], []
    with frozen_eval(target), torch.enable_grad():
        for index in torch.arange(len(images)).split(images_at_once(images.shape, ATTACKED_AT_ONCE)):
            there = aim.select(index).to(target.device)
            found = known.run(target, images[index].to(target.device), there, chosen, rng)
            with torch.no_grad():
                reached.append(there.reached(target(found)).cpu())
            moved.append(found.cpu())
    changed = torch.cat(moved)
    change = changed - images.cpu()
    return Attacked(changed, torch.cat(reached), euclidean_norms(change), largest_changes(change))


def chosen_attack(method: str, settings: Settings | Mapping[str, Any] | None) -> tuple[Attack, Settings]:
    """Return an attack by name, and its settings.

    Raises:
        SettingError: Unknown attack, or settings of another one.
    """
    if method not in ATTACKS:
        raise SettingError(f"attack {method!r} is unknown, expected one of {', '.join(ATTACKS)}")
    known = ATTACKS[method]
    chosen = settings if isinstance(settings, Settings) else known.settings.model_validate(settings or {})
    if type(chosen) is not known.settings:
        raise SettingError(f"got {type(chosen).__name__} for {method!r}, expected {known.settings.__name__}")
    return known, chosen


class _Nearest:
    """The nearest images to N given ones that reach an aim, of all that were tried.

    Args:
        images: (N, C, H, W) in [0, 1], the given ones, which stay where nothing is found.
    """

    def __init__(self, images: Tensor) -> None:
        self.given, self.images, self.norms = images, images, _farthest(images)
        self.found = torch.zeros(len(images), dtype=torch.bool, device=images.device)

    def keep(self, tried: Tensor, reached: Tensor) -> None:
        """Keep those of the images tried that reach the aim and are nearer than the nearest so far."""
        norms = euclidean_norms(tried - self.given)
        nearer = reached & (norms < self.norms)
        self.norms = norms.where(nearer, self.norms)
        self.images = tried.where(_each(nearer), self.images)
        self.found = self.found | reached


@dataclass(frozen=True)
class _Answers:
    """Logits (N, K), losses (N,) and the losses' slopes (N, C, H, W) at N images."""

    logits: Tensor
    losses: Tensor
    slopes: Tensor


def _answers(target: Target, images: Tensor, loss: Callable[[Tensor], Tensor]) -> _Answers:
    images = images.detach().requires_grad_()
    logits = target(images)
    losses = loss(logits)
    return _Answers(logits.detach(), losses.detach(), torch.autograd.grad(losses.sum(), images)[0])


def _directions(slopes: Tensor, rng: torch.Generator) -> Tensor:
    """Return slopes of norm 1; a random direction where a slope is 0, or the search would stay there."""
    flat = euclidean_norms(slopes) < _TINY
    if flat.any():
        slopes = torch.randn(slopes.shape, generator=rng).to(slopes.device).where(_each(flat), slopes)
    return functional.normalize(slopes.flatten(1), dim=1, eps=_TINY).view_as(slopes)


def _farthest(images: Tensor) -> Tensor:
    """Return the norm (N,) of the largest change that stays in [0, 1]."""
    return euclidean_norms(images.maximum(1 - images))


def _falling(first: float, last: float, step: int, steps: int) -> float:
    return last + scheduled("cosine", first - last, step, steps)


def _each(values: Tensor) -> Tensor:
    return values[:, None, None, None]
