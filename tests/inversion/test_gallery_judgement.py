"""Galleries of pictures pass; stripes and flat images say nothing; copies are collapsed."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from invaudit.inversion.gallery_judgement import (
    LEAST_STABLE,
    MOST_GAP,
    Gallery,
    judge_gallery,
    likeness_between,
    small_changes,
)
from invaudit.models import Target, collect
from invaudit.models.suitability import first_norm_divergence
from invaudit.runtime.errors import ShapeError


@pytest.fixture
def shown(trained: Target, rng: torch.Generator):
    """Return a function that makes a gallery of images (classes, n, 1, 8, 8), as a caller would."""

    def gallery(images: Tensor) -> Gallery:
        flat = images.flatten(0, 1)
        seen = collect(trained, flat, keep_maps=False)
        kept = torch.ones(len(flat), dtype=torch.bool)
        for changed in small_changes(flat, rng):
            kept &= collect(trained, changed, keep_maps=False).logits.argmax(1) == seen.logits.argmax(1)
        return Gallery(
            pixels=list(images.flatten(2)),
            features=list(seen.features.view(*images.shape[:2], -1)),
            stability=float(kept.double().mean()),
            statistics_gap=first_norm_divergence(trained, flat),
        )

    return gallery


@pytest.fixture
def digits_by_class(digit_images) -> Tensor:
    """Return 50 digits of each class, (10, 50, 1, 8, 8)."""
    return torch.stack([digit_images.floats(digit_images.labels == label)[:50] for label in range(10)])


@pytest.fixture
def stripes(rng) -> Tensor:
    """Return the same stripes for every class, a small shape of each class over them and a little noise."""
    rows = 0.5 + 0.4 * torch.cos(torch.arange(8.0) * torch.pi / 2)[:, None].expand(8, 8)
    of_class = 0.06 * torch.randn((10, 1, 1, 8, 8), generator=rng)
    of_image = 0.04 * torch.randn((10, 20, 1, 8, 8), generator=rng)
    return (rows + of_class + of_image).clamp(0, 1)


def test_real_digits_pass_with_and_without_others_beside_them(shown, digits_by_class):
    first, second = shown(digits_by_class[:, :25]), shown(digits_by_class[:, 25:])
    for real in (None, second):
        found = judge_gallery(first, real)
        assert (found.outcome, found.message, found.reasons) == (None, "", ())
        assert not found.near_equal
        assert min(found.distinct) == 1
    assert found.spread_in_range
    assert found.cosine_in_range
    assert judge_gallery(Gallery(first.pixels)).outcome is None


def test_the_same_stripes_for_every_class_are_uninformative(shown, stripes, digits_by_class):
    for real in (None, shown(digits_by_class)):
        found = judge_gallery(Gallery(list(stripes.flatten(2))), real)
        assert found.outcome == "uninformative"
        assert found.near_equal
        assert "images of different classes are nearly the same" in found.message
        assert "--by pixels" in found.message
        assert not found.copied
    assert judge_gallery(shown(stripes)).outcome == "uninformative"


def test_stripes_of_a_released_network_are_uninformative():
    found = judge_gallery(Gallery(list(stored_stripes().flatten(2))))
    assert found.outcome == "uninformative"
    assert "images of different classes are nearly the same" in found.message


def stored_stripes() -> Tensor:
    """Return four images of each class, (10, 4, 3, 32, 32).

    They are what 300 steps of the former default, without a larger canvas, gave for the released ResNet-20 of CIFAR-10,
    which gives each of them the wanted class. The file shows the classes in rows.
    """
    pixels = torch.from_numpy(np.array(Image.open(Path(__file__).with_name("released_stripes.png"))))
    return pixels.view(10, 32, 4, 32, 3).permute(0, 2, 4, 1, 3) / 255


def test_constant_stripes_with_a_trace_of_each_class_are_uninformative_rather_than_copies(rng):
    rows = (torch.arange(64) // 8 % 2).float()
    found = judge_gallery(Gallery(list((rows + 0.002 * torch.randn((10, 9, 64), generator=rng)).clamp(0, 1))))
    assert found.outcome == "uninformative"
    assert found.copied == tuple(range(10))
    assert any("copies" in reason for reason in found.reasons)


def test_copies_of_one_real_image_of_each_class_are_collapsed(shown, digits_by_class):
    found = judge_gallery(shown(digits_by_class[:, :1].expand(-1, 20, -1, -1, -1)))
    assert found.outcome == "collapsed"
    assert "class 0, 1, 2, 3, 4, ... are copies" in found.message
    assert "more weight" in found.message
    one_class = digits_by_class.clone()
    one_class[7] = one_class[7, :1]
    assert judge_gallery(shown(one_class)).copied == (7,)


def test_images_far_more_alike_than_real_ones_are_collapsed(shown, digits_by_class):
    means = digits_by_class.mean(1, keepdim=True)
    alike = means + 0.3 * (digits_by_class - means)
    found = judge_gallery(shown(alike), shown(digits_by_class))
    assert found.outcome == "collapsed"
    assert not found.spread_in_range
    assert "far more alike than real ones" in found.message
    assert judge_gallery(shown(alike)).outcome is None


def test_flat_images_are_uninformative(shown, rng):
    flat = torch.rand((10, 20, 1, 1, 1), generator=rng).expand(-1, -1, 1, 8, 8)
    found = judge_gallery(shown(flat))
    assert found.outcome == "uninformative"
    assert "are flat" in found.message


def test_what_does_not_hold_under_small_changes_is_uninformative(shown, digits_by_class):
    real = shown(digits_by_class)
    assert judge_gallery(replace(real, stability=LEAST_STABLE - 0.01)).outcome == "uninformative"
    assert judge_gallery(replace(real, stability=0.2), replace(real, stability=0.3)).outcome is None
    assert "mirrored" in judge_gallery(replace(real, stability=0.1), replace(real, stability=0.3)).message
    assert judge_gallery(replace(real, statistics_gap=MOST_GAP + 0.01)).outcome == "uninformative"


def test_features_more_alike_than_those_of_real_images_are_collapsed(digits_by_class, rng):
    pixels = list(digits_by_class.flatten(2))
    real = Gallery(pixels, list(torch.rand((10, 50, 6), generator=rng)))
    alike = Gallery(pixels, list(1 + 0.01 * torch.rand((10, 50, 6), generator=rng)))
    found = judge_gallery(alike, real)
    assert found.outcome == "collapsed"
    assert found.cosine_in_range is False
    assert "feature cosine 1.00" in found.message
    assert judge_gallery(alike).cosine_in_range is None


def test_likeness_between_classes_by_loops(rng):
    groups = [torch.rand((n, 12), generator=rng) for n in (3, 4, 2)]
    values = [
        np.mean([np.corrcoef(a, b)[0, 1] for a in first.numpy() for b in second.numpy()])
        for first, second in itertools.combinations(groups, 2)
    ]
    assert likeness_between(groups) == pytest.approx(np.mean(values), abs=1e-6)


@pytest.mark.parametrize(("shape", "number"), [((1, 8, 8), 2), ((1, 28, 28), 4), ((3, 32, 32), 5)])
def test_small_changes_are_small_and_leave_a_flat_image_flat(shape, number, rng):
    flat = torch.full((2, *shape), 0.5)
    changed = list(small_changes(flat, rng))
    assert len(changed) == number
    for images in changed:
        assert images.shape == flat.shape
        assert (images - flat).square().mean().sqrt() < 0.04
    assert all(torch.allclose(images, flat) for images in changed[:-1])


def test_refusals(digits_by_class):
    pixels = list(digits_by_class.flatten(2))
    with pytest.raises(ShapeError, match="two classes at least"):
        judge_gallery(Gallery(pixels[:1]))
    with pytest.raises(ShapeError, match="real images has"):
        judge_gallery(Gallery(pixels), Gallery([images[:1] for images in pixels]))
    with pytest.raises(ShapeError, match="features of"):
        judge_gallery(Gallery(pixels, features=[images[:2] for images in pixels]))
