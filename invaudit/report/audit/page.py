"""The page of the audit of a model: three answers first, then everything that they rest on."""

from pathlib import Path
from typing import Any

from invaudit.report.audit.answers import answers, charts, headline
from invaudit.report.audit.card import CARD, card_text
from invaudit.report.audit.content import Content
from invaudit.report.audit.controls import control_lines
from invaudit.report.audit.model import model_lines
from invaudit.report.audit.samples import samples_picture
from invaudit.report.audit.sections import SECTIONS
from invaudit.report.page import provenance, sorting_script, write_page
from invaudit.report.sections import make_sections
from invaudit.runtime.files import write_text


def audit_page(folder: Path) -> Path:
    """Write ``figures/*.png``, ``report.html`` and ``card.md`` of the audit of a model into its folder.

    The page shows what the folder holds and says what is missing. Images are on it only if the audit was made with
    ``images: full``. Equal folders give equal bytes.

    Args:
        folder: The folder of the audit.

    Returns:
        The path of ``report.html``.

    Raises:
        RunFolderError: The folder holds no ``table.csv``, or cannot be written.
    """
    content = Content.of(folder)
    run = content.run
    sections = make_sections(SECTIONS, content) + provenance(run.seeds, run.config, run.environment)
    lead = _lead(content)
    shown = [*lead["charts"], lead["samples"]]
    write_text(folder / CARD, card_text(content))
    return write_page(folder, "audit.html", lead, sections, figures=[figure for figure in shown if figure is not None])


def _lead(content: Content) -> dict[str, Any]:
    """Return what stands above the sections."""
    return {
        "title": "Audit of a model",
        "headline": headline(content),
        "model": model_lines(content),
        "answers": answers(content),
        "charts": charts(content),
        "controls": control_lines(content),
        "samples": samples_picture(content),
        "with_images": content.run.shows_images,
        **sorting_script(),
    }
