"""Sets brought to one numbering of classes, and joined to one set."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from invaudit.data.image_set import ImageSet
from invaudit.data.pictures import Pictures
from invaudit.data.preparation import Preparation
from invaudit.runtime.console import notice
from invaudit.runtime.errors import DataError, ShapeError


def with_classes(images: ImageSet, class_names: tuple[str, ...], *, known_by: str) -> ImageSet:
    """Return a set with its classes numbered as elsewhere: they are compared by name, where both have names.

    Args:
        images: The set.
        class_names: Name of each class there; () where they have none.
        known_by: What the classes there belong to, for the message.

    Raises:
        DataError: The set has a class that is not among those names.
    """
    if not (class_names and images.class_names) or images.class_names == class_names:
        return images
    if not set(images.class_names) & set(class_names) and len(images.class_names) == len(class_names):
        notice(f"{images.name} has other names for its classes than {known_by}: they are compared by their number")
        return images
    unknown = sorted(set(images.class_names) - set(class_names))
    if unknown:
        raise DataError(
            f"{images.name} has the classes {', '.join(unknown[:5])}, which {known_by} does not know; "
            f"expected some of: {', '.join(class_names[:20])}"
        )
    numbers = torch.tensor([class_names.index(name) for name in images.class_names])
    labels = torch.where(images.labels < 0, images.labels, numbers[images.labels.clamp(min=0)])
    return replace(images, labels=labels, class_names=class_names)


def without_classes(images: ImageSet, left_out: Sequence[int]) -> ImageSet:
    """Return a set with the other classes numbered anew, in their order; it holds no image of those left out."""
    if not left_out:
        return images
    stays = [label for label in range(images.classes) if label not in left_out]
    numbers = torch.full((images.classes,), -1)
    numbers[stays] = torch.arange(len(stays))
    names = tuple(images.class_names[label] for label in stays) if images.class_names else ()
    return replace(images, labels=numbers[images.labels], class_names=names)


def joined(sets: list[ImageSet]) -> ImageSet:
    """Return several sets as one, in their order; classes are those of the first.

    Raises:
        ShapeError: Their images differ in shape.
        DataError: Some have labels and others not, or other classes than the first.
    """
    first, *others = sets
    if not others:
        return first
    for images in others:
        if images.shape != first.shape:
            got = f"{first.name} has images of {first.shape}, {images.name} of {images.shape}"
            raise ShapeError(f"{got}, expected one shape (channels, height, width) for sets joined by +")
        if (images.preparation or Preparation()) != (first.preparation or Preparation()):
            raise DataError(
                f"the pictures of {first.name} and {images.name} would be prepared in different ways; say one for all: "
                "--resize N, or --squash"
            )
        if not images.class_names and images.classes > first.classes:
            got = f"{images.name} has {images.classes} classes without names, {first.name} has {first.classes}"
            raise DataError(f"{got}; sets joined by + need the same classes")
        if (images.labels.min() < 0) != (first.labels.min() < 0):
            raise DataError(f"of {first.name} and {images.name} one has labels and the other not; join them apart")
    matched = [first, *(with_classes(images, first.class_names, known_by=first.name) for images in others)]
    files = tuple(file for images in matched for file in images.files)
    return replace(
        first,
        name="+".join(images.name for images in matched),
        pixels=_joined_pixels(matched),
        labels=torch.cat([images.labels for images in matched]),
        files=files if len(files) == sum(map(len, matched)) else (),
    )


def _joined_pixels(sets: list[ImageSet]) -> Tensor | Pictures:
    """Return encoded pictures as they are where all are prepared alike, else the images themselves."""
    pictures = [images.pixels for images in sets if isinstance(images.pixels, Pictures)]
    if len(pictures) == len(sets) and len({part.preparation for part in pictures}) == 1:
        return replace(pictures[0], sources=tuple(source for part in pictures for source in part.sources))
    return torch.cat([images.images for images in sets])
