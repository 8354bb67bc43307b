"""A recorded benchmark of explanations as the page needs it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmarks.publish.reading import read_recorded
from invaudit.records.explain_table import (
    JOBS,
    NETWORKS,
    VARIANTS,
    ExplainJobRow,
    ExplainNetworkRow,
    ExplainRow,
    ExplainVariantRow,
)
from invaudit.records.names import TABLE

DEFAULT = "default"
"""The variant that all others are compared with."""


@dataclass(frozen=True)
class ExplainRecord:
    """The tables of a recorded run, and its config as plain values."""

    config: dict[str, Any]
    table: pd.DataFrame
    jobs: pd.DataFrame
    networks: pd.DataFrame
    variants: pd.DataFrame

    @classmethod
    def read(cls, folder: Path) -> "ExplainRecord":
        """Read a record, plain or compressed."""
        return cls(
            yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")),
            read_recorded(folder, TABLE, ExplainRow),
            read_recorded(folder, JOBS, ExplainJobRow),
            read_recorded(folder, NETWORKS, ExplainNetworkRow),
            read_recorded(folder, VARIANTS, ExplainVariantRow),
        )

    @property
    def targets(self) -> list[str]:
        """The networks that were inverted, in the order of the table."""
        return list(self.table["target"].unique())

    def variants_of(self, target: str) -> list[str]:
        """The variants by which a target was inverted."""
        return list(self.table.loc[self.table["target"] == target, "variant"].unique())

    def values(self, target: str, variant: str, measure: str) -> pd.Series:
        """Return the values of a measure by seed; none where there is none."""
        rows = self.rows(target, variant, measure)
        return rows.set_index("seed")["value"].dropna()

    def rows(self, target: str, variant: str, measure: str) -> pd.DataFrame:
        """Return the rows of a measure, one for each seed."""
        table = self.table
        return table[(table["target"] == target) & (table["variant"] == variant) & (table["measure"] == measure)]
