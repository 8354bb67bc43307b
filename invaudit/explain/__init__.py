"""What a network has learned, seen through inversion: borders, adversarial samples, masks, and measures of them."""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.explain.run import ExplainRun, explain_model
    from invaudit.explain.settings import ExplainSettings

__all__ = ["ExplainRun", "ExplainSettings", "explain_model"]
__getattr__, __dir__ = attach(__name__)
