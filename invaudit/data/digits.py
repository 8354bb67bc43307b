"""The embedded benchmark: scikit-learn's handwritten digits, and OOD sets that need no download."""

from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from invaudit.data.image_set import ImageSet
from invaudit.data.outliers import NOISES
from invaudit.data.pixels import variance
from invaudit.data.random import seeded_rng
from invaudit.data.splits import Splits, split
from invaudit.data.transform import Transform, quantise

LEVELS = 17
"""Grey levels of scikit-learn's digits."""

TRANSFORM = Transform(side=8, channels=1, levels=LEVELS)
"""What all images of the benchmark go through."""

SIZES = {"train": 0.55, "fit": 0.12, "calibrate": 0.12, "test": 0.21}
"""Shares of the ID images."""

LETTERS = "AEFHKLNPRVX"
"""The capital letters used.

Left out: those that look like a digit (B C D G I J O Q S T U Y Z), and M and W, which nobody can read at 8 x 8.
"""

FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSerif-Bold",
    "STIXGeneralBol",
    "cmb10",
    "cmss10",
    "cmtt10",
)
"""Fonts that matplotlib ships, with strokes about as thick as those of the digits."""

GROUPS = {"held-out-digits": "near", "letters": "near", "photos": "far", "gaussian": "seen", "uniform": "seen"}
"""OOD set -> group."""

_COUNT = 450
_PHOTO_WINDOW = 32


@dataclass(frozen=True)
class Benchmark:
    """One seed of the embedded benchmark.

    Args:
        splits: ID images of seven digits, labels 0 to 6 in the order of the digits.
        ood: Name -> OOD images, label -1.
        groups: Name -> ``near``, ``far`` or ``seen``.
        held_out: The three digits that are OOD.
        transform: What all images went through.
    """

    splits: Splits
    ood: dict[str, ImageSet]
    groups: dict[str, str]
    held_out: tuple[int, ...]
    transform: Transform


def digits() -> ImageSet:
    """Return scikit-learn's 1,797 digits of 8 x 8 pixels, their 17 grey levels spread over 0 to 255."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = quantise(torch.from_numpy(bunch.images)[:, None] / 16, LEVELS)
    return ImageSet("digits", images, torch.from_numpy(bunch.target).long())


def digits_benchmark(seed: int) -> Benchmark:
    """Return the embedded benchmark of one seed.

    Args:
        seed: Chooses the three held-out digits (3 seed, 3 seed + 1, 3 seed + 2, modulo 10), the splits and all draws.

    Returns:
        Splits and OOD sets; ``held-out-digits`` and ``letters`` are near, ``photos`` is far, ``gaussian`` and
        ``uniform`` are seen.
    """
    whole = digits().transformed(TRANSFORM)
    held_out = tuple(sorted({3 * seed % 10, (3 * seed + 1) % 10, (3 * seed + 2) % 10}))
    known_digits = torch.tensor(sorted(set(range(10)) - set(held_out)))
    is_known = torch.isin(whole.labels, known_digits)
    known = whole.subset(is_known)
    known = replace(known, labels=torch.searchsorted(known_digits, known.labels))
    ood = {
        "held-out-digits": whole.subset(~is_known).images,
        "letters": letters(_COUNT, seeded_rng(seed, "data/letters")),
        "photos": photos(_COUNT, seeded_rng(seed, "data/photos")),
    }
    for name in ("gaussian", "uniform"):
        noise = NOISES[name]((_COUNT, 1, 8, 8), seeded_rng(seed, f"data/{name}"))
        ood[name] = quantise(noise, LEVELS)
    return Benchmark(
        splits=split(known, SIZES, seeded_rng(seed, "data/splits")),
        ood={name: _outliers(name, images) for name, images in ood.items()},
        groups=dict(GROUPS),
        held_out=held_out,
        transform=TRANSFORM,
    )


def _outliers(name: str, images: Tensor) -> ImageSet:
    return ImageSet(name, images, torch.full((len(images),), -1)).transformed(TRANSFORM)


def letters(n: int, rng: torch.Generator) -> Tensor:
    """Render capital letters the way the digits were made: 32 x 32 ink or no ink, counted in blocks of 4 x 4.

    Args:
        n: Number of images; the letters take turns, font, tilt, size and place are drawn.
        rng: Generator of the draws.

    Returns:
        (n, 1, 8, 8) uint8, white on black.
    """
    fonts = torch.randint(len(FONTS), (n,), generator=rng).tolist()
    boxes = torch.rand((n, 5), generator=rng).tolist()
    cells = []
    for letter, font, box in zip(cycle(LETTERS), fonts, boxes, strict=False):
        cells.append(_letter(letter, FONTS[font], box))
    return quantise(torch.from_numpy(np.stack(cells))[:, None], LEVELS)


def photos(n: int, rng: torch.Generator) -> Tensor:
    """Cut square windows with something in them out of scikit-learn's two photographs.

    Args:
        n: Number of windows; of four times as many, drawn at random places, those with the largest variance stay.
        rng: Generator of the draws.

    Returns:
        (n, 3, 32, 32) uint8.
    """
    from sklearn.datasets import load_sample_images

    sources = load_sample_images().images
    windows = []
    for i, (down, across) in enumerate(torch.rand((4 * n, 2), generator=rng).tolist()):
        photo = sources[i % len(sources)]
        top = int(down * (photo.shape[0] - _PHOTO_WINDOW + 1))
        left = int(across * (photo.shape[1] - _PHOTO_WINDOW + 1))
        windows.append(photo[top : top + _PHOTO_WINDOW, left : left + _PHOTO_WINDOW])
    images = torch.from_numpy(np.stack(windows)).permute(0, 3, 1, 2).contiguous()
    # Most places are sky or blurred background, and flat.
    liveliest = torch.from_numpy(variance(images)).topk(n).indices
    return images[liveliest.sort().values]


def _letter(letter: str, font: str, box: list[float]) -> NDArray[np.float64]:
    """Return the share of ink in each of 8 x 8 cells; ``box`` holds five draws in [0, 1): tilt, size and place."""
    tilted = _glyph(letter, font).rotate(16 * box[0] - 8, Image.Resampling.BILINEAR, expand=True)
    # The digits fill the height of their 32 x 32 raster and about 22 of its columns.
    height, width = 29 + int(4 * box[1]), 19 + int(6 * box[2])
    glyph = tilted.crop(tilted.getbbox()).resize((width, height), Image.Resampling.BILINEAR)
    raster = Image.new("L", (32, 32))
    raster.paste(glyph, (int(5 * box[3]) + (32 - width) // 2 - 2, int(box[4] * (33 - height))))
    # A low bound thickens the strokes a little, so that there is as much ink as in the digits.
    ink = np.asarray(raster) >= 64
    return ink.reshape(8, 4, 8, 4).mean((1, 3))


@cache
def _glyph(letter: str, font: str) -> Image.Image:
    import matplotlib

    file = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{font}.ttf")
    # The basic layout engine draws the same with and without the optional text shaper.
    face = ImageFont.truetype(str(file), 128, layout_engine=ImageFont.Layout.BASIC)
    canvas = Image.new("L", (256, 256))
    ImageDraw.Draw(canvas).text((64, 32), letter, fill=255, font=face)
    return canvas.crop(canvas.getbbox())
