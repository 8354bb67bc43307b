"""The folder of a leakage run, read as typed rows; older recorded runs are read as well."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from invaudit.records.columns import Better, read_rows, table_file
from invaudit.records.folder import (
    COLUMNS_OF_SCHEMA_1,
    LEAKAGE_RUN,
    read_config,
    read_environment,
    read_record,
    schema_of,
)
from invaudit.records.leakage import (
    AttackControlRecord,
    ControlRow,
    LeakageSummaryRow,
    MembershipRow,
    MetricRow,
    PapersCountRow,
    ReadinessRow,
    TargetRow,
    TestRow,
)
from invaudit.records.names import ATTACK_CONTROL, CONFIG, METRICS, READINESS, SUMMARY, TABLE
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import read_arrays
from invaudit.runtime.paths import is_file
from invaudit.runtime.yaml_text import read_yaml


@dataclass(frozen=True)
class LeakageRun:
    """A leakage run; a table that the folder does not hold has no rows, another part is None.

    Attributes:
        path: The folder.
        tests: Rows of ``table.csv``, one for each target, method, metric and seed.
        membership: Rows of ``membership.csv``.
        targets: Rows of ``targets.csv``.
        controls: Rows of ``controls.csv``.
        papers_count: Rows of ``papers_count.csv``.
        summary: Rows of ``summary.csv``.
        metrics: What each metric is, by its name.
        readiness: Rows of ``readiness.csv``, of the audit of a model.
        config: Text of ``config.yaml``.
        environment: Content of ``environment.json``.
    """

    path: Path
    tests: list[TestRow]
    membership: list[MembershipRow]
    targets: list[TargetRow]
    controls: list[ControlRow]
    papers_count: list[PapersCountRow]
    summary: list[LeakageSummaryRow]
    metrics: Mapping[str, MetricRow]
    readiness: list[ReadinessRow]
    config: str | None
    environment: dict[str, Any] | None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The resolved settings, perhaps none."""
        settings = read_yaml(self.config or "", str(self.path / CONFIG))
        return settings if isinstance(settings, dict) else {}

    @cached_property
    def attack_control(self) -> AttackControlRecord | None:
        """Where the attack control comes from; None where there is none, or where the run attacked it itself."""
        path = self.path / "records" / f"{ATTACK_CONTROL}.json"
        return read_record(self.path, ATTACK_CONTROL, AttackControlRecord) if is_file(path, RunFolderError) else None

    @cached_property
    def negative_targets(self) -> set[str]:
        """Targets where nothing can leak; they are audited like the others and are negative controls of them."""
        targets = set()
        for row in self.controls:
            if row.kind == "negative":
                targets.add(row.target)
        return targets

    def label(self, target: str) -> str:
        """Return the name of a target, with what it is if it is a negative control."""
        return f"{target} (negative control)" if target in self.negative_targets else target

    def better(self, metric: str) -> Better:
        """Return whether a higher or a lower value of a metric means more similar.

        Raises:
            RunFolderError: The folder does not say so.
        """
        if metric not in self.metrics:
            raise RunFolderError(
                f"{self.path} does not say which way the metric {metric!r} is better, expected a row in {METRICS}; "
                "make the run again"
            )
        return self.metrics[metric].better

    @property
    def by_answers(self) -> bool:
        """Whether the model itself was not at hand, only what it answers."""
        return "drawn_at_random" in self.settings

    @property
    def alpha(self) -> float | None:
        """Level of the verdict over all tests of one target; None where the settings do not say."""
        return self.settings.get("alpha")

    @property
    def seeds(self) -> list[int]:
        """Seeds with a row in the table; those of the settings where it has no row, as of an audit without attacks."""
        of_rows = sorted({row.seed for row in self.tests if row.seed is not None})
        of_settings = self.settings.get("seeds")
        if of_rows or not isinstance(of_settings, list):
            return of_rows
        return [seed for seed in of_settings if isinstance(seed, int)]

    @property
    def shows_images(self) -> bool:
        """Whether the run allows images in its report."""
        return self.settings.get("images") == "full"

    @property
    def primary_metric(self) -> str | None:
        """The metric that was declared first."""
        for row in self.tests:
            if row.metric:
                return row.metric
        return None

    def arrays(self, seed: int, target: str, name: str, start: str = "") -> dict[str, np.ndarray]:
        """Return the arrays of ``scores/seed-SEED/TARGET/NAME.npz`` whose names begin so, perhaps none."""
        # Names come from a file: they are compared with what lies there, never made into a path.
        for file in (self.path / "scores" / f"seed-{seed}").glob("*/*.npz"):
            if file.parent.name == target and file.stem == name:
                return read_arrays(file, start)
        return {}


def read_leakage_run(path: Path) -> LeakageRun:
    """Read the folder of a leakage run.

    Raises:
        RunFolderError: The folder holds no ``table.csv``, a file of it is damaged, or it is of another kind or of a
            schema that cannot be read.
    """
    schema = schema_of(path, LEAKAGE_RUN)
    table = path / TABLE
    file = table_file(table)
    if file is None or not file.stat().st_size:
        raise RunFolderError(f"{path} holds no {TABLE}, expected the folder of a leakage run; finish it first")
    missing_columns = COLUMNS_OF_SCHEMA_1[LeakageSummaryRow] if schema == 1 else None
    return LeakageRun(
        path=path,
        tests=read_rows(table, TestRow),
        membership=read_rows(path / "membership.csv", MembershipRow),
        targets=read_rows(path / "targets.csv", TargetRow),
        controls=read_rows(path / "controls.csv", ControlRow),
        papers_count=read_rows(path / "papers_count.csv", PapersCountRow),
        summary=read_rows(path / SUMMARY, LeakageSummaryRow, missing_columns),
        metrics=_metrics(path, schema),
        readiness=read_rows(path / READINESS, ReadinessRow),
        config=read_config(path),
        environment=read_environment(path),
    )


def _metrics(path: Path, schema: int) -> dict[str, MetricRow]:
    rows = read_rows(path / METRICS, MetricRow)
    if schema == 1 and not rows:
        rows = metrics_of_schema_1()
    return {row.metric: row for row in rows}


def metrics_of_schema_1() -> list[MetricRow]:
    """Return the metrics that there were when a run did not write ``metrics.csv``: the four of schema 1, no others."""
    return [
        MetricRow(metric="ssim", better="higher"),
        MetricRow(metric="cosine", better="higher"),
        MetricRow(metric="lpips-alex", better="lower"),
        MetricRow(metric="lpips-squeeze", better="lower"),
    ]
