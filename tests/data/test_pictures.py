"""Pictures of many sizes: prepared as torchvision prepares them, read alike whoever reads how much of them."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import InterpolationMode

from invaudit.data import image_set, load, split
from invaudit.data.folders import PictureInput
from invaudit.data.image_set import ImageSet
from invaudit.data.pictures import PictureFile, Pictures
from invaudit.data.preparation import Preparation, default_preparation
from invaudit.data.random import seeded_rng
from invaudit.runtime.errors import DataError, SettingError, ShapeError
from tests.data.stored_sets import GREY, write_png

SIZES = ((40, 31), (31, 40), (57, 57), (90, 33), (28, 28), (33, 91))


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with two classes of pictures of six sizes, copies of each other none."""
    rng = np.random.default_rng(1)
    for index in range(24):
        width, height = SIZES[index % len(SIZES)]
        coarse = Image.fromarray(rng.integers(0, 256, (7, 7, 3), dtype=np.uint8))
        folder = tmp_path / "photos" / ("ants" if index < 12 else "bees")
        folder.mkdir(parents=True, exist_ok=True)
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{index:02}.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def wanted(side: int = 24, preparation: Preparation | None = None, workers: int | None = None) -> PictureInput:
    return PictureInput((3, side, side), preparation, workers)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", SIZES)
def test_pictures_are_prepared_as_torchvision_prepares_them(size: tuple[int, int], interpolation: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture, mode = Image.fromarray(pixels), InterpolationMode(interpolation)
    ours = {
        "crop": Preparation(resize=27, interpolation=interpolation),
        "squash": Preparation(squash=True, interpolation=interpolation),
        "crop, then scale": Preparation(resize=40, crop=30, interpolation=interpolation),
    }
    theirs = {
        "crop": [transforms.Resize(27, mode), transforms.CenterCrop((20, 24))],
        "squash": [transforms.Resize((20, 24), mode)],
        "crop, then scale": [transforms.Resize(40, mode), transforms.CenterCrop(30), transforms.Resize((20, 24), mode)],
    }
    for name, preparation in ours.items():
        expected = np.asarray(transforms.Compose(theirs[name])(picture))
        assert np.array_equal(preparation.apply(picture, 20, 24), expected), name


def test_what_preparations_cannot_do_is_refused() -> None:
    picture = Image.fromarray(GREY[0])
    for wrong in ({"resize": 0}, {"crop": -1}, {"interpolation": "cubic"}, {"squash": True, "resize": 8}):
        with pytest.raises(SettingError):
            Preparation(**wrong)
    with pytest.raises(ShapeError, match=r"is 8 x 9, expected 7 x 7: .*--resize 8 or --squash"):
        Preparation().apply(picture, 7, 7)
    with pytest.raises(ShapeError, match="is 8 x 9 before the crop of 7 x 10, expected no less"):
        Preparation(resize=8).apply(picture, 10, 7)


@pytest.mark.usefixtures("photos")
def test_pictures_of_many_sizes_need_a_network_to_fit() -> None:
    with pytest.raises(DataError, match="nothing says what they should become; give the input of the network"):
        load("photos")
    images = load("photos", wanted=wanted())
    assert images.preparation == default_preparation(24, 24) == Preparation(resize=27)
    assert images.class_names == ("ants", "bees")
    grey = load("photos", wanted=PictureInput((1, 24, 24)))
    assert grey.shape == (1, 24, 24)


def from_files(images: ImageSet, workers: int) -> ImageSet:
    assert images.preparation is not None
    sources = tuple(PictureFile(Path(file)) for file in images.files)
    return replace(images, pixels=Pictures(sources, 3, 24, 24, images.preparation, workers))


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize("workers", [1, 3])
def test_files_give_what_memory_gives(workers: int) -> None:
    memory = load("photos", wanted=wanted())
    files = from_files(memory, workers)
    assert isinstance(memory.pixels, torch.Tensor)
    assert torch.equal(files.images, memory.images)
    assert torch.equal(torch.cat(list(files.batches(5))), memory.floats())
    some = torch.tensor([20, 3, 3, 11])
    assert torch.equal(files.floats(some), memory.floats(some))
    assert torch.equal(files.floats(slice(2, 9)), memory.floats(slice(2, 9)))
    assert files.image_hashes() == memory.image_hashes()
    assert files.subset(some).files == memory.subset(some).files
    assert files.levels == memory.levels == 256
    parts = split(files, {"train": 12, "fit": 4, "calibrate": 4, "test": 4}, seeded_rng(0, "x")).sets()
    for name, part in (
        split(memory, {"train": 12, "fit": 4, "calibrate": 4, "test": 4}, seeded_rng(0, "x")).sets().items()
    ):
        assert torch.equal(parts[name].images, part.images)


@pytest.mark.usefixtures("photos")
def test_no_file_is_decoded_twice_to_hash_it(monkeypatch: pytest.MonkeyPatch) -> None:
    files = from_files(load("photos", wanted=wanted()), 2)
    decoded: list[Path] = []
    apply = Preparation.apply
    monkeypatch.setattr(Preparation, "apply", lambda self, *args: decoded.append(args[0]) or apply(self, *args))
    assert files.hash == files.subset(slice(None)).hash
    assert len(files.subset(slice(4, 9)).image_hashes()) == 5
    assert len(decoded) == 24


@pytest.mark.usefixtures("photos")
def test_large_sets_stay_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_set, "SMALL_BYTES", 10 * 3 * 24 * 24)
    assert isinstance(load("photos", wanted=wanted()).pixels, Pictures)
    assert isinstance(load("photos@0:10", wanted=wanted()).pixels, torch.Tensor)
    monkeypatch.setattr(image_set, "LIMIT_BYTES", 10 * 3 * 24 * 24)
    with pytest.raises(DataError, match=r"needs all images in memory, .*take a slice of it: @0:N"):
        _ = load("photos", wanted=wanted()).images


