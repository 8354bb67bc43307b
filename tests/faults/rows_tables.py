"""Tables of pictures: parquet files, and folders that the package datasets wrote."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.faults.rows import Row, fifo, fit, text


def picture() -> bytes:
    """Return a picture that the right network could take."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def parquet(**columns: object) -> bytes:
    """Return a parquet file of these columns beside right ones."""
    right = {"image": [picture()] * 4, "label": [0, 1, 0, 1]}
    buffer = io.BytesIO()
    pq.write_table(pa.table({name: values for name, values in (right | columns).items() if values is not None}), buffer)
    return buffer.getvalue()


def spoilt(name: str, content: bytes, *says: str) -> Row:
    """Return the row of a fit to a parquet file."""
    return Row(f"parquet: {name}", fit("d.parquet"), ("d.parquet", *says), text("d.parquet", content))


def saved(state: object, content: bytes = b""):
    """Write a folder as Dataset.save_to_disk does."""

    def write(inputs: Path) -> None:
        for file, value in (("state.json", json.dumps(state).encode()), ("dataset_info.json", b"{}"), ("a", content)):
            text(f"d/{file}", value)(inputs)

    return write


A = {"_data_files": [{"filename": "a"}]}
ROWS = [
    Row("parquet: missing", fit("d.parquet"), ("there is no file d.parquet", "check the path")),
    Row("parquet: a FIFO", fit("d.parquet"), ("there is no file d.parquet",), fifo("d.parquet")),
    spoilt("empty", b"", "cannot be read", "it is damaged"),
    spoilt("text", b"no table" * 20, "cannot be read", "it is damaged"),
    spoilt("cut", parquet()[:-40], "cannot be read", "it is damaged"),
    spoilt("its footer claims 2 GB", parquet()[:-8] + b"\xff\xff\xff\x7fPAR1", "cannot be read", "it is damaged"),
    spoilt("no pictures", parquet(image=[0, 1, 2, 3]), "no column of encoded pictures", "image (int64)"),
    spoilt("two columns of pictures", parquet(mask=[b""] * 4), "'image', 'mask'", "keep one of them"),
    spoilt("labels are texts", parquet(label=["a", "b", "a", "b"]), "of type string", "number the classes"),
    spoilt("a null", parquet(image=[picture()] * 3 + [None]), "d.parquet#3 holds no picture", "remove the row"),
    spoilt("no picture", parquet(image=[picture()] * 3 + [b"x"]), "d.parquet#3 cannot be read as an image"),
    spoilt("half a picture", parquet(image=[picture()] * 3 + [picture()[:40]]), "d.parquet#3 cannot be read"),
    Row("parquet: no such split", fit("d.parquet:test"), ("'test'", "one of: d"), text("d.parquet", parquet())),
    Row("saved: no stream", fit("d/"), ("d/a cannot be read", "it is damaged"), saved(A, b"ARROW1")),
    Row("saved: a stream of 0 bytes", fit("d/"), ("d/a cannot be read",), saved(A)),
    Row("saved: a file elsewhere", fit("d/"), ("d/state.json names",), saved({"_data_files": [{"filename": "../a"}]})),
    Row("saved: a file too few", fit("d/"), ("d/b: No such file",), saved({"_data_files": [{"filename": "b"}]})),
    Row("saved: no list of files", fit("d/"), ("d/state.json is damaged",), saved({"_data_files": 5})),
    Row("saved: nested 100,000 deep", fit("d/"), ("d/dataset_dict.json",), text("d/dataset_dict.json", "[" * 100_000)),
]
