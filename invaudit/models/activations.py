"""Activations: what one forward pass of a target gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Activations:
    """What one forward pass gives for N images.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1]; (0, C, H, W) where they were left out.
        logits: (N, K).
        features: (N, D), the input of the last linear layer.
        maps: One (N, C_l, H_l, W_l) for each block; empty where there are none, or where they were left out.
        moments: One (N, 2 C_l) for each block: mean and std over positions (hidden activations where a block has none).
    """

    images: Tensor
    logits: Tensor
    features: Tensor
    maps: tuple[Tensor, ...]
    moments: tuple[Tensor, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.logits)

    def map(self, change: Callable[[Tensor], Tensor]) -> "Activations":
        """Return the same with every tensor changed."""
        return Activations(
            change(self.images),
            change(self.logits),
            change(self.features),
            tuple(map(change, self.maps)),
            tuple(map(change, self.moments)),
        )

    def select(self, index: Tensor | slice) -> "Activations":
        """Return the activations of some of the images."""
        return self.map(lambda value: value[index] if len(value) else value)

    def classes_only(self, n: int) -> "Activations":
        """Return the same with the first n logits alone (without the garbage class)."""
        return replace(self, logits=self.logits[:, :n])

    def vectors_only(self) -> "Activations":
        """Return the same without images and maps, which are by far the largest parts."""
        return replace(self, images=self.images[:0], maps=())

    @staticmethod
    def cat(parts: "Sequence[Activations]") -> "Activations":
        """Join the activations of several batches."""

        def joined(read: Callable[[Activations], Tensor]) -> Tensor:
            return torch.cat(list(map(read, parts)))

        def joined_blocks(read: Callable[[Activations], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
            return tuple(map(torch.cat, zip(*map(read, parts), strict=True)))

        return Activations(
            joined(lambda part: part.images),
            joined(lambda part: part.logits),
            joined(lambda part: part.features),
            joined_blocks(lambda part: part.maps),
            joined_blocks(lambda part: part.moments),
        )

    def tensors(self) -> list[Tensor]:
        """Return all tensors, in the order of the attributes."""
        return [self.images, self.logits, self.features, *self.maps, *self.moments]


def moments(block: Tensor) -> Tensor:
    """Return mean and std over positions of every channel, (N, 2C), of a map (N, C, H, W); (N, D) stays as it is."""
    if block.ndim != 4:
        return block.flatten(1)
    flat = block.flatten(2)
    mean = flat.mean(2)
    return torch.cat([mean, (flat - mean[:, :, None]).square().mean(2).clamp_min(1e-12).sqrt()], 1)
