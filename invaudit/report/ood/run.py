"""The folder of a finished OOD run, read as it is."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from invaudit.report.records import Row, as_rows, names_of, read_config, read_environment, read_table
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import read_json

CONTROLS = Path("records/controls.json")
"""Written when the controls of a run have passed."""


@dataclass(frozen=True)
class OodRun:
    """A finished OOD run; a part that the folder does not hold is None.

    ``summary``, ``table`` and those that follow are the CSV files of that name, ``config`` is the text of
    ``config.yaml``, ``environment`` the content of ``environment.json``, ``controls_passed`` what the run wrote of its
    controls.
    """

    path: Path
    summary: pd.DataFrame
    table: pd.DataFrame | None
    cost: pd.DataFrame | None
    calibration: pd.DataFrame | None
    resistance: pd.DataFrame | None
    attacks: pd.DataFrame | None
    decisions: pd.DataFrame | None
    weights: pd.DataFrame | None
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

    def attack_images(self, seed: int, network: str) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """Return by attack an image of each class (classes, C, H, W) uint8, and which ours accepts, if known."""
        path = self.path / "scores" / f"seed-{seed}" / f"{network}-attacks.npz"
        if not path.is_file():
            return {}
        with np.load(path, allow_pickle=False) as arrays:
            names = [key.removesuffix("::images") for key in arrays.files if key.endswith("::images")]
            return {
                name.removeprefix("attack-"): (arrays[f"{name}::images"], arrays.get(f"{name}::accepted"))
                for name in names
            }


def read_ood_run(path: Path) -> OodRun:
    """Read the folder of a finished OOD run.

    Raises:
        RunFolderError: The folder holds no ``summary.csv``.
    """
    summary = read_table(path / "summary.csv")
    if summary is None:
        raise RunFolderError(f"{path} holds no summary.csv, expected the folder of a finished OOD run; finish it first")
    controls = path / CONTROLS
    return OodRun(
        path=path,
        summary=summary,
        table=read_table(path / "table.csv"),
        cost=read_table(path / "cost.csv"),
        calibration=read_table(path / "calibration.csv"),
        resistance=read_table(path / "resistance.csv"),
        attacks=read_table(path / "attacks.csv"),
        decisions=read_table(path / "decisions.csv"),
        weights=read_table(path / "weights.csv"),
        config=read_config(path),
        environment=read_environment(path),
        controls_passed=list(read_json(controls)["passed"]) if controls.is_file() else [],
    )
