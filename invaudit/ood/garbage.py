"""What the garbage class sees in a step: noise, derived outliers and remembered inversions."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from invaudit.data import derived, noise
from invaudit.ood.recipes import GarbageSettings


class Garbage:
    """Draws garbage images by shares and remembers inversions, the newest ``memory`` of them.

    Args:
        settings: Shares and cap.
        shape: (C, H, W) of an image.
        rng: Source of every draw.
        quantise: To the grey levels of the ID images, so that a network cannot tell garbage by its grey levels.
    """

    def __init__(
        self,
        settings: GarbageSettings,
        shape: tuple[int, int, int],
        rng: torch.Generator,
        quantise: Callable[[Tensor], Tensor],
    ) -> None:
        self.settings, self.shape, self.rng, self.quantise = settings, shape, rng, quantise
        self.memory = torch.zeros((0, *shape), dtype=torch.uint8)

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
        from_memory = round(n * self.settings.inversions) if len(self.memory) else 0
        from_images = round(n * self.settings.derived)
        parts = []
        if from_images:
            parts.append(self.quantise(derived(images.cpu(), labels.cpu(), from_images, self.rng)))
        if from_memory:
            index = torch.randint(len(self.memory), (from_memory,), generator=self.rng)
            parts.append(self.memory[index])
        if left := n - from_images - from_memory:
            parts.append(self.quantise(noise(left, self.shape, self.rng, kinds=self.settings.noise_kinds)))
        return torch.cat(parts).to(images.device).float() / 255

    def state_dict(self) -> dict[str, Any]:
        """Return memory and random state for a checkpoint."""
        return {"memory": self.memory, "rng": self.rng.get_state()}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take the state of a checkpoint."""
        self.memory = state["memory"]
        self.rng.set_state(state["rng"])
