"""Folders of image files: one folder for each class, or all files in one."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from invaudit.data.arrays import LIMIT_BYTES
from invaudit.data.image_set import ImageSet
from invaudit.runtime.errors import DataError, MissingDataError

T = TypeVar("T")

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""File endings that count as images."""

_GREY = ("1", "L")
_COLOUR = ("P", "LA", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


def read_folder(folder: Path, name: str) -> ImageSet:
    """Read all images of a folder, in the order of their names.

    Args:
        folder: Class folders with images (class = rank of the folder's name), or images (label -1).
        name: Name of the set.

    Returns:
        Grey images if every file is grey, else RGB.

    Raises:
        MissingDataError: There is no such folder.
        DataError: No images, images both beside and in class folders, a damaged file, or images of differing size.
    """
    if not folder.is_dir():
        raise MissingDataError(f"there is no folder {folder}; check the path")
    files, labels = _files(folder)
    size, grey = _survey(files)
    channels = 1 if grey else 3
    if len(files) * channels * size[0] * size[1] > LIMIT_BYTES:
        limit = f"at most {LIMIT_BYTES / 2**30:g} GiB"
        raise DataError(f"{folder} holds {len(files)} images of {size[0]} x {size[1]}, expected {limit}; resize them")
    pixels = np.empty((len(files), size[1], size[0], channels), np.uint8)
    for row, file in zip(pixels, files, strict=True):
        row[:] = _pixels(file, "L" if grey else "RGB").reshape(row.shape)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    return ImageSet(name, images, torch.tensor(labels))


def _files(folder: Path) -> tuple[list[Path], list[int]]:
    flat, classes = _images_in(folder), _class_folders(folder)
    if flat and classes:
        got = f"{folder} holds images ({flat[0].name}) and folders with images ({classes[0][0].parent.name}/)"
        raise DataError(f"{got}, expected one or the other; move the loose images into a class folder")
    if not flat and not classes:
        raise DataError(f"{folder} holds no images, expected files ending in {', '.join(SUFFIXES)}, or class folders")
    if flat:
        return flat, [-1] * len(flat)
    files: list[Path] = []
    labels: list[int] = []
    for label, images in enumerate(classes):
        files += images
        labels += [label] * len(images)
    return files, labels


def _class_folders(folder: Path) -> list[list[Path]]:
    """Return the images of each folder inside that holds some, in the order of the folders' names."""
    classes = []
    for inside in sorted(folder.iterdir()):
        if inside.is_dir() and not inside.name.startswith("."):
            classes.append(_images_in(inside))
    return list(filter(None, classes))


def _images_in(folder: Path) -> list[Path]:
    return sorted(filter(_is_image, folder.iterdir()))


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _survey(files: list[Path]) -> tuple[tuple[int, int], bool]:
    """Return the one size (width, height) of all files and whether all are grey; only their headers are read."""
    first, _ = _header(files[0])
    grey = True
    for file in files:
        size, mode = _header(file)
        if mode not in _GREY + _COLOUR:
            raise DataError(f"{file} has pixels of mode {mode}, expected 8-bit grey or RGB; convert it")
        if size != first:
            got = f"{file} is {size[0]} x {size[1]} and {files[0].name} is {first[0]} x {first[1]}"
            raise DataError(f"{got}, expected one size for all images; resize them")
        grey = grey and mode in _GREY
    return first, grey


def _header(file: Path) -> tuple[tuple[int, int], str]:
    return _opened(file, lambda image: (image.size, image.mode))


def _pixels(file: Path, mode: str) -> NDArray[np.uint8]:
    return _opened(file, lambda image: np.asarray(image.convert(mode)))


def _opened(file: Path, read: Callable[[Image.Image], T]) -> T:
    try:
        with Image.open(file) as image:
            return read(image)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{file} cannot be read as an image ({error}); remove it or fetch it again") from error
