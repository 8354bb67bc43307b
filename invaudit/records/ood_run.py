"""The folder of a finished OOD run, read as it is."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from invaudit.records.columns import Row, distinct, read_rows
from invaudit.records.folder import COLUMNS_OF_SCHEMA_1, OOD_RUN, read_config, read_environment, record_file, schema_of
from invaudit.records.names import (
    ACCEPTED,
    ATTACK_PREFIX,
    ATTACKS_ENDING,
    CONFIG,
    CONTROLS_RECORD,
    DETECTORS,
    IMAGES,
    INVERSIONS_ENDING,
    OURS,
    PIXEL_PREFIX,
    SUMMARY,
    TABLE,
    Role,
    scores_file,
    scores_key,
    split_scores_key,
)
from invaudit.records.ood import SIDE_TABLES, CalibrationRow, DetectorInfo, OodRow, OodSummaryRow
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import read_arrays, read_object
from invaudit.runtime.paths import is_file
from invaudit.runtime.text import shown
from invaudit.runtime.yaml_text import read_yaml

R = TypeVar("R", bound=Row)


class Inversions(NamedTuple):
    """What a network takes for each class, over the cycles of its training."""

    images: np.ndarray
    """(cycles, classes, k, C, H, W) uint8."""
    epochs: np.ndarray
    """(cycles,) epoch of each cycle."""


class Reference(NamedTuple):
    """The row that all others are compared with.

    Attributes:
        network: Its network.
        detector: Its detector.
        role: Whose the detector is.
    """

    network: str
    detector: str
    role: Role

    @property
    def row(self) -> tuple[str, str]:
        """Network and detector."""
        return self.network, self.detector

    @property
    def is_ours(self) -> bool:
        """Whether the detector is ours."""
        return self.role == "ours"

    @property
    def name(self) -> str:
        """What texts call it."""
        return "ours" if self.is_ours else f"{self.detector} on {self.network}"


class AttackImages(NamedTuple):
    """An image of each class by a fresh generator."""

    images: np.ndarray
    """(classes, C, H, W) uint8."""
    accepted: np.ndarray | None
    """(classes,) bool, which of them our detector accepts; None where that is not known."""


@dataclass(frozen=True)
class OodRun:
    """A finished OOD run; a table that the folder does not hold has no rows, another part that is missing is None.

    Attributes:
        path: The folder.
        summary: Rows of ``summary.csv``.
        table: Rows of ``table.csv``.
        side_tables: Rows of the side files by their kind, see `SIDE_TABLES`.
        detectors: What each detector is, by its name.
        controls_passed: What the run wrote of its controls, in words.
        config: Text of ``config.yaml``.
        environment: Content of ``environment.json``.
    """

    path: Path
    summary: list[OodSummaryRow]
    table: list[OodRow]
    side_tables: dict[type[Row], list[Any]]
    detectors: dict[str, DetectorInfo]
    controls_passed: list[str]
    config: str | None
    environment: dict[str, Any] | None

    @cached_property
    def reference(self) -> Reference | None:
        """The row that differences are to; None where the run has none."""
        settings = read_yaml(self.config or "", str(self.path / CONFIG))
        # Runs that do not say it were all compared with ours.
        ours = dict(zip(("network", "detector"), OURS, strict=True))
        named = settings.get("compare_with", ours) if isinstance(settings, dict) else ours
        if named is None:
            return None
        if not isinstance(named, dict) or not ours.keys() <= named.keys():
            raise RunFolderError(
                f"{self.path / CONFIG} is damaged: compare_with is {shown(named)}, expected network and detector"
            )
        network, detector = str(named["network"]), str(named["detector"])
        info = self.detectors.get(detector)
        return Reference(network, detector, info.role if info else "ours")

    @property
    def compares_with_ours(self) -> bool:
        """Whether there is a reference, and it is a detector of ours."""
        return self.reference is not None and self.reference.is_ours

    @property
    def measurements(self) -> list[OodRow] | list[OodSummaryRow]:
        """Rows of the table, else those of the summary."""
        return self.table or self.summary

    @property
    def id_set(self) -> str:
        """Name of the ID set."""
        return ", ".join(distinct(row.id_set for row in self.summary))

    @property
    def networks(self) -> list[str]:
        """Networks whose accuracy is known, in the order of the run."""
        return distinct(row.network for row in self.rows(CalibrationRow))

    @property
    def seeds(self) -> list[int]:
        """Seeds with a row in the table or in that of calibration."""
        return sorted({row.seed for row in (*self.table, *self.rows(CalibrationRow))})

    def rows(self, kind: type[R]) -> list[R]:
        """Return the rows of the side file of one kind."""
        if kind not in self.side_tables:
            raise LookupError(
                f"no side file holds {kind.__name__}; give it a line in SIDE_TABLES of invaudit/records/ood.py"
            )
        return self.side_tables[kind]

    def scores(self, seed: int, network: str, detector: str) -> dict[str, np.ndarray]:
        """Return the scores of one detector by set (``id-test``, OOD sets, ``control-same``), perhaps none."""
        start = scores_key(detector, "")
        scores = {}
        for key, values in _arrays(self.path / scores_file(seed, network), start).items():
            scores[key.removeprefix(start)] = values
        return scores

    def inverted_networks(self, seed: int) -> list[str]:
        """Return the networks with inversions."""
        files = (self.path / scores_file(seed, "")).parent.glob(f"*{INVERSIONS_ENDING}.npz")
        return [path.stem.removesuffix(INVERSIONS_ENDING) for path in sorted(files)]

    def inversions(self, seed: int, network: str) -> Inversions:
        """Return the inversions of one network over the cycles of its training."""
        arrays = read_arrays(self.path / scores_file(seed, network + INVERSIONS_ENDING))
        return Inversions(arrays["images"], arrays["epochs"])

    def attack_images(self, seed: int, network: str) -> dict[str, AttackImages]:
        """Return images of each attack on a network, perhaps none."""
        arrays = _arrays(self.path / scores_file(seed, network + ATTACKS_ENDING))
        attacks = {}
        for key in arrays:
            name, part = split_scores_key(key)
            if part == IMAGES:
                attack = AttackImages(arrays[key], arrays.get(scores_key(name, ACCEPTED)))
                attacks[name.removeprefix(ATTACK_PREFIX)] = attack
        return attacks


def read_ood_run(path: Path) -> OodRun:
    """Read the folder of a finished OOD run, or what is recorded of one.

    Raises:
        RunFolderError: The folder holds no ``summary.csv``, is of another kind of run or of a schema that this version
            does not read, or one of its files is damaged.
    """
    schema = schema_of(path, OOD_RUN)
    summary_path = path / SUMMARY
    if not is_file(summary_path, RunFolderError):
        raise RunFolderError(f"{path} holds no summary.csv, expected the folder of a finished OOD run; finish it first")
    summary = read_rows(summary_path, OodSummaryRow)
    id_set = {"id_set": summary[0].id_set} if summary else {}
    table = read_rows(path / TABLE, OodRow, COLUMNS_OF_SCHEMA_1[OodRow] | id_set)
    side_tables: dict[type[Row], list[Any]] = {}
    for name, kind in SIDE_TABLES.items():
        side_tables[kind] = read_rows(path / f"{name}.csv", kind)
    return OodRun(
        path=path,
        summary=summary,
        table=table,
        side_tables=side_tables,
        detectors=read_detectors(path, [row.detector for row in (*summary, *table)], schema),
        controls_passed=_controls_passed(path),
        config=read_config(path),
        environment=read_environment(path),
    )


def read_detectors(path: Path, names: Iterable[str], schema: int) -> dict[str, DetectorInfo]:
    """Return what each detector of a run is, by name.

    Args:
        path: The run folder, or what is recorded of it.
        names: Names of the detectors in its tables.
        schema: Its version; a run of version 1 does not say what its detectors are.

    Raises:
        RunFolderError: The folder should say it, and does not.
    """
    recorded = {info.name: info for info in read_rows(path / DETECTORS, DetectorInfo)}
    detectors = {}
    for name in names:
        if name in recorded:
            detectors[name] = recorded[name]
        elif schema == 1:
            detectors[name] = detector_of_schema_1(name)
        else:
            raise RunFolderError(
                f"{path / DETECTORS} does not say what the detector {name!r} is, expected a row for each detector of "
                "the tables; the folder is damaged"
            )
    return detectors


def detector_of_schema_1(name: str) -> DetectorInfo:
    """Return what a detector is by the rule for names that held in runs of schema 1, which do not say it.

    The user's own detectors had the name ``package.module:Class``, those of the library began as a class does or held
    a capital, and our own did not.
    """
    role: Role = "ours"
    if ":" in name:
        role = "user"
    elif name != name.lower():
        role = "library"
    elif name.startswith(PIXEL_PREFIX):
        role = "statistic"
    return DetectorInfo(name=name, role=role, consumes="not recorded")


def _controls_passed(path: Path) -> list[str]:
    record = record_file(path, CONTROLS_RECORD)
    if record is None:
        return []
    passed = read_object(record).get("passed")
    if not isinstance(passed, list):
        raise RunFolderError(f"{record} is damaged: it does not say which controls passed; make the run again")
    return list(map(str, passed))


def _arrays(path: Path, start: str = "") -> dict[str, np.ndarray]:
    """Return the arrays of a file whose names begin so, none where there is no file."""
    return read_arrays(path, start) if is_file(path, RunFolderError) else {}
