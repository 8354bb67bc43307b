"""Our detectors on pytorch-ood's interface, for its metrics and benchmarks."""

from typing import Any

from torch import Tensor

from invaudit.data import torchvision
from invaudit.models import Target, borrowed


def as_pytorch_ood(detector: Any, target: Target) -> Any:
    """Return a ``pytorch_ood.api.Detector`` whose ``predict(images)`` gives our scores.

    Args:
        detector: A fitted detector of ours.
        target: The network that it was fitted to.

    Returns:
        An object that ``OODMetrics`` and ``Benchmark.evaluate`` of pytorch-ood take as they are; images are in [0, 1].
    """
    torchvision()
    from pytorch_ood.api import Detector

    class Adapted(Detector):
        def fit(self, *args: Any, **kwargs: Any) -> "Adapted":  # noqa: ARG002
            return self

        def predict(self, x: Tensor) -> Tensor:
            with borrowed(target):
                return detector.score(target.activations(x)).float()

    return Adapted()
