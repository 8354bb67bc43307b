"""Audits of what others made: reconstructions, against given members and controls.

``score`` says whether given reconstructions show a leak; ``ScoreSettings`` describes such an audit.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.audit.given import ScoreSettings, score

__getattr__, __all__ = attach(__name__, {"ScoreSettings": "given", "score": "given"})
