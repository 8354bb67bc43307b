"""Rows of tables as encoded pictures; what memory they take does not grow with the tables."""

import io
import os
import tempfile
import weakref
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np

from invaudit.data.tables import Leaf, TableFile, import_pyarrow
from invaudit.runtime.errors import DataError
from invaudit.runtime.paths import asking, short

KEPT_BYTES = 128 * 2**20
"""Encoded pictures of a set that stay in memory, since others of their blocks may be wanted next."""
LARGE_BYTES = 32 * 2**20
"""A block of a parquet file that is larger is unpacked once, into a temporary file, not whenever it is wanted."""


class Blocks:
    """The encoded pictures of a set of tables, read block by block. Threads may share it.

    Args:
        leaf: The column of encoded pictures.
    """

    def __init__(self, leaf: Leaf) -> None:
        self._leaf = leaf
        self._in_memory: OrderedDict[tuple[TableFile, int], Any] = OrderedDict()
        self._on_disk: dict[tuple[TableFile, int], _BlockOnDisk] = {}
        self._lock = Lock()

    def picture(self, table: TableFile, row: int) -> bytes | None:
        """Return the encoded picture of a row; None where the row has none.

        Raises:
            DataError: The file is damaged, or there is no room for a temporary file.
        """
        block = bisect_right(table.ends, row)
        row -= table.ends[block] - table.blocks[block]
        # Under one lock: the other threads most likely wait for the same block.
        with self._lock:
            if table.unpacked_bytes(block) > LARGE_BYTES:
                return self._large(table, block).picture(row)
            values = self._small(table, block)
        return values[row].as_py()

    def _small(self, table: TableFile, number: int) -> Any:
        """Return a block as a chunked array; those that were wanted last stay in memory."""
        key = table, number
        if key not in self._in_memory:
            self._in_memory[key] = import_pyarrow().chunked_array(list(table.values(number, self._leaf)))
        self._in_memory.move_to_end(key)
        while len(self._in_memory) > 1 and sum(block.nbytes for block in self._in_memory.values()) > KEPT_BYTES:
            self._in_memory.popitem(last=False)
        return self._in_memory[key]

    def _large(self, table: TableFile, number: int) -> "_BlockOnDisk":
        key = table, number
        if key not in self._on_disk:
            self._on_disk[key] = _BlockOnDisk(self._file, table.values(number, self._leaf))
        return self._on_disk[key]

    @cached_property
    def _file(self) -> IO[bytes]:
        """A file without a name: it is gone when this process ends, however it ends."""
        with _in_temporary_folder():
            file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with what reads it
        weakref.finalize(self, file.close)
        return file


class _BlockOnDisk:
    """The encoded pictures of one block, unpacked at the end of a file.

    Args:
        file: The file.
        parts: Arrays of them.
    """

    def __init__(self, file: IO[bytes], parts: Iterator[Any]) -> None:
        self._file = file
        sizes: list[int] = []
        with _in_temporary_folder():
            start = file.seek(0, os.SEEK_END)
            for values in parts:
                for content in values.to_pylist():
                    sizes.append(-1 if content is None else file.write(content))
            file.flush()
        self._sizes = np.array(sizes)
        self._ends = start + self._sizes.clip(0).cumsum()

    def picture(self, row: int) -> bytes | None:
        """Return an encoded picture; None where there is none."""
        size = int(self._sizes[row])
        return None if size < 0 else os.pread(self._file.fileno(), size, int(self._ends[row]) - size)


@dataclass(frozen=True, slots=True)
class TableRow:
    """An encoded picture that is a row of a table.

    Args:
        table: The table.
        row: Its row, from 0.
        name: What outputs call it.
        blocks: What its table is read through.
    """

    table: TableFile
    row: int
    name: str = field(compare=False)
    blocks: Blocks = field(compare=False, repr=False)

    @property
    def place(self) -> str:
        return f"{short(self.table.path)}#{self.row}"

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        content = self.blocks.picture(self.table, self.row)
        if content is None:
            raise DataError(
                f"{self.place} holds no picture, at most the path of one; write the file with the pictures in it "
                "(save_to_disk and push_to_hub of datasets put them there), or remove the row"
            )
        yield io.BytesIO(content)


def _in_temporary_folder() -> Any:
    remedy = "large parts of parquet files are unpacked there: make room, or set TMPDIR to another folder"
    return asking(Path(tempfile.gettempdir()), DataError, remedy)
