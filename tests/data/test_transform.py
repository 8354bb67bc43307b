"""The transform against Pillow and torchvision, and its promises."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from invaudit.data import ImageSet, Transform, load, seeded_rng, synthetic_outliers
from invaudit.data.transform import quantise
from invaudit.data.vision import import_torchvision
from invaudit.runtime.errors import DataError, SettingError


def images(side: tuple[int, int], channels: int, n: int = 6) -> ImageSet:
    rough = torch.rand((n, channels, 7, 7), generator=seeded_rng(0, "test/transform"))
    smooth = torch.nn.functional.interpolate(rough, side, mode="bicubic").clamp(0, 1)
    return ImageSet("x", (smooth * 255).round().byte(), torch.arange(n))


@pytest.mark.parametrize(("size", "side"), [((40, 40), 16), ((33, 47), 28), ((16, 16), 28), ((64, 64), 8)])
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_agrees_with_pillow(size: tuple[int, int], side: int, channels: int) -> None:
    source = images(size, channels)
    ours = source.transformed(Transform(side, channels)).images.permute(0, 2, 3, 1).numpy()
    for image, got in zip(source.images.permute(0, 2, 3, 1).numpy(), ours, strict=True):
        pillow = Image.fromarray(image[:, :, 0] if channels == 1 else image).resize(
            (side, side), Image.Resampling.BILINEAR
        )
        expected = np.asarray(pillow).reshape(got.shape)
        assert np.abs(expected.astype(int) - got).max() <= 1


def test_resize_agrees_with_torchvision() -> None:
    source = images((45, 31), 3)
    functional = import_torchvision().transforms.functional
    expected = functional.resize(source.images, [20, 20], antialias=True).int()
    assert (source.transformed(Transform(20, 3)).images.int() - expected).abs().max() <= 1


def test_grey_is_luminance_and_grey_is_repeated() -> None:
    source = images((12, 12), 3)
    weights = np.array([0.299, 0.587, 0.114])
    expected = np.rint(np.einsum("nchw,c->nhw", source.images.numpy(), weights))
    grey = source.transformed(Transform(12, 1)).images
    assert np.abs(expected - grey[:, 0].numpy()).max() <= 1
    pillow = np.stack([np.asarray(Image.fromarray(i).convert("L")) for i in source.images.permute(0, 2, 3, 1).numpy()])
    assert np.abs(pillow.astype(int) - grey[:, 0].numpy()).max() <= 1
    colour = ImageSet("grey", grey, source.labels).transformed(Transform(12, 3)).images
    assert torch.equal(colour, grey.expand(-1, 3, -1, -1))


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_levels_are_even_and_rounded_to_the_nearest(levels: int) -> None:
    ramp = torch.linspace(0, 1, 64 * 20).view(20, 1, 8, 8)
    got = quantise(ramp, levels)
    expected = np.rint(255 * np.arange(levels) / (levels - 1))
    assert set(got.unique().tolist()) <= set(expected.tolist())
    assert (got / 255 - ramp).abs().max() <= 0.5 / (levels - 1) + 0.5 / 255 + 1e-6
    assert torch.equal(quantise(got / 255, levels), got)


def test_identity_at_the_same_size_and_padding_around() -> None:
    source = images((10, 10), 1)
    assert torch.equal(source.transformed(Transform(10, 1)).images, source.images)
    padded = source.transformed(Transform(14, 1, padding=2)).images
    assert torch.equal(padded[:, :, 2:-2, 2:-2], source.images)
    padded[:, :, 2:-2, 2:-2] = 0
    assert padded.sum() == 0


def test_images_do_not_depend_on_their_neighbours() -> None:
    transform, source = Transform(9, 1, levels=17), images((20, 20), 3)
    whole = source.transformed(transform).images
    for i in range(len(source)):
        assert torch.equal(source.subset(slice(i, i + 1)).transformed(transform).images[0], whole[i])


def test_the_transform_records_itself_once() -> None:
    source = images((20, 20), 3)
    before = source.images.clone()
    done = source.transformed(Transform(9, 1))
    assert done.transform == Transform(9, 1)
    assert done.transformed(Transform(9, 1)) is done
    assert torch.equal(done.labels, source.labels)
    assert torch.equal(source.images, before)
    with pytest.raises(DataError, match="already went through"):
        done.transformed(Transform(10, 1))


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_a_set_without_a_transform_is_rounded_to_its_own_grey_levels(levels: int) -> None:
    done = images((20, 20), 1).transformed(Transform(20, 1, levels=levels))
    untold = replace(done, transform=None)
    grey = [round(255 * k / (levels - 1)) for k in range(levels)]
    assert set(untold.quantise(torch.linspace(0, 1, 1000)).tolist()) <= set(grey)
    assert untold.levels == levels


def test_outliers_made_from_digits_have_the_grey_levels_of_digits() -> None:
    held_out = load("digits@0:100")
    own = set(held_out.images.unique().tolist())
    for made in synthetic_outliers(held_out, 0, 5).values():
        assert set(made.images.unique().tolist()) <= own


@pytest.mark.parametrize(
    ("setting", "values"),
    [("side", (0, 1, 0, 256)), ("channels", (8, 2, 0, 256)), ("padding", (8, 1, 4, 256)), ("levels", (8, 1, 0, 1))],
)
def test_values_outside_their_range_are_refused(setting: str, values: tuple[int, int, int, int]) -> None:
    with pytest.raises(SettingError, match=setting):
        Transform(*values)
