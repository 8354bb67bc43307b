"""What every run folder holds: its kind and schema version, its settings, its environment, its records."""

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from invaudit.records.columns import Row
from invaudit.records.leakage import LeakageSummaryRow
from invaudit.records.names import CONFIG, ENVIRONMENT, RUN_RECORD, SCORES, SCORES_RECORD
from invaudit.records.ood import OodRow
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import content_hash, read_object, write_json
from invaudit.runtime.paths import is_file, read_bytes, read_text
from invaudit.runtime.runs import RunKind
from invaudit.runtime.settings import explain

R = TypeVar("R", bound=BaseModel)

OOD_RUN = RunKind("ood", schema=2, readable=(1, 2))
LEAKAGE_RUN = RunKind("leakage", schema=2, readable=(1, 2))
EXPLAIN_BENCHMARK_RUN = RunKind("explain-benchmark", schema=1, readable=(1,))
COLUMNS_OF_SCHEMA_1: dict[type[Row], dict[str, Any]] = {
    # Some records hold of the table only what tells how well sets are told apart.
    OodRow: {"id_set": "", "trivial": False},
    # The first summaries had no status: they list what was measured.
    LeakageSummaryRow: {"status": "ok"},
}
"""Columns that some tables of version 1 do not have, with what is read in their place."""


class ScoresRecord(Row):
    """The files that every number of a run is made from: ``records/scores.json``."""

    schema_version: Literal[1] = 1
    """Version of this record."""
    files: dict[str, str]
    """Path in the run folder -> content hash, SHA-256."""


def kind_of(folder: Path) -> RunKind:
    """Return which kind of run a folder holds.

    Raises:
        RunFolderError: It is no run folder, of a kind without tables, or of version 1, which does not say its kind.
    """
    path = record_file(folder, RUN_RECORD)
    name = None if path is None else read_object(path).get("kind")
    kinds = {kind.name: kind for kind in (OOD_RUN, LEAKAGE_RUN)}
    if name not in kinds:
        known = " or ".join(map(repr, kinds))
        got = "no run folder" if path is None else f"a run folder of kind {name!r}"
        raise RunFolderError(
            f"{folder} is {got}, expected one of kind {known}; give the folder of a benchmark or of an audit, and make "
            "runs of earlier versions again"
        )
    return kinds[name]


def schema_of(folder: Path, kind: RunKind) -> int:
    """Return the schema version of a run folder, or of what is recorded of one.

    What is recorded of a run of version 1 has no ``run.json``.

    Raises:
        RunFolderError: The folder is of another kind, or of a version that cannot be read, or does not say.
    """
    path = record_file(folder, RUN_RECORD)
    record = {"schema": 1} if path is None else read_object(path)
    name, schema = record.get("kind", kind.name), record.get("schema")
    if name != kind.name:
        raise RunFolderError(f"{folder} is the folder of a run of kind {name!r}, expected {kind.name!r}; give that one")
    if schema not in kind.readable:
        versions = " and ".join(map(str, kind.readable))
        raise RunFolderError(
            f"{folder} is a run of kind {kind.name!r} in schema {schema!r}; this version of invaudit reads {versions}; "
            "read it with the version that made it, or make it again"
        )
    return int(schema)


def record_file(folder: Path, name: str) -> Path | None:
    """Return the file of a record, ``records/NAME.json``; what is recorded of a run has it beside the tables."""
    for path in (folder / name, folder / Path(name).name):
        if is_file(path, RunFolderError):
            return path
    return None


def read_record(folder: Path, name: str, kind: type[R]) -> R:
    """Return the record of a finished job, ``records/NAME.json``, with its types.

    Raises:
        RunFolderError: It is missing or damaged.
    """
    return _record_in(folder / "records" / f"{name}.json", name, kind)


def read_kept_record(folder: Path, name: str, kind: type[R]) -> R | None:
    """Return the same; None where it is missing. What is recorded of a run has it beside the tables.

    Raises:
        RunFolderError: It is damaged.
    """
    path = record_file(folder, f"records/{name}.json")
    return None if path is None else _record_in(path, name, kind)


def _record_in(path: Path, name: str, kind: type[R]) -> R:
    remedy = f"remove it and give --resume: {name} is done again then"
    values = read_object(path, remedy)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise RunFolderError(f"{path} is damaged: {explain(kind, error)}; {remedy}") from error


def write_scores_record(folder: Path) -> None:
    """Write the hash of every file of scores, once all of them are there."""
    record = ScoresRecord(files=scores_hashes(folder))
    write_json(folder / SCORES_RECORD, record.model_dump())


def scores_hashes(folder: Path) -> dict[str, str]:
    """Return the content hash of every file of scores by its path in the run folder."""
    hashes = {}
    for path in sorted((folder / SCORES).rglob("*.npz")):
        hashes[str(path.relative_to(folder))] = content_hash(read_bytes(path, RunFolderError))
    return hashes


def read_config(folder: Path) -> str | None:
    """Return the text of ``config.yaml``; None where there is none."""
    path = folder / CONFIG
    return read_text(path, RunFolderError) if is_file(path, RunFolderError) else None


def read_environment(folder: Path) -> dict[str, Any] | None:
    """Return the content of ``environment.json``; None where there is none.

    Raises:
        RunFolderError: It is damaged.
    """
    path = folder / ENVIRONMENT
    return read_object(path) if is_file(path, RunFolderError) else None
