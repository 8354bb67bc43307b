"""Redraws a finished run from its folder: tables, figures, the offline page.

It measures nothing anew and never imports torch; a name is imported when it is used.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.report.audit.card import model_card
    from invaudit.report.audit.page import audit_page
    from invaudit.report.audit.summary import audit_summary
    from invaudit.report.drawing import gallery, png, write_figure
    from invaudit.report.explain.page import explain_page
    from invaudit.report.leakage.audit import audit_record
    from invaudit.report.leakage.page import leakage_page
    from invaudit.report.leakage.tables import leakage_table
    from invaudit.report.ood.figures import attack_images, headline, histograms, inversions, resistance
    from invaudit.report.ood.page import ood_page
    from invaudit.report.ood.tables import short_table, terminal_table

__all__ = [
    "attack_images",
    "audit_page",
    "audit_record",
    "audit_summary",
    "explain_page",
    "gallery",
    "headline",
    "histograms",
    "inversions",
    "leakage_page",
    "leakage_table",
    "model_card",
    "ood_page",
    "png",
    "resistance",
    "short_table",
    "terminal_table",
    "write_figure",
]
__getattr__, __dir__ = attach(__name__)
