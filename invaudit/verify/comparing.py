"""Two versions of a file side by side: the one that is stored and the one that was made once more."""

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from invaudit.records.columns import Row
from invaudit.verify.findings import Compared, Difference

KEYS = (
    "kind", "name", "id_set", "seed", "network", "detector", "ood_set", "attack", "part",
    "target", "score", "method", "metric", "reconstruction", "side", "index", "question", "repeat", "stage",
    "variant", "measure",
)  # fmt: skip
"""Columns that tell the rows of a table apart, as far as a table has them."""
Cells = Mapping[str, str]


@dataclass(frozen=True)
class Tolerance:
    """How far two numbers may be apart.

    Attributes:
        relative: Of the larger one.
        absolute: Near zero.
    """

    relative: float
    absolute: float

    def allows(self, first: float, second: float) -> bool:
        """Return whether two numbers are equal but for rounding."""
        return math.isclose(first, second, rel_tol=self.relative, abs_tol=self.absolute)


COMPUTED = Tolerance(1e-9, 1e-12)
"""Of the same computation by other versions of numpy or scipy, or on another machine."""


def compare_value(
    compared: Compared, stored: str, made: str, tolerance: Tolerance, place: str, column: str = ""
) -> None:
    """Compare one value, as text; numbers may be apart by the tolerance."""
    if stored == made:
        compared.exact += 1
    elif _are_close(stored, made, tolerance):
        compared.close += 1
    else:
        compared.differences.append(Difference(compared.file, place, column, stored, made))


def _are_close(stored: str, made: str, tolerance: Tolerance) -> bool:
    try:
        first, second = float(stored), float(made)
    except ValueError:
        return False
    return math.isfinite(first) and math.isfinite(second) and tolerance.allows(first, second)


def cells_of(content: bytes) -> list[dict[str, str]]:
    """Return the rows of a CSV file as text by column; a cell too many or too few is text, too."""
    reader = csv.DictReader(io.StringIO(content.decode(errors="replace"), newline=""), restval="", restkey="too many")
    return [{str(name): str(value) for name, value in row.items()} for row in reader]


def cells_of_rows(rows: Iterable[Row]) -> list[dict[str, str]]:
    """Return typed rows as text by column; NaN, which no file holds, stands for what could not be made."""
    cells = []
    for row in rows:
        cells.append({name: "" if value is None else str(value) for name, value in row})
    return cells


def compare_tables(
    file: str,
    stored: Sequence[Cells],
    made: Sequence[Cells],
    tolerance: Tolerance = COMPUTED,
    columns: Collection[str] | None = None,
) -> Compared:
    """Compare two tables row by row; rows belong together by their `KEYS`.

    Args:
        file: Name of the file.
        stored: Rows of the folder.
        made: Rows that were made once more.
        tolerance: How far numbers may be apart.
        columns: The columns that are compared; None: all.
    """
    compared = Compared(file)
    names = [name for name in KEYS if any(name in row for row in made)]
    stored_rows, made_rows = _by_key(stored, names), _by_key(made, names)
    wanted = [column for column in (made[0] if made else ()) if columns is None or column in columns]
    absent = [column for column in wanted if stored and column not in stored[0]]
    if columns is None:
        for column in absent:
            difference = Difference(file, column=column, words="this column is missing", of_newer=True)
            compared.differences.append(difference)
    for key, (_, row) in made_rows.items():
        if key not in stored_rows:
            compared.differences.append(Difference(file, _place(names, key), words="this row is missing"))
            continue
        line, known = stored_rows[key]
        place = f"line {line} ({_place(names, key)})"
        for column in wanted:
            if column not in absent and row[column] != "nan":
                compare_value(compared, known.get(column, ""), row[column], tolerance, place, column)
    for key, (line, _) in stored_rows.items():
        if key not in made_rows:
            words = "this row is one too many"
            compared.differences.append(Difference(file, f"line {line} ({_place(names, key)})", words=words))
    in_both = [key for key in stored_rows if key in made_rows]
    if in_both != [key for key in made_rows if key in stored_rows]:
        compared.differences.append(Difference(file, words="the rows are in another order"))
    return compared


def _by_key(rows: Sequence[Cells], names: Sequence[str]) -> dict[tuple[str, ...], tuple[int, Cells]]:
    """Return each row with its line by its key; the same key once more counts on."""
    seen: Counter[tuple[str, ...]] = Counter()
    found = {}
    for line, row in enumerate(rows, start=2):
        key = tuple(row.get(name, "") for name in names)
        seen[key] += 1
        found[key if seen[key] == 1 else (*key, str(seen[key]))] = (line, row)
    return found


def _place(names: Sequence[str], key: Sequence[str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(names, key, strict=False) if value)


def compare_json(file: str, stored: Any, made: Any, tolerance: Tolerance = COMPUTED) -> Compared:
    """Compare two JSON values leaf by leaf."""
    compared = Compared(file)
    stored_leaves, made_leaves = dict(_leaves(stored)), dict(_leaves(made))
    for place, value in made_leaves.items():
        if place in stored_leaves:
            compare_value(compared, stored_leaves[place], value, tolerance, place)
        else:
            compared.differences.append(Difference(file, place, "", None, value, of_newer=True))
    for place, value in stored_leaves.items():
        if place not in made_leaves:
            compared.differences.append(Difference(file, place, "", value, None))
    return compared


def _leaves(value: Any, place: str = "") -> Iterable[tuple[str, str]]:
    """Yield the place and the text of every leaf; an empty list or mapping is one."""
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    if not inner or not value:
        yield place, value if isinstance(value, str) else json.dumps(value)
        return
    for key, part in inner:
        yield from _leaves(part, f"{place}.{key}" if place else str(key))


PICTURE = re.compile(rb"data:image/png;base64,[A-Za-z0-9+/=]+")


def compare_pages(file: str, stored: bytes, made: bytes) -> Compared:
    """Compare the text of two pages line by line, their pictures left out: these are files of their own."""
    compared = Compared(file)
    first, second = (PICTURE.sub(b"", page).decode(errors="replace").splitlines() for page in (stored, made))
    for number, (stored_line, made_line) in enumerate(zip(first, second, strict=False), start=1):
        if stored_line == made_line:
            compared.exact += 1
            continue
        start = _first_change(stored_line, made_line)
        part = slice(max(0, start - 40), start + 60)
        compared.differences.append(Difference(file, f"line {number}", "", stored_line[part], made_line[part]))
    if len(first) != len(second):
        words = f"{len(first)} lines, recomputed {len(second)}"
        compared.differences.append(Difference(file, words=words))
    return compared


def _first_change(first: str, second: str) -> int:
    for position, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return position
    return min(len(first), len(second))
