"""What a network has learned, seen through inversion: borders, adversarial samples, masks, and measures of them."""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.explain.atlas import Atlas, Confusion, atlas_of, confusion_of, most_confused, pairs_to_try
    from invaudit.explain.border_paths import GeneratorBorderSettings, generator_borders
    from invaudit.explain.border_pixels import PixelBorderSettings, pixel_borders
    from invaudit.explain.borders import Border, Borders, all_pairs
    from invaudit.explain.planes import Plane, plane_through
    from invaudit.explain.run import ExplainRun, explain_model
    from invaudit.explain.settings import ExplainSettings

__all__ = [
    "Atlas",
    "Border",
    "Borders",
    "Confusion",
    "ExplainRun",
    "ExplainSettings",
    "GeneratorBorderSettings",
    "PixelBorderSettings",
    "Plane",
    "all_pairs",
    "atlas_of",
    "confusion_of",
    "explain_model",
    "generator_borders",
    "most_confused",
    "pairs_to_try",
    "pixel_borders",
    "plane_through",
]
__getattr__, __dir__ = attach(__name__)
