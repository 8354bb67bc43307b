"""Small changes to the files of a run, as somebody would make who wants other results."""

import csv
import json
import re

import numpy as np

from invaudit.runtime.files import npz_bytes


def cells(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def write_cells(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def set_cell(path, line, column, value):
    """Change one cell, and return what it was; the first row is line 2."""
    rows = cells(path)
    place = rows[0].index(column)
    before = rows[line - 1][place]
    rows[line - 1][place] = value
    write_cells(path, rows)
    return before


def swap(path, first, second, column):
    """Exchange the values of two rows."""
    rows = cells(path)
    place = rows[0].index(column)
    rows[first - 1][place], rows[second - 1][place] = rows[second - 1][place], rows[first - 1][place]
    write_cells(path, rows)


def without_line(path, line):
    rows = cells(path)
    write_cells(path, rows[: line - 1] + rows[line:])


def without_column(path, column):
    rows = cells(path)
    place = rows[0].index(column)
    write_cells(path, [row[:place] + row[place + 1 :] for row in rows])


def with_line(path, **changes):
    """Add a row like the last one, with other values in some columns."""
    rows = cells(path)
    row = dict(zip(rows[0], rows[-1], strict=True)) | changes
    write_cells(path, [*rows, list(row.values())])


def set_leaf(path, keys, value):
    """Change one value of a JSON file."""
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    assert inner[keys[-1]] != value
    inner[keys[-1]] = value
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def set_array(path, name, change):
    """Change one array of an npz file."""
    with np.load(path) as file:
        arrays = dict(file)
    arrays[name] = change(arrays[name].copy())
    path.write_bytes(npz_bytes(arrays))


def without_array(path, name):
    """Leave one array of an npz file out."""
    with np.load(path) as file:
        arrays = dict(file)
    del arrays[name]
    path.write_bytes(npz_bytes(arrays))


def replace_text(path, pattern, text):
    """Replace the first place that fits."""
    content, n = re.subn(pattern, text, path.read_text(), count=1)
    assert n == 1
    path.write_text(content)
