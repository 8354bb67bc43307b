"""The DATA grammar, and every message it can end in; what all kinds of source promise is in the contract."""

import gzip
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from invaudit.data import arrays, load, seeded_rng, split
from invaudit.data.vision import import_torchvision
from invaudit.runtime.errors import DataError, InputError, MissingDataError
from tests.data.stored_sets import GREY, LABELS, RGB, every_kind, write_png


@pytest.mark.parametrize("kind", ["npz", "torchvision"])
def test_splits_by_name_and_by_default(kind: str, root: Path) -> None:
    text = every_kind(root)[kind]
    assert len(load(f"{text}:train")) == 2
    assert load(f"{text}:test").hash == load(text).hash
    with pytest.raises(DataError, match=r"no split 'val', expected one of: test, train"):
        load(f"{text}:val")


def test_a_path_is_a_text_and_nothing_else_is(root: Path) -> None:
    np.savez(root / "UPPER.NPZ", images=GREY)
    (root / "UPPER.NPZ.npz").rename(root / "UPPER.NPZ")
    assert load(root / "UPPER.NPZ").hash == load(str(root / "UPPER.NPZ")).hash
    wrong: Any
    for wrong in (None, 5, GREY):
        with pytest.raises(DataError, match="expected a text such as 'digits', or a path"):
            load(wrong)


def test_root_argument_wins_over_the_environment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every_kind(root)
    monkeypatch.setenv("INVAUDIT_DATA", str(root / "elsewhere"))
    assert len(load("set", root=root)) == 6


def test_digits_are_the_ones_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = load("digits")
    assert np.array_equal(np.rint(images.images[:, 0].numpy() / 255 * 16), bunch.images)
    assert np.array_equal(images.labels.numpy(), bunch.target)
    with pytest.raises(DataError, match=r"no split 'test', expected one of: all"):
        load("digits:test")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (GREY, GREY[:, None]),
        (GREY[..., None], GREY[:, None]),
        (RGB, RGB.transpose(0, 3, 1, 2)),
        (RGB.transpose(0, 3, 1, 2), RGB.transpose(0, 3, 1, 2)),
        (GREY / 255, GREY[:, None]),
        ((RGB / 255).astype(np.float32), RGB.transpose(0, 3, 1, 2)),
        ((RGB / 255).astype(np.float16), RGB.transpose(0, 3, 1, 2)),
        (np.asfortranarray(RGB), RGB.transpose(0, 3, 1, 2)),
    ],
)
def test_arrays_come_out_as_channels_first_bytes(values: NDArray, expected: NDArray, root: Path) -> None:
    np.savez_compressed(root / "x.npz", images=values, labels=LABELS[:, None])
    images = load("./x.npz")
    assert np.array_equal(images.images.numpy(), expected)
    assert images.labels.tolist() == LABELS.tolist()


def test_only_split_and_no_labels(root: Path) -> None:
    np.savez(root / "x.npz", val_images=GREY)
    assert load("x.npz").labels.tolist() == [-1] * 6
    assert load("x.npz:val").hash == load("x").hash
    np.savez(root / "y.npz", val_images=GREY, train_images=GREY, extra=LABELS)
    with pytest.raises(DataError, match="several splits and none is called 'test', expected one of: train, val"):
        load("y.npz")


def test_keys_of_keras_are_read_and_others_are_named(root: Path) -> None:
    np.savez(root / "x.npz", x_train=GREY[:2], y_train=LABELS[:2], x_test=GREY, y_test=LABELS)
    assert load("x.npz").labels.tolist() == LABELS.tolist()
    assert np.array_equal(load("x.npz:train").images[:, 0].numpy(), GREY[:2])
    np.savez(root / "y.npz", X=GREY, target=LABELS)
    with pytest.raises(DataError, match=r"holds no images but 'X', 'target', expected arrays images and labels, .* x_"):
        load("y.npz")


