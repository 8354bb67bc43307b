"""The OOD benchmark: networks x detectors x OOD sets x seeds, with controls, from one config.

``run`` does everything: ``jobs`` make scores, ``tables`` numbers from stored scores, ``controls`` refuse a broken run.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.benchmarks.ood.runner import run
    from invaudit.benchmarks.ood.settings import OODBenchmark

__all__ = [
    "OODBenchmark",
    "run",
]
__getattr__, __dir__ = attach(__name__)
