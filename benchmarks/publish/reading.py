"""Reads recorded tables and writes compressed ones. Large tables are kept as ``.csv.gz``, all others as ``.csv``."""

import gzip
from pathlib import Path

import pandas as pd

from invaudit.records import Row, read_rows
from invaudit.records.folder import COLUMNS_OF_SCHEMA_1
from invaudit.runtime import InputError


def read_recorded(folder: Path, name: str, kind: type[Row]) -> pd.DataFrame:
    """Read one table of a record, plain or compressed.

    Args:
        folder: The record, for example ``benchmarks/results/ood-mnist``.
        name: The table, for example ``"summary.csv"``.
        kind: Class of its rows.

    Returns:
        One column for each field of the kind; unknown is NaN or None.

    Raises:
        InputError: The record has no such table, or it is empty.
    """
    table = read_if_recorded(folder, name, kind)
    if table.empty:
        raise InputError(f"{folder} holds no table {name} or {name}.gz; record the run again with record_run")
    return table


def read_if_recorded(folder: Path, name: str, kind: type[Row]) -> pd.DataFrame:
    """Read one table like `read_recorded`; one that is not recorded is empty."""
    rows = read_rows(folder / name, kind, COLUMNS_OF_SCHEMA_1.get(kind))
    table = pd.DataFrame([row.model_dump() for row in rows], columns=list(kind.model_fields))
    unknown = table.columns[table.isna().all()]
    return table.astype(dict.fromkeys(unknown, float))


def compress(content: bytes) -> bytes:
    """Compress a file so that the same content always gives the same bytes: no time and no name inside."""
    return gzip.compress(content, mtime=0)