def test_lzma_members_are_read(root: Path) -> None:
    np.savez(root / "plain.npz", images=GREY, labels=LABELS)
    with zipfile.ZipFile(root / "plain.npz") as source, zipfile.ZipFile(root / "x.npz", "w", zipfile.ZIP_LZMA) as out:
        for name in source.namelist():
            out.writestr(name, source.read(name))
    assert load("x").hash == load("plain").hash


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"test_labels": LABELS}, "holds no images"),
        ({"images": GREY, "labels": LABELS[:5]}, "5 labels for 6 images"),
        ({"images": GREY, "labels": LABELS / 2}, "whole numbers"),
        ({"images": GREY, "labels": np.zeros((6, 3), int)}, r"shape \(6, 3\)"),
        ({"images": GREY.astype(np.int64)}, "type int64, expected uint8 or float"),
        ({"images": GREY.astype(float)}, "values from 0 to 255, expected floats"),
        ({"images": GREY / 127.5 - 1}, "values from -1 to 1"),
        ({"images": np.full((2, 8, 8), np.nan)}, "values from nan"),
        ({"images": GREY[0]}, r"shape \(9, 8\), expected"),
        ({"images": np.zeros((2, 8, 8, 4), np.uint8)}, r"shape \(2, 8, 8, 4\)"),
        ({"images": GREY[:0]}, "is empty"),
        ({"images": np.array([{}, []], dtype=object)}, "Python objects"),
    ],
)
def test_malformed_arrays_are_named(held: dict[str, NDArray], message: str, root: Path) -> None:
    np.savez(root / "x.npz", allow_pickle=True, **held)
    with pytest.raises(DataError, match=message) as caught:
        load("x.npz")
    assert "x.npz" in str(caught.value)


def test_damaged_files_are_named(root: Path) -> None:
    (root / "text.npz").write_text("no archive")
    np.savez(root / "cut.npz", images=GREY)
    (root / "cut.npz").write_bytes((root / "cut.npz").read_bytes()[:-90])
    np.savez_compressed(root / "flipped.npz", images=np.zeros((50, 8, 8), np.uint8))
    raw = bytearray((root / "flipped.npz").read_bytes())
    raw[80] ^= 255
    (root / "flipped.npz").write_bytes(raw)
    with zipfile.ZipFile(root / "header.npz", "w") as archive:
        header = b"{'descr': "
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    for name in ("text", "cut", "flipped", "header"):
        with pytest.raises(DataError, match=rf"{name}\.npz cannot be read"):
            load(name)


def test_sizes_are_checked_before_reading(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(root / "x.npz", images=GREY)
    raw = (root / "x.npz").read_bytes()
    lie = raw.replace(b"(6, 9, 8)", b"(6, 9,80)")
    assert lie != raw
    (root / "lie.npz").write_bytes(lie)
    monkeypatch.setattr(zipfile.ZipExtFile, "_update_crc", lambda *_: None)
    with pytest.raises(DataError, match="promises 4448 bytes and holds 560"):
        load("lie")
    monkeypatch.setattr(arrays, "LIMIT_BYTES", 500)
    monkeypatch.setattr(arrays.npy, "read_array", pytest.fail)
    with pytest.raises(DataError, match=r"unpacks to .* GiB"):
        load("x")


def test_what_grows_too_much_is_refused_before_it_is_unpacked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = np.zeros((40, 100, 100), np.uint8)
    np.savez_compressed(root / "bomb.npz", images=nothing)
    np.savez(root / "plain.npz", images=nothing)
    assert nothing.nbytes > arrays.MOST_GROWTH * (root / "bomb.npz").stat().st_size
    assert len(load("bomb")) == 40  # small: it harms nobody
    monkeypatch.setattr(arrays, "TRUSTED_BYTES", nothing.nbytes - 1)
    assert len(load("plain")) == 40
    monkeypatch.setattr(arrays.npy, "read_array", pytest.fail)
    with pytest.raises(DataError, match=r"has .* bytes and claims to unpack to 400,128, .*save them unpacked"):
        load("bomb")


@pytest.mark.parametrize(
    "text",
    ["", "digits:", "digits@", "digits@5", "digits@a:b", "digits@-3:5", "digits@1:2:0", "digits@1:2:3:4", ":test"],
)
def test_malformed_texts_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="malformed, expected NAME"):
        load(text)


