"""Audits of what others made: reconstructions, against given members and controls.

``score`` says whether given reconstructions show a leak; ``ScoreSettings`` describes such an audit.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.audit.reconstructions import ScoreSettings, score

__all__ = [
    "ScoreSettings",
    "score",
]
__getattr__, __dir__ = attach(__name__)