@pytest.mark.parametrize("kept", [6, 400])
def test_damaged_files_are_named_together(kept: int, photos: Path) -> None:
    """Headers are read at once; pixels that are missing are found when a picture is decoded."""
    files = sorted(photos.rglob("*.jpg"))
    for path in files[3:6]:
        path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(
        DataError, match=r"^3 problems: \(1\) .*03\.jpg cannot be read .*\(3\) .*05\.jpg [^(]*\("
    ) as told:
        load("photos", wanted=wanted())
    assert "remove it or fetch it again" in str(told.value)
    for path in files[3:15]:
        path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"^12 problems: .*\(10\) .*12\.jpg .*; and 2 more$") as told:
        load("photos", wanted=wanted())
    assert "13.jpg" not in str(told.value)


def test_a_damaged_file_is_named_when_it_is_read(photos: Path) -> None:
    files = from_files(load("photos", wanted=wanted()), 2)
    path = photos / "bees" / "20.jpg"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(DataError, match=r"bees/20\.jpg cannot be read as an image"):
        list(files.batches(4))


def test_sets_are_joined_and_their_classes_compared_by_name(photos: Path) -> None:
    write_png(photos.parent / "more" / "bees" / "a.png", GREY[0])
    both = load("photos@0:3+more", wanted=wanted(8))
    assert both.name == "photos+more"
    assert both.labels.tolist() == [0, 0, 0, 1]
    assert both.files[-1] == "more/bees/a.png"
    write_png(photos.parent / "others" / "wasps" / "a.png", GREY[0])
    with pytest.raises(DataError, match="others has the classes wasps, which photos does not know"):
        load("photos+others", wanted=wanted(8))
    write_png(photos.parent / "flat" / "a.png", GREY[0])
    with pytest.raises(DataError, match="one has labels and the other not"):
        load("photos+flat", wanted=wanted(8))
    with pytest.raises(ShapeError, match="expected one shape"):
        load("photos+digits", wanted=wanted(8))
    Image.new("RGB", (24, 24)).save(photos.parent / "more" / "bees" / "a.png")
    with pytest.raises(
        DataError, match="would be prepared in different ways; say one for all: --resize N, or --squash"
    ):
        load("photos+more", wanted=wanted())


PHOTOS = os.environ.get("INVAUDIT_PHOTOS")


@pytest.mark.skipif(PHOTOS is None, reason="INVAUDIT_PHOTOS not set")
def test_photos_of_a_folder_are_those_of_image_folder() -> None:
    folder = f"{PHOTOS}/ants-bees/val"
    steps = [transforms.Resize(72, InterpolationMode.BICUBIC), transforms.CenterCrop(64), transforms.PILToTensor()]
    theirs = ImageFolder(folder, transforms.Compose(steps))
    images = load(f"{folder}@::10", wanted=wanted(64, Preparation(72, interpolation="bicubic")))
    assert images.class_names == tuple(theirs.classes)
    for place, image, label in zip(range(0, len(theirs), 10), images.images, images.labels.tolist(), strict=True):
        expected, expected_label = theirs[place]
        assert torch.equal(image, expected)
        assert label == expected_label