def test_colons_and_ats_inside_a_path_stay_there(root: Path) -> None:
    odd = root / "a@b:c"
    odd.mkdir()
    np.savez(odd / "d@e.npz", test_images=GREY, train_images=GREY[:1])
    write_png(odd / "flat" / "a.png", GREY[0])
    assert len(load("a@b:c/d@e.npz")) == 6
    assert len(load("a@b:c/d@e.npz:train@0:1")) == 1
    assert len(load("a@b:c/flat/@0:1")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing.npz", r"there is no file nothing\.npz; check the path, or set INVAUDIT_DATA"),
        ("nothing/", "there is no folder nothing"),
        ("sett", r"no data set is called 'sett': there is no .*sett\.npz, .*did you mean 'set'\?"),
        ("digit", r"did you mean 'digits'\?"),
        ("qwertz", "no data set is called 'qwertz'"),
        ("CIFAR-10", r"looked for .*CIFAR-10\.npz and torchvision's CIFAR10 under .*--download"),
        ("fashion-mnist", r"looked for .*fashion-mnist\.npz and torchvision's FashionMNIST"),
    ],
)
def test_what_is_not_there_is_a_missing_data_error(text: str, message: str, root: Path) -> None:
    every_kind(root)
    with pytest.raises(MissingDataError, match=message):
        load(text)


def test_without_a_data_folder_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INVAUDIT_DATA", raising=False)
    for text in ("cifar10", "qwertz"):
        with pytest.raises(MissingDataError, match="INVAUDIT_DATA is not set"):
            load(text, download=True)


def test_damaged_torchvision_files_are_named(root: Path) -> None:
    every_kind(root)
    file = root / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"MNIST under .* cannot be read"):
        load("mnist")
    file.write_bytes(gzip.compress(b"no idx file"))
    with pytest.raises(DataError, match=r"MNIST under .* cannot be read"):
        load("mnist")


def test_a_torchvision_that_does_not_fit_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms is not there')"
    )
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):
        with pytest.raises(InputError, match=r"torchvision \S+ does not fit torch \S+ .*install both together"):
            import_torchvision()


def test_the_package_imports_without_torch() -> None:
    program = "import sys, invaudit.data; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


needs_data = pytest.mark.skipif("INVAUDIT_DATA" not in os.environ, reason="INVAUDIT_DATA is not set")


@pytest.mark.data
@needs_data
@pytest.mark.parametrize(
    ("text", "shape", "classes"),
    [
        ("mnist:train@0:100", (100, 1, 28, 28), 10),
        ("fashion-mnist@0:500", (500, 1, 28, 28), 10),
        ("cifar10", (5000, 3, 32, 32), 10),
        ("omniglot", (5640, 1, 28, 28), 642),
        ("dtd", (300, 3, 32, 32), 10),
        ("dtd:test@0:3", (3, 3, 32, 32), 1),
        ("pneumoniamnist:val", (524, 1, 28, 28), 2),
        ("usps", (2007, 1, 16, 16), 10),
    ],
)
def test_real_files(text: str, shape: tuple[int, ...], classes: int) -> None:
    images = load(text)
    assert tuple(images.images.shape) == shape
    assert images.classes == classes


@pytest.mark.data
@needs_data
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_real_sets_split_without_a_shared_image(name: str) -> None:
    sizes = {"train": 3000, "fit": 500, "calibrate": 500}
    parts = split(load(f"{name}:train@0:5000"), sizes, seeded_rng(0, "split"), test=load(f"{name}:test"))
    assert [parts.record()[part]["count"] for part in sizes] == [3000, 500, 500]
