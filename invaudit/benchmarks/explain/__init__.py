"""The benchmark of explanations: networks x variants of inversion x seeds, and what the images are worth.

``python -m invaudit.benchmarks.explain`` runs it; ``ExplainBenchmark`` describes one, ``run`` does it.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.benchmarks.explain.runner import run
    from invaudit.benchmarks.explain.settings import ExplainBenchmark

__all__ = [
    "ExplainBenchmark",
    "run",
]
__getattr__, __dir__ = attach(__name__)
