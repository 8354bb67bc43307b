"""Settings of the library's detectors, chosen on synthetic outliers: rows ``NAME@tuned``."""

from typing import Any, Self

from torch import Tensor

from invaudit.models import Activations
from invaudit.ood.baselines.base import Baseline, FittedBaseline
from invaudit.ood.baselines.table import BASELINES, TUNABLE
from invaudit.ood.fit_inputs import FitInputs
from invaudit.records import DetectorInfo
from invaudit.runtime.errors import SettingError
from invaudit.stats import auroc


class TunedDetector:
    """A detector of pytorch-ood whose settings are chosen on synthetic outliers, row ``NAME@tuned``.

    Args:
        row: A row with settings to try.
    """

    def __init__(self, row: Baseline) -> None:
        self.row = row

    @property
    def info(self) -> DetectorInfo:
        """What it is."""
        return self.row.info.model_copy(update={"name": f"{self.row.name}@tuned"})

    def fit(self, inputs: FitInputs) -> Self:
        """Choose settings, fit, and return itself.

        Raises:
            SettingError: There are no outliers to choose by, or what `tuned` refuses.
        """
        if inputs.tuning is None:
            raise SettingError(f"{self.info.name} got no outliers to choose its settings by; set tuning")
        self.fitted, _chosen = tuned(self.row.name, inputs, inputs.tuning)
        return self

    def score(self, activations: Activations) -> Tensor:
        """Return scores (N,) float64."""
        return self.fitted.score(activations)


def tuned(name: str, inputs: FitInputs, synthetic: Activations) -> tuple[FittedBaseline, dict[str, Any]]:
    """Return the detector with the best AUROC of held-out ID images against synthetic outliers.

    Args:
        name: A row of ``TUNABLE``.
        inputs: What to fit with; its ``fit`` images are the held-out ones.
        synthetic: Activations of outliers of families that nothing was trained on.

    Returns:
        The fitted detector and its settings; of equal ones the first.

    Raises:
        SettingError: The row has nothing to tune, or no setting gives finite scores.
        NotApplicableError: The network lacks what the method needs.
    """
    row = BASELINES.get(name)
    if row is None or row.grid is None:
        raise SettingError(f"{name!r} has nothing to tune; known: {', '.join(TUNABLE)}")
    inputs = inputs.classes_only()
    best: tuple[FittedBaseline, dict[str, Any]] | None = None
    best_auroc = -1.0
    refused = "its grid is empty for this network"
    for hyperparameters in row.grid(inputs):
        try:
            detector = row.detector(inputs, **hyperparameters)
            value = auroc(detector.score(inputs.fit).numpy(), detector.score(synthetic).numpy())
        except SettingError as error:
            refused = str(error)
            continue
        if value > best_auroc:
            best, best_auroc = (detector, dict(hyperparameters)), value
    if best is None:
        raise SettingError(f"no setting of {name} works: {refused}")
    return best
