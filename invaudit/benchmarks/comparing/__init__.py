"""Two runs compared, before and after a repair: paired where both measured the same images, side by side elsewhere.

``compare`` reads two run folders, of OOD benchmarks or of audits; nothing is measured anew, and neither networks nor
images are needed.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.benchmarks.comparing.runs import Comparison, compare

__all__ = [
    "Comparison",
    "compare",
]
__getattr__, __dir__ = attach(__name__)
