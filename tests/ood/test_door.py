"""What a guard takes, and what it says to images that it does not."""

import re

import numpy as np
import pytest
import torch

from invaudit.data import ImageSet
from invaudit.models import InputSpec
from invaudit.ood.door import checked
from invaudit.runtime import DataError, ShapeError

IMAGENET = InputSpec(3, 8, 6, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
GREY = InputSpec(1, 8, 6)


def images(spec, n=4):
    return torch.rand(n, *spec.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_floats_in_range_come_through_as_float32(dtype):
    given = images(GREY).to(dtype)
    assert torch.equal(checked(given, GREY), given.float())


def test_rounding_and_plain_images_are_no_reason_to_refuse():
    for value in (0.0, 1.0, 1 + 1e-4, -1e-4):
        assert checked(torch.full((1, 1, 8, 6), value), GREY).shape == (1, 1, 8, 6)


def remedy(spec, given):
    """The line of Python that the message offers."""
    with pytest.raises((DataError, ShapeError)) as refusal:
        checked(given, spec)
    found = re.search(r"pass (images.*?)( for normalised images|$)", str(refusal.value))
    assert found, refusal.value
    return found[1]


def imagenet_normalised(given):
    mean, std = torch.tensor(IMAGENET.mean), torch.tensor(IMAGENET.std)
    return (given - mean.view(3, 1, 1)) / std.view(3, 1, 1)


@pytest.mark.parametrize(
    ("spec", "spoil"),
    [
        (GREY, lambda x: x * 255),
        (IMAGENET, lambda x: (x * 255).to(torch.uint8)),
        (IMAGENET, lambda x: (x * 255).long()),
        (IMAGENET, lambda x: (x * 65535).to(torch.int32).to(torch.uint16)),
        (
            IMAGENET,
            lambda x: (x - torch.tensor(IMAGENET.mean).view(3, 1, 1)) / torch.tensor(IMAGENET.std).view(3, 1, 1),
        ),
        (GREY, lambda x: 2 * x - 1),
        (IMAGENET, lambda x: 2 * x - 1),
        (IMAGENET, lambda x: x.permute(0, 2, 3, 1)),
        (GREY, lambda x: x.permute(0, 2, 3, 1)),
        (GREY, lambda x: x[:, 0]),
    ],
    ids=["255", "uint8", "int64", "uint16", "imagenet", "half", "half-colour", "last", "last-grey", "no-channel"],
)
def test_the_line_in_the_message_gives_the_images_back(spec, spoil):
    given = images(spec)
    mended = eval(remedy(spec, spoil(given)), {"torch": torch, "images": spoil(given)})  # noqa: S307
    assert checked(mended, spec).shape == given.shape
    assert torch.allclose(checked(mended, spec), given, atol=1 / 255)


@pytest.mark.parametrize(
    ("spec", "shape", "part"),
    [
        (IMAGENET, (3, 8, 6), "images[None]"),
        (IMAGENET, (8, 6, 3), "permute(2, 0, 1)[None]"),
        (GREY, (8, 6), "reshape(-1, 1"),
        (IMAGENET, (4, 1, 8, 6), "expand(-1, 3"),
        (IMAGENET, (4, 4, 8, 6), "images[:, :3]"),
        (GREY, (4, 3, 8, 6), "rgb_to_grayscale"),
        (GREY, (4, 1, 9, 6), "resize"),
        (GREY, (0, 1, 8, 6), "at least one"),
        (GREY, (2, 2, 1, 8, 6), "expected ('N', 1, 8, 6)"),
    ],
)
def test_another_shape_is_refused_with_what_to_do(spec, shape, part):
    with pytest.raises(ShapeError, match=re.escape(part)):
        checked(torch.zeros(shape), spec)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_not_finite_is_found(value):
    spoilt = images(GREY)
    spoilt[2, 0, 3, 3] = value
    with pytest.raises(DataError, match="image 2 holds NaN or infinity"):
        checked(spoilt, GREY)


def test_other_types_are_refused():
    with pytest.raises(DataError, match=r"numpy\.ndarray.*torch\.as_tensor"):
        checked(np.zeros((1, 1, 8, 6)), GREY)  # pyright: ignore[reportArgumentType]


def test_of_a_set_the_shape_is_looked_at():
    colours = ImageSet("colours", torch.zeros(2, 3, 8, 6, dtype=torch.uint8), torch.zeros(2).long())
    assert checked(colours, IMAGENET) is colours
    with pytest.raises(ShapeError, match=r"colours holds images of shape \(3, 8, 6\).*\(1, 8, 6\)"):
        checked(colours, GREY)
