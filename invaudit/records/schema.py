"""Kinds of run folders with their schema versions: older ones are read or refused by name."""

from pathlib import Path

from invaudit.records.names import RUN_RECORD
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import read_object
from invaudit.runtime.runs import RunKind

OOD_RUN = RunKind("ood", schema=2, readable=(1, 2))
LEAKAGE_RUN = RunKind("leakage", schema=2, readable=(1, 2))


def schema_of(folder: Path, kind: RunKind) -> int:
    """Return the schema version of a run folder, or of what is recorded of one.

    What is recorded has ``run.json`` beside its tables, and none where the run was of version 1.

    Raises:
        RunFolderError: The folder is of another kind, or of a version that cannot be read, or does not say.
    """
    record = {"schema": 1}
    for path in (folder / RUN_RECORD, folder / Path(RUN_RECORD).name):
        if path.is_file():
            record = read_object(path)
            break
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
