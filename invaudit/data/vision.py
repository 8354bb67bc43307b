"""Data sets in torchvision's layout, and the one place where a torchvision that does not fit torch is explained."""

import contextlib
import importlib
import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import numpy as np

from invaudit.data.arrays import choose_split, image_tensor, label_tensor
from invaudit.data.image_set import ImageSet
from invaudit.runtime.errors import DataError, InputError, MissingDataError

_BY_TRAIN: dict[str, dict[str, Any]] = {"train": {"train": True}, "test": {"train": False}}
_BY_SPLIT: dict[str, dict[str, Any]] = {"train": {"split": "train"}, "test": {"split": "test"}}

NAMES: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "mnist": ("MNIST", _BY_TRAIN),
    "fashionmnist": ("FashionMNIST", _BY_TRAIN),
    "kmnist": ("KMNIST", _BY_TRAIN),
    "usps": ("USPS", _BY_TRAIN),
    "cifar10": ("CIFAR10", _BY_TRAIN),
    "cifar100": ("CIFAR100", _BY_TRAIN),
    "svhn": ("SVHN", _BY_SPLIT | {"extra": {"split": "extra"}}),
    "stl10": ("STL10", _BY_SPLIT),
}
"""Name in small letters without dashes -> torchvision's class, and its arguments for each split."""


def import_torchvision() -> Any:
    """Import torchvision.

    Returns:
        The package.

    Raises:
        InputError: It was built for another torch.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        versions = [f"{name} {importlib.metadata.version(name)}" for name in ("torchvision", "torch")]
        raise InputError(
            f"{versions[0]} does not fit {versions[1]} ({error}): one is built for a GPU and the other is not, or for "
            "another version; install both together, from the same source"
        ) from error


def known(name: str) -> bool:
    """Return whether torchvision has a data set of that name; case, dashes and underscores do not count."""
    return _key(name) in NAMES


def read_torchvision(name: str, split: str | None, root: Path, *, download: bool) -> ImageSet:
    """Read a data set that lies in torchvision's layout under ``root``.

    Args:
        name: A name for which ``known`` is true.
        split: Name of the split; None is ``test``.
        root: Folder that torchvision calls root.
        download: Whether to fetch what is not there.

    Raises:
        MissingDataError: It is not there, or could not be fetched.
        DataError: There is no such split, or the files are damaged.
    """
    kind, splits = NAMES[_key(name)]
    split = choose_split(set(splits), split, f"torchvision's {kind}")
    maker = getattr(import_torchvision().datasets, kind)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            dataset = maker(str(root), download=download, **splits[split])
    except (RuntimeError, OSError, ValueError, TypeError, EOFError, AssertionError) as error:
        reason = str(error).strip()
        if not (download or isinstance(error, FileNotFoundError) or "not found" in reason):
            raise DataError(f"{kind} under {root} cannot be read ({reason}); it is damaged: fetch it again") from error
        remedy = "check the network" if download else f"put {root / name}.npz there, or pass --download"
        raise MissingDataError(
            f"data set {name!r} is not there: looked for {root / name}.npz and torchvision's {kind} under {root} "
            f"({reason}); {remedy}"
        ) from error
    values = np.asarray(dataset.data)
    labels = np.asarray(dataset.targets if hasattr(dataset, "targets") else dataset.labels)
    images = image_tensor(values, f"torchvision's {kind}")
    return ImageSet(name, images, label_tensor(labels, len(images), f"torchvision's {kind}"))


def _key(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
