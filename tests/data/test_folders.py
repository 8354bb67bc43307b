"""Folders of image files, and what can be wrong with them."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from invaudit.data import load
from invaudit.runtime import console
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


def test_folders_are_read_as_torchvision_reads_them(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, image in (("cat/2", 2), ("cat/1", 1), ("ant/9", 0), ("dog/deep/er/1", 3), ("dog/deep/2", 4)):
        write_png(root / "set" / f"{name}.png", GREY[image])
    (root / "set" / "cow").mkdir()
    (root / "set" / "cat" / "notes.heic").write_text("no picture")
    write_png(root / "set" / ".thumbs" / "1.png", GREY[0])
    # A link to a folder above must not be walked for ever.
    (root / "set" / "dog" / "up").symlink_to(root / "set" / "dog")
    console.configure(quiet=False)
    images = load("set/")
    console.configure(quiet=True)
    theirs = ImageFolder(str(root / "set" / "."), allow_empty=True)
    expected = [(file, label) for file, label in theirs.imgs if "up" not in file and ".thumbs" not in file]
    assert [Path(file).resolve() for file in images.files] == [Path(file).resolve() for file, _ in expected]
    assert images.class_names == ("ant", "cat", "cow", "dog")
    assert images.labels.tolist() == [0, 1, 1, 3, 3]
    said = capsys.readouterr().err
    assert "1 files are no pictures and are left out: 1 of .heic" in said
    assert "no pictures of class cow; it keeps its number" in said


def test_folder_faults_are_named(root: Path) -> None:
    (root / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no images, expected files ending in .*\.png"):
        load("empty/")
    write_png(root / "sizes" / "a.png", GREY[0])
    write_png(root / "sizes" / "b.png", GREY[0, :4])
    with pytest.raises(DataError, match=r"b\.png is 8 x 4 and a\.png is 8 x 9, .*--input"):
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
    with pytest.raises(DataError, match=r"holds images \(a\.png\) and folders with images \(class/a\.png\)"):
        load("both/")
    with pytest.raises(DataError, match="has no split 'test'"):
        load("both/:test")
    write_png(root / "splits" / "train" / "cat" / "a.png", GREY[0])
    write_png(root / "splits" / "val" / "cat" / "a.png", GREY[0])
    with pytest.raises(DataError, match="holds the splits train, val, expected classes; write splits/train/"):
        load("splits")


def test_sixteen_bits_become_eight_and_other_depths_are_refused_by_name(root: Path) -> None:
    values = np.array([[0, 128, 257, 65535, 300, 400, 500, 600]] * 8, np.uint16)
    write_png(root / "deep" / "a.png", values)
    assert load("deep").images[0, 0, 0, :4].tolist() == [0, 0, 1, 255]
    Image.fromarray(values.astype(np.int32)).save(root / "deep" / "a.tiff")
    with pytest.raises(DataError, match=r"a\.tiff has pixels of mode I, expected 8-bit or 16-bit grey"):
        load("deep")


def test_pictures_are_turned_as_their_exif_data_ask_for(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter to the right
    Image.fromarray(RGB[0]).save(root / "a.png", exif=exif)
    images = load("a.png")
    assert images.files == ("a.png",)
    assert np.array_equal(images.images[0].numpy(), np.rot90(RGB[0], -1).transpose(2, 0, 1))


def test_only_the_first_frame_is_read_and_that_is_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = Image.fromarray(GREY[0]), Image.fromarray(GREY[1])
    first.save(root / "a.tiff", save_all=True, append_images=[second])
    console.configure(quiet=False)
    images = load("a.tiff")
    console.configure(quiet=True)
    assert np.array_equal(images.images[0, 0].numpy(), GREY[0])
    assert "1 of 1 files hold several pages or frames; the first is taken" in capsys.readouterr().err


def test_lists_name_pictures_and_their_classes(root: Path) -> None:
    for index in range(3):
        write_png(root / "pictures" / f"{index}.png", GREY[index])
    (root / "list.txt").write_text("pictures/2.png\tdog\n\npictures/0.png\tcat\n")
    images = load("list.txt")
    assert images.labels.tolist() == [1, 0]
    assert images.class_names == ("cat", "dog")
    assert np.array_equal(images.images[:, 0].numpy(), GREY[[2, 0]])
    (root / "list.txt").write_text("pictures/2.png\t10\npictures/0.png\t7\n")
    assert load("list.txt").labels.tolist() == [10, 7]
    assert load("list.txt").class_names == ()
    (root / "list.txt").write_text("pictures/2.png\tdog\npictures/0.png\n")
    with pytest.raises(DataError, match="none to line 2, expected one after a tab for all, or for none"):
        load("list.txt")


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "EPS"), ("a.jpg", "DDS"), ("a.tiff", "ICO")], ids=["eps", "dds", "ico"]
)
def test_formats_that_are_no_photos_are_not_decoded(root: Path, name: str, kind: str) -> None:
    """An ending says nothing of the content: Pillow would run Ghostscript for one of these."""
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(root / name, format=kind)
    with pytest.raises(DataError, match="no picture of a known format"):
        load(name)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(root: Path) -> None:
    write_png(root / "a.png", GREY[0])
    header = bytearray((root / "a.png").read_bytes())
    header[16:24] = (9_700).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    (root / "a.png").write_bytes(header)
    with pytest.raises(DataError, match="is 9700 x 9700, expected at most 80,000,000 pixels"):
        load("a.png")
