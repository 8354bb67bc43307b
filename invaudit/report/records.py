"""The files of a finished OOD run, read as they are."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import read_json

NAMES = ("id_set", "network", "detector", "ood_set", "group", "status", "reason")
Row = dict[str, Any]


@dataclass(frozen=True)
class OodRun:
    """A finished OOD run; a part that the folder does not hold is None.

    ``summary``, ``table``, ``cost``, ``calibration`` and ``resistance`` are the CSV files of that name,
    ``config`` is the text of ``config.yaml``, ``environment`` the content of ``environment.json``, ``controls_passed``
    what the run wrote of its controls.
    """

    path: Path
    summary: pd.DataFrame
    table: pd.DataFrame | None
    cost: pd.DataFrame | None
    calibration: pd.DataFrame | None
    resistance: pd.DataFrame | None
    config: str | None
    environment: dict[str, Any] | None
    controls_passed: list[str]

    @cached_property
    def rows(self) -> list[Row]:
        """Rows of the summary."""
        return as_rows(self.summary)

    @cached_property
    def measurements(self) -> list[Row]:
        """Rows of the table, else those of the summary."""
        return self.rows if self.table is None else as_rows(self.table)

    @property
    def id_set(self) -> str:
        """Name of the ID set."""
        return names_of(self.rows, "id_set")

    @property
    def seeds(self) -> list[int]:
        """Seeds with a row in the table, else with a folder of scores."""
        if self.table is not None:
            return sorted({int(row["seed"]) for row in self.measurements if row["seed"] is not None})
        names = [folder.name.removeprefix("seed-") for folder in self.path.glob("scores/seed-*")]
        return sorted(int(name) for name in names if name.isdecimal())

    def scores(self, seed: int, network: str, detector: str) -> dict[str, np.ndarray]:
        """Return the scores of one detector by set (``id-test``, OOD sets, ``control-same``), perhaps none."""
        path = self.path / "scores" / f"seed-{seed}" / f"{network}.npz"
        if not path.is_file():
            return {}
        with np.load(path, allow_pickle=False) as arrays:
            start = f"{detector}::"
            return {key.removeprefix(start): arrays[key] for key in arrays.files if key.startswith(start)}

    def inversions(self, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return images (cycles, classes, k, C, H, W) uint8 and epochs (cycles,) by network."""
        ending = "-inversions.npz"
        found = {}
        for path in sorted((self.path / "scores" / f"seed-{seed}").glob(f"*{ending}")):
            with np.load(path, allow_pickle=False) as arrays:
                found[path.name.removesuffix(ending)] = (arrays["images"], arrays["epochs"])
        return found


def as_rows(frame: pd.DataFrame) -> list[Row]:
    """Return the rows of a table as mappings; what is missing is None, never NaN, and a name is text."""
    text = frame.astype(dict.fromkeys(frame.columns.intersection(NAMES), str)).astype(object)
    return [
        {str(name): value for name, value in row.items()} for row in text.where(frame.notna(), None).to_dict("records")
    ]


def names_of(rows: list[Row], column: str) -> str:
    """Return the different values of a column, in order, as one text."""
    return ", ".join(dict.fromkeys(str(row[column]) for row in rows))


def read_ood_run(path: Path) -> OodRun:
    """Read the folder of a finished OOD run.

    Raises:
        RunFolderError: The folder holds no ``summary.csv``.
    """
    summary = _csv(path / "summary.csv")
    if summary is None:
        raise RunFolderError(f"{path} holds no summary.csv, expected the folder of a finished OOD run; finish it first")
    config, environment, controls = (
        path / name for name in ("config.yaml", "environment.json", "records/controls.json")
    )
    return OodRun(
        path=path,
        summary=summary,
        table=_csv(path / "table.csv"),
        cost=_csv(path / "cost.csv"),
        calibration=_csv(path / "calibration.csv"),
        resistance=_csv(path / "resistance.csv"),
        config=config.read_text(encoding="utf-8") if config.is_file() else None,
        environment=read_json(environment) if environment.is_file() else None,
        controls_passed=list(read_json(controls)["passed"]) if controls.is_file() else [],
    )


def _csv(path: Path) -> pd.DataFrame | None:
    try:
        # Only an empty cell is missing: a set may be called "None", and "007" is not 7.
        return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(NAMES, str))
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return None
