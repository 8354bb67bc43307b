"""Redraws a finished run from its folder: tables, figures, the offline page.

It measures nothing anew and never imports torch; a name is imported when it is used.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.report.drawing import gallery, png, write_figure
    from invaudit.report.leakage.audit import audit_record, audit_schema
    from invaudit.report.leakage.page import leakage_page
    from invaudit.report.leakage.run import LeakageRun, read_leakage_run
    from invaudit.report.leakage.tables import leakage_table
    from invaudit.report.ood.figures import attack_images, headline, histograms, inversions, resistance
    from invaudit.report.ood.page import ood_page
    from invaudit.report.ood.tables import short_table, terminal_table

__all__ = [
    "LeakageRun",
    "attack_images",
    "audit_record",
    "audit_schema",
    "gallery",
    "headline",
    "histograms",
    "inversions",
    "leakage_page",
    "leakage_table",
    "ood_page",
    "png",
    "read_leakage_run",
    "resistance",
    "short_table",
    "terminal_table",
    "write_figure",
]
__getattr__, __dir__ = attach(__name__)
