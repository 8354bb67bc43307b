"""What the search asks of a metric, and what a metric is made from."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from invaudit.records.columns import Better

Screen = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From embedded gallery images (B, ...) to rough values (Q, B) and how far each query's may be off, (Q, 1)."""

PAIR_NUMBERS = 2**16
"""Numbers on each side of a batch of pairs: it stays in the cache of one core."""
UNIT = 2.0**-24
"""Unit roundoff of float32: one operation is off by at most this share of its result."""


def sign_of(better: Better) -> float:
    """Return what turns values of a metric into similarities: 1.0 if a higher value is more alike, else -1.0."""
    return 1.0 if better == "higher" else -1.0


def rounding(n: int) -> float:
    """Return gamma_n: a float32 sum of products is off by this share of the sum of their magnitudes.

    References:
        Higham 2002, Accuracy and Stability of Numerical Algorithms, eq. 3.5; holds in any order of summation.
    """
    return n * UNIT / (1 - n * UNIT)


@contextmanager
def full_precision() -> Iterator[None]:
    """Multiply and convolve in true float32 inside, whatever the program allows elsewhere; restore it after."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


class Metric(Protocol):
    """How alike two images are, in the units of the metric.

    A metric that derives from this class may leave ``screen`` out.

    Attributes:
        name: Its name in ``METRICS``.
        better: Whether a higher or a lower value means more alike; similarity is the value, or minus the value.
        label: Name and settings, for printing.
        key: Hash of everything its values depend on beside the images.
        device: Where it computes.
    """

    name: str
    better: Better
    label: str
    key: str
    device: torch.device

    def embed(self, images: Tensor) -> Tensor:
        """Return what is compared, (N, ...), of images (N, C, H, W) in [0, 1]: a function of each image alone."""
        ...

    def screen(self, queries: Tensor) -> Screen:
        """Return a function that compares embedded queries with embedded gallery images, fast and roughly.

        This one computes every pair as ``exact_values`` does: not fast, and never off.
        """
        return partial(_exact_screen, self, queries)

    def exact(self, queries: Tensor, gallery: Tensor) -> Tensor:
        """Return the values (N,) float64 of N pairs of embedded images; each depends on its pair alone."""
        ...


def exact_values(metric: Metric, x: Tensor, y: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the values of the pairs (x[rows], y[columns]), in batches of one size: a sum may depend on the size."""
    size = max(2, PAIR_NUMBERS // x[0].numel())
    values = torch.empty(len(rows), dtype=torch.float64, device=x.device)
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        i, j = rows[part], columns[part]
        short = size - len(i)
        padded = metric.exact(x[torch.cat([i, i.new_zeros(short)])], y[torch.cat([j, j.new_zeros(short)])])
        values[part] = padded[: len(i)]
    return values


def all_values(metric: Metric, x: Tensor, y: Tensor) -> Tensor:
    """Return the values (Q, N) float64 of all pairs of embedded images."""
    rows, columns = torch.cartesian_prod(
        torch.arange(len(x), device=x.device), torch.arange(len(y), device=x.device)
    ).unbind(1)
    return exact_values(metric, x, y, rows, columns).view(len(x), len(y))


def _exact_screen(metric: Metric, queries: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
    values = all_values(metric, queries, gallery)
    return values, values.new_zeros(len(queries), 1)


@dataclass(frozen=True)
class MetricOptions:
    """What ``make_metric`` was given; each metric reads what concerns it."""

    resize: int | None
    reference: Tensor | None
    weights: Path | None
    download: bool
    device: torch.device


def described(label: str, resize: int | None) -> str:
    """Return the label with the resize, if any."""
    return label if resize is None else f"{label}, resized to {resize}"
