"""Classifiers: architectures, the target with its input spec, safe loading, the training loop, devices.

``Target`` is what every other part works on; ``collect`` reads everything of one forward pass.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.models.activations import Activations
    from invaudit.models.architectures import ARCHITECTURES, Classifier, build
    from invaudit.models.devices import limit_threads, resolve_device
    from invaudit.models.loading import load_model
    from invaudit.models.own_files import save_target
    from invaudit.models.reading import collect
    from invaudit.models.spec import InputSpec
    from invaudit.models.target import Target, frozen_eval
    from invaudit.models.training import History, Outliers, TrainingSettings, accuracy, train

__all__ = [
    "ARCHITECTURES",
    "Activations",
    "Classifier",
    "History",
    "InputSpec",
    "Outliers",
    "Target",
    "TrainingSettings",
    "accuracy",
    "build",
    "collect",
    "frozen_eval",
    "limit_threads",
    "load_model",
    "resolve_device",
    "save_target",
    "train",
]
__getattr__, __dir__ = attach(__name__)
