"""The page of a leakage run: the verdicts first, then its sections."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from invaudit.records.leakage_run import LeakageRun, read_leakage_run
from invaudit.report.leakage.findings import (
    FIRED,
    Finding,
    attack_sentence,
    findings,
    fired,
    headline_sentence,
    smallest_p,
    without_negatives,
)
from invaudit.report.leakage.sections import SECTIONS, Content
from invaudit.report.page import provenance, write_page
from invaudit.report.printing import p_text
from invaudit.report.sections import Card, make_sections


def leakage_page(folder: Path) -> Path:
    """Write ``figures/*.png`` and ``report.html`` of a leakage run into its folder.

    The page shows what the folder holds and says what is missing. Images are on it only if the run was made with
    ``images: full``. Equal folders give equal bytes.

    Args:
        folder: The run folder.

    Returns:
        The path of ``report.html``.

    Raises:
        RunFolderError: The folder holds no ``table.csv``, or cannot be written.
    """
    run = read_leakage_run(folder)
    content = Content(run, findings(run))
    sections = make_sections(SECTIONS, content) + provenance(run.seeds, run.config, run.environment)
    return write_page(folder, "leakage.html", _lead(content), sections)


def _lead(content: Content) -> dict[str, Any]:
    """Return what stands above the sections."""
    run = content.run
    return {
        "title": "Leakage of training images",
        "headline": headline_sentence(content.findings),
        "findings": content.findings,
        "attack_sentence": attack_sentence(run),
        "warnings": list(_warnings(run)),
        "with_images": run.shows_images,
        "cards": list(_cards(run, content.findings)),
    }


def _warnings(run: LeakageRun) -> Iterator[str]:
    if tests := fired(run):
        yield f"{FIRED} Concerned: {'; '.join(tests)}."


def _cards(run: LeakageRun, audited: list[Finding]) -> Iterator[Card]:
    """Yield title, figure and note of each number at the top of the page."""
    audited = without_negatives(audited)
    tests, leaking_targets = [], 0
    for finding in audited:
        tests += finding.tests
        leaking_targets += finding.verdict == "leak"
    leaking_tests = sum(row.verdict == "leak" for row in tests)
    yield Card("targets that leak", f"{leaking_targets} of {len(audited)}", "by any test")
    yield Card("tests that say leak", f"{leaking_tests} of {len(tests)}", "over targets, methods, metrics and seeds")
    smallest = smallest_p(tests)
    if smallest is not None:
        p, row = smallest
        yield Card("smallest Holm p", p_text(p), f"{row.method}, {row.metric} on {row.target}")
    n_negative = sum(row.kind == "negative" for row in run.controls)
    yield Card("negative controls", _negative_controls(run), f"{n_negative} tests where nothing can leak")


def _negative_controls(run: LeakageRun) -> str:
    """Return in one word how the negative controls went."""
    if not run.negative_targets:
        return "not run"
    return "fired" if fired(run) else "passed"
