"""The inversion engine: a conditioned generator trained so that a frozen target gives the outputs that are wanted.

Condition modes, generators and objectives are one mapping each; ``invert`` runs once, ``Inverter`` stays warm.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.inversion.conditions import MODES, Condition, condition_from, sample_condition
    from invaudit.inversion.diagnostics import Diagnosis, diagnose
    from invaudit.inversion.engine import Inverter
    from invaudit.inversion.generators import GENERATORS, Generator, build_generator
    from invaudit.inversion.inverting import invert, invert_by, invert_pixels
    from invaudit.inversion.objectives import OBJECTIVES, Step
    from invaudit.inversion.pixel_inversion import PixelInversion, PixelInversionSettings, draw_each
    from invaudit.inversion.results import Evaluation, Inversion
    from invaudit.inversion.run import InversionRun, run_inversion
    from invaudit.inversion.settings import InversionSettings

__all__ = [
    "GENERATORS",
    "MODES",
    "OBJECTIVES",
    "Condition",
    "Diagnosis",
    "Evaluation",
    "Generator",
    "Inversion",
    "InversionRun",
    "InversionSettings",
    "Inverter",
    "PixelInversion",
    "PixelInversionSettings",
    "Step",
    "build_generator",
    "condition_from",
    "diagnose",
    "draw_each",
    "invert",
    "invert_by",
    "invert_pixels",
    "run_inversion",
    "sample_condition",
]
__getattr__, __dir__ = attach(__name__)
