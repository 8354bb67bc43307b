"""A row with the interval of its difference."""

from invaudit.records.comparison import ComparisonRow
from invaudit.stats import Estimate


def paired(row: ComparisonRow, found: Estimate) -> ComparisonRow:
    """Return a row with a difference that was measured on the same images."""
    return row.model_copy(
        update={
            "difference": found.value,
            "difference_low": found.low,
            "difference_high": found.high,
            "compared": "paired",
            "reason": f"interval: {found.method}, on the {found.n} images that both scored",
        }
    )
