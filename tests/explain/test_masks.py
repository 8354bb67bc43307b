"""Masks and curves: a target that looks at one patch, and what is told of the parts."""

import pytest
import torch

from invaudit.data import seeded_rng
from invaudit.explain.masks import (
    BACKGROUNDS,
    MaskSettings,
    background,
    curves,
    find_masks,
    input_gradients,
    random_order,
)
from invaudit.runtime.errors import SettingError, ShapeError
from tests.explain.attacked_targets import grey_images, linear_target

QUICK = MaskSettings(steps=60, levels=16)
PATCH = torch.zeros((8, 8), dtype=torch.bool)
PATCH[1:4, 4:7] = True


@pytest.fixture
def of_patch():
    """A target that says class 0 where all of the patch is bright, and looks at nothing else."""
    weights = torch.stack([40 * PATCH.flatten().float(), torch.zeros(64)])
    return linear_target(weights, torch.tensor([-356.0, 0.0]))


@pytest.fixture
def bright_patches():
    images = torch.rand((6, 1, 8, 8), generator=seeded_rng(0, "tests/patches"))
    images[:, :, PATCH] = 1
    return images


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_the_patch_that_decides_is_found(of_patch, bright_patches, name):
    found = find_masks(of_patch, bright_patches, MaskSettings(background=name))
    overlap = (found.kept & PATCH).sum((1, 2)) / (found.kept | PATCH).sum((1, 2))
    assert (overlap > 0.7).all()
    assert (found.labels == 0).all()


def test_what_counts_goes_first_and_comes_first(of_patch, bright_patches):
    found = find_masks(of_patch, bright_patches)
    by_mask, by_chance = (
        curves(of_patch, bright_patches, importance) for importance in (found.importance, random_order(bright_patches))
    )
    assert (by_mask.deletion_area < by_chance.deletion_area).all()
    assert (by_mask.insertion_area > by_chance.insertion_area).all()


def test_input_gradients_are_0_where_the_target_does_not_look(of_patch, bright_patches):
    maps = input_gradients(of_patch, bright_patches)
    assert (maps[:, PATCH] > 0).all()
    assert (maps[:, ~PATCH] == 0).all()


def test_the_part_keeps_the_decision_with_the_probability_told(trained, held_out_digits):
    images = held_out_digits.floats()[:12]
    found = find_masks(trained, images, QUICK)
    part = images.where(found.kept[:, None], background(images, QUICK))
    probabilities = trained(part).softmax(1)
    assert torch.equal(probabilities.argmax(1), found.labels)
    assert torch.equal(found.labels, trained(images).argmax(1))
    torch.testing.assert_close(found.probability, probabilities.amax(1))
    torch.testing.assert_close(found.area, found.kept.float().mean((1, 2)))
    assert float(found.area.mean()) < 0.6


def test_a_mask_does_not_depend_on_the_other_images(trained, held_out_digits):
    images = held_out_digits.floats()[:3]
    together = find_masks(trained, images, QUICK).importance
    alone = torch.cat([find_masks(trained, images[i : i + 1], QUICK).importance for i in range(3)])
    torch.testing.assert_close(alone, together, atol=1e-3, rtol=0)


def test_nothing_is_kept_where_the_background_decides_alike():
    sure = linear_target(torch.zeros(2, 64), torch.tensor([1.0, 0.0]))
    found = find_masks(sure, grey_images(2), QUICK)
    assert not found.kept.any()
    assert (found.area == 0).all()


def test_curves_go_from_the_image_to_the_background_and_back(trained, held_out_digits):
    images = held_out_digits.floats()[:8]
    found = curves(trained, images, random_order(images), QUICK)
    labels = trained(images).argmax(1)
    for shown, at_deletion, at_insertion in ((images, 0, -1), (background(images, QUICK), -1, 0)):
        known = trained(shown).softmax(1).gather(1, labels[:, None])[:, 0].detach()
        torch.testing.assert_close(found.deletion[:, at_deletion], known)
        torch.testing.assert_close(found.insertion[:, at_insertion], known)
    assert found.shares.tolist() == [step / QUICK.levels for step in range(QUICK.levels + 1)]


def test_the_order_alone_makes_a_curve(trained, held_out_digits):
    images = held_out_digits.floats()[:4]
    order = random_order(images)
    first, second = (curves(trained, images, importance, QUICK) for importance in (order, 3 * order**2 + 1))
    assert torch.equal(first.deletion, second.deletion)
    other = curves(trained, images, -order, QUICK)
    assert not torch.equal(first.deletion, other.deletion)


@pytest.mark.parametrize("name", BACKGROUNDS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 20)])
def test_a_background_has_the_colours_and_no_detail(name, shape):
    images = torch.rand((3, *shape), generator=seeded_rng(0, "tests/background"))
    gone = background(images, MaskSettings(background=name))
    assert gone.shape == images.shape
    assert float(gone.min()) >= 0
    assert float(gone.max()) <= 1
    torch.testing.assert_close(gone.mean((2, 3)), images.mean((2, 3)), atol=0.05, rtol=0)
    assert (gone.std((2, 3)) < 0.35 * images.std((2, 3))).all()


def test_what_is_no_image_is_refused(of_patch, bright_patches):
    with pytest.raises(SettingError, match=r"\[0, 1\]"):
        find_masks(of_patch, 2 * bright_patches)
    with pytest.raises(ShapeError, match="one number per pixel"):
        curves(of_patch, bright_patches, torch.rand(6, 4, 4))
    with pytest.raises(ShapeError, match="at least one"):
        input_gradients(of_patch, bright_patches[:0])
