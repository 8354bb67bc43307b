"""Arrays into image sets, and .npz files read without trusting what they say about themselves."""

import os
import re
import zipfile
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from invaudit.data.image_set import ImageSet
from invaudit.runtime.boundary import foreign
from invaudit.runtime.errors import DataError, MissingDataError
from invaudit.runtime.paths import is_file, opened
from invaudit.runtime.text import shown

LIMIT_BYTES = 8 * 2**30
"""Largest uncompressed size that is read from one file or folder."""
TRUSTED_BYTES, MOST_GROWTH = 256 * 2**20, 100
"""What unpacks to more bytes than the first may not be so many times as large as its file. Real images, even as
64-bit floats, stay under 40 times; a file of nothing reaches 1,000."""
MOST_CLASSES = 1_000_000
"""Labels are below this number: a network has an output for every class up to the largest label."""
BLOCK = 2**24
"""Values that are brought to 8 bits at once: all of them would need several times their room."""

_ONLY = "all"


def image_tensor(values: NDArray[Any], source: str) -> Tensor:
    """Bring an array of images to (N, C, H, W) uint8.

    Args:
        values: (N, H, W), (N, H, W, 1 or 3) or (N, 1 or 3, H, W); uint8, or float in [0, 1] (rounded to 8 bits).
        source: What the array is called in an error.

    Returns:
        The images; grey ones have one channel.

    Raises:
        DataError: Another shape, type or range, or no images.
    """
    if values.ndim == 3:
        values = values[:, None]
    elif values.ndim == 4 and values.shape[3] in (1, 3):
        values = values.transpose(0, 3, 1, 2)
    elif values.ndim != 4 or values.shape[1] not in (1, 3):
        expected = "expected (N, H, W), (N, H, W, 1 or 3) or (N, 1 or 3, H, W); reshape it or drop other channels"
        raise DataError(f"{source} has shape {values.shape}, {expected}")
    if not values.size:
        raise DataError(f"{source} is empty (shape {values.shape}), expected at least one image")
    if values.dtype.kind == "f":
        return torch.from_numpy(_eight_bits(values, source))
    if values.dtype != np.uint8:
        raise DataError(f"{source} has type {values.dtype}, expected uint8 or float in [0, 1]; convert it")
    return torch.from_numpy(np.array(values, order="C"))


def label_tensor(values: NDArray[Any], count: int, source: str) -> Tensor:
    """Bring an array of labels to (N,) int64.

    Args:
        values: (N,) or (N, 1) whole numbers.
        count: Number of images, N.
        source: What the array is called in an error.

    Raises:
        DataError: Another shape, type or number.
    """
    flat = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if flat.ndim != 1 or flat.dtype.kind not in "iu":
        got = f"{source} has shape {values.shape} and type {values.dtype}"
        raise DataError(f"{got}, expected (N,) or (N, 1) whole numbers: one class for each image")
    if len(flat) != count:
        raise DataError(f"{source} holds {len(flat)} labels for {count} images, expected one for each; fix the file")
    if len(flat) and not -MOST_CLASSES < int(flat.min()) <= int(flat.max()) < MOST_CLASSES:
        got = f"{source} has labels from {flat.min()} to {flat.max()}"
        raise DataError(f"{got}, expected classes from 0, below {MOST_CLASSES}; number the classes")
    return torch.from_numpy(flat.astype(np.int64))


def read_npz(path: Path, split: str | None, name: str) -> ImageSet:
    """Read one split of an .npz file; no object is unpickled and no size is believed before it is checked.

    Args:
        path: File with ``SPLIT_images`` and ``SPLIT_labels``, ``images`` and ``labels``, or Keras' ``x_SPLIT`` and
            ``y_SPLIT``; without labels every label is -1.
        split: Name of the split; None is ``test`` where there is one, else the only one.
        name: Name of the set.

    Raises:
        MissingDataError: There is no such file.
        DataError: The file is damaged, too large or malformed, or has no such split.
    """
    if not is_file(path, DataError):
        raise MissingDataError(f"there is no file {path}; check the path, or set INVAUDIT_DATA and give a name")
    remedy = "it is damaged or not an .npz file: fetch it again"
    with (
        opened(path, DataError) as file,
        foreign(f"{path} cannot be read", DataError, remedy=remedy),
        zipfile.ZipFile(file) as archive,
    ):
        wanted = _keys_of_split(archive, split, path)
        _check_sizes(archive, wanted, path, os.fstat(file.fileno()).st_size)
        arrays = [_read(archive, key) for key in wanted]
    images = image_tensor(arrays[0], f"{wanted[0]} of {path}")
    if len(arrays) == 1:
        return ImageSet(name, images, torch.full((len(images),), -1))
    return ImageSet(name, images, label_tensor(arrays[1], len(images), f"{wanted[1]} of {path}"))


