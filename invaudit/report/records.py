"""What every run folder holds, read as it is: tables, config, environment."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from invaudit.runtime.files import read_json

# TODO: remove what makes rows of dictionaries, and NAMES, when the tables of leakage runs are typed rows.
# Columns of names and words: "007" is not 7 there, and a set may be called "None".
NAMES = (
    "id_set", "network", "detector", "ood_set", "group", "target", "method", "metric", "design", "score", "kind",
    "verdict", "verdict_reason", "description", "hash", "status", "reason",
)  # fmt: skip
Row = dict[str, Any]


def as_rows(frame: pd.DataFrame) -> list[Row]:
    """Return the rows of a table as mappings; what is missing is None, never NaN, and a name is text."""
    text = frame.astype(dict.fromkeys(frame.columns.intersection(NAMES), str)).astype(object)
    return [
        {str(name): value for name, value in row.items()} for row in text.where(frame.notna(), None).to_dict("records")
    ]


def names_of(rows: list[Row], column: str) -> str:
    """Return the different values of a column, in order, as one text."""
    return ", ".join(dict.fromkeys(str(row[column]) for row in rows))


def read_table(path: Path) -> pd.DataFrame | None:
    """Read a CSV file; None where it is missing or empty. Only an empty cell is a missing value."""
    try:
        return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(NAMES, str))
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return None


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a CSV file, none where it is missing or empty."""
    frame = read_table(path)
    return [] if frame is None else as_rows(frame)


def read_config(folder: Path) -> str | None:
    """Read the text of ``config.yaml``, None where it is missing."""
    path = folder / "config.yaml"
    return path.read_text(encoding="utf-8") if path.is_file() else None


def read_environment(folder: Path) -> dict[str, Any] | None:
    """Read ``environment.json``, None where it is missing."""
    path = folder / "environment.json"
    return read_json(path) if path.is_file() else None


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested mappings and lists as dotted keys and text."""
    if isinstance(value, dict):
        for key in sorted(value):
            yield from flatten(value[key], f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        yield path, ", ".join(map(str, value))
    else:
        yield path, str(value)
