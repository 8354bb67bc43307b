"""Classifiers: architectures, the target with its input spec, safe loading, the training loop, devices.

``Target`` is what every other part works on; ``collect`` reads everything of one forward pass.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.models.architectures import ARCHITECTURES, Classifier, build
    from invaudit.models.devices import autocast, resolve_device, resolve_precision, seeded, threads
    from invaudit.models.loading import load_target, save_target
    from invaudit.models.target import Activations, InputSpec, Target, borrowed, collect, moments, passes
    from invaudit.models.training import History, Outliers, TrainingSettings, accuracy, train

__getattr__, __all__ = attach(
    __name__,
    {
        "ARCHITECTURES": "architectures",
        "Activations": "target",
        "Classifier": "architectures",
        "History": "training",
        "InputSpec": "target",
        "Outliers": "training",
        "Target": "target",
        "TrainingSettings": "training",
        "accuracy": "training",
        "autocast": "devices",
        "borrowed": "target",
        "build": "architectures",
        "collect": "target",
        "load_target": "loading",
        "moments": "target",
        "passes": "target",
        "resolve_device": "devices",
        "resolve_precision": "devices",
        "save_target": "loading",
        "seeded": "devices",
        "threads": "devices",
        "train": "training",
    },
)
