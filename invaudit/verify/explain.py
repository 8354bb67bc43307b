"""A benchmark of explanations: its tables made once more from its records, and what its tables say of one another."""

from collections.abc import Iterator, Sequence

from invaudit.benchmarks.explain.runner import MAY_CHANGE
from invaudit.benchmarks.explain.settings import ExplainBenchmark
from invaudit.benchmarks.explain.tables import summary_rows, write_tables
from invaudit.records import read_rows
from invaudit.records.explain_table import WORST, ExplainRow, ExplainSummaryRow, class_measure
from invaudit.records.names import CONFIG, SUMMARY, TABLE
from invaudit.runtime.settings import load_config
from invaudit.stats import counted_share
from invaudit.verify.comparing import COMPUTED, Tolerance, cells_of_rows, compare_tables
from invaudit.verify.findings import Findings
from invaudit.verify.origin import check_identity
from invaudit.verify.rebuilding import rebuilt

ROUNDED = Tolerance(2e-4, 1e-4)
"""Of figures with five digits, and of what is made of them."""
UNCHECKED = (
    "measures that are no counted share, how searches ended, students, times: the run has measured them once, and the "
    "inversions are not kept here"
)


def check_explain_benchmark(findings: Findings) -> None:
    """Check the folder of a benchmark of explanations."""
    settings = load_config(ExplainBenchmark, str(findings.folder / CONFIG))
    check_identity(findings, {}, MAY_CHANGE)
    with rebuilt(findings) as copy:
        write_tables(copy, settings)
    _check_rows(findings, COMPUTED)


def check_kept_explain(findings: Findings) -> None:
    """Check the tables of a benchmark of explanations against each other."""
    stored = read_rows(findings.folder / SUMMARY, ExplainSummaryRow)
    made = summary_rows(read_rows(findings.folder / TABLE, ExplainRow))
    findings.note(compare_tables(SUMMARY, cells_of_rows(stored), cells_of_rows(made), ROUNDED))
    _check_rows(findings, ROUNDED)


def _check_rows(findings: Findings, tolerance: Tolerance) -> None:
    """Check the intervals of counted shares, and those of all classes against the shares of single classes."""
    rows = [row for row in read_rows(findings.folder / TABLE, ExplainRow) if "accuracy" in row.measure]
    for made in (_with_intervals(rows), _with_totals(rows)):
        stored = {_place(row): row for row in rows}
        compared = [stored[_place(row)] for row in made]
        findings.note(compare_tables(TABLE, cells_of_rows(compared), cells_of_rows(made), tolerance))
    findings.unchecked.append(UNCHECKED)


def _place(row: ExplainRow) -> tuple[str, str, int | None, str]:
    return row.target, row.variant, row.seed, row.measure


def _with_intervals(rows: Sequence[ExplainRow]) -> list[ExplainRow]:
    """Return the counted shares with the intervals that their values and numbers of images give."""
    made = []
    for row in rows:
        if row.value is not None and row.n and not row.measure.endswith(f"/{WORST}"):
            share = counted_share(round(row.value * row.n), row.n)
            made.append(row.model_copy(update={"value": share.value, "low": share.low, "high": share.high}))
    return made


def _with_totals(rows: Sequence[ExplainRow]) -> list[ExplainRow]:
    """Return the shares of all classes together and of the worst one, as the single classes give them."""
    made = []
    for total, worst, classes in _by_class(rows):
        known = [(row.value, row.n) for row in classes if row.value is not None and row.n]
        if not known:
            continue
        value = sum(share * n for share, n in known) / sum(n for _, n in known)
        made += [row.model_copy(update={"value": value}) for row in total]
        made += [row.model_copy(update={"value": min(share for share, _ in known)}) for row in worst]
    return made


def _by_class(rows: Sequence[ExplainRow]) -> Iterator[tuple[list[ExplainRow], list[ExplainRow], list[ExplainRow]]]:
    """Yield for each job and measure the row of all classes, that of the worst one, and those of single classes."""
    groups: dict[tuple[str, str, int | None, str], tuple[list[ExplainRow], list[ExplainRow], list[ExplainRow]]] = {}
    for row in rows:
        name = row.measure.partition("/")[0]
        group = groups.setdefault((row.target, row.variant, row.seed, name), ([], [], []))
        kinds = {name: 0, class_measure(name, WORST): 1}
        group[kinds.get(row.measure, 2)].append(row)
    yield from groups.values()
