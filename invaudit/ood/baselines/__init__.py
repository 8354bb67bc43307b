"""Every detector class of pytorch-ood as a row, fed from the activations of one forward pass where the method allows.

``BASELINES`` is the mapping; a new class of the library gets a line in ``table.py``.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.ood.baselines.base import Baseline, FittedBaseline
    from invaudit.ood.baselines.table import BASELINES, TUNABLE, unlisted
    from invaudit.ood.baselines.tuning import tuned

__all__ = [
    "BASELINES",
    "TUNABLE",
    "Baseline",
    "FittedBaseline",
    "tuned",
    "unlisted",
]
__getattr__, __dir__ = attach(__name__)
