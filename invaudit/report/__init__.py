"""Redraws a finished run from its folder: tables, figures, the offline page.

It measures nothing anew and never imports torch; a name is imported when it is used.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.report.figures import gallery as gallery
    from invaudit.report.figures import headline as headline
    from invaudit.report.figures import histograms as histograms
    from invaudit.report.figures import inversions as inversions
    from invaudit.report.figures import png as png
    from invaudit.report.figures import resistance as resistance
    from invaudit.report.figures import write_figure as write_figure
    from invaudit.report.page import ood_page as ood_page
    from invaudit.report.records import OodRun as OodRun
    from invaudit.report.records import read_ood_run as read_ood_run
    from invaudit.report.tables import format_table as format_table
    from invaudit.report.tables import is_baseline as is_baseline
    from invaudit.report.tables import short_table as short_table
    from invaudit.report.tables import terminal_table as terminal_table

__getattr__, __all__ = attach(
    __name__,
    {
        "OodRun": "records",
        "format_table": "tables",
        "gallery": "figures",
        "headline": "figures",
        "histograms": "figures",
        "inversions": "figures",
        "is_baseline": "tables",
        "ood_page": "page",
        "png": "figures",
        "read_ood_run": "records",
        "resistance": "figures",
        "short_table": "tables",
        "terminal_table": "tables",
        "write_figure": "figures",
    },
)
