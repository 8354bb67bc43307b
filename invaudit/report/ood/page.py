"""The page of an OOD run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from invaudit.records.names import COMPARED_GROUPS
from invaudit.records.ood import CalibrationRow
from invaudit.records.ood_run import OodRun, read_ood_run
from invaudit.report.ood.findings import compare, controls, headline_sentence, scope_sentence, skipped_sets
from invaudit.report.ood.sections import SECTIONS
from invaudit.report.ood.tables import REFERENCE_PARTS, ShortLine, exact_level, ranked_baselines, short_table
from invaudit.report.page import provenance, write_page
from invaudit.report.sections import Card, make_sections


def ood_page(folder: Path) -> Path:
    """Write ``figures/*.png`` and ``report.html`` of a finished OOD run into its folder.

    The page shows what the folder holds and says what is missing. Equal folders give equal bytes.

    Args:
        folder: The run folder.

    Returns:
        The path of ``report.html``.

    Raises:
        RunFolderError: The folder holds no finished OOD run that this version reads, or cannot be written.
    """
    run = read_ood_run(folder)
    sections = make_sections(SECTIONS, run) + provenance(run.seeds, run.config, run.environment)
    return write_page(folder, "ood.html", _lead(run), sections)


def _lead(run: OodRun) -> dict[str, Any]:
    """Return what stands above the sections."""
    return {
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
    skipped = skipped_sets(run)
    if skipped:
        yield f"Not measured, because the data were not found: {', '.join(skipped)}."


def _cards(run: OodRun) -> Iterator[Card]:
    reference = None
    for line in short_table(run):
        if line.part in REFERENCE_PARTS:
            reference = line
    for group in COMPARED_GROUPS:
        yield _group_card(run, group, reference)
    if reference is not None:
        yield Card("worst set", _percent(reference.auroc("worst")), "AUROC of the hardest near or far set")
    yield from _accuracy_cards(run)
    n_rows, n_failed = 0, 0
    for row in controls(run):
        n_rows += row.rows or 0
        n_failed += row.failed or 0
    yield Card("controls", _controls_verdict(n_failed, passed=bool(run.controls_passed)), f"{n_rows} control rows")


def _group_card(run: OodRun, group: str, reference: ShortLine | None) -> Card:
    """Return the AUROC of the reference on a group beside the best baselines, or the best detector of all."""
    title = f"{group} OOD, mean AUROC"
    if run.reference is None:
        ranked = ranked_baselines(run, group)
        if not ranked:
            return Card(title, _percent(None), "no detector has a result")
        best = ranked[0]
        note = f"{best.detector} on {best.network}, the best of {len(ranked)} in this run"
        return Card(f"best {title}", _percent(best.auroc), note)
    best_baselines = []
    for comparison in compare(run):
        if comparison.group == group:
            best_baselines.append(f"{_percent(comparison.best.auroc)} on {comparison.networks}")
    note = f"best baseline {', '.join(best_baselines)}" if best_baselines else "no baseline to compare with"
    return Card(title, _percent(reference and reference.auroc(f"mean-{group}")), note)


def _accuracy_cards(run: OodRun) -> Iterator[Card]:
    """Yield the ID accuracy: of the reference's network, beside that without a garbage class where it is another."""
    accuracies = {network: _id_accuracy(run, network) for network in run.networks}
    if run.reference is None:
        for network, accuracy in accuracies.items():
            yield Card("ID accuracy", _percent(accuracy), f"of network {network}")
        return
    network = run.reference.network
    plain = accuracies.get("plain")
    note = f"of network {network}" if plain is None else f"without garbage class {_percent(plain)}"
    yield Card("ID accuracy", _percent(accuracies.get(network)), note)


def _controls_verdict(n_failed: int, *, passed: bool) -> str:
    if n_failed:
        return f"{n_failed} failed"
    return "passed" if passed else "not recorded"


def _percent(value: float | None) -> str:
    return exact_level(value) if value is None else f"{exact_level(value)} %"


def _id_accuracy(run: OodRun, network: str) -> float | None:
    """Return the mean over seeds; a seed may have a row per alpha, with the same accuracy."""
    accuracy: dict[int, float] = {}
    for row in run.rows(CalibrationRow):
        if row.network == network and row.id_accuracy is not None:
            accuracy[row.seed] = row.id_accuracy
    return sum(accuracy.values()) / len(accuracy) if accuracy else None
