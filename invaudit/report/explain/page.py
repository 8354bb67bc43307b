"""The page of an explanation: what each class looks like, which classes touch, what fools it, what decides."""

from pathlib import Path
from typing import Any

from invaudit.report.explain.classes import OUTCOMES, classes, figures
from invaudit.report.explain.content import Content
from invaudit.report.explain.deciding import deciding
from invaudit.report.explain.fooling import fooling
from invaudit.report.explain.touching import touching
from invaudit.report.page import provenance, sorting_script, write_page
from invaudit.report.sections import make_sections

SECTIONS = (classes, figures, touching, fooling, deciding)


def explain_page(folder: Path) -> Path:
    """Write ``figures/*.png`` and ``report.html`` of an explanation into its folder; equal folders give equal bytes.

    Raises:
        RunFolderError: The folder holds no finished explanation, or cannot be written.
    """
    content = Content.of(folder)
    found = content.found
    sections = make_sections(SECTIONS, content)
    sections += provenance([found.seed], content.config, content.environment)
    return write_page(folder, "explain.html", _lead(content), sections)


def _lead(content: Content) -> dict[str, Any]:
    """Return what stands above the sections."""
    return {
        "title": "What a network has learned",
        "headline": _headline(content),
        "model": _model(content),
    } | sorting_script()


def _headline(content: Content) -> str:
    found = content.found
    return f"{found.model.name}: {OUTCOMES.get(found.inversion.outcome, found.inversion.outcome)}"


def _model(content: Content) -> list[tuple[str, str]]:
    found = content.found
    channels, height, width = found.model.input
    explained = f"{len(found.model.classes)} of {found.model.n_classes} classes"
    terms = [
        ("network", f"{found.model.architecture or 'of another'}, {channels} x {height} x {width}, {explained}"),
        ("search", f"by {found.inversion.by}: {found.inversion.outcome}. {found.inversion.message}"),
    ]
    if found.share_of_steps < 1:
        terms.append(
            ("budget", f"{100 * found.share_of_steps:.0f} % of the steps of every search were done, for the time given")
        )
    if found.data is None:
        terms.append(("real images", "none were given: nothing here is compared with any"))
    else:
        accuracy = f"it gives {100 * found.data.accuracy:.1f} % of them their class"
        terms.append(("real images", f"{found.data.name}: {found.data.n}; {accuracy}"))
    if found.second is None:
        terms.append(("second network", "none: nobody else was asked"))
    else:
        accuracy = found.second.accuracy
        share = "" if accuracy is None else f", {100 * accuracy.value:.1f} % of {accuracy.n} real images right"
        terms.append(("second network", f"{found.second.origin}{share}"))
    return terms
