"""The metrics by name."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from invaudit.runtime.errors import SettingError
from invaudit.similarity.centred import Cosine
from invaudit.similarity.perceptual import Lpips
from invaudit.similarity.protocol import Metric, MetricOptions
from invaudit.similarity.structural import Ssim

METRICS: Mapping[str, Callable[[MetricOptions], Metric]] = MappingProxyType(
    {
        "ssim": Ssim,
        "lpips-alex": partial(Lpips, "alex"),
        "lpips-squeeze": partial(Lpips, "squeeze"),
        "cosine": Cosine,
    }
)
"""Name -> what makes the metric; called by ``make_metric``."""


def make_metric(
    name: str,
    *,
    resize: int | None = None,
    reference: Tensor | None = None,
    weights: Path | None = None,
    download: bool = False,
    device: str | torch.device = "cpu",
) -> Metric:
    """Return a metric.

    Args:
        name: A name of ``METRICS``.
        resize: Side to which all images are resized first, bilinear and antialiased; part of the label.
        reference: (N, C, H, W) images whose mean cosine subtracts; they should hold no image of the pool.
        weights: Folder with the trunk weights of LPIPS; by default that of INVAUDIT_WEIGHTS.
        download: Fetch the trunk weights of LPIPS where they are not found.
        device: Where to compute.

    Raises:
        SettingError: Unknown name, or cosine without a reference.
        MissingWeightsError: LPIPS without trunk weights; says how to fetch them.
        ModelError: Trunk weights that do not fit.
    """
    if name not in METRICS:
        raise SettingError(f"metric {name!r} is unknown, expected one of {', '.join(METRICS)}")
    return METRICS[name](MetricOptions(resize, reference, weights, download, torch.device(device)))
