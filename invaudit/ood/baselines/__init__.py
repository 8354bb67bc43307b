"""Every detector class of pytorch-ood as a row, fed from the activations of one forward pass where the method allows.

``BASELINES`` is the mapping; a new class of the library gets a line in ``table.py``.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.ood.baselines.base import Baseline, Detector, Fitting, NotApplicable
    from invaudit.ood.baselines.table import BASELINES, TUNABLE, unlisted
    from invaudit.ood.baselines.tuning import tuned

__getattr__, __all__ = attach(
    __name__,
    {
        "BASELINES": "table",
        "Baseline": "base",
        "Detector": "base",
        "Fitting": "base",
        "NotApplicable": "base",
        "TUNABLE": "table",
        "tuned": "tuning",
        "unlisted": "table",
    },
)
