"""OOD detection: the garbage cycle, our detector ``joint``, and every detector of pytorch-ood fed from one pass.

``fit`` makes a ``GuardedClassifier`` that scores and accepts; ``BASELINES`` is where a detector is added.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.ood.baselines import BASELINES, TUNABLE, Fitting, NotApplicable, tuned
    from invaudit.ood.cycle import Trained, new_target, train_network, with_garbage
    from invaudit.ood.guarded import GuardedClassifier, check, fit, guard
    from invaudit.ood.interop import as_pytorch_ood
    from invaudit.ood.joint import Joint, part_weight, synthetic_activations
    from invaudit.ood.parts import PARTS
    from invaudit.ood.recipes import FitSettings, GarbageSettings, Recipe
    from invaudit.ood.scores import confidence, counterfeits, finite, logit_scores, predictions

__getattr__, __all__ = attach(
    __name__,
    {
        "BASELINES": "baselines",
        "FitSettings": "recipes",
        "Fitting": "baselines",
        "GarbageSettings": "recipes",
        "GuardedClassifier": "guarded",
        "Joint": "joint",
        "NotApplicable": "baselines",
        "PARTS": "parts",
        "Recipe": "recipes",
        "TUNABLE": "baselines",
        "Trained": "cycle",
        "as_pytorch_ood": "interop",
        "check": "guarded",
        "confidence": "scores",
        "counterfeits": "scores",
        "finite": "scores",
        "fit": "guarded",
        "guard": "guarded",
        "logit_scores": "scores",
        "new_target": "cycle",
        "part_weight": "joint",
        "predictions": "scores",
        "synthetic_activations": "joint",
        "train_network": "cycle",
        "tuned": "baselines",
        "with_garbage": "cycle",
    },
)
