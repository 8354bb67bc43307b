"""Settings of the library's detectors, chosen on synthetic outliers: rows ``NAME@tuned``."""

from typing import Any

from invaudit.models import Activations
from invaudit.ood.baselines.base import Detector, FitInputs
from invaudit.ood.baselines.table import BASELINES, TUNABLE
from invaudit.runtime.errors import SettingError
from invaudit.stats import auroc


def tuned(name: str, fitting: FitInputs, synthetic: Activations) -> tuple[Detector, dict[str, Any]]:
    """Return the detector with the best AUROC of held-out ID images against synthetic outliers.

    Args:
        name: A row of ``TUNABLE``.
        fitting: What to fit with; its ``fit`` images are the held-out ones.
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
    best: tuple[float, Detector, dict[str, Any]] | None = None
    refused = "its grid is empty for this network"
    for knobs in row.grid(fitting):
        try:
            found = row.detector(fitting, **knobs)
            value = auroc(found.score(fitting.fit).numpy(), found.score(synthetic).numpy())
        except SettingError as error:
            refused = str(error)
            continue
        if best is None or value > best[0]:
            best = value, found, dict(knobs)
    if best is None:
        raise SettingError(f"no setting of {name} works: {refused}")
    return best[1], best[2]
