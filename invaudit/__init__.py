"""Audit an image classifier: does it know what it does not know, and does it give away its training data?

>>> import invaudit
>>> images = invaudit.load("digits@0:200")
>>> len(images), images.classes
(200, 10)

``invaudit.fit`` makes a classifier that rejects what it was not trained for, ``invaudit.invert`` shows what a network
takes for each class, ``invaudit.reconstruct`` makes images that resemble its training images, and ``invaudit.nearest``
finds the most similar of any images. Each has an example of its own: ``help(invaudit.fit)``. ``invaudit.audit_model``
says what a network gives away and what it does not know, ``invaudit.explain_model`` what it has learned; their
examples are in ``docs/use.md``.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach
from invaudit.runtime.version import __version__

if TYPE_CHECKING:
    from invaudit import (
        audit,
        benchmarks,
        data,
        explain,
        inversion,
        leakage,
        models,
        ood,
        records,
        report,
        similarity,
        stats,
    )
    from invaudit.audit import audit_model
    from invaudit.data import load
    from invaudit.explain import explain_model
    from invaudit.inversion import invert
    from invaudit.leakage import reconstruct
    from invaudit.models import load_model
    from invaudit.ood import GuardedClassifier, fit
    from invaudit.similarity import nearest

__all__ = [
    "GuardedClassifier",
    "__version__",
    "audit",
    "audit_model",
    "benchmarks",
    "data",
    "explain",
    "explain_model",
    "fit",
    "inversion",
    "invert",
    "leakage",
    "load",
    "load_model",
    "models",
    "nearest",
    "ood",
    "reconstruct",
    "records",
    "report",
    "similarity",
    "stats",
]
__getattr__, __dir__ = attach(__name__)
