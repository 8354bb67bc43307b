"""OOD detection: the garbage cycle, our detector ``joint``, and every detector of pytorch-ood fed from one pass.

``fit`` makes a ``GuardedClassifier`` that scores and accepts; ``BASELINES`` is where a detector is added.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.ood.baselines import BASELINES, TUNABLE, FitInputs, tuned
    from invaudit.ood.cycle import TrainingResult, new_target, train_network, with_garbage
    from invaudit.ood.guarded import GuardedClassifier, fit, guard
    from invaudit.ood.interop import as_pytorch_ood
    from invaudit.ood.joint import Joint, part_weight, synthetic_activations
    from invaudit.ood.parts import PARTS
    from invaudit.ood.recipes import FitSettings, GarbageSettings, Recipe
    from invaudit.ood.run import FitRun, ImageScore, ImageScores, run_fit, score_images
    from invaudit.ood.scores import confidence, fools_network, logit_scores, predictions, require_finite

__all__ = [
    "BASELINES",
    "PARTS",
    "TUNABLE",
    "FitInputs",
    "FitRun",
    "FitSettings",
    "GarbageSettings",
    "GuardedClassifier",
    "ImageScore",
    "ImageScores",
    "Joint",
    "Recipe",
    "TrainingResult",
    "as_pytorch_ood",
    "confidence",
    "fit",
    "fools_network",
    "guard",
    "logit_scores",
    "new_target",
    "part_weight",
    "predictions",
    "require_finite",
    "run_fit",
    "score_images",
    "synthetic_activations",
    "train_network",
    "tuned",
    "with_garbage",
]
__getattr__, __dir__ = attach(__name__)
