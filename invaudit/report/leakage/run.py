"""The folder of a leakage run, read as it is."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from invaudit.report.records import Row, as_rows, read_config, read_environment, read_rows, read_table
from invaudit.runtime.errors import RunFolderError
from invaudit.stats.verdicts import ALPHA


@dataclass(frozen=True)
class LeakageRun:
    """A leakage run; a table that the folder does not hold has no rows, another part is None.

    ``table`` is ``table.csv``; ``membership``, ``targets``, ``controls`` and ``papers_count`` are the rows of the
    CSV files of that name.
    ``config`` is the text of ``config.yaml``, ``environment`` the content of ``environment.json``.
    """

    path: Path
    table: pd.DataFrame
    membership: list[Row]
    targets: list[Row]
    controls: list[Row]
    papers_count: list[Row]
    config: str | None
    environment: dict[str, Any] | None

    @cached_property
    def rows(self) -> list[Row]:
        """Rows of the table."""
        return as_rows(self.table)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The resolved settings, perhaps none."""
        found = yaml.safe_load(self.config or "")
        return found if isinstance(found, dict) else {}

    @cached_property
    def negative_targets(self) -> set[str]:
        """Targets where nothing can leak; they are audited like the others and are negative controls of them."""
        return {row["target"] for row in self.controls if row["kind"] == "negative"}

    def label(self, target: str) -> str:
        """Return the name of a target, with what it is if it is a negative control."""
        return f"{target} (negative control)" if target in self.negative_targets else target

    @property
    def alpha(self) -> float:
        """Level of the verdict over all tests of one target."""
        return self.settings.get("alpha", ALPHA)

    @property
    def seeds(self) -> list[int]:
        """Seeds with a row in the table."""
        return sorted({int(row["seed"]) for row in self.rows if row["seed"] is not None})

    @property
    def shows_images(self) -> bool:
        """Whether the run allows images in its report."""
        return self.settings.get("images") == "full"

    @property
    def primary_metric(self) -> str | None:
        """The metric that was declared first."""
        return next((row["metric"] for row in self.rows if row["metric"]), None)

    def names(self, column: str) -> list[str]:
        """Return the different values of a column of the table, in order."""
        return list(dict.fromkeys(row[column] for row in self.rows if row[column] is not None))

    def arrays(self, seed: int, target: str, name: str) -> dict[str, np.ndarray]:
        """Return the arrays of ``scores/seed-SEED/TARGET/NAME.npz``, perhaps none."""
        # Names come from a file: they are compared with what lies there, never made into a path.
        folders = {folder.name: folder for folder in (self.path / "scores" / f"seed-{seed}").glob("*")}
        files = {file.stem: file for file in folders[target].glob("*.npz")} if target in folders else {}
        if name not in files:
            return {}
        with np.load(files[name], allow_pickle=False) as arrays:
            return dict(arrays)


def read_leakage_run(path: Path) -> LeakageRun:
    """Read the folder of a leakage run.

    Raises:
        RunFolderError: The folder holds no ``table.csv``.
    """
    table = read_table(path / "table.csv")
    if table is None:
        raise RunFolderError(f"{path} holds no table.csv, expected the folder of a leakage run; finish it first")
    return LeakageRun(
        path=path,
        table=table,
        membership=read_rows(path / "membership.csv"),
        targets=read_rows(path / "targets.csv"),
        controls=read_rows(path / "controls.csv"),
        papers_count=read_rows(path / "papers_count.csv"),
        config=read_config(path),
        environment=read_environment(path),
    )
