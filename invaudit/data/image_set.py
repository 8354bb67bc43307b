"""Image sets: 8-bit images with their labels, a name and a content hash."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from invaudit.data.pictures import Pictures
from invaudit.data.preparation import Preparation
from invaudit.data.transform import Transform, fewest_levels, quantise, values_used
from invaudit.runtime.errors import DataError, ShapeError
from invaudit.runtime.files import content_hash

LIMIT_BYTES = 8 * 2**30
"""Largest set that is held in memory."""
SMALL_BYTES = 256 * 2**20
"""Largest set of picture files that is decoded once, and held in memory."""
_BATCH = 256


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one data set, kept as 8-bit values until they are used, or as files until they are read.

    Args:
        name: Name of the set, as tables show it.
        pixels: (N, C, H, W) uint8, C = 1 (grey) or 3 (RGB), N >= 1; or the files that give such images.
        labels: (N,) int64; classes from 0, negative where there is no class (OOD or unlabelled).
        transform: The transform that the images went through, if any.
        class_names: Name of each class; () where they have none.
        files: Where each image came from; () where it came from no file of its own.
        preparation: How picture files became these images; None where they were arrays.

    Raises:
        ShapeError: The shapes are not those above.
        DataError: The types are not those above, or the set is empty.
    """

    name: str
    pixels: Tensor | Pictures
    labels: Tensor
    transform: Transform | None = None
    class_names: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    preparation: Preparation | None = None

    def __post_init__(self) -> None:
        """Refuse images and labels that do not fit the description."""
        shape = tuple(self.pixels.shape)
        if len(shape) != 4 or shape[1] not in (1, 3):
            raise ShapeError(f"images of {self.name} have shape {shape}, expected (N, 1 or 3, H, W)")
        kind = self.pixels.dtype if isinstance(self.pixels, Tensor) else torch.uint8
        if kind != torch.uint8 or self.labels.dtype != torch.int64:
            got = f"{kind} images and {self.labels.dtype} labels"
            raise DataError(f"{self.name} holds {got}, expected uint8 images and int64 labels; convert them")
        if tuple(self.labels.shape) != shape[:1]:
            got = tuple(self.labels.shape)
            raise ShapeError(f"labels of {self.name} have shape {got}, expected {shape[:1]}: one label for each image")
        if 0 in shape:
            raise DataError(f"{self.name} is empty (images of shape {shape}); give a set with at least one image")

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width of an image."""
        _, channels, height, width = self.pixels.shape
        return channels, height, width

    @property
    def images(self) -> Tensor:
        """All images, (N, C, H, W) uint8, in memory: for sets whose size does not matter.

        Raises:
            DataError: The set is read from files and is too large for that.
        """
        if isinstance(self.pixels, Tensor):
            return self.pixels
        size = self.labels.numel() * self.pixels.bytes_each
        if size > LIMIT_BYTES:
            got = f"{self.name} takes {size / 2**30:.1f} GiB, and this needs all images in memory"
            raise DataError(f"{got}, expected at most {LIMIT_BYTES / 2**30:g} GiB; take a slice of it: @0:N")
        return self.pixels.read()

    def decoded_if_small(self) -> "ImageSet":
        """Return the set with its images in memory where that takes no more than 256 MiB, else as it is."""
        if isinstance(self.pixels, Tensor) or len(self) * self.pixels.bytes_each > SMALL_BYTES:
            return self
        return replace(self, pixels=self.pixels.read())

    def in_memory(self, most: int) -> "ImageSet":
        """Return the set itself where it is in memory, or at most so many of its files, evenly spread, decoded."""
        if isinstance(self.pixels, Tensor):
            return self
        some = self.spread(most)
        return replace(some, pixels=some.images)

    def spread(self, most: int) -> "ImageSet":
        """Return at most so many of the images, evenly spread over the set."""
        return self.subset(evenly_spread(len(self), most))

    def subset(self, index: Tensor | slice) -> "ImageSet":
        """Return the images at ``index`` (positions, a mask or a slice) as a set of the same name."""
        positions = torch.arange(len(self))[index].tolist()
        files = tuple(self.files[position] for position in positions) if self.files else ()
        pixels = self.pixels[index] if isinstance(self.pixels, Tensor) else self.pixels.subset(positions)
        return replace(self, pixels=pixels, labels=self.labels[index], files=files)

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yield all images in order, (at most size, C, H, W) float32 in [0, 1]."""
        for batch in self._pixel_batches(size):
            yield batch.float().div_(255)

    def _pixel_batches(self, size: int) -> Iterable[Tensor]:
        """Return all images in order as they are stored, (at most size, C, H, W) uint8."""
        return self.pixels.split(size) if isinstance(self.pixels, Tensor) else self.pixels.batches(size)

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
        return replace(self, pixels=transform.apply(self.images), transform=transform)

    def quantise(self, images: Tensor) -> Tensor:
        """Round images (..., H, W) float in [0, 1] to the grey levels of this set, as uint8."""
        return quantise(images, self.levels)

    def floats(self, index: Tensor | slice | None = None) -> Tensor:
        """Return images as (N, C, H, W) float32 in [0, 1]; those at ``index``, or all."""
        if index is None:
            return self.images.float().div_(255)
        chosen = self.pixels[index] if isinstance(self.pixels, Tensor) else self.subset(index).images
        return chosen.float().div_(255)

    @cached_property
    def hash(self) -> str:
        """Content hash of the shape, the images and the labels (SHA-256, hex); the name is not in it."""
        if isinstance(self.pixels, Tensor):
            pixels = self.pixels.cpu().contiguous().numpy().tobytes()
        else:
            pixels = b"".join(self.pixels.hashes())
        return content_hash(repr(tuple(self.pixels.shape)), pixels, self.labels.cpu().contiguous().numpy().tobytes())

    def image_hashes(self) -> list[bytes]:
        """Return the SHA-256 of each image's bytes."""
        if isinstance(self.pixels, Pictures):
            return self.pixels.hashes()
        return [hashlib.sha256(image.tobytes()).digest() for image in self.pixels.cpu().contiguous().numpy()]

    @cached_property
    def levels(self) -> int:
        """Number of grey levels: those of the transform, or the fewest that the images of the set keep to."""
        if self.transform:
            return self.transform.levels
        used = torch.zeros(256, dtype=torch.bool)
        for batch in self._pixel_batches(_BATCH):
            used |= values_used(batch).cpu()
            if used.all():
                break
        return fewest_levels(used)

    @property
    def classes(self) -> int:
        """Number of classes: their names, or the largest label plus one; 0 for a set without labels."""
        return max(len(self.class_names), int(self.labels.max()) + 1, 0)

    def class_name(self, label: int) -> str | None:
        """Return the name of a class; None where it has none."""
        return self.class_names[label] if 0 <= label < len(self.class_names) else None

    def file(self, position: int) -> str | None:
        """Return the file of an image; None where it came from no file of its own."""
        return self.files[position] if self.files else None


def evenly_spread(n: int, most: int) -> Tensor:
    """Return at most so many of the positions 0 to n - 1, int64, evenly spread over them."""
    return torch.linspace(0, n - 1, min(most, n)).long()


def eight_bits(images: Tensor) -> Tensor:
    """Return images of floats in [0, 1] as uint8, rounded: the way back of ``ImageSet.floats``."""
    return (images * 255).round().to(torch.uint8)
