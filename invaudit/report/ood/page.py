"""The page of an OOD run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from invaudit.records.names import COMPARED_GROUPS, OURS
from invaudit.records.ood import CalibrationRow
from invaudit.records.ood_run import OodRun, read_ood_run
from invaudit.report.ood.findings import compare, controls, headline_sentence, scope_sentence, skipped_sets
from invaudit.report.ood.sections import SECTIONS
from invaudit.report.ood.tables import exact_level, short_table
from invaudit.report.page import provenance, write_page


def ood_page(run: Path) -> Path:
    """Write ``figures/*.png`` and ``report.html`` of a finished OOD run into its folder.

    The page shows what the folder holds and says what is missing. Equal folders give equal bytes.

    Args:
        run: The run folder.

    Returns:
        The path of ``report.html``.

    Raises:
        RunFolderError: The folder holds no finished OOD run that this version reads, or cannot be written.
    """
    record = read_ood_run(run)
    sections = [section for make in SECTIONS if (section := make(record)) is not None]
    figures = [figure for section in sections for figure in section.figures]
    return write_page(run, "ood.html", _lead(record) | {"sections": sections}, figures)


def _lead(run: OodRun) -> dict[str, Any]:
    """Return what stands above the sections, and below them."""
    return provenance(run.seeds, run.config, run.environment) | {
        "title": f"OOD detection: {run.id_set}",
        "headline": headline_sentence(run),
        "comparisons": [(comparison.group, comparison.sentence) for comparison in compare(run)],
        "scope": scope_sentence(run),
        "warnings": list(_warnings(run)),
        "cards": list(_cards(run)),
    }


def _warnings(run: OodRun) -> Iterator[str]:
    if any(row.failed for row in controls(run)):
        yield "A control failed: do not trust the figures of this run. See Controls below."
    if skipped := skipped_sets(run):
        yield f"Not measured, because the data were not found: {', '.join(skipped)}."


class Card(NamedTuple):
    """A number at the top of the page."""

    title: str
    figure: str
    note: str


def _cards(run: OodRun) -> Iterator[Card]:
    ours = next((line for line in short_table(run) if line.part == "ours"), None)
    comparisons = compare(run)
    for group in COMPARED_GROUPS:
        best = []
        for comparison in comparisons:
            if comparison.group == group:
                best.append(f"{_percent(comparison.best.auroc)} on {comparison.networks}")
        note = f"best baseline {', '.join(best)}" if best else "no baseline to compare with"
        yield Card(f"{group} OOD, mean AUROC", _percent(ours and ours.auroc(f"mean-{group}")), note)
    yield Card("worst set", _percent(ours and ours.auroc("worst")), "AUROC of the hardest near or far set")
    without_garbage = f"without garbage class {_percent(_id_accuracy(run, 'plain'))}"
    yield Card("ID accuracy", _percent(_id_accuracy(run, OURS[0])), without_garbage)
    control_rows = controls(run)
    n_rows, n_failed = (sum(getattr(row, name) for row in control_rows) for name in ("rows", "failed"))
    yield Card("controls", _controls_verdict(n_failed, passed=bool(run.controls_passed)), f"{n_rows} control rows")


def _controls_verdict(n_failed: int, *, passed: bool) -> str:
    if n_failed:
        return f"{n_failed} failed"
    return "passed" if passed else "not recorded"


def _percent(value: float | None) -> str:
    return exact_level(value) if value is None else f"{exact_level(value)} %"


def _id_accuracy(run: OodRun, network: str) -> float | None:
    """Return the mean over seeds; a seed may have a row per alpha, with the same accuracy."""
    by_seed = {row.seed: row.id_accuracy for row in run.rows(CalibrationRow) if row.network == network}
    known = [accuracy for accuracy in by_seed.values() if accuracy is not None]
    return sum(known) / len(known) if known else None
