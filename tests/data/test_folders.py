"""Folders of image files, and what can be wrong with them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from invaudit.data import load
from invaudit.runtime.errors import DataError
from tests.data.stored_sets import GREY, RGB, write_png


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_flat_folders_have_no_labels_and_mixed_colour_becomes_rgb(root: Path) -> None:
    write_png(root / "flat" / "b.png", RGB[0])
    write_png(root / "flat" / "a.png", GREY[0])
    write_png(root / "flat" / ".hidden.png", GREY[1])
    (root / "flat" / "notes.txt").write_text("ignored")
    images = load(f"{root}/flat/")
    assert images.name == "flat"
    assert images.labels.tolist() == [-1, -1]
    assert np.array_equal(images.images[0].numpy(), np.stack([GREY[0]] * 3))
    assert np.array_equal(images.images[1].numpy(), RGB[0].transpose(2, 0, 1))


def test_one_bit_images_are_grey(root: Path) -> None:
    (root / "bits").mkdir()
    Image.fromarray(GREY[0] > 127).save(root / "bits" / "a.png")
    assert np.array_equal(load("bits/").images[0, 0].numpy(), (GREY[0] > 127) * 255)


def test_class_is_the_rank_of_the_folder(root: Path) -> None:
    for name, image in (("cat/2", 2), ("cat/1", 1), ("ant/9", 0), ("dog/1", 3)):
        write_png(root / "set" / f"{name}.png", GREY[image])
    (root / "set" / "empty").mkdir()
    write_png(root / "set" / ".thumbs" / "1.png", GREY[0])
    images = load("set/")
    assert images.labels.tolist() == [0, 1, 1, 2]
    assert np.array_equal(images.images[:, 0].numpy(), GREY[:4])


def test_folder_faults_are_named(root: Path) -> None:
    (root / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no images, expected files ending in .*\.png"):
        load("empty/")
    write_png(root / "sizes" / "a.png", GREY[0])
    write_png(root / "sizes" / "b.png", GREY[0, :4])
    with pytest.raises(DataError, match=r"b\.png is 8 x 4 and a\.png is 8 x 9, .*resize"):
        load("sizes/")
    write_png(root / "corrupt" / "a.png", GREY[0])
    (root / "corrupt" / "b.png").write_text("no image")
    with pytest.raises(DataError, match=r"b\.png cannot be read as an image"):
        load("corrupt/")
    data = (root / "corrupt" / "a.png").read_bytes()
    (root / "corrupt" / "b.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"b\.png cannot be read as an image"):
        load("corrupt/")
    write_png(root / "both" / "a.png", GREY[0])
    write_png(root / "both" / "class" / "a.png", GREY[0])
    with pytest.raises(DataError, match=r"holds images \(a\.png\) and folders with images \(class/\)"):
        load("both/")
    (root / "deep").mkdir()
    Image.fromarray(GREY[0].astype(np.uint16)).save(root / "deep" / "a.png")
    with pytest.raises(DataError, match="mode I;16, expected 8-bit"):
        load("deep/")
    with pytest.raises(DataError, match="is a folder and has no split 'test'"):
        load("both/:test")


def test_folder_size_is_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_png(root / "x" / "a.png", GREY[0])
    monkeypatch.setattr("invaudit.data.folders.LIMIT_BYTES", 70)
    with pytest.raises(DataError, match=r"at most .* GiB"):
        load("x/")
