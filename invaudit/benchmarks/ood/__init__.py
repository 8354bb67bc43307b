"""The OOD benchmark: networks x detectors x OOD sets x seeds, with controls, from one config.

``run`` does everything: a ``job`` makes scores, ``tables`` makes numbers from stored scores, ``controls`` refuses a run
whose numbers could not be trusted.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.benchmarks.ood.runner import FinishedRun, run
    from invaudit.benchmarks.ood.settings import OODBenchmark

__all__ = [
    "FinishedRun",
    "OODBenchmark",
    "run",
]
__getattr__, __dir__ = attach(__name__)
