"""Synthetic outliers that no network is trained on: recipe, join and knobs are chosen on them, never on a test set."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from invaudit.data.image_set import ImageSet
from invaudit.data.random import seeded_rng
from invaudit.data.shapes import between, paint, partners, plane, rand, sources

Family = Callable[[Tensor, Tensor, int, torch.Generator], Tensor]


def class_mix(images: Tensor, labels: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Average two images of different classes, 35 to 65 % of each."""
    first, second = _couple(images, labels, n, rng)
    share = between(0.35, 0.65, (n, 1, 1, 1), rng, images)
    return share * first + (1 - share) * second


def outline(images: Tensor, labels: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Keep only the edges: largest minus smallest value of each 2 x 2 neighbours."""
    padded = functional.pad(images[sources(labels, n, rng)], (0, 1, 0, 1), mode="replicate")
    return functional.max_pool2d(padded, 2, 1) + functional.max_pool2d(-padded, 2, 1)


def strokes(images: Tensor, _labels: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Draw two to four curved strokes, in the colours of ID images."""
    y, x = plane(images)
    corners = between(-0.9, 0.9, (4, 3, 2, n, 1, 1), rng, images)
    present = torch.arange(4, device=images.device)[:, None] < 2 + (3 * rand((n,), rng, images)).long()
    thickness = between(0.07, 0.2, (n, 1, 1), rng, images)
    distance = torch.full((n, *images.shape[2:]), math.inf, device=images.device)
    for (start, bend, end), is_drawn in zip(corners, present, strict=True):
        before = start
        for t in torch.linspace(0, 1, 11)[1:].tolist():
            point = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
            nearer = distance.minimum(_to_segment(y, x, before, point))
            distance = torch.where(is_drawn[:, None, None], nearer, distance)
            before = point
    return paint(_soft(thickness - distance, images), images, rng)


def polygons(images: Tensor, _labels: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Draw a filled polygon of three to six corners, in the colours of ID images."""
    y, x = plane(images)
    centre = between(-0.3, 0.3, (2, n, 1, 1), rng, images)
    edges = 3 + (4 * rand((n, 1, 1), rng, images)).long()
    start = between(0, 2 * math.pi, (n, 1, 1), rng, images)
    inside = torch.full((n, *images.shape[2:]), math.inf, device=images.device)
    for edge in range(6):
        angle = start + 2 * math.pi * (edge + between(-0.2, 0.2, (n, 1, 1), rng, images)) / edges
        reach = between(0.3, 0.7, (n, 1, 1), rng, images)
        depth = reach - angle.sin() * (y - centre[0]) - angle.cos() * (x - centre[1])
        inside = torch.where(edge < edges, inside.minimum(depth), inside)
    return paint(_soft(inside, images), images, rng)


def pink_noise(images: Tensor, _labels: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Draw noise whose amplitude falls with frequency f as f**-0.5 to f**-1.5."""
    height, width = images.shape[2:]
    white = torch.randn((n, *images.shape[1:]), generator=rng, device=rng.device).to(images.device)
    down, across = torch.fft.fftfreq(height).to(images.device), torch.fft.rfftfreq(width).to(images.device)
    frequency = (down[:, None] ** 2 + across**2).sqrt().clamp_min(1 / max(height, width))
    slope = between(0.5, 1.5, (n, 1, 1, 1), rng, images)
    values = torch.fft.irfft2(torch.fft.rfft2(white) * frequency**-slope, s=(height, width))
    values = (values - values.mean((2, 3), keepdim=True)) / values.std((1, 2, 3), keepdim=True)
    return (0.5 + 0.25 * values).clamp(0, 1)


def gratings(images: Tensor, _labels: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Draw sine waves of any direction, one wave to a quarter of the side's pixels, in the colours of ID images."""
    y, x = plane(images)
    angle, phase = between(0, 2 * math.pi, (2, n, 1, 1), rng, images)
    waves = between(1, min(images.shape[2:]) / 4, (n, 1, 1), rng, images)
    cover = 0.5 + 0.5 * torch.sin(math.pi * waves * (angle.sin() * y + angle.cos() * x) + phase)
    return paint(cover, images, rng)


def warps(images: Tensor, labels: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Bend images strongly: a smooth field moves each pixel by up to 0.6 of half the side."""
    y, x = plane(images)
    coarse = between(-0.6, 0.6, (n, 2, 4, 4), rng, images)
    field = functional.interpolate(coarse, images.shape[2:], mode="bicubic", align_corners=True)
    still = torch.stack(torch.broadcast_tensors(x, y), -1)
    moved = still + field.permute(0, 2, 3, 1)
    bent = functional.grid_sample(images[sources(labels, n, rng)], moved, padding_mode="border", align_corners=False)
    return bent.clamp(0, 1)


def overlays(images: Tensor, labels: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Lay two images of different classes over each other: the brighter value wins."""
    first, second = _couple(images, labels, n, rng)
    return first.maximum(second)


def zoom_crops(images: Tensor, labels: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Enlarge a part of an image, 30 to 50 % of the side, taken from around the centre."""
    y, x = plane(images)
    scale = between(0.3, 0.5, (n, 1, 1), rng, images)
    down, across = between(-0.5, 0.5, (2, n, 1, 1), rng, images) * (1 - scale)
    shape = (n, *images.shape[2:])
    grid = torch.stack([(x * scale + across).expand(shape), (y * scale + down).expand(shape)], -1)
    crop = functional.grid_sample(images[sources(labels, n, rng)], grid, padding_mode="border", align_corners=False)
    return crop.clamp(0, 1)


def blobs(images: Tensor, _labels: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Draw two to five round spots that fade outwards, in the colours of ID images."""
    y, x = plane(images)
    count = 2 + (4 * rand((n, 1, 1), rng, images)).long()
    cover = torch.zeros((n, *images.shape[2:]), device=images.device)
    for spot in range(5):
        centre = between(-0.8, 0.8, (2, n, 1, 1), rng, images)
        width = between(0.12, 0.4, (n, 1, 1), rng, images)
        square = (y - centre[0]) ** 2 + (x - centre[1]) ** 2
        cover = cover + (spot < count) * torch.exp(-square / (2 * width**2))
    return paint(cover.clamp(0, 1), images, rng)


def _couple(images: Tensor, labels: Tensor, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw n images, and for each one of another class (where there is none: its mirror image upside down)."""
    first = sources(labels, n, rng)
    partner, alone = partners(labels, first, rng)
    return images[first], torch.where(alone[:, None, None, None], images[first].flip(2, 3), images[partner])


def _to_segment(y: Tensor, x: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return the distance of each pixel to a segment whose ends are (2, n, 1, 1): rows, columns."""
    down, across = end - start
    along = ((y - start[0]) * down + (x - start[1]) * across) / (down**2 + across**2).clamp_min(1e-12)
    along = along.clamp(0, 1)
    return torch.hypot(y - start[0] - along * down, x - start[1] - along * across)


def _soft(depth: Tensor, images: Tensor) -> Tensor:
    """Turn the depth inside a shape (1 = half the side) into cover, with an edge one pixel wide."""
    return (depth * min(images.shape[2:]) / 2 + 0.5).clamp(0, 1)


FAMILIES: dict[str, Family] = {
    "class-mix": class_mix,
    "outline": outline,
    "strokes": strokes,
    "polygons": polygons,
    "pink-noise": pink_noise,
    "gratings": gratings,
    "warps": warps,
    "overlays": overlays,
    "zoom-crops": zoom_crops,
    "blobs": blobs,
}
"""Name -> family: ``n`` outliers, (n, C, H, W) float in [0, 1], from ID images (N, C, H, W) float in [0, 1] with
labels (N,) and a generator."""

KEEP_PICTURE = ("class-mix", "overlays")
"""Families whose outliers look like ID images and lose the class alone; all others break the picture as well."""

_SOURCES = 512
"""Of pictures that are read from files, so many are made into outliers: memory must not grow with the set."""


def synthetic_outliers(held_out: ImageSet, seed: int, n: int) -> dict[str, ImageSet]:
    """Return n outliers of each family, without labels, made from held-out ID images, as if through their transform.

    Args:
        held_out: ID images that nothing was trained on, with labels.
        seed: Of all draws; each family has a generator of its own.
        n: Images of each family.

    Returns:
        Name of a family -> its images, of the shape and the grey levels of the held-out ones.
    """
    sources = held_out.in_memory(_SOURCES)
    images, quantise = sources.floats(), held_out.quantise
    nothing = torch.full((n,), -1)
    sets: dict[str, ImageSet] = {}
    for name, family in FAMILIES.items():
        outliers = family(images, sources.labels, n, seeded_rng(seed, f"synthetic/{name}"))
        sets[name] = ImageSet(name, quantise(outliers), nothing, held_out.transform)
    return sets
