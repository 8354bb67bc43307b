"""Our detectors on pytorch-ood's interface, for its metrics and benchmarks."""

from typing import Any

from torch import Tensor

from invaudit.data.vision import import_torchvision
from invaudit.models import Target, collect


def as_pytorch_ood(detector: Any, target: Target) -> Any:
    """Return a ``pytorch_ood.api.Detector`` whose ``predict`` gives our scores.

    ``predict`` takes images (N, C, H, W) in [0, 1] and returns scores (N,) float32 on the CPU, higher = more OOD.

    Args:
        detector: A fitted detector of ours: ``joint``, or a score of the logits.
        target: The network that it was fitted to.

    Returns:
        An object that ``OODMetrics`` and ``Benchmark.evaluate`` of pytorch-ood take as they are.
    """
    import_torchvision()
    from pytorch_ood.api import Detector

    class Adapted(Detector):
        def fit(self, *args: Any, **kwargs: Any) -> "Adapted":  # noqa: ARG002
            return self

        def predict(self, x: Tensor) -> Tensor:
            return detector.score(collect(target, x, keep_maps=False)).float()

    return Adapted()
