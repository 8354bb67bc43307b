"""Picture files of one set: a folder with a folder for each class, a folder of files, one file, or a list of them."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from invaudit.data.image_set import ImageSet
from invaudit.data.pictures import SUFFIXES, PictureFile, PictureHeader, Pictures, PictureSource, read_headers
from invaudit.data.preparation import Preparation, default_preparation
from invaudit.runtime import console, paths
from invaudit.runtime.errors import DataError, MissingDataError
from invaudit.runtime.paths import short

SPLIT_NAMES = {"train", "val", "valid", "validation", "test", "dev"}
"""Names of folders that hold a split, not a class."""
NUMBER = re.compile(r"[0-9]{1,6}")
"""A class of a list that is its number."""
LARGEST_LIST = 2**28
"""Bytes of a list of pictures that are read."""


@dataclass(frozen=True)
class PictureInput:
    """What is known of the images that pictures should become.

    Args:
        shape: Channels, height, width that a network takes; None where there is no network.
        preparation: How they get there; None: it may be chosen.
        workers: Threads that decode; None: see ``invaudit.runtime.threads``.
        keeps_one_size: Whether pictures that all have one size keep it, since what follows brings images to the
            shape.
    """

    shape: tuple[int, int, int] | None = None
    preparation: Preparation | None = None
    workers: int | None = None
    keeps_one_size: bool = False


@dataclass(frozen=True)
class Listing:
    """Pictures with their classes.

    Attributes:
        pictures: Where they lie, in the order of the set.
        labels: Class of each, -1 where it has none.
        class_names: Name of each class.
        left_out: Number of files that are no pictures, by their ending.
    """

    pictures: Sequence[PictureSource]
    labels: list[int]
    class_names: tuple[str, ...] = ()
    left_out: Counter[str] | None = None


def list_folder(folder: Path) -> Listing:
    """List the pictures of a folder as torchvision's ImageFolder does, or those of a folder without class folders.

    Each folder inside is a class, whatever the depth at which its pictures lie; classes are numbered in the order of
    their names, empty ones too. Hidden files and folders do not count.

    Raises:
        MissingDataError: There is no such folder.
        DataError: It cannot be listed, holds no pictures, pictures both beside and in class folders, or splits.
    """
    if not paths.is_folder(folder, DataError):
        raise MissingDataError(f"there is no folder {short(folder)}; check the path")
    seen = [path for path in paths.inside(folder, DataError) if not path.name.startswith(".")]
    loose = [path for path in seen if paths.is_file(path, DataError)]
    class_folders = [path for path in seen if paths.is_folder(path, DataError)]
    left_out: Counter[str] = Counter()
    flat = _pictures(loose, left_out)
    sorted_in: list[Path] = []
    labels: list[int] = []
    for label, class_folder in enumerate(class_folders):
        pictures = _pictures(list(_files_below(class_folder)), left_out)
        sorted_in += pictures
        labels += [label] * len(pictures)
    if flat and sorted_in:
        inside = sorted_in[0].relative_to(folder)
        got = f"{short(folder)} holds images ({flat[0].name}) and folders with images ({inside})"
        raise DataError(f"{got}, expected one or the other; move the loose images into a class folder")
    if not flat and not sorted_in:
        expected = f"expected files ending in {', '.join(SUFFIXES)}, or class folders"
        raise DataError(f"{short(folder)} holds no images, {expected}")
    if flat:
        return Listing(_as_sources(flat), [-1] * len(flat), left_out=left_out)
    names = tuple(path.name for path in class_folders)
    if len(names) > 1 and SPLIT_NAMES.issuperset(map(str.lower, names)):
        got = f"{short(folder)} holds the splits {', '.join(names)}"
        raise DataError(f"{got}, expected classes; write {short(folder / names[0])}/")
    return Listing(_as_sources(sorted_in), labels, names, left_out)


def list_file(file: Path) -> Listing:
    """List one picture, or those that a text file names: one path a line, its class after a tab where it has one.

    Paths are relative to the folder of the list. Classes that are whole numbers are taken as they are, others are
    numbered in the order of their names.

    Raises:
        MissingDataError: There is no such file.
        DataError: It is no text, is empty, or gives a class to some pictures only.
    """
    if not paths.is_file(file, DataError):
        raise MissingDataError(f"there is no file {short(file)}; check the path")
    if file.suffix.lower() in SUFFIXES:
        return Listing(_as_sources([file]), [-1])
    lines = paths.read_text(file, DataError, most=LARGEST_LIST).splitlines()
    entries = [line.partition("\t") for line in lines if line.strip()]
    if not entries:
        raise DataError(f"{short(file)} names no picture, expected one path a line")
    named = [name.strip() for _, _, name in entries]
    if any(named) and not all(named):
        got = f"{short(file)} gives a class to some pictures and none to line {named.index('') + 1}"
        raise DataError(f"{got}, expected one after a tab for all, or for none")
    pictures = _as_sources(file.parent / path.strip() for path, _, _ in entries)
    if all(NUMBER.fullmatch(name) for name in named):
        return Listing(pictures, list(map(int, named)))
    class_names = tuple(sorted(set(named))) if any(named) else ()
    number = {name: label for label, name in enumerate(class_names)}
    labels = [number.get(name, -1) for name in named]
    return Listing(pictures, labels, class_names)


def _as_sources(files: Iterable[Path]) -> list[PictureFile]:
    return [PictureFile(file) for file in files]


def picture_set(name: str, listing: Listing, wanted: PictureInput) -> ImageSet:
    """Return listed pictures as a set that is read from disk when it is used.

    Where nobody says how pictures of another size than the network's become its input, and they are not all of it, the
    default preparation is taken, and said.

    Args:
        name: Name of the set.
        listing: The pictures.
        wanted: What they should become. Without a shape: grey if every picture is grey, else RGB, of their size.

    Raises:
        DataError: A damaged picture, or pictures of many sizes and no shape that they should have.
    """
    _say_what_is_missing(name, listing)
    headers = read_headers(listing.pictures, wanted.workers)
    more_frames = sum(header.frames > 1 for header in headers)
    if more_frames:
        console.notice(
            f"{name}: {more_frames} of {len(headers)} files hold several pages or frames; the first is taken"
        )
    coloured = sum(not header.grey for header in headers)
    if coloured and wanted.shape and wanted.shape[0] == 1:
        console.notice(f"{name}: {coloured} of {len(headers)} pictures have colours; the network sees their luminance")
    shape, preparation = wanted.shape, wanted.preparation
    if wanted.keeps_one_size and _has_one_size(headers):
        shape, preparation = None, Preparation()
    channels, height, width = shape or _own_shape(listing.pictures, headers)
    if preparation is None:
        preparation = _chosen(name, headers, height, width)
    sources = tuple(listing.pictures)
    pictures = Pictures(sources, 1 if channels == 1 else 3, height, width, preparation, wanted.workers)
    return ImageSet(
        name,
        pictures,
        torch.tensor(listing.labels),
        class_names=listing.class_names,
        files=tuple(source.name for source in sources),
        preparation=preparation,
    )


def _chosen(name: str, headers: list[PictureHeader], height: int, width: int) -> Preparation:
    if _has_one_size(headers) and (headers[0].height, headers[0].width) == (height, width):
        return Preparation()
    preparation = default_preparation(height, width)
    steps = preparation.describe(height, width)
    console.notice(
        f"{name}: pictures are prepared by default: {steps}; "
        "--resize, --crop or --squash (pictures in a config of a benchmark) say it otherwise"
    )
    return preparation


def _has_one_size(headers: list[PictureHeader]) -> bool:
    return len({(header.height, header.width) for header in headers}) == 1


def _own_shape(pictures: Sequence[PictureSource], headers: list[PictureHeader]) -> tuple[int, int, int]:
    first = headers[0]
    for source, header in zip(pictures, headers, strict=True):
        if (header.width, header.height) != (first.width, first.height):
            got = f"{source.place} is {header.width} x {header.height}"
            other = f"{Path(pictures[0].place).name} is {first.width} x {first.height}"
            remedy = "nothing says what they should become; give the input of the network: --input CxHxW"
            raise DataError(f"{got} and {other}, and {remedy}")
    return 1 if all(header.grey for header in headers) else 3, first.height, first.width


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder, through links too, in the order of torchvision's ImageFolder."""
    walked: set[str] = set()
    found: list[tuple[str, list[str]]] = []
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_raise):
        real = os.path.realpath(root)
        if real in walked:  # a link to a folder above would be followed for ever
            folders.clear()
            continue
        walked.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        found.append((root, sorted(files)))
    for root, files in sorted(found):
        for name in files:
            if not name.startswith("."):
                yield Path(root, name)


def _raise(error: OSError) -> None:
    with paths.asking(Path(error.filename), DataError):
        raise error


def _pictures(files: list[Path], left_out: Counter[str]) -> list[Path]:
    """Return the picture files, and count the others by their ending."""
    pictures = []
    for file in files:
        if file.suffix.lower() in SUFFIXES:
            pictures.append(file)
        else:
            left_out[file.suffix.lower() or "no ending"] += 1
    return pictures


def _say_what_is_missing(name: str, listing: Listing) -> None:
    if listing.left_out:
        kinds = ", ".join(f"{count} of {ending}" for ending, count in listing.left_out.most_common())
        console.notice(f"{name}: {listing.left_out.total()} files are no pictures and are left out: {kinds}")
    with_pictures = set(listing.labels)
    empty = [class_name for label, class_name in enumerate(listing.class_names) if label not in with_pictures]
    if empty:
        console.notice(f"{name}: no pictures of class {', '.join(empty)}; it keeps its number")
