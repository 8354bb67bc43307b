"""Border images by a generator: on a way from one class to another that one noise vector draws.

The border on a way is found by bisection, so that the gap does not depend on how well a search converged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from invaudit.explain.borders import AT_ONCE, Attack, Borders, Pair, check_pairs, measure
from invaudit.explain.crossings import OTHERS_AIM, crossing, log_odds, others_odds
from invaudit.inversion.conditions import Condition, condition_from
from invaudit.inversion.pixels import optimise_pixels
from invaudit.inversion.results import Inversion
from invaudit.models import Target, frozen_eval
from invaudit.models.devices import images_at_once
from invaudit.runtime.errors import SettingError
from invaudit.runtime.settings import Rate, Settings

SHARE_RATE = 0.005
"""Learning rate of the place on a way at which both classes are level, while its noise moves."""


class GeneratorBorderSettings(Settings):
    """How border images are drawn by a generator."""

    candidates: int = Field(default=16, ge=1, le=1_000)
    """Noise vectors that a generator is given for each pair; the image with the least of other classes counts."""

    noise_steps: int = Field(default=100, ge=0)
    """Steps of Adam that move the noise of a generator until other classes are unlikely at the border; 0 leaves it as
    it was drawn."""

    noise_rate: Rate = 0.02
    """Their learning rate, in standard deviations of the noise."""


def generator_borders(
    target: Target,
    inversion: Inversion,
    pairs: Sequence[Pair],
    rng: torch.Generator,
    settings: GeneratorBorderSettings | None = None,
    *,
    attack: Attack | None = None,
    second: Target | None = None,
) -> Borders:
    """Draw border images by a generator: on the path from class a to class b that one noise vector gives.

    Of several noise vectors the one counts whose border leaves least to the other classes; it is then moved until that
    is little enough. What the generator is told is mixed, the share 1 - t of class a and t of class b, so that a way
    goes from an inversion of a (the start) to one of b (the goal) in every condition mode.

    Args:
        target: The network that was inverted.
        inversion: Its trained generator.
        pairs: N pairs of classes (a, b).
        rng: CPU generator of the noise.
        settings: How many noise vectors are tried for each pair, and how they move.
        attack: Minimal-norm attack for comparison, see ``measure``.
        second: Another network of the same classes, to be asked about the images.

    Raises:
        SettingError: A pair that is none, a second model of other classes, or an inversion that diverged.
    """
    settings = settings or GeneratorBorderSettings()
    check_pairs(pairs, target.classes)
    if inversion.outcome == "diverged":
        raise SettingError(f"there is nothing to draw from: {inversion.message}")
    empty = torch.empty(0, *target.spec.shape)
    parts = [(empty, empty, empty)]
    per_draw = max(1, images_at_once(target.spec.shape, AT_ONCE) // settings.candidates)
    with frozen_eval(target), frozen_eval(inversion.generator):
        for first in range(0, len(pairs), per_draw):
            parts.append(_drawn(target, inversion, pairs[first : first + per_draw], rng, settings))
    starts, images, goals = (torch.cat(column) for column in zip(*parts, strict=True))
    return measure(target, pairs, starts, images, by="generator", goals=goals, attack=attack, second=second)


@dataclass(frozen=True)
class _Paths:
    """N ways from an inversion of one class to one of another, each with a noise vector of its own."""

    generator: nn.Module
    noise: Tensor
    first: Condition
    second: Condition

    @classmethod
    def of(cls, inversion: Inversion, pairs: Tensor, noise: Tensor) -> "_Paths":
        """Return the ways between pairs (N, 2) with noise (N, Z)."""
        known = functional.one_hot(pairs, inversion.classes).float().cpu()
        ends = [condition_from(known[:, side], inversion.settings.mode).to(noise.device) for side in (0, 1)]
        return cls(inversion.generator, noise, *ends)

    def at(self, share: Tensor) -> Tensor:
        """Return images at shares (N,) of the ways; what the generator is told is mixed from both ends."""
        vector = _mixed(self.first.vector, self.second.vector, share)
        matrix = _mixed(self.first.matrix, self.second.matrix, share)
        wanted = torch.lerp(self.first.wanted, self.second.wanted, share[:, None])
        return self.generator(self.noise, Condition(wanted.argmax(1), wanted, vector, matrix))


def _drawn(
    target: Target, inversion: Inversion, pairs: Sequence[Pair], rng: torch.Generator, settings: GeneratorBorderSettings
) -> tuple[Tensor, Tensor, Tensor]:
    """Return starts, border images and goals (N, C, H, W) on the CPU, for each pair those of its best noise."""
    tried = settings.candidates
    classes = torch.tensor(pairs, dtype=torch.int64, device=target.device)
    of_all = classes.repeat_interleave(tried, 0)
    noise = torch.randn((len(of_all), inversion.settings.noise), generator=rng).to(target.device)
    with torch.no_grad():
        every_path = _Paths.of(inversion, of_all, noise)
        share = _level_share(target, every_path, of_all)
        least = target(every_path.at(share)).softmax(1).gather(1, of_all).amin(1)
    # On a border both are equal, so the smaller one tells how much is left for the others.
    best = least.view(-1, tried).argmax(1) + tried * torch.arange(len(pairs), device=target.device)
    paths = _with_less_ofothers_odds(target, _Paths.of(inversion, classes, noise[best]), classes, share[best], settings)
    with torch.no_grad():
        level = _level_share(target, paths, classes)
        ends = (paths.at(torch.zeros_like(level)), paths.at(level), paths.at(torch.ones_like(level)))
    start, border, goal = (images.cpu().contiguous() for images in ends)
    return start, border, goal


def _level_share(target: Target, paths: _Paths, pairs: Tensor) -> Tensor:
    """Return the share (N,) of each way at which both classes are level."""
    start = torch.zeros(len(pairs), device=target.device)
    return crossing(lambda share: log_odds(target(paths.at(share)), pairs), start)


def _with_less_ofothers_odds(
    target: Target, paths: _Paths, pairs: Tensor, share: Tensor, settings: GeneratorBorderSettings
) -> _Paths:
    """Return the ways with noise moved until all other classes are unlikely where they cross the border."""
    noise, share = paths.noise.clone().requires_grad_(), share.clone().requires_grad_()
    moving = replace(paths, noise=noise)

    def loss(_step: int) -> Tensor:
        logits = target(moving.at(share))
        # Nothing pulls at noise that is good enough, so it stays near to where it was drawn.
        return (log_odds(logits, pairs).abs() + functional.relu(others_odds(logits, pairs) - OTHERS_AIM)).sum()

    optimizer = torch.optim.Adam(
        [{"params": [share], "lr": SHARE_RATE}, {"params": [noise], "lr": settings.noise_rate}]
    )
    optimise_pixels(share, loss, optimizer, range(settings.noise_steps))
    return replace(paths, noise=noise.detach())


def _mixed(first: Tensor | None, second: Tensor | None, share: Tensor) -> Tensor | None:
    """Return what lies between two parts of conditions, at shares (N,) in [0, 1]."""
    if first is None or second is None:
        return None
    return torch.lerp(first, second, share.view(-1, *[1] * (first.ndim - 1)))
