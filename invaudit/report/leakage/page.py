"""The page of a leakage run: the verdicts first, then its sections."""

from collections.abc import Iterator
from pathlib import Path

from invaudit.records.leakage_run import LeakageRun, read_leakage_run
from invaudit.report.leakage.blocks import figures_in
from invaudit.report.leakage.findings import (
    FIRED,
    Finding,
    attack_sentence,
    findings,
    fired,
    headline_sentence,
    smallest_p,
)
from invaudit.report.leakage.sections import SECTIONS, Content
from invaudit.report.page import write_page
from invaudit.report.printing import p_text


def leakage_page(run: Path) -> Path:
    """Write ``figures/*.png`` and ``report.html`` of a leakage run into its folder.

    The page shows what the folder holds and says what is missing. Images are on it only if the run was made with
    ``images: full``. Equal folders give equal bytes.

    Args:
        run: The run folder.

    Returns:
        The path of ``report.html``.

    Raises:
        RunFolderError: The folder holds no ``table.csv``, or cannot be written.
    """
    record = read_leakage_run(run)
    content = Content(record, findings(record))
    sections = [section for section in (make(content) for make in SECTIONS) if section is not None]
    drawn = [figure for section in sections for figure in figures_in(section.blocks)]
    context = {
        "title": "Leakage of training images",
        "headline": headline_sentence(content.findings),
        "findings": content.findings,
        "attack_sentence": attack_sentence(record),
        "warning": FIRED,
        "fired": fired(record),
        "with_images": record.shows_images,
        "cards": list(_cards(record, content.findings)),
        "sections": sections,
    }
    return write_page(run, "leakage.html", context, drawn)


def _cards(run: LeakageRun, audited: list[Finding]) -> Iterator[tuple[str, str, str]]:
    """Yield title, figure and note of each number at the top of the page."""
    audited = [finding for finding in audited if not finding.negative]
    tests = [row for finding in audited for row in finding.tests]
    leaking_targets = sum(finding.verdict == "leak" for finding in audited)
    leaking_tests = sum(row.verdict == "leak" for row in tests)
    yield "targets that leak", f"{leaking_targets} of {len(audited)}", "by any test"
    yield "tests that say leak", f"{leaking_tests} of {len(tests)}", "over targets, methods, metrics and seeds"
    smallest = smallest_p(tests)
    if smallest is not None:
        p, row = smallest
        yield "smallest Holm p", p_text(p), f"{row.method}, {row.metric} on {row.target}"
    n_negative = sum(row.kind == "negative" for row in run.controls)
    yield "negative controls", _negative_controls(run), f"{n_negative} tests where nothing can leak"


def _negative_controls(run: LeakageRun) -> str:
    """Return in one word how the negative controls went."""
    if not run.negative_targets:
        return "not run"
    return "fired" if fired(run) else "passed"
