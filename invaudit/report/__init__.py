"""Redraws a finished run from its folder: tables, figures, the offline page.

It measures nothing anew and never imports torch; a name is imported when it is used.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.report.drawing import gallery as gallery
    from invaudit.report.drawing import png as png
    from invaudit.report.drawing import write_figure as write_figure
    from invaudit.report.leakage.audit import audit_record as audit_record
    from invaudit.report.leakage.audit import audit_schema as audit_schema
    from invaudit.report.leakage.page import leakage_page as leakage_page
    from invaudit.report.leakage.run import LeakageRun as LeakageRun
    from invaudit.report.leakage.run import read_leakage_run as read_leakage_run
    from invaudit.report.leakage.tables import leakage_table as leakage_table
    from invaudit.report.ood.figures import attack_images as attack_images
    from invaudit.report.ood.figures import headline as headline
    from invaudit.report.ood.figures import histograms as histograms
    from invaudit.report.ood.figures import inversions as inversions
    from invaudit.report.ood.figures import resistance as resistance
    from invaudit.report.ood.page import ood_page as ood_page
    from invaudit.report.ood.run import OodRun as OodRun
    from invaudit.report.ood.run import read_ood_run as read_ood_run
    from invaudit.report.ood.tables import format_table as format_table
    from invaudit.report.ood.tables import is_baseline as is_baseline
    from invaudit.report.ood.tables import short_table as short_table
    from invaudit.report.ood.tables import terminal_table as terminal_table

__getattr__, __all__ = attach(
    __name__,
    {
        "LeakageRun": "leakage.run",
        "OodRun": "ood.run",
        "attack_images": "ood.figures",
        "audit_record": "leakage.audit",
        "audit_schema": "leakage.audit",
        "format_table": "ood.tables",
        "gallery": "drawing",
        "headline": "ood.figures",
        "histograms": "ood.figures",
        "inversions": "ood.figures",
        "is_baseline": "ood.tables",
        "leakage_page": "leakage.page",
        "leakage_table": "leakage.tables",
        "ood_page": "ood.page",
        "png": "drawing",
        "read_leakage_run": "leakage.run",
        "read_ood_run": "ood.run",
        "resistance": "ood.figures",
        "short_table": "ood.tables",
        "terminal_table": "ood.tables",
        "write_figure": "drawing",
    },
)
