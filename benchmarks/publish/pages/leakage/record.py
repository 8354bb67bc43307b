"""A recorded leakage run as the pages need it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmarks.publish.reading import read_if_recorded, read_recorded
from invaudit.records import ControlRow, LeakageSummaryRow, MembershipRow, PapersCountRow, TargetRow, TestRow

BY_SEED = ("table.csv", "membership.csv")
"""Tables by seed that the page is made from; they are kept compressed."""


@dataclass(frozen=True)
class LeakageRecord:
    """The tables of a recorded run, and its config as plain values."""

    config: dict[str, Any]
    table: pd.DataFrame
    membership: pd.DataFrame
    summary: pd.DataFrame
    targets: pd.DataFrame
    controls: pd.DataFrame
    papers_count: pd.DataFrame

    @classmethod
    def read(cls, folder: Path) -> "LeakageRecord":
        """Read a record, plain or compressed."""
        return cls(
            yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")),
            read_recorded(folder, "table.csv", TestRow),
            read_recorded(folder, "membership.csv", MembershipRow),
            read_recorded(folder, "summary.csv", LeakageSummaryRow),
            read_recorded(folder, "targets.csv", TargetRow),
            read_recorded(folder, "controls.csv", ControlRow),
            read_if_recorded(folder, "papers_count.csv", PapersCountRow),
        )

    @property
    def tested(self) -> pd.DataFrame:
        """The rows of the table that hold a verdict."""
        return self.table[(self.table["status"] == "ok") & self.table["verdict"].notna()]

    @property
    def names(self) -> list[str]:
        """The audited targets in the order of the table."""
        return list(self.table["target"].unique())

    @property
    def metrics(self) -> list[str]:
        """The metrics in the order of the config."""
        return list(self.config["metrics"])

    @property
    def alpha(self) -> float:
        """The level of the tests."""
        return self.config["alpha"]

    @property
    def negatives(self) -> set[str]:
        """Targets that were trained on other images than the pool's, so that nothing can leak."""
        return {name for name, target in self.config["targets"].items() if target["negative"]}

    def seeds_with_a_leak(self, target: str, method: str | None = None) -> int:
        """Count the seeds in which any test of a target, or of one method on it, says *leak*."""
        rows = self.tested[(self.tested["target"] == target) & (self.tested["verdict"] == "leak")]
        if method is not None:
            rows = rows[rows["method"] == method]
        return rows["seed"].nunique()

    def n_seeds(self, target: str) -> int:
        """Count the seeds of a target."""
        return self.table.loc[self.table["target"] == target, "seed"].nunique()
