"""The summary of a benchmark of explanations, ready to print."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from invaudit.records.explain_table import WORST, ExplainSummaryRow, class_measure
from invaudit.report.printing import DASH, plain_table

COLUMNS = {
    "second": "second_accuracy",
    "worst class": class_measure("second_accuracy", WORST),
    "features": "feature_cosine",
    "pixels": "pixel_cosine",
    "coverage": "coverage",
    "student": "student_accuracy",
}
"""Head of a column -> the measure in it."""


def explain_benchmark_table(rows: Sequence[ExplainSummaryRow]) -> Table:
    """Return the means over seeds, one line for each target and variant."""
    caption = (
        "Means over seeds, in per cent. second: inversions that a second network gives the wanted class, an upper "
        "bound on how many show it;\nworst class: that of the lowest class. features, pixels: mean cosine within a "
        "class, 100 where all are alike.\ncoverage: real images with an inversion near to them. student: real images "
        "that a network gets right that was trained on inversions alone."
    )
    table = plain_table("What inversions show", caption)
    for name in ("target", "variant"):
        table.add_column(name, overflow="fold")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    means: dict[tuple[str, str], dict[str, float | None]] = {}
    for row in rows:
        means.setdefault((row.target, row.variant), {})[row.measure] = row.mean
    for (target, variant), of_measure in means.items():
        cells = [_percent(of_measure.get(measure)) for measure in COLUMNS.values()]
        table.add_row(Text(target), Text(variant), *cells)
    return table


def _percent(value: float | None) -> str:
    return DASH if value is None else f"{100 * value:.1f}"
