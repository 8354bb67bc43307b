"""Images embedded once by a metric, for several searches among them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from invaudit.runtime.errors import SettingError
from invaudit.similarity.protocol import Metric, full_precision

LARGEST = 2**27
"""Numbers (1 GB in float64) that embedded images may take."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """N images as one metric compares them.

    Attributes:
        values: (N, ...), what ``metric.embed`` gives.
        shape: (C, H, W) of the images.
        key: Key of the metric.
    """

    values: Tensor
    shape: torch.Size
    key: str

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.values)

    def __getitem__(self, index: Tensor | slice) -> "Embedded":
        """Return some of the images: positions, a mask or a slice."""
        return Embedded(self.values[index], self.shape, self.key)

    def split(self, size: int) -> "list[Embedded]":
        """Return the images in parts of ``size``, the last one perhaps smaller."""
        return [self[start : start + size] for start in range(0, len(self), size)]


@torch.no_grad()
@full_precision()
def embed_once(images: Tensor, metric: Metric) -> "Embedded | Tensor":
    """Return images embedded by a metric, or as they are where that would take too much memory.

    A search takes either; images as they are it embeds anew each time. The values are the same.

    Args:
        images: (N, C, H, W) floats in [0, 1].
        metric: From ``make_metric``.
    """
    if len(images) * metric.embed(images[:1]).numel() > LARGEST:
        return images
    return Embedded(metric.embed(images), images.shape[1:], metric.key)


def embedding(images: "Embedded | Tensor", metric: Metric) -> Tensor:
    """Return images (N, C, H, W) as a metric compares them, (N, ...).

    Raises:
        SettingError: They are embedded by another metric.
    """
    if not isinstance(images, Embedded):
        return metric.embed(images)
    if images.key != metric.key:
        raise SettingError(f"the images are embedded by another metric than {metric.label}; embed them by this one")
    return images.values
