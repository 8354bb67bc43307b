"""Reads recorded tables and writes compressed ones. Large tables are kept as ``.csv.gz``, all others as ``.csv``."""

import gzip
from pathlib import Path

import pandas as pd

from invaudit.report.records import read_table
from invaudit.runtime import InputError

SUFFIXES = (".csv", ".csv.gz")


def has_table(folder: Path, name: str) -> bool:
    """Tell whether a record holds a table, plain or compressed."""
    return any((folder / f"{name}{suffix}").is_file() for suffix in SUFFIXES)


def read_recorded(folder: Path, name: str) -> pd.DataFrame:
    """Read one table of a record, plain or compressed.

    Args:
        folder: The record, for example ``benchmarks/results/ood-mnist``.
        name: The table without its ending, for example ``"summary"``.

    Raises:
        InputError: The record has no such table, or it is empty.
    """
    for suffix in SUFFIXES:
        table = read_table(folder / f"{name}{suffix}")
        if table is not None:
            return table
    raise InputError(f"{folder} holds no table {name}.csv or {name}.csv.gz; record the run again with record_run")


def compress(content: bytes) -> bytes:
    """Compress a file so that the same content always gives the same bytes: no time and no name inside."""
    return gzip.compress(content, mtime=0)
