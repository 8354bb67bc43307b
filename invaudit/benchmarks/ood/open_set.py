"""The open-set protocol: some classes of one source are known, its other classes are OOD."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from invaudit.data import ImageSet, seeded_rng
from invaudit.runtime.errors import DataError

UNKNOWN = "unknown-classes"
"""Name of the OOD set of the classes that are not known."""


class OpenSet(NamedTuple):
    """Images of known classes, numbered from 0 in their order and named, and of the others."""

    train: ImageSet
    test: ImageSet
    unknown: ImageSet


def open_set(train: ImageSet, test: ImageSet, n: int, seed: int) -> OpenSet:
    """Return the training and test images of n classes that are drawn for a seed, and the test images of the others.

    Classes without a name are called by their number.

    Raises:
        DataError: There are not more than n classes, or no test image of one that is unknown.
    """
    classes = int(train.labels.max()) + 1
    if classes <= n:
        raise DataError(f"known_classes is {n}, and {train.name} has {classes}; leave at least one class unknown")
    known = torch.randperm(classes, generator=seeded_rng(seed, "data/known-classes"))[:n].sort().values
    is_unknown = ~torch.isin(test.labels, known)
    if not is_unknown.any():
        raise DataError(f"{test.name} has no image of a class beside {known.tolist()}; give test images of all classes")
    unknown = test.subset(is_unknown)
    nothing = torch.full_like(unknown.labels, -1)
    return OpenSet(
        _known(train, known),
        _known(test, known),
        replace(unknown, name=UNKNOWN, labels=nothing, class_names=()),
    )


def _known(images: ImageSet, known: Tensor) -> ImageSet:
    """Return the images of some classes, numbered by the position of their class among them."""
    some = images.subset(torch.isin(images.labels, known))
    numbers = known.tolist()
    names = [images.class_names[label] if images.class_names else str(label) for label in numbers]
    return replace(some, labels=torch.searchsorted(known, some.labels), class_names=tuple(names))
