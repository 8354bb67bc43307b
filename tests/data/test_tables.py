"""Pictures in parquet files and in what datasets saves: the same set as a folder of the same files."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from invaudit.data import image_set, load, table_rows, tables
from invaudit.data.folders import PictureInput
from invaudit.data.pictures import Pictures
from invaudit.runtime.errors import DataError, MissingDataError, MissingExtraError
from tests.data.stored_sets import GREY, RGB
from tests.data.stored_tables import (
    IMAGE,
    classes,
    embedded,
    table,
    write_parquet,
    write_saved,
    write_saved_splits,
)

WANTED = PictureInput((3, 8, 8))
NAMES = ("ants", "bees", "cows")
FEATURES = {"image": IMAGE, "label": classes(*NAMES)}
SHOWN = [0, 0, 0, 1, 1, 1, 1, 2, 2]


@pytest.fixture
def files(root: Path) -> list[Path]:
    """Return pictures of many sizes and formats, in class folders: colour, grey, 16 bits, turned by EXIF."""
    found = []
    exif = Image.Exif()
    exif[0x0112] = 6
    for index, label in enumerate(SHOWN):
        path = root / "files" / NAMES[label] / f"{index}.{('png', 'jpg', 'webp')[index % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RGB[index % 6]).resize((12 + index, 20)).save(path, exif=exif)
        found.append(path)
    Image.fromarray(GREY[0].astype(np.uint16) * 257).save(found[0])
    return found


@pytest.fixture
def stored(files: list[Path]) -> pa.Table:
    return table({"image": embedded(files), "label": SHOWN}, FEATURES)


def halves(stored: pa.Table) -> tuple[pa.Table, pa.Table]:
    return stored.slice(0, 5), stored.slice(5)


@pytest.mark.parametrize("kind", ["one file", "shards", "numbered shards", "saved", "saved splits"])
def test_a_table_is_the_set_of_a_folder_of_the_same_files(kind: str, root: Path, files: list[Path], stored: pa.Table):
    first, second = halves(stored)
    if kind == "one file":
        write_parquet(root / "set.parquet", stored, 4)
    elif kind == "shards":
        write_parquet(root / "set" / "train-00001-of-00002.parquet", second)
        write_parquet(root / "set" / "train-00000-of-00002.parquet", first, 2, compression="zstd")
    elif kind == "numbered shards":
        write_parquet(root / "set" / "0000.parquet", first)
        write_parquet(root / "set" / "0001.parquet", second)
    elif kind == "saved":
        write_saved(root / "set", first, second)
    else:
        write_saved_splits(root / "set", train=stored)
    images = load("set.parquet" if kind == "one file" else "set", wanted=WANTED)
    folder = load("files", wanted=WANTED)
    assert images.hash == folder.hash
    assert torch.equal(images.images, folder.images)
    assert images.class_names == folder.class_names == NAMES
    assert images.preparation == folder.preparation
    assert images.files == tuple(file.name for file in files)


def test_plain_binary_values_are_named_by_their_row(root: Path, files: list[Path]) -> None:
    contents = [file.read_bytes() for file in files]
    for kind in (pa.binary(), pa.large_binary()):
        write_parquet(
            root / "set.parquet", table({"x": pa.array(contents, kind), "labels": pa.array(SHOWN, pa.uint8())})
        )
        images = load("./set.parquet", wanted=WANTED)
        assert images.hash == load("files", wanted=WANTED).hash
        assert images.class_names == ()
        assert images.files[:2] == ("set.parquet#0", "set.parquet#1")


def test_rows_without_a_path_are_named_by_their_row_in_their_file(root: Path, files: list[Path]) -> None:
    for part, chosen in enumerate((files[:4], files[4:])):
        write_parquet(root / "set" / f"test-{part}.parquet", table({"image": embedded(chosen, named=False)}))
    images = load("set", wanted=WANTED)
    assert images.files[3:5] == ("set/test-0.parquet#3", "set/test-1.parquet#0")
    assert images.labels.tolist() == [-1] * len(files)
    assert torch.equal(images.images, load("files", wanted=WANTED).images)


@pytest.mark.parametrize("kind", ["parquet", "saved"])
def test_splits_slices_and_joins(kind: str, root: Path, stored: pa.Table) -> None:
    first, second = halves(stored)
    if kind == "parquet":
        write_parquet(root / "set" / "test-00000-of-00001.parquet", first)
        write_parquet(root / "set" / "train-00000-of-00001.parquet", second)
    else:
        write_saved_splits(root / "set", train=second, test=first)
    whole = load("files", wanted=WANTED)
    assert load("set", wanted=WANTED).hash == load("set/:test", wanted=WANTED).hash == whole.subset(slice(5)).hash
    assert load("set:train@1:3", wanted=WANTED).hash == whole.subset(slice(6, 8)).hash
    assert load("set:test+set:train", wanted=WANTED).hash == whole.hash
    assert load("set:test+files", wanted=WANTED).hash == load("files@0:5+files", wanted=WANTED).hash
    with pytest.raises(DataError, match="set has no split 'val', expected one of: test, train"):
        load("set:val", wanted=WANTED)


def test_a_split_stands_in_the_name_of_a_file(root: Path, stored: pa.Table) -> None:
    write_parquet(root / "a:b" / "val-00000-of-00001.parquet", stored)
    path = "a:b/val-00000-of-00001.parquet"
    assert len(load(path, wanted=WANTED)) == len(load(f"{path}:val", wanted=WANTED)) == len(SHOWN)
    with pytest.raises(DataError, match="has no split 'test', expected one of: val"):
        load(f"{path}:test", wanted=WANTED)
    write_saved(root / "saved", stored, split="train")
    assert len(load("saved:train", wanted=WANTED)) == len(SHOWN)
    with pytest.raises(DataError, match="has no split 'test', expected one of: train"):
        load("saved:test", wanted=WANTED)


def test_without_a_class_the_label_is_minus_one(root: Path, files: list[Path]) -> None:
    pictures = embedded(files[:3])
    write_parquet(root / "set.parquet", table({"image": pictures, "label": [2, None, -1]}, FEATURES))
    images = load("./set.parquet", wanted=WANTED)
    assert images.labels.tolist() == [2, -1, -1]
    assert images.class_names == NAMES
    write_parquet(root / "set.parquet", table({"image": pictures, "label": [-1, -1, None]}, FEATURES))
    assert load("./set.parquet", wanted=WANTED).classes == 0


def test_columns_are_chosen_by_what_is_declared_of_them(root: Path, files: list[Path]) -> None:
    columns = {
        "thumb": [b"no picture"] * 3,
        "image": embedded(files[:3]),
        "label": ["x", "y", "z"],
        "kind": [1, 0, 2],
        "other": [[1], [2], [3]],
    }
    features = {"image": IMAGE, "kind": classes(*NAMES), "thumb": {"_type": "Value"}, "gone": IMAGE}
    write_parquet(root / "set.parquet", table(columns, features))
    images = load("./set.parquet", wanted=WANTED)
    assert torch.equal(images.images, load("files@0:3", wanted=WANTED).images)
    assert images.labels.tolist() == [1, 0, 2]


ARRAYS = pa.array([[[[0, 0], [0, 0]]] * 2], pa.list_(pa.list_(pa.list_(pa.uint8(), 2), 2), 2))


@pytest.mark.parametrize(
    ("columns", "features", "message"),
    [
        ({"x": ARRAYS}, None, r"no column of encoded pictures but x \(fixed_size_list.*store arrays as pictures"),
        ({"x": [1]}, {"x": IMAGE}, r"no column of encoded pictures but x \(int64\)"),
        ({"x": [{"path": "a.png"}]}, None, r"no column of encoded pictures but x \(struct<path: string>\)"),
        ({"a": [b"1"], "b": [b"2"]}, None, "several columns of pictures: 'a', 'b', expected one; keep one of them"),
        ({"a": [b"1"], "b": [b"2"]}, {"a": IMAGE, "b": IMAGE}, "several columns of pictures: 'a', 'b'"),
        ({"x": [b"1"], "label": [0], "labels": [0]}, None, "several columns of classes: 'label', 'labels'"),
        (
            {"x": [b"1"], "fine_label": [0], "coarse_label": [0]},
            {"fine_label": classes("a"), "coarse_label": classes("a")},
            "several columns of classes: 'fine_label', 'coarse_label'",
        ),
        ({"x": [b"1"], "label": ["cat"]}, None, "column 'label' of .* is of type string, expected whole numbers"),
        ({"x": [b"1"], "label": [[0]]}, None, "is of type list<.*int64>, expected whole numbers"),
        (
            {"x": [b"1"], "label": [2]},
            {"label": classes("a", "b")},
            "#0 has the label 2, expected one of the 2 classes",
        ),
        ({"x": [b"1"], "label": [10**9]}, None, "has labels from 1000000000 to 1000000000, expected classes"),
        ({"x": [b"1"], "label": pa.array([2**64 - 1], pa.uint64())}, None, "column 'label' of .* cannot be read"),
        ({"x": [b"1"], "label": [0]}, {"label": classes("a", "a")}, "expected a list of different texts"),
        ({"x": [b"1"], "label": [0]}, {"label": {"_type": "ClassLabel", "names": 5}}, "are 5, expected a list"),
        ({"x": pa.array([], pa.binary())}, None, "holds no rows, expected at least one picture"),
        ({"x": [b"no picture"]}, None, r"set\.parquet#0 cannot be read as an image \(no picture of a known format\)"),
    ],
)
def test_what_is_no_set_of_pictures_is_refused_by_name(
    columns: dict[str, Any], features: dict[str, Any] | None, message: str, root: Path
) -> None:
    write_parquet(root / "set.parquet", table(columns, features))
    with pytest.raises(DataError, match=message) as caught:
        load("./set.parquet", wanted=WANTED)
    assert "set.parquet" in str(caught.value)


@pytest.mark.parametrize(
    "metadata", [b"{", b"[]", b'{"info": 5}', b'{"info": {"features": [1]}}', b"\xff", b"[" * 9999]
)
def test_damaged_declarations_are_refused(metadata: bytes, root: Path) -> None:
    write_parquet(root / "set.parquet", pa.table({"x": [b"1"]}).replace_schema_metadata({"huggingface": metadata}))
    with pytest.raises(DataError, match=r"the columns of set\.parquet cannot be read"):
        load("./set.parquet")


def test_messages_of_a_kind_that_nobody_knows_are_refused(root: Path, stored: pa.Table) -> None:
    write_saved(root / "set", stored)
    (file,) = (root / "set").glob("*.arrow")
    content = bytearray(file.read_bytes())
    fields = b"\x0e\0\6\0\5\0\x08\0"  # of the first message; the third is where its kind lies
    content[content.index(fields) + 4] = 21
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"arrow does not begin with its columns; it is damaged"):
        load("set")


def test_names_of_columns_that_are_no_text_are_refused(root: Path, stored: pa.Table) -> None:
    write_saved(root / "set", stored)
    (file,) = (root / "set").glob("*.arrow")
    content = file.read_bytes()
    file.write_bytes(content.replace(b"\5\0\0\0label", b"\5\0\0\0lab\xe5l"))
    assert file.read_bytes() != content
    with pytest.raises(DataError, match=rf"the columns of set/{file.name} cannot be read \(UnicodeDecodeError"):
        load("set")


def test_rows_whose_picture_is_not_there_are_named(root: Path, files: list[Path]) -> None:
    pictures = embedded(files[:3])
    for row, spoilt in ((1, None), (2, {"bytes": None, "path": str(files[2])})):
        write_parquet(root / "set.parquet", table({"image": [*pictures[:row], spoilt, *pictures[row + 1 :]]}))
        with pytest.raises(DataError, match=rf"set\.parquet#{row} holds no picture, .*or remove the row"):
            load("./set.parquet", wanted=WANTED)
    cut = {**pictures[2], "bytes": pictures[2]["bytes"][:-60]}
    write_saved(root / "saved", table({"image": [*pictures[:2], cut]}))
    with pytest.raises(DataError, match=r"saved/data-00001-of-00001\.arrow#2 cannot be read as an image"):
        load("saved", wanted=WANTED)


def test_shards_must_agree(root: Path, files: list[Path]) -> None:
    for part, names in enumerate((NAMES, reversed(NAMES))):
        features = {"image": IMAGE, "label": classes(*names)}
        write_parquet(
            root / "set" / f"train-{part}.parquet", table({"image": embedded(files[:1]), "label": [0]}, features)
        )
    with pytest.raises(DataError, match=r"train-1\.parquet has other columns or classes than set/train-0\.parquet"):
        load("set", wanted=WANTED)


def test_pictures_of_other_folders_stay_pictures(root: Path, files: list[Path], stored: pa.Table) -> None:
    write_parquet(root / "files" / "beside.parquet", stored)
    (root / "files" / "dataset_info.json").write_text("{}")
    assert load("files", wanted=WANTED).files[0] == str(files[0].relative_to(root))
    write_parquet(root / "tables" / "a.parquet", stored)
    (root / "tables" / ".gitattributes").write_text("")
    assert load("tables", wanted=WANTED).hash == load("files", wanted=WANTED).hash


@pytest.mark.parametrize("kind", ["blocks in memory", "blocks on disk", "saved"])
def test_large_sets_stay_in_their_files(
    kind: str, root: Path, files: list[Path], stored: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_set, "SMALL_BYTES", 0)
    monkeypatch.setattr(table_rows, "KEPT_BYTES", 1)
    if kind == "blocks on disk":
        monkeypatch.setattr(table_rows, "LARGE_BYTES", 1)
    if kind == "saved":
        write_saved(root / "set", stored)
    else:
        write_parquet(root / "set" / "a.parquet", stored, 2)
    images = load("set", wanted=WANTED)
    folder = load("files", wanted=WANTED)
    assert isinstance(images.pixels, Pictures)
    held = {row.blocks for row in images.pixels.sources}
    assert len(held) == 1
    order = torch.tensor([8, 0, 3, 3, 7])
    assert torch.equal(images.floats(order), folder.floats(order))
    assert torch.equal(torch.cat(list(images.batches(4))), folder.floats())
    assert images.hash == folder.hash
    assert images.subset(order).files == tuple(files[place].name for place in order.tolist())
    assert len(held.pop()._in_memory) == (0 if kind == "blocks on disk" else 1)


def test_no_room_to_unpack_is_an_error_that_says_where(
    root: Path, stored: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_rows, "LARGE_BYTES", 1)
    monkeypatch.setattr(table_rows.tempfile, "TemporaryFile", partial(open, "/dev/full", "r+b", buffering=0))
    write_parquet(root / "set.parquet", stored)
    with pytest.raises(DataError, match=r"No space left on device; .*set TMPDIR to another folder"):
        load("./set.parquet", wanted=WANTED)


def test_what_a_file_claims_is_compared_before_it_is_unpacked(
    root: Path, stored: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(root / "set.parquet", stored)
    monkeypatch.setattr(tables, "LIMIT_BYTES", 500)
    monkeypatch.setattr("pyarrow.parquet.ParquetFile.iter_batches", pytest.fail)
    with pytest.raises(DataError, match=r"part 0 of column \w+ of set\.parquet unpacks to .* GiB or more"):
        load("./set.parquet", wanted=WANTED)
    monkeypatch.setattr(tables, "MOST_ROWS", 8)
    with pytest.raises(DataError, match=r"set\.parquet claims 9 rows, expected at most 8"):
        load("./set.parquet", wanted=WANTED)


def test_a_value_that_many_rows_share_is_counted_for_each_of_them(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = pa.DictionaryArray.from_arrays(np.zeros(3000, np.int32), pa.array([b"x" * 10_000]))
    write_parquet(root / "set.parquet", table({"x": shared.cast(pa.binary())}))
    assert (root / "set.parquet").stat().st_size < 20_000
    monkeypatch.setattr(tables, "LIMIT_BYTES", 10**6)
    with pytest.raises(DataError, match=r"column x of set\.parquet unpacks to"):
        load("./set.parquet", wanted=WANTED)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_packed_streams_are_refused_before_they_are_unpacked(
    compression: str, root: Path, stored: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_saved(root / "set", stored)
    (file,) = (root / "set").glob("*.arrow")
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(str(file), stored.schema, options=options) as stream:
        stream.write_table(stored)
    monkeypatch.setattr("pyarrow.ipc.read_record_batch", pytest.fail)
    with pytest.raises(DataError, match=r"holds packed or dictionary-encoded values, .*save it again"):
        load("set", wanted=WANTED)


def test_streams_are_checked_where_they_point_to(root: Path, stored: pa.Table) -> None:
    write_saved(root / "set", stored)
    (file,) = (root / "set").glob("*.arrow")
    content = file.read_bytes()
    sizes = [len(row["bytes"]) for row in stored["image"].to_pylist()[:3]]
    offsets = np.cumsum([0, *sizes]).astype(np.int32)
    beyond = np.array([0, *(offsets[1:] + 2**30)], np.int32)
    assert content.count(offsets.tobytes()) == 1
    file.write_bytes(content.replace(offsets.tobytes(), beyond.tobytes()))
    with pytest.raises(DataError, match=r"arrow cannot be read \(.*it is damaged"):
        load("set", wanted=WANTED)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_files_that_end_early_are_damaged(share: float, root: Path, stored: pa.Table) -> None:
    write_parquet(root / "set.parquet", stored)
    write_saved(root / "set", stored)
    for file, name in ((root / "set.parquet", "./set.parquet"), (next((root / "set").glob("*.arrow")), "set")):
        content = file.read_bytes()
        file.write_bytes(content[: int(share * (len(content) - 8))])
        with pytest.raises(DataError, match=rf"{file.name} .*it is damaged: fetch it again"):
            load(name, wanted=WANTED)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("state.json", "[", r"state\.json is damaged"),
        ("state.json", "[]", r"state\.json is damaged: got a list"),
        ("state.json", "{}", r"state\.json is damaged \(KeyError: '_data_files'\)"),
        ("state.json", '{"_data_files": []}', r"state\.json names \[\], expected names of files"),
        ("state.json", '{"_data_files": [{"filename": "../set.parquet"}]}', r"names \['\.\./set\.parquet'\], expected"),
        ("state.json", '{"_data_files": [{"filename": "gone.arrow"}]}', r"gone\.arrow: No such file"),
        ("state.json", '{"_data_files": [], "_indices_data_files": [{}]}', r"keeps a choice of rows.*flatten_indices"),
        ("dataset_dict.json", '{"splits": ["../x"]}', r"dataset_dict\.json names \['\.\./x'\], expected names"),
        ("dataset_dict.json", '{"splits": 5}', r"dataset_dict\.json names 5, expected names"),
        ("dataset_dict.json", '{"splits": ["test"]}', r"set/test/state\.json is missing; write the folder again"),
    ],
)
def test_damaged_folders_are_named(file: str, content: str, message: str, root: Path, stored: pa.Table) -> None:
    write_saved(root / "set", stored)
    (root / "set" / file).write_text(content)
    with pytest.raises(DataError, match=message):
        load("set", wanted=WANTED)


def test_what_is_not_there_is_a_missing_data_error(root: Path) -> None:
    with pytest.raises(MissingDataError, match=r"there is no file nothing\.parquet; check the path"):
        load("nothing.parquet")
    (root / "nothing.parquet").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        load("nothing.parquet")


def test_without_pyarrow_the_message_has_the_line_that_installs_it(
    root: Path, stored: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(root / "set.parquet", stored)
    write_saved(root / "set", stored)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for name in ("set.parquet", "set"):
        with pytest.raises(MissingExtraError, match=r'pip install "invaudit\[parquet\]"'):
            load(name)
