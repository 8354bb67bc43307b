"""The OOD benchmark: networks x detectors x OOD sets x seeds, with controls, from one config.

``run`` does everything: ``jobs`` make scores, ``tables`` numbers from stored scores, ``controls`` refuse a broken run.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.benchmarks.ood.runner import run
    from invaudit.benchmarks.ood.settings import OODBenchmark

__getattr__, __all__ = attach(__name__, {"OODBenchmark": "settings", "run": "runner"})
