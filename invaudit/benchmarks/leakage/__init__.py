"""The leakage benchmark: targets trained under the ``pairs`` design, every method and metric, tables and a report.

``python -m invaudit.benchmarks.leakage`` runs it; ``LeakageBenchmark`` describes one, ``run`` does it.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.benchmarks.leakage.runner import run
    from invaudit.benchmarks.leakage.settings import LeakageBenchmark

__all__ = [
    "LeakageBenchmark",
    "run",
]
__getattr__, __dir__ = attach(__name__)
