"""Splits of the ID images: stratified by class, recorded, and without one image in two of them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invaudit.data.image_set import ImageSet
from invaudit.runtime.errors import DataError, SettingError


@dataclass(frozen=True)
class Splits:
    """The four parts of the ID images.

    Args:
        train: What networks are trained on, and detectors fitted.
        fit: Held out: scaling and joining of scores.
        calibrate: Held out: thresholds.
        test: Held out: the numbers of the table.
    """

    train: ImageSet
    fit: ImageSet
    calibrate: ImageSet
    test: ImageSet

    def sets(self) -> dict[str, ImageSet]:
        """Return the parts by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def record(self) -> dict[str, Any]:
        """Return what identifies the splits: for each part its size, its size by class and its content hash."""
        record: dict[str, Any] = {}
        for name, part in self.sets().items():
            record[name] = {
                "count": len(part),
                "by_class": torch.bincount(part.labels.clamp(min=0), minlength=part.classes).tolist(),
                "hash": part.hash,
            }
        return record


def split(
    images: ImageSet,
    sizes: Mapping[str, int | float],
    rng: torch.Generator,
    *,
    train: ImageSet | None = None,
    test: ImageSet | None = None,
) -> Splits:
    """Split images at random, with the same mix of classes in each part.

    Images that are equal byte for byte go to one part together, so a part may differ from its size by the number of
    such copies. What the sizes leave over is not used.

    Args:
        images: The images to split.
        sizes: Size of each part that is not given: whole numbers are counts, fractions are shares of all images.
        rng: Generator of the draw.
        train: A training set of its own.
        test: A test set of its own.

    Raises:
        SettingError: The names or sizes do not fit.
        DataError: An image is in two parts.
    """
    given: dict[str, ImageSet] = {}
    for name, part in (("train", train), ("test", test)):
        if part is not None:
            given[name] = part
    counts = _counts(sizes, len(images), {field.name for field in fields(Splits)} - given.keys())
    digests = images.image_hashes()
    groups = _groups(digests)
    order, starts = _stratified_order(images.labels, groups, rng)
    parts: dict[str, ImageSet] = {}
    digests_of: dict[str, list[bytes]] = {}
    edge = 0
    for name, count in counts.items():
        inside = order[(starts >= edge) & (starts < edge + count)]
        if not len(inside):
            raise SettingError(f"split {name} is empty: too many of the {len(images)} images are copies; enlarge it")
        index = inside.sort().values
        parts[name] = images.subset(index)
        digests_of[name] = [digests[place] for place in index.tolist()]
        edge += count
    for name, part in given.items():
        parts[name], digests_of[name] = part, part.image_hashes()
    if given:
        _refuse_equal_digests(digests_of)
    return Splits(**parts)


def refuse_duplicates(sets: dict[str, ImageSet]) -> None:
    """Refuse sets that share an image, compared byte for byte; copies within one set are allowed.

    Raises:
        DataError: Two sets share an image; the first such pair is named.
    """
    _refuse_equal_digests({name: images.image_hashes() for name, images in sets.items()})


def _refuse_equal_digests(digests_of: dict[str, list[bytes]]) -> None:
    seen: dict[bytes, tuple[str, int]] = {}
    for name, digests in digests_of.items():
        for index, digest in enumerate(digests):
            other, first = seen.setdefault(digest, (name, index))
            if other != name:
                got = f"image {index} of {name} is the same as image {first} of {other}"
                raise DataError(f"{got}, expected every image in one set only; remove it from one of them")


def _counts(sizes: Mapping[str, int | float], total: int, names: set[str]) -> dict[str, int]:
    if set(sizes) != names:
        raise SettingError(f"sizes are given for {', '.join(sorted(sizes))}, expected {', '.join(sorted(names))}")
    counts: dict[str, int] = {}
    end = 0.0
    for name, size in sizes.items():
        before = round(end)
        end += size if isinstance(size, int) else size * total
        # Rounding the running ends, not each share, lets shares that add up to 1 use every image.
        counts[name] = round(end) - before
    if min(counts.values()) < 1 or round(end) > total:
        raise SettingError(
            f"sizes give {counts} of {total} images, expected at least 1 each and no more than there are"
        )
    return counts


def _groups(digests: list[bytes]) -> Tensor:
    """Return for each image the index of its first copy."""
    first: dict[bytes, int] = {}
    groups = []
    for index, digest in enumerate(digests):
        groups.append(first.setdefault(digest, index))
    return torch.tensor(groups)


def _stratified_order(labels: Tensor, groups: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return an order whose every stretch has the mix of classes of the whole, and where each image's group starts.

    Each class is shuffled and spread evenly over [0, 1); copies take the place of the first one.
    """
    place = torch.empty(len(labels), dtype=torch.float64)
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        shuffled = members[torch.randperm(len(members), generator=rng)]
        offset = torch.rand((), generator=rng, dtype=torch.float64)
        place[shuffled] = (torch.arange(len(members), dtype=torch.float64) + offset) / len(members)
    place = place[groups]
    order = torch.from_numpy(np.lexsort((groups.numpy(), place.numpy())))
    grouped = groups[order]
    new = torch.ones(len(order), dtype=torch.bool)
    new[1:] = grouped[1:] != grouped[:-1]
    starts = torch.arange(len(order))[new][new.cumsum(0) - 1]
    return order, starts
