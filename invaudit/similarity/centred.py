"""Cosine of the angle between two images after the mean of a reference set is subtracted."""

import torch
from torch import Tensor

from invaudit.records.columns import Better
from invaudit.runtime.errors import SettingError
from invaudit.runtime.files import content_hash
from invaudit.similarity.checks import checked_images, same_shape
from invaudit.similarity.protocol import MetricOptions, Screen, described, rounding


class Cosine:
    """Centred cosine: <x - m, y - m> / (|x - m| |y - m|), m the mean of the reference images; in [-1, 1].

    An image that equals m has no direction: its cosine with anything is 0.

    Raises:
        SettingError: There are no reference images.
    """

    name = "cosine"
    better: Better = "higher"

    def __init__(self, options: MetricOptions) -> None:
        if options.reference is None:
            raise SettingError("cosine needs reference images, whose mean it subtracts; pass reference=images")
        self.resize, self.device = options.resize, options.device
        self.mean = self._checked(options.reference).double().mean(0)
        self.label = described("cosine, centred", self.resize)
        self.key = content_hash(self.label, self.device.type, self.mean.cpu().numpy().tobytes())

    def _checked(self, images: Tensor) -> Tensor:
        return checked_images(images, smallest=1, resize=self.resize, device=self.device)

    def embed(self, images: Tensor) -> Tensor:
        """Return the centred unit vectors (N, D) float64."""
        images = self._checked(images)
        same_shape(images.shape[1:], self.mean.shape, "compared", "the reference")
        rows = (images - self.mean).flatten(1)
        return rows / rows.square().sum(1, keepdim=True).sqrt().clamp_min(1e-12)

    def screen(self, queries: Tensor) -> Screen:
        """Multiply the unit vectors in float32."""
        rough = queries.float()
        tolerance = torch.full((len(rough), 1), rounding(rough.shape[1] + 4), device=rough.device)
        return lambda gallery: (rough @ gallery.float().T, tolerance)

    def exact(self, queries: Tensor, gallery: Tensor) -> Tensor:
        """Return the cosine of each pair."""
        return (queries * gallery).sum(1).clamp(-1, 1)
