"""Compare two folders of the same benchmark, made by two versions: what existed has to stay as it was.

    python benchmarks/publish/compare_runs.py BEFORE AFTER

Every row and column of the tables of BEFORE keeps its text in AFTER, times excepted, and every stored array its bits.
Prints what differs and what is new, and exits with 1 if anything that existed differs.
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

TIMES = {"seconds"}
"""Columns that hold times, which differ between any two runs."""


def table_differences(before: Path, after: Path) -> list[str]:
    """Return how the text of a table differs, times left out; a column that is new is none."""
    if not after.is_file():
        return [f"{before.name} is missing"]
    old, new = read_cells(before), read_cells(after)
    if len(old) != len(new):
        return [f"{before.name} has {len(new)} rows, had {len(old)}"]
    differences = []
    for number, (old_row, new_row) in enumerate(zip(old, new, strict=True), start=2):
        for column, text in old_row.items():
            if column not in TIMES and new_row.get(column) != text:
                differences.append(f"{before.name}, line {number}, {column}: {new_row.get(column)!r}, was {text!r}")
    return differences


def read_cells(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table as text by column."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def array_differences(before: Path, after: Path, name: str) -> list[str]:
    """Return which arrays of a file differ in a bit, in shape or in type; an array that is new is none."""
    if not after.is_file():
        return [f"{name} is missing"]
    differences = []
    with np.load(before, allow_pickle=False) as old, np.load(after, allow_pickle=False) as new:
        for key in old.files:
            if key not in new.files:
                differences.append(f"{name} holds no {key}")
            elif (old[key].dtype, old[key].shape) != (new[key].dtype, new[key].shape):
                differences.append(f"{name}, {key}: another type or shape")
            elif old[key].tobytes() != new[key].tobytes():
                differences.append(f"{name}, {key}: other values")
    return differences


def additions(before: Path, after: Path) -> list[str]:
    """Return what is new: files, and columns of tables."""
    names = {path.relative_to(after) for path in after.rglob("*") if path.suffix in (".csv", ".npz", ".json", ".png")}
    new = [f"new file {name}" for name in sorted(names) if not (before / name).exists()]
    for path in sorted(before.glob("*.csv")):
        old_columns, columns = (first_line(folder / path.name) for folder in (before, after))
        new += [f"new column {column} of {path.name}" for column in columns if column not in old_columns]
    return new


def first_line(path: Path) -> list[str]:
    """Return the columns of a table, none where it is missing."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])


def main() -> int:
    """Compare the two folders of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    folders = parser.parse_args()
    differences, tables, arrays = [], 0, 0
    for path in sorted(folders.before.glob("*.csv")):
        tables += 1
        differences += table_differences(path, folders.after / path.name)
    for path in sorted((folders.before / "scores").rglob("*.npz")):
        name = path.relative_to(folders.before)
        arrays += 1
        differences += array_differences(path, folders.after / name, str(name))
    for line in [*additions(folders.before, folders.after), *differences[:50]]:
        print(line)
    print(f"{tables} tables, {arrays} files of arrays compared: {len(differences)} differences")
    if not tables:
        print(f"{folders.before} holds no table: nothing was compared")
        return 2
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
