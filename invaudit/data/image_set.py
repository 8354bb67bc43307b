"""Image sets: 8-bit images with their labels, a name and a content hash."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from invaudit.data.transform import Transform, levels_used, quantise
from invaudit.runtime.errors import DataError, ShapeError
from invaudit.runtime.files import content_hash


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one data set, kept as 8-bit values until they are used.

    Args:
        name: Name of the set, as tables show it.
        images: (N, C, H, W) uint8, C = 1 (grey) or 3 (RGB), N >= 1.
        labels: (N,) int64; classes from 0, negative where there is no class (OOD or unlabelled).
        transform: The transform that the images went through, if any.

    Raises:
        ShapeError: The shapes are not those above.
        DataError: The types are not those above, or the set is empty.
    """

    name: str
    images: Tensor
    labels: Tensor
    transform: Transform | None = None

    def __post_init__(self) -> None:
        """Refuse images and labels that do not fit the description."""
        shape = tuple(self.images.shape)
        if len(shape) != 4 or shape[1] not in (1, 3):
            raise ShapeError(f"images of {self.name} have shape {shape}, expected (N, 1 or 3, H, W)")
        if self.images.dtype != torch.uint8 or self.labels.dtype != torch.int64:
            got = f"{self.images.dtype} images and {self.labels.dtype} labels"
            raise DataError(f"{self.name} holds {got}, expected uint8 images and int64 labels; convert them")
        if tuple(self.labels.shape) != shape[:1]:
            got = tuple(self.labels.shape)
            raise ShapeError(f"labels of {self.name} have shape {got}, expected {shape[:1]}: one label for each image")
        if 0 in shape:
            raise DataError(f"{self.name} is empty (images of shape {shape}); give a set with at least one image")

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def subset(self, index: Tensor | slice) -> "ImageSet":
        """Return the images at ``index`` (positions, a mask or a slice) as a set of the same name."""
        return replace(self, images=self.images[index], labels=self.labels[index])

    def transformed(self, transform: Transform) -> "ImageSet":
        """Return the set after a transform; one that already went through an equal transform comes back as it is.

        Raises:
            DataError: The set already went through another transform.
        """
        if self.transform == transform:
            return self
        if self.transform is not None:
            got = f"{self.name} already went through {self.transform}"
            raise DataError(f"{got}, expected untransformed images for {transform}; start from the original images")
        return replace(self, images=transform.apply(self.images), transform=transform)

    def quantise(self, images: Tensor) -> Tensor:
        """Round images (..., H, W) float in [0, 1] to the grey levels of this set, as uint8."""
        return quantise(images, self.levels)

    def floats(self, index: Tensor | slice | None = None) -> Tensor:
        """Return images as (N, C, H, W) float32 in [0, 1]; those at ``index``, or all."""
        chosen = self.images if index is None else self.images[index]
        return chosen.float().div_(255)

    @cached_property
    def hash(self) -> str:
        """Content hash of the shape, the images and the labels (SHA-256, hex); the name is not in it."""
        pixels = self.images.cpu().contiguous().numpy().tobytes()
        return content_hash(repr(tuple(self.images.shape)), pixels, self.labels.cpu().contiguous().numpy().tobytes())

    @cached_property
    def levels(self) -> int:
        """Number of grey levels: those of the transform, or the fewest that the images of the set keep to."""
        return self.transform.levels if self.transform else levels_used(self.images)

    @property
    def classes(self) -> int:
        """Number of classes: the largest label plus one, 0 for a set without labels."""
        return max(0, int(self.labels.max()) + 1)


def eight_bits(images: Tensor) -> Tensor:
    """Return images of floats in [0, 1] as uint8, rounded: the way back of ``ImageSet.floats``."""
    return (images * 255).round().to(torch.uint8)
