"""Recomputes the numbers of a finished run from what its folder holds, without model or images, and compares.

Tables, verdicts and the page are made once more by the functions that made them, in a folder of their own.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.verify.findings import Difference, Verification
    from invaudit.verify.folder import verify

__all__ = [
    "Difference",
    "Verification",
    "verify",
]
__getattr__, __dir__ = attach(__name__)
