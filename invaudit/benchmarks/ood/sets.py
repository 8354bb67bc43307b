"""The image sets of one seed of a benchmark: prepared once, all through one transform, and shared by its jobs."""

import io
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from invaudit.benchmarks.ood.open_set import UNKNOWN, open_set
from invaudit.benchmarks.ood.settings import OODBenchmark, OODSet
from invaudit.data import ImageSet, Splits, Transform, digits_benchmark, load, seeded_rng, split, synthetic_outliers
from invaudit.data.folders import PictureInput
from invaudit.data.joining import with_classes
from invaudit.data.preparation import Preparation
from invaudit.records import ImageSetRecord, SetsRecord
from invaudit.runtime.errors import DataError, MissingDataError
from invaudit.runtime.files import write_bytes
from invaudit.runtime.problems import Problems


@dataclass(frozen=True)
class Sets:
    """Image sets of one seed.

    Attributes:
        splits: ID images.
        ood: OOD sets that are there.
        groups: Group of every OOD set.
        missing: OOD set -> why it is not there.
        transform: What all images went through.
        real: DATA -> real outliers, of networks that are trained with some.
    """

    splits: Splits
    ood: dict[str, ImageSet]
    groups: dict[str, str]
    missing: dict[str, str]
    transform: Transform
    real: dict[str, ImageSet] = field(default_factory=dict)

    def all(self) -> dict[str, ImageSet]:
        """Return every set by a name of its own: the splits, the OOD sets, the real outliers."""
        named: dict[str, ImageSet] = {}
        for kind, sets in (("split", self.splits.sets()), ("ood", self.ood), ("real", self.real)):
            for name, images in sets.items():
                named[f"{kind}/{name}"] = images
        return named

    def record(self) -> SetsRecord:
        """Return what identifies the sets."""
        splits, ood = {}, {}
        for name, values in self.splits.record().items():
            splits[name] = ImageSetRecord(**values)
        for name, images in self.ood.items():
            ood[name] = ImageSetRecord(count=len(images), hash=images.hash)
        return SetsRecord(splits=splits, ood=ood, groups=self.groups, missing=self.missing)


def load_sets(settings: OODBenchmark, seed: int) -> Sets:
    """Read, transform and split the sets of one seed.

    Raises:
        MissingDataError: The ID set, or real outliers that a network is trained with, are not there.
        DataError: A set went through another transform, or an image is in two splits.
    """
    if settings.id == "digits":
        embedded = digits_benchmark(seed)
        sets = Sets(embedded.splits, embedded.ood, embedded.groups, {}, embedded.transform)
    else:
        sets = _from_data(settings, seed)
    data_of_networks = {network.real for network in settings.networks.values() if network.real}
    real: dict[str, ImageSet] = {}
    for data in sorted(data_of_networks):
        real[data] = load(data, wanted=_wanted(settings, sets.transform, sets.splits.train)).transformed(sets.transform)
    sets = replace(sets, real=real)
    for name, images in sets.all().items():
        if images.transform != sets.transform:
            raise DataError(f"{name} went through {images.transform}, the ID images through {sets.transform}")
    return sets


def _from_data(settings: OODBenchmark, seed: int) -> Sets:
    transform = Transform(settings.side, settings.channels)
    problems = Problems()
    id_images = None
    with problems.noted():
        id_images = _load_id(settings, transform)
    ood: dict[str, ImageSet] = {}
    missing: dict[str, str] = {}
    wanted = _wanted(settings, transform, id_images.train if id_images else None)
    for ood_set in settings.ood:
        with problems.noted(f"OOD set {ood_set.name}"):
            try:
                ood[ood_set.name] = _load_ood_set(ood_set, wanted, transform)
            except MissingDataError as error:
                missing[ood_set.name] = str(error)
    problems.refuse()
    assert id_images is not None  # noqa: S101 - else there was a problem
    groups: dict[str, str] = {ood_set.name: ood_set.group for ood_set in settings.ood}
    if settings.known_classes is not None:
        opened = open_set(id_images.train, id_images.test, settings.known_classes, seed)
        id_images = _IdImages(opened.train, opened.test)
        ood = {UNKNOWN: opened.unknown, **ood}
        groups = {UNKNOWN: "near", **groups}
    return Sets(_splits(settings, id_images, seed), ood, groups, missing, transform)


class _IdImages(NamedTuple):
    """Images to train on, to test on, and held-out ones, where they are no part of the first."""

    train: ImageSet
    test: ImageSet
    held_out: ImageSet | None = None


def _splits(settings: OODBenchmark, images: _IdImages, seed: int) -> Splits:
    rng = seeded_rng(seed, "data/splits")
    sizes = {"fit": settings.fit, "calibrate": settings.calibrate}
    if images.held_out is not None:
        return split(images.held_out, sizes, rng, train=images.train, test=images.test)
    sizes = {"train": len(images.train) - settings.fit - settings.calibrate, **sizes}
    return split(images.train, sizes, rng, test=images.test)


