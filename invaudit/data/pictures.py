"""Encoded pictures: opened safely, made upright, prepared, and read batch by batch by several threads."""

import hashlib
import logging
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, Literal, NoReturn, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from invaudit.data.preparation import Preparation
from invaudit.runtime import paths, threads
from invaudit.runtime.boundary import foreign
from invaudit.runtime.errors import DataError, InputError, ShapeError
from invaudit.runtime.paths import short
from invaudit.runtime.problems import in_one_line

T = TypeVar("T")

# Pillow logs some faults beside raising them; without any handler Python prints them beside our one message.
logging.getLogger("PIL").addHandler(logging.NullHandler())

SUFFIXES = (
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""File endings that count as pictures."""
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may take a file for. Its other formats run other programs, or are nobody's photos."""
MOST_NAMED = 10
"""How many damaged pictures one message names."""
MOST_PIXELS = 80_000_000
"""Largest picture that is decoded; a small file may claim any size. Pillow itself warns from 89 million on."""

_GREY = ("1", "L", "I;16", "I;16B", "I;16L", "I;16N")
_COLOUR = ("P", "LA", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


class PictureSource(Protocol):
    """Where one encoded picture lies; equal to another where that is the same place, and hashable.

    Attributes:
        name: What outputs call it.
        place: What messages call it: printable, and not too long.
    """

    @property
    def name(self) -> str: ...

    @property
    def place(self) -> str: ...

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """Open its bytes to read them; DataError where they cannot be had."""
        ...


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture that is a file of its own."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def place(self) -> str:
        return short(self.path)

    def open(self) -> AbstractContextManager[IO[bytes]]:
        return paths.opened(self.path, DataError)


@dataclass(frozen=True)
class PictureHeader:
    """What an encoded picture says of itself, without its pixels.

    Attributes:
        width: In pixels, after the rotation that its EXIF data ask for.
        height: In pixels, likewise.
        grey: Whether it has no colours.
        frames: Number of pages or frames; only the first is ever read.
    """

    width: int
    height: int
    grey: bool
    frames: int


@dataclass(frozen=True, eq=False)
class Pictures:
    """Encoded pictures as images of one size, decoded when they are read.

    The pixels do not depend on the number of threads, nor on which images are read together.

    Args:
        sources: Where they lie.
        channels: 1 (grey) or 3 (RGB).
        height: Height of each image.
        width: Width of each image.
        preparation: How a picture becomes an image of that size.
        workers: Threads that decode; None: see ``invaudit.runtime.threads``.
        digests: SHA-256 of the pixels of each picture that was read so far, shared by all subsets.
    """

    sources: tuple[PictureSource, ...]
    channels: Literal[1, 3]
    height: int
    width: int
    preparation: Preparation = field(default_factory=Preparation)
    workers: int | None = None
    digests: dict[PictureSource, bytes] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.sources)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number, channels, height, width."""
        return len(self), self.channels, self.height, self.width

    @property
    def bytes_each(self) -> int:
        """Size of one image in memory."""
        return self.channels * self.height * self.width

    def subset(self, positions: Sequence[int]) -> "Pictures":
        """Return the pictures at these positions; nothing is read."""
        return replace(self, sources=tuple(self.sources[position] for position in positions))

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yield all images in order, (at most size, C, H, W) uint8; the next batch is decoded meanwhile.

        Raises:
            DataError: Pictures are damaged: those among the ones under way are named together.
            ShapeError: A picture cannot be prepared.
        """
        # Two batches are under way at most, so memory does not grow with the number of pictures.
        ahead = 2 * size
        with ThreadPoolExecutor(self.workers or threads.readers(), "decode") as pool:
            sources = iter(self.sources)
            waiting: deque[Future[NDArray[np.uint8]]] = deque()
            try:
                for source in islice(sources, ahead):
                    waiting.append(pool.submit(self._decoded, source))
                while waiting:
                    batch = torch.empty((min(size, len(waiting)), *self.shape[1:]), dtype=torch.uint8)
                    for image in batch:
                        image.copy_(torch.from_numpy(waiting.popleft().result()))
                        for source in islice(sources, 1):
                            waiting.append(pool.submit(self._decoded, source))
                    yield batch
            except InputError as error:
                others = [future.exception() for future in waiting]
                _refuse([error, *(other for other in others if isinstance(other, InputError))])
            finally:
                for future in waiting:
                    future.cancel()

    def read(self) -> Tensor:
        """Return all images, (N, C, H, W) uint8."""
        whole = torch.empty(self.shape, dtype=torch.uint8)
        start = 0
        for batch in self.batches(64):
            whole[start : start + len(batch)] = batch
            start += len(batch)
        return whole

    def hashes(self) -> list[bytes]:
        """Return the SHA-256 of each image's pixels; what was read before is not read again."""
        new = [position for position, source in enumerate(self.sources) if source not in self.digests]
        for _ in self.subset(new).batches(64):
            pass
        return [self.digests[source] for source in self.sources]

    def _decoded(self, source: PictureSource) -> NDArray[np.uint8]:
        """Return one image, (C, H, W) uint8."""
        picture = opened(source, lambda image: _upright(image, grey=self.channels == 1))
        try:
            pixels = self.preparation.apply(picture, self.height, self.width)
        except ShapeError as error:
            raise ShapeError(f"{source.place} {error}") from error
        image = np.array(pixels[None] if self.channels == 1 else pixels.transpose(2, 0, 1), order="C")
        self.digests[source] = hashlib.sha256(image.tobytes()).digest()
        return image


def read_headers(sources: Sequence[PictureSource], workers: int | None = None) -> list[PictureHeader]:
    """Return what encoded pictures say of themselves.

    Raises:
        DataError: Pictures are damaged, too large, or of a kind that is not read: the first ten are named.
    """
    with warnings.catch_warnings(), ThreadPoolExecutor(workers or threads.readers()) as pool:
        # The error about the size of a picture says it once.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        found = list(pool.map(_read_header, sources))
    headers = [header for header in found if isinstance(header, PictureHeader)]
    if len(headers) < len(found):
        _refuse([error for error in found if isinstance(error, InputError)])
    return headers


def _read_header(source: PictureSource) -> PictureHeader | InputError:
    try:
        return opened(source, lambda image: _header(image, source))
    except InputError as error:
        return error


def _refuse(errors: Sequence[InputError]) -> NoReturn:
    """Raise errors about several pictures as one, of the kind of the first."""
    messages = list(dict.fromkeys(map(str, errors)))
    more = max(0, len(messages) - MOST_NAMED)
    raise type(errors[0])(in_one_line(messages[:MOST_NAMED], more=more)) from errors[0]


def opened(source: PictureSource, read: Callable[[Image.Image], T]) -> T:
    """Open an encoded picture, give it to a function, and return what that gives.

    Raises:
        DataError: It cannot be read as a picture.
    """
    damaged, remedy = f"{source.place} cannot be read as an image", "remove it or fetch it again"
    with source.open() as file, foreign(damaged, DataError, remedy=remedy):
        try:
            image = Image.open(file, formats=FORMATS)
        except UnidentifiedImageError:  # its own text names a file by its number
            raise DataError(f"{damaged} (no picture of a known format); {remedy}") from None
        with image:
            _refuse_huge(image, source)
            return read(image)


def _refuse_huge(image: Image.Image, source: PictureSource) -> None:
    if image.width * image.height > MOST_PIXELS:
        got = f"{source.place} is {image.width} x {image.height}, expected at most {MOST_PIXELS:,} pixels"
        raise DataError(f"{got}; make it smaller")


def _header(image: Image.Image, source: PictureSource) -> PictureHeader:
    if image.mode not in _GREY + _COLOUR:
        raise DataError(
            f"{source.place} has pixels of mode {image.mode}, expected 8-bit or 16-bit grey, or RGB; convert it"
        )
    width, height = image.size
    # Orientations 5 to 8 of EXIF lie on their side.
    if image.getexif().get(0x0112, 1) >= 5:
        width, height = height, width
    return PictureHeader(width, height, image.mode in _GREY, getattr(image, "n_frames", 1))


def _upright(image: Image.Image, *, grey: bool) -> Image.Image:
    """Return a picture, turned as its EXIF data ask for, as 8-bit grey or RGB."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        # Pillow cuts values over 255 off; 65535 / 257 is 255.
        image = Image.fromarray((np.asarray(image).astype(np.float64) / 257).round().astype(np.uint8))
    return image.convert("L" if grey else "RGB")
