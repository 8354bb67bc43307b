"""OOD detection: the garbage cycle, our detector ``joint``, and every detector of pytorch-ood fed from one pass.

``fit`` makes a ``GuardedClassifier`` that scores and accepts; ``DETECTORS`` is where a detector is added.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.ood.baselines import BASELINES, TUNABLE, tuned
    from invaudit.ood.checking import GuardCheck, check, recalibrated
    from invaudit.ood.cycle import TrainingResult, train_network, untrained_target, with_garbage
    from invaudit.ood.detector import DETECTORS, Detector, make_detector
    from invaudit.ood.fit_inputs import FitInputs
    from invaudit.ood.fitting import fit, guard
    from invaudit.ood.guarded import GuardedClassifier, Judgement
    from invaudit.ood.interop import as_pytorch_ood
    from invaudit.ood.joint import Joint, synthetic_activations
    from invaudit.ood.parts import PARTS
    from invaudit.ood.recipes import FitSettings, GarbageSettings, Recipe
    from invaudit.ood.run import FitRun, run_calibrate, run_check, run_export, run_fit
    from invaudit.ood.scoring import ImageScore, ImageScores, ScoreTally, score_images, stream_scores

__all__ = [
    "BASELINES",
    "DETECTORS",
    "PARTS",
    "TUNABLE",
    "Detector",
    "FitInputs",
    "FitRun",
    "FitSettings",
    "GarbageSettings",
    "GuardCheck",
    "GuardedClassifier",
    "ImageScore",
    "ImageScores",
    "Joint",
    "Judgement",
    "Recipe",
    "ScoreTally",
    "TrainingResult",
    "as_pytorch_ood",
    "check",
    "fit",
    "guard",
    "make_detector",
    "recalibrated",
    "run_calibrate",
    "run_check",
    "run_export",
    "run_fit",
    "score_images",
    "stream_scores",
    "synthetic_activations",
    "train_network",
    "tuned",
    "untrained_target",
    "with_garbage",
]
__getattr__, __dir__ = attach(__name__)
