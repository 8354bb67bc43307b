"""Parquet files and Arrow streams, block by block: no size is believed, and one block at a time is unpacked."""

import mmap
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

from invaudit.data.arrays import LIMIT_BYTES
from invaudit.runtime.boundary import foreign
from invaudit.runtime.errors import DataError, MissingExtraError
from invaudit.runtime.paths import opened, short

MOST_ROWS = 2**25
"""Rows that are read from one file."""
ROWS_AT_ONCE, BYTES_AT_ONCE = 64, 2**28
"""How much of a parquet file is unpacked at once: so many rows, or fewer that might be larger."""
BUFFER = 2**20
"""Bytes that are read of a parquet file at once."""

Leaf = tuple[str, ...]
"""A column, or a field of a column that is a struct."""


def import_pyarrow() -> Any:
    """Import pyarrow with the modules that read its files.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError('parquet and Arrow files need pyarrow; run: pip install "invaudit[parquet]"') from error
    return pyarrow


class TableFile(ABC):
    """A file with a table in it. It is open only while something is read, so a set may have thousands.

    Args:
        path: The file.

    Attributes:
        schema: Its columns: a pyarrow.Schema.
        blocks: Number of rows in each part that can be read apart from the others.
        ends: The row at which each of them ends.

    Raises:
        DataError: It is damaged, or too large.
    """

    schema: Any
    blocks: Sequence[int]

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._border(), opened(path, DataError) as file:
            self._look_through(file)
        if not all(rows >= 0 for rows in self.blocks) or sum(self.blocks) > MOST_ROWS:
            raise DataError(
                f"{short(path)} claims {sum(self.blocks):,} rows, expected at most {MOST_ROWS:,}; split it into files"
            )
        self.ends = list(accumulate(self.blocks))

    def values(self, block: int, leaf: Leaf) -> Iterator[Any]:
        """Yield the values of a column in one block, in order, as arrays of pyarrow; null where a struct is null.

        Raises:
            DataError: They are damaged, or too large when they are unpacked.
        """
        size = rows = 0
        with self._border(), opened(self.path, DataError) as file:
            for batch in self._batches(file, block, leaf):
                column = batch.column(leaf[0])
                for field in leaf[1:]:
                    column = import_pyarrow().compute.struct_field(column, field)
                size, rows = size + column.nbytes, rows + len(column)
                self._refuse_large(size, block, leaf)
                yield column
        if rows != self.blocks[block]:
            got = f"{self._part(block, leaf)} has {rows} rows and claims {self.blocks[block]}"
            raise DataError(f"{got}; it is damaged: fetch it again")

    @abstractmethod
    def unpacked_bytes(self, block: int) -> int:
        """Return the memory that one block claims to need; 0 where its values stay in the file."""

    @abstractmethod
    def _look_through(self, file: IO[bytes]) -> None:
        """Set the schema and the blocks."""

    @abstractmethod
    def _batches(self, file: IO[bytes], block: int, leaf: Leaf) -> Iterator[Any]:
        """Yield record batches of one block that hold a leaf; their values can be read without harm."""

    def _border(self) -> Any:
        return foreign(f"{short(self.path)} cannot be read", DataError, remedy="it is damaged: fetch it again")

    def _part(self, block: int, leaf: Leaf) -> str:
        return f"part {block} of column {'.'.join(leaf)} of {short(self.path)}"

    def _refuse_large(self, size: int, block: int, leaf: Leaf) -> None:
        if size > LIMIT_BYTES:
            got = f"{self._part(block, leaf)} unpacks to {size / 2**30:.1f} GiB or more"
            raise DataError(f"{got}, expected at most {LIMIT_BYTES / 2**30:g} GiB; write it with smaller row groups")


class ParquetTable(TableFile):
    """A parquet file; a block is a row group."""

    _metadata: Any

    def _look_through(self, file: IO[bytes]) -> None:
        parquet = import_pyarrow().parquet.ParquetFile(file)
        self._metadata, self.schema = parquet.metadata, parquet.schema_arrow
        self.blocks = [parquet.metadata.row_group(group).num_rows for group in range(parquet.metadata.num_row_groups)]

    def _batches(self, file: IO[bytes], block: int, leaf: Leaf) -> Iterator[Any]:
        claimed = self.unpacked_bytes(block)
        self._refuse_large(claimed, block, leaf)
        # Rows that share one value in the file do not when they are unpacked: together they may be larger than all.
        rows = max(1, min(ROWS_AT_ONCE, BYTES_AT_ONCE // max(1, claimed)))
        # By default pyarrow would hold the whole row group in memory.
        steps = {"buffer_size": BUFFER, "pre_buffer": False}
        parquet = import_pyarrow().parquet.ParquetFile(file, metadata=self._metadata, **steps)
        yield from parquet.iter_batches(rows, row_groups=[block], columns=[".".join(leaf)], use_threads=False)

    def unpacked_bytes(self, block: int) -> int:
        # Of all columns: to ask for one of them ends the process where its statistics are damaged (pyarrow 26).
        return self._metadata.row_group(block).total_byte_size


class ArrowTable(TableFile):
    """An Arrow stream as the package datasets writes it, unpacked; a block is a record batch."""

    _starts: Sequence[int]

    def _look_through(self, file: IO[bytes]) -> None:
        pyarrow = import_pyarrow()
        stream = pyarrow.BufferReader(_mapped(file))
        message = pyarrow.ipc.read_message(stream)
        if message.type != "schema":  # pyarrow 26 ends the process where it is asked to take another kind for one
            raise DataError(f"{short(self.path)} does not begin with its columns; it is damaged: fetch it again")
        self.schema = pyarrow.ipc.read_schema(message)
        starts, blocks = [], []
        while True:
            start = stream.tell()
            try:
                message = pyarrow.ipc.read_message(stream)
            except EOFError:
                break
            self._refuse_packed(message)
            starts.append(start)
            blocks.append(pyarrow.ipc.read_record_batch(message, self.schema).num_rows)
        if stream.tell() == start:  # there was no mark of the end to read over
            raise DataError(f"{short(self.path)} ends before its end is marked; it is damaged: fetch it again")
        self._starts, self.blocks = starts, blocks

    def unpacked_bytes(self, block: int) -> int:  # noqa: ARG002 - what is not packed is not unpacked
        return 0

    def _batches(self, file: IO[bytes], block: int, leaf: Leaf) -> Iterator[Any]:
        pyarrow = import_pyarrow()
        message = pyarrow.ipc.read_message(pyarrow.BufferReader(_mapped(file)[self._starts[block] :]))
        self._refuse_packed(message)
        batch = pyarrow.ipc.read_record_batch(message, self.schema).select([leaf[0]])
        # Nothing else checks the offsets at which values lie: wrong ones would read beyond the file.
        batch.validate(full=True)
        yield batch

    def _refuse_packed(self, message: Any) -> None:
        if message.type != "record batch" or is_packed(message.metadata):
            got = f"{short(self.path)} holds packed or dictionary-encoded values"
            raise DataError(f"{got}, expected an Arrow stream as Dataset.save_to_disk writes it; save it again so")


def _mapped(file: IO[bytes]) -> Any:
    """Return a file as a buffer of pyarrow: it takes no memory, and no more can be read of it than is there."""
    return import_pyarrow().py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def is_packed(metadata: Any) -> bool:
    """Return whether the buffers of a record batch are compressed: how large they are unpacked, only they know.

    pyarrow does not tell, but what describes the message does: a flatbuffer whose root has the header as its third
    field, of which the compression is the fourth. *Source:* format/Message.fbs of Apache Arrow.
    """

    def place(table: int, field: int) -> int:
        """Return where a field of a table lies; 0 where it is left out."""
        fields = table - struct.unpack_from("<i", metadata, table)[0]
        (size,) = struct.unpack_from("<H", metadata, fields)
        entry = 4 + 2 * field
        (offset,) = struct.unpack_from("<H", metadata, fields + entry) if entry < size else (0,)
        return table + offset if offset else 0

    (root,) = struct.unpack_from("<I", metadata, 0)
    pointer = place(root, 2)
    header = pointer + struct.unpack_from("<I", metadata, pointer)[0]
    return place(header, 3) != 0
