"""Sets of images in tables, as Hugging Face stores them: parquet files, and what save_to_disk of datasets writes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invaudit.data.arrays import choose_split, label_tensor
from invaudit.data.folders import Listing
from invaudit.data.table_columns import Columns, choose_columns
from invaudit.data.table_rows import Blocks, TableRow
from invaudit.data.tables import ArrowTable, ParquetTable, TableFile
from invaudit.runtime import paths
from invaudit.runtime.boundary import foreign
from invaudit.runtime.errors import DataError, MissingDataError
from invaudit.runtime.files import read_object
from invaudit.runtime.paths import short
from invaudit.runtime.text import shown

PARQUET = ".parquet"
"""Ending of a parquet file."""
STATE, INFO, SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"
"""What save_to_disk writes beside the tables: the first two for a set, the third for a set of each split."""
LONGEST_NAME = 4096
"""Characters of a path in a table; a longer one is none."""
_ONLY = "all"
_REMEDY = "write the folder again, or fetch it again"


def is_table_folder(folder: Path) -> bool:
    """Return whether a folder holds parquet files alone, or what save_to_disk of datasets wrote; hidden files aside."""
    held = [path for path in paths.inside(folder, DataError) if not path.name.startswith(".")]
    names = {path.name for path in held}
    if SPLITS in names or {STATE, INFO} <= names:
        return True
    return bool(held) and all(path.name.lower().endswith(PARQUET) for path in held)


def open_tables(path: Path, split: str | None) -> list[TableFile]:
    """Open the tables of one split, in their order.

    Args:
        path: A parquet file; a folder of them, their splits told by what stands before the first ``-`` of their names;
            or a folder that ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` wrote.
        split: Name of the split; None is ``test`` where there is one, else the only one.

    Raises:
        MissingDataError: There is no such file or folder.
        DataError: A file is damaged, or there is no such split.
    """
    if paths.is_file(path, DataError):
        return _parquet([path], split, path)
    if not paths.is_folder(path, DataError):
        raise MissingDataError(f"there is no file {short(path)}; check the path")
    if paths.is_file(path / SPLITS, DataError):
        splits = _names(read_object(path / SPLITS, _REMEDY, DataError).get("splits"), path / SPLITS)
        return _saved(path / choose_split(set(splits), split, short(path)), None)
    if paths.is_file(path / STATE, DataError):
        return _saved(path, split)
    held = paths.inside(path, DataError)
    return _parquet([file for file in held if not file.name.startswith(".")], split, path)


def list_tables(tables: Sequence[TableFile]) -> Listing:
    """List the rows of tables with the same columns as the pictures of one set.

    A row is called by the path that stands beside its picture, else by its file and number, ``FILE.parquet#ROW``.

    Raises:
        DataError: No column holds pictures, or several could; tables differ; labels are not those of classes; no rows.
    """
    columns = choose_columns(tables[0])
    blocks = Blocks(columns.pictures)
    rows: list[TableRow] = []
    labels: list[int] = []
    for table in tables:
        if choose_columns(table) != columns:
            got = f"{short(table.path)} has other columns or classes than {short(tables[0].path)}"
            raise DataError(f"{got}, expected the same in all files of a split; fetch them again")
        labels += _labels(table, columns).tolist()
        rows += [TableRow(table, row, name, blocks) for row, name in enumerate(_row_names(table, columns))]
    if not rows:
        raise DataError(f"{short(tables[0].path)} holds no rows, expected at least one picture; fetch it again")
    named = columns.class_names if max(labels) >= 0 else ()
    return Listing(rows, labels, named)


def _parquet(files: list[Path], split: str | None, source: Path) -> list[TableFile]:
    split = choose_split(set(map(_split_of, files)), split, short(source))
    return [ParquetTable(file) for file in files if _split_of(file) == split]


def _split_of(file: Path) -> str:
    """Return ``train`` for ``train-00000-of-00002.parquet``; files that are numbered alone are of one split."""
    name = file.stem.partition("-")[0]
    return name if name and not name.isdecimal() else _ONLY


def _saved(folder: Path, split: str | None) -> list[TableFile]:
    """Open what ``Dataset.save_to_disk`` wrote."""
    state = read_object(folder / STATE, _REMEDY, DataError)
    own = state.get("_split")
    choose_split({own if isinstance(own, str) else _ONLY}, split, short(folder))
    if state.get("_indices_data_files"):
        got = f"{short(folder)} keeps a choice of rows in a file of its own"
        raise DataError(f"{got}, expected the rows themselves; call flatten_indices() and save_to_disk again")
    with foreign(f"{short(folder / STATE)} is damaged", DataError, remedy=_REMEDY):
        names = [entry["filename"] for entry in state["_data_files"]]
    return [ArrowTable(folder / name) for name in _names(names, folder / STATE)]


def _names(values: Any, file: Path) -> list[str]:
    """Return names of what lies in a folder; a file there must not choose what is read elsewhere."""
    plain = isinstance(values, list) and all(
        isinstance(name, str) and name == Path(name).name and name != ".." for name in values
    )
    if not plain or not values:
        raise DataError(f"{short(file)} names {shown(values)}, expected names of files or folders beside it; {_REMEDY}")
    return values


def _labels(table: TableFile, columns: Columns) -> NDArray[np.int64]:
    count = sum(table.blocks)
    if columns.labels is None:
        return np.full(count, -1)
    source = f"column {shown(columns.labels)} of {short(table.path)}"
    parts = [np.empty(0, np.int64)]
    with foreign(f"{source} cannot be read", DataError, remedy="it is damaged: fetch it again"):
        for block in range(len(table.blocks)):
            parts += [part.cast("int64").fill_null(-1).to_numpy() for part in table.values(block, (columns.labels,))]
    labels = label_tensor(np.concatenate(parts), count, source).numpy()
    names = len(columns.class_names)
    if names and (unnamed := np.flatnonzero(labels >= names)).size:
        row = unnamed[0]
        got = f"{short(table.path)}#{row} has the label {labels[row]}"
        raise DataError(f"{got}, expected one of the {names} classes that the file names; correct it")
    return labels


def _row_names(table: TableFile, columns: Columns) -> Iterator[str]:
    own = (f"{table.path}#{row}" for row in range(sum(table.blocks)))
    if columns.paths is None:
        yield from own
        return
    with foreign(f"the paths in {short(table.path)} cannot be read", DataError, remedy="it is damaged: fetch it again"):
        for block in range(len(table.blocks)):
            for part in table.values(block, columns.paths):
                for name, instead in zip(part.to_pylist(), own, strict=False):
                    yield name if name and len(name) <= LONGEST_NAME else instead
