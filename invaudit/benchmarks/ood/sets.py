"""The image sets of one seed of a benchmark, all through one transform."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from invaudit.benchmarks.ood.settings import OODBenchmark
from invaudit.data import ImageSet, Splits, Transform, digits_benchmark, load, seeded_rng, split, synthetic_outliers
from invaudit.runtime.errors import DataError, MissingDataError


@dataclass(frozen=True)
class Sets:
    """Image sets of one seed.

    Attributes:
        splits: ID images.
        ood: OOD sets that are there.
        groups: Group of every OOD set.
        missing: OOD set -> why it is not there.
        transform: What all images went through.
    """

    splits: Splits
    ood: dict[str, ImageSet]
    groups: dict[str, str]
    missing: dict[str, str]
    transform: Transform

    def record(self) -> dict[str, Any]:
        """Return what identifies the sets."""
        hashes = {name: {"count": len(images), "hash": images.hash} for name, images in self.ood.items()}
        return {"splits": self.splits.record(), "ood": hashes, "missing": self.missing, "groups": self.groups}


def load_sets(settings: OODBenchmark, seed: int) -> Sets:
    """Load the sets of one seed.

    Raises:
        MissingDataError: The ID set is not there.
        DataError: A set went through another transform, or an image is in two splits.
    """
    if settings.id == "digits":
        embedded = digits_benchmark(seed)
        sets = Sets(embedded.splits, embedded.ood, embedded.groups, {}, embedded.transform)
    else:
        sets = _from_data(settings, seed)
    for name, images in {**sets.splits.sets(), **sets.ood}.items():
        if images.transform != sets.transform:
            raise DataError(f"{name} went through {images.transform}, the ID images through {sets.transform}")
    return sets


def _from_data(settings: OODBenchmark, seed: int) -> Sets:
    transform = Transform(settings.side, settings.channels)
    base, found, limits = settings.id.partition("@")
    train = load(f"{base}:train{found}{limits}").transformed(transform)
    test = load(f"{base}:test").transformed(transform)
    if settings.test is not None:
        if settings.test > len(test):
            raise DataError(
                f"test is {settings.test}, and {base}:test has {len(test)} images; give fewer, or leave it out"
            )
        # The same images for all seeds: else one that two seeds draw would count as two in the intervals.
        test = test.subset(torch.randperm(len(test), generator=seeded_rng(0, "data/test"))[: settings.test])
    sizes = {
        "train": len(train) - settings.fit - settings.calibrate,
        "fit": settings.fit,
        "calibrate": settings.calibrate,
    }
    ood: dict[str, ImageSet] = {}
    missing: dict[str, str] = {}
    for one in settings.ood:
        try:
            images = load(one.data)
        except MissingDataError as error:
            missing[one.name] = str(error)
        else:
            left_out = torch.tensor(list(one.without.values()), dtype=torch.int64)
            if absent := [name for name, label in one.without.items() if label not in images.labels]:
                raise DataError(f"{one.data} has no image of {', '.join(absent)}, which {one.name} leaves out by label")
            kept = ~torch.isin(images.labels, left_out)
            images = images.subset(kept).transformed(transform)
            ood[one.name] = replace(images, name=one.name, labels=torch.full_like(images.labels, -1))
    splits = split(train, sizes, seeded_rng(seed, "data/splits"), test=test)
    return Sets(splits, ood, {one.name: one.group for one in settings.ood}, missing, transform)


def synthetic(sets: Sets, seed: int, n: int) -> ImageSet:
    """Return outliers of families that nothing was trained on, n of each, made from held-out ID images."""
    images = torch.cat([made.images for made in synthetic_outliers(sets.splits.fit, seed, n).values()])
    return ImageSet("synthetic", images, torch.full((len(images),), -1), sets.transform)


def halves(n: int, seed: int) -> Tensor:
    """Return which of n ID test images play OOD in the control-split, (n,) bool: a random half."""
    mask = torch.zeros(n, dtype=torch.bool)
    mask[torch.randperm(n, generator=seeded_rng(seed, "control/split"))[: n // 2]] = True
    return mask
