"""What the garbage class sees in a step: noise, derived outliers, inversions, real outliers; sharpened if asked for."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from invaudit.data import derived, noise
from invaudit.data.shares import shares_to_counts
from invaudit.inversion.pixels import SignDescent, optimise_pixels
from invaudit.models import Target, frozen_eval
from invaudit.models.devices import autocast
from invaudit.ood.recipes import GarbageSettings


def sharpened(target: Target, images: Tensor, steps: int, size: float, precision: torch.dtype) -> Tensor:
    """Return images moved towards the ID class that each already resembles most.

    Args:
        target: Borrowed in eval mode and given back as it was.
        images: (N, C, H, W) in [0, 1], on the target's device.
        steps: Steps along the sign of the gradient of the class's cross-entropy.
        size: Change of every pixel in a step; pixels stay in [0, 1].
        precision: float32, or bfloat16 for autocast.

    References:
        Projected gradient descent of Madry et al. (arXiv 1706.06083) on outliers, as in ACET (Hein et al., arXiv
        1812.05720) and RATIO (Augustin et al., arXiv 2003.09461); the class in place of the largest confidence is ours.
    """
    moved = images.detach().clone().requires_grad_()
    with frozen_eval(target), torch.enable_grad(), autocast(target.device, precision):
        labels = target(images)[:, : target.classes].argmax(1)

        def loss(_step: int) -> Tensor:
            return functional.cross_entropy(target(moved).float(), labels, reduction="sum")

        optimise_pixels(moved, loss, SignDescent(moved, size), range(steps))
    return moved.detach()


class Garbage:
    """Draws garbage images by shares and remembers inversions, the newest ``memory`` of them.

    Args:
        settings: Shares and cap.
        shape: (C, H, W) of an image.
        rng: Source of every draw.
        quantise: To the grey levels of the ID images, so that a network cannot tell garbage by its grey levels.
        real: (M, C, H, W) uint8, real outliers, where the settings ask for some.
    """

    def __init__(
        self,
        settings: GarbageSettings,
        shape: tuple[int, int, int],
        rng: torch.Generator,
        quantise: Callable[[Tensor], Tensor],
        real: Tensor | None = None,
    ) -> None:
        self.settings, self.shape, self.rng, self.quantise = settings, shape, rng, quantise
        self.memory = torch.zeros((0, *shape), dtype=torch.uint8)
        self.real = self.memory if real is None else real

    def remember(self, images: Tensor) -> None:
        """Add inversions (N, C, H, W) in [0, 1]; the oldest beyond the cap are forgotten."""
        stored = self.quantise(images.detach().cpu())
        self.memory = torch.cat([self.memory, stored])[-self.settings.memory :]

    def draw(self, n: int, images: Tensor, labels: Tensor) -> Tensor:
        """Return n garbage images (n, C, H, W) in [0, 1] on the device of the batch.

        Args:
            n: How many.
            images: The ID batch that derived outliers are made from, (B, C, H, W) in [0, 1].
            labels: Its labels (B,).
        """
        settings = self.settings
        shares = (settings.derived, settings.inversions, settings.real)
        n_derived, n_inversions, n_real = shares_to_counts(n, shares)
        parts = []
        if n_derived:
            parts.append(self.quantise(derived(images.cpu(), labels.cpu(), n_derived, self.rng)))
        for source, count in ((self.memory, n_inversions), (self.real, n_real)):
            if count and len(source):
                parts.append(source[torch.randint(len(source), (count,), generator=self.rng)])
        if left := n - sum(map(len, parts)):
            parts.append(self.quantise(noise(left, self.shape, self.rng, kinds=settings.noise_kinds)))
        return torch.cat(parts).to(images.device).float() / 255

    def state_dict(self) -> dict[str, Any]:
        """Return memory and random state for a checkpoint."""
        return {"memory": self.memory, "rng": self.rng.get_state()}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take the state of a checkpoint."""
        self.memory = state["memory"]
        self.rng.set_state(state["rng"])
