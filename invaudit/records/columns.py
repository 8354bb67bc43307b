"""Typed rows: what a table of a run holds, each column with its meaning, its unit and which way is better."""

import csv
import gzip
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from invaudit.runtime.boundary import foreign
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import write_parts
from invaudit.runtime.paths import is_file, read_bytes
from invaudit.runtime.settings import explain

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Column:
    """What the values of a column are.

    Attributes:
        unit: Unit of the values: ``fraction``, ``s``, ``count``, ``images``, or empty.
        better: Whether a higher or a lower value is better, where one is.
    """

    unit: str = ""
    better: Better | None = None

    @property
    def is_rate(self) -> bool:
        """Whether the values are fractions that people read in per cent."""
        return self.unit == "fraction"


Count = Annotated[int | None, Column(unit="count")]
Fraction = Annotated[float | None, Column(unit="fraction")]
GoodFraction = Annotated[float | None, Column(unit="fraction", better="higher")]
BadFraction = Annotated[float | None, Column(unit="fraction", better="lower")]
Probability = Annotated[float | None, Column(unit="probability")]
Seconds = Annotated[float | None, Column(unit="s")]
Text = str | None

R = TypeVar("R", bound="Row")


class Row(BaseModel):
    """Base of all rows and records: frozen, unknown fields refused, a field that is not known is None, never NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        """Turn numpy's numbers into Python's, and NaN into None."""
        if hasattr(value, "item") and not getattr(value, "shape", None):
            value = value.item()
        return None if isinstance(value, float) and math.isnan(value) else value

    @classmethod
    def of(cls: type[R], row: "Row", **more: Any) -> R:
        """Return what another row says, in the fields of this kind; those in ``more`` are taken from there."""
        said = {name: getattr(row, name) for name in cls.model_fields if name not in more}
        return cls.model_validate(said | more)

    @classmethod
    def columns(cls) -> dict[str, Column]:
        """Return what each column holds, by name, in the order of the table."""
        described = {}
        for name, field in cls.model_fields.items():
            described[name] = Column()
            for item in field.metadata:
                if isinstance(item, Column):
                    described[name] = item
                    break
        return described

    @classmethod
    def is_numeric(cls, name: str) -> bool:
        """Return whether a column holds numbers; names, words and yes or no are text."""
        annotation = cls.model_fields[name].annotation
        kinds = set(get_args(annotation)) or {annotation}
        return kinds <= {int, float, type(None)}


def write_rows(path: Path, kind: type[Row], rows: Iterable[Row]) -> None:
    """Write the rows of one kind as a CSV file, atomically; what is not known is an empty cell.

    Rows that are made while they are written need not fit into memory.
    """
    write_parts(path, _lines(kind, rows))


def _lines(kind: type[Row], rows: Iterable[Row]) -> Iterator[bytes]:
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    writer.writerow(kind.model_fields)
    for row in rows:
        yield _emptied(line)
        writer.writerow(["" if value is None else value for _, value in row])
    yield _emptied(line)


def _emptied(line: io.StringIO) -> bytes:
    text = line.getvalue()
    line.seek(0)
    line.truncate()
    return text.encode(errors="backslashreplace")


def read_rows(path: Path, kind: type[R], defaults: Mapping[str, Any] | None = None) -> list[R]:
    """Read the rows of a CSV file; none where it is missing or empty. Columns that the kind does not have are left out.

    Args:
        path: The file, for example ``table.csv``; where it is missing, ``table.csv.gz`` beside it is read.
        kind: Class of the rows.
        defaults: Values of columns that an older file does not have.

    Raises:
        RunFolderError: A cell does not hold what its column should; file, line and column are named.
    """
    rows = []
    file = io.StringIO(_content(path), newline="")
    with foreign(f"{path} is damaged", RunFolderError, remedy="make the run again"):
        lines = list(csv.DictReader(file))
    for number, cells in enumerate(lines, start=2):
        try:
            rows.append(kind.model_validate({**(defaults or {}), **_known(cells, kind)}))
        except ValidationError as error:
            raise RunFolderError(
                f"{path}, line {number}, column {explain(kind, error)}; "
                "the file is damaged or was made by another version"
            ) from error
    return rows


def table_file(path: Path) -> Path | None:
    """Return the file of a table: ``NAME.csv``, else ``NAME.csv.gz`` as records keep it, else None."""
    for file in (path, path.with_name(f"{path.name}.gz")):
        if is_file(file, RunFolderError):
            return file
    return None


def _content(path: Path) -> str:
    """Return the text of a table, plain or compressed; empty where there is none."""
    file = table_file(path)
    if file is None:
        return ""
    content = read_bytes(file, RunFolderError)
    with foreign(f"{file} is damaged", RunFolderError, remedy="make the run again"):
        return (gzip.decompress(content) if file.suffix == ".gz" else content).decode()


def _known(cells: Mapping[str, str | None], kind: type[Row]) -> dict[str, str | None]:
    """Return the cells of the columns that a kind has; an empty one is left to its default, where there is one."""
    known: dict[str, str | None] = {}
    for name, field in kind.model_fields.items():
        if cells.get(name):
            known[name] = cells[name]
        elif name in cells and field.is_required():
            known[name] = None
    return known


def distinct(names: Iterable[str | None]) -> list[str]:
    """Return the different names in their order, without those that are missing."""
    return list(dict.fromkeys(name for name in names if name is not None))