def _load_id(settings: OODBenchmark, transform: Transform) -> _IdImages:
    """Return the ID images of all classes."""
    if settings.id_test is not None:
        train_data, test_data = settings.id, settings.id_test
    else:
        base, at, limits = settings.id.partition("@")
        train_data, test_data = f"{base}:train{at}{limits}", f"{base}:test"
    named = {"id": train_data, "id_test" if settings.id_test else "id, its test images": test_data}
    if settings.held_out is not None:
        named["held_out"] = settings.held_out
    problems = Problems()
    sets: list[ImageSet] = []
    for key, data in named.items():
        with problems.noted(key):
            wanted = _wanted(settings, transform, sets[0] if sets else None)
            sets.append(load(data, wanted=wanted).transformed(transform))
    problems.refuse()
    for data, images in zip(named.values(), sets, strict=True):
        if int(images.labels.min()) < 0:
            raise DataError(f"{data} has images without labels, expected a class for each ID image; give labelled data")
    train, *others = sets
    test, *held_out = (with_classes(images, train.class_names, known_by=train_data) for images in others)
    most = len(held_out[0] if held_out else train) - settings.fit - settings.calibrate
    if most < (0 if held_out else 1):
        taken = settings.held_out or train_data
        raise DataError(
            f"{taken} has {settings.fit + settings.calibrate + most} images, and fit ({settings.fit}) and calibrate "
            f"({settings.calibrate}) take all of them; lower these, or give more images"
        )
    if settings.test is not None:
        if settings.test > len(test):
            raise DataError(
                f"test is {settings.test}, and {test_data} has {len(test)} images; give fewer, or leave it out"
            )
        # The same images for all seeds: else one that two seeds draw would count as two in the intervals.
        test = test.subset(torch.randperm(len(test), generator=seeded_rng(0, "data/test"))[: settings.test])
    return _IdImages(train, test, *held_out)


def _wanted(settings: OODBenchmark, transform: Transform, train: ImageSet | None) -> PictureInput:
    """Return what pictures become: for all sets the same, or zoom and shape would tell ID from OOD.

    Where the config does not say it, the training images do: if they have many sizes, what was done with them is done
    with all; else the transform scales every picture to its side, and pictures of many sizes are scaled to it likewise.
    """
    shape = (transform.channels, transform.side, transform.side)
    if settings.pictures is not None:
        return PictureInput(shape, settings.pictures.preparation())
    if train is None:
        return PictureInput(shape, keeps_one_size=True)
    if train.preparation is not None and not train.preparation.as_it_is:
        return PictureInput(shape, train.preparation)
    return PictureInput(shape, Preparation(squash=True), keeps_one_size=True)


def _load_ood_set(ood_set: OODSet, wanted: PictureInput, transform: Transform) -> ImageSet:
    images = load(ood_set.data, wanted=wanted).transformed(transform)
    absent = [name for name, label in ood_set.without.items() if label not in images.labels]
    if absent:
        raise DataError(f"{ood_set.data} has no image of {', '.join(absent)}, which {ood_set.name} leaves out by label")
    left_out = torch.tensor(list(ood_set.without.values()), dtype=torch.int64)
    images = images.subset(~torch.isin(images.labels, left_out))
    return replace(images, name=ood_set.name, labels=torch.full_like(images.labels, -1), class_names=())


def sets_file(folder: Path, seed: int) -> Path:
    """Return where the prepared sets of a seed are, in the folder of a run."""
    return folder / "work" / f"sets-{seed}.npz"


def write_sets(sets: Sets, path: Path) -> None:
    """Write prepared sets, with their hashes: images as uint8, not compressed, so that reading takes no time."""
    arrays: dict[str, np.ndarray] = {}
    descriptions = {}
    for key, images in sets.all().items():
        arrays[f"{key}/images"] = images.images.numpy()
        arrays[f"{key}/labels"] = images.labels.numpy()
        descriptions[key] = {"name": images.name, "hash": images.hash, "class_names": images.class_names}
    description = {
        "sets": descriptions,
        "groups": sets.groups,
        "missing": sets.missing,
        "transform": asdict(sets.transform),
    }
    arrays["description"] = np.frombuffer(json.dumps(description).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


def read_sets(path: Path) -> Sets:
    """Read what `write_sets` wrote: the same sets, without loading, transforming, splitting or hashing them again."""
    parts: dict[str, dict[str, ImageSet]] = {"split": {}, "ood": {}, "real": {}}
    with np.load(path, allow_pickle=False) as file:
        description = json.loads(file["description"].tobytes())
        transform = Transform(**description["transform"])
        for key, set_description in description["sets"].items():
            kind, _, name = key.partition("/")
            images = torch.from_numpy(file[f"{key}/images"])
            labels = torch.from_numpy(file[f"{key}/labels"])
            class_names = tuple(set_description["class_names"])
            image_set = ImageSet(set_description["name"], images, labels, transform, class_names)
            # The place where a cached property keeps its value: the hash of these very images.
            vars(image_set)["hash"] = set_description["hash"]
            parts[kind][name] = image_set
    splits = Splits(**parts["split"])
    return Sets(splits, parts["ood"], description["groups"], description["missing"], transform, parts["real"])


def synthetic(sets: Sets, seed: int, n: int) -> ImageSet:
    """Return outliers of families that nothing was trained on, n of each, made from held-out ID images."""
    families = synthetic_outliers(sets.splits.fit, seed, n)
    images = torch.cat([outliers.images for outliers in families.values()])
    return ImageSet("synthetic", images, torch.full((len(images),), -1), sets.transform)


def halves(n: int, seed: int) -> Tensor:
    """Return which of n ID test images play OOD in the control-split, (n,) bool: a random half."""
    mask = torch.zeros(n, dtype=torch.bool)
    mask[torch.randperm(n, generator=seeded_rng(seed, "control/split"))[: n // 2]] = True
    return mask