def _keys_of_split(archive: zipfile.ZipFile, split: str | None, path: Path) -> list[str]:
    """Return the keys of images and, where there are some, labels of a split."""
    keys = {member[:-4] for member in archive.namelist() if member.endswith(".npy")}
    splits = set(map(_split_of, keys)) - {None}
    if not splits:
        held = ", ".join(sorted(map(shown, keys))[:10]) or "no arrays"
        expected = "images and labels, SPLIT_images and SPLIT_labels, or x_SPLIT and y_SPLIT"
        raise DataError(f"{path} holds no images but {held}, expected arrays {expected}")
    split = choose_split(splits, split, str(path))
    for images, labels in _keys(split):
        if images in keys:
            return [images, labels] if labels in keys else [images]
    raise AssertionError(split)  # choose_split gives one of those that are there


def _keys(split: str) -> tuple[tuple[str, str], ...]:
    """Return the names that the arrays of a split may have: of images, and of labels."""
    of_split = (f"{split}_images", f"{split}_labels"), (f"x_{split}", f"y_{split}")
    return (("images", "labels"), *of_split) if split == _ONLY else of_split


def choose_split(splits: set[str | None] | set[str], split: str | None, source: str) -> str:
    """Return the split that is asked for, or ``test``, or the only one there is.

    Raises:
        DataError: There is no such split, or several and none is ``test``.
    """
    names = sorted(map(str, splits))
    if split is None:
        split = _default_split(names)
    if split not in names:
        got = f"has no split {split!r}" if split else "has several splits and none is called 'test'"
        raise DataError(f"{source} {got}, expected one of: {', '.join(names)}; write :SPLIT after the name")
    return split


def _default_split(names: list[str]) -> str:
    """Return ``test`` where there is one, else the only split; empty where there are several others."""
    if "test" in names:
        return "test"
    return names[0] if len(names) == 1 else ""


def _split_of(key: str) -> str | None:
    if key == "images":
        return _ONLY
    match = re.fullmatch(r"(.+)_images|x_(.+)", key)
    return match[1] or match[2] if match else None


def _check_sizes(archive: zipfile.ZipFile, keys: list[str], path: Path, packed: int) -> None:
    """Refuse arrays that are too large, for their file too, or whose header promises another size than the directory.

    Args:
        archive: The file, opened.
        keys: The arrays that are wanted.
        path: The file.
        packed: Its size in bytes: what the directory says of packed sizes is no more than another claim.
    """
    total = 0
    for key in keys:
        total += archive.getinfo(f"{key}.npy").file_size
    if total > LIMIT_BYTES:
        size = f"{total / 2**30:.1f} GiB, expected at most {LIMIT_BYTES / 2**30:g} GiB"
        raise DataError(f"{path} unpacks to {size}; split it into smaller files")
    if total > max(TRUSTED_BYTES, MOST_GROWTH * packed):
        got = f"{path} has {packed:,} bytes and claims to unpack to {total:,}, over {MOST_GROWTH} times as many"
        raise DataError(f"{got}: refused. If these are images, save them unpacked with numpy.savez")
    for key in keys:
        with archive.open(f"{key}.npy") as file:
            shape, dtype = _header(file)
            # numpy takes True for 1, and sizes that no array can have beside one that is 0.
            if not all(type(size) is int and 0 <= size <= LIMIT_BYTES for size in shape):
                raise DataError(
                    f"{key} of {path} has shape {shown(shape)}, expected plain sizes; it is damaged: fetch it again"
                )
            promised = file.tell() + prod(shape) * dtype.itemsize
        if dtype.hasobject:
            raise DataError(f"{key} of {path} holds Python objects, expected numbers; save it as uint8 or int64")
        held = archive.getinfo(f"{key}.npy").file_size
        if promised != held:
            raise DataError(
                f"{key} of {path} promises {promised} bytes and holds {held}; it is damaged: fetch it again"
            )


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(file)
    if version not in readers:
        raise ValueError(f"unknown .npy version {version}")
    shape, _, dtype = readers[version](file)
    return shape, dtype


def _read(archive: zipfile.ZipFile, key: str) -> NDArray[Any]:
    with archive.open(f"{key}.npy") as file:
        return npy.read_array(file, allow_pickle=False)


def _eight_bits(values: NDArray[Any], source: str) -> NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):
        raise DataError(f"{source} has values from {low:g} to {high:g}, expected floats in [0, 1]; rescale it")
    bits = np.empty(values.shape, np.uint8)
    step = max(1, BLOCK // prod(values.shape[1:]))
    for start in range(0, len(values), step):
        part = slice(start, start + step)
        bits[part] = np.rint(values[part] * 255)
    return bits
