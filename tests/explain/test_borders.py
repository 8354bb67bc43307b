"""Border images: closed form on flat networks, what a row says against its image, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from invaudit.explain.border_pixels import PixelBorderSettings, pixel_borders
from invaudit.explain.borders import (
    SURE,
    Border,
    Borders,
    all_pairs,
    measure,
)
from invaudit.models import Target
from invaudit.runtime.errors import SettingError, ShapeError
from tests.explain.flat_targets import SPEC, flat_target, level_target
from tests.explain.recomputing import assert_rows_hold

QUICK = PixelBorderSettings(steps=60, pace=0.2)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 4))
def test_the_border_of_a_flat_network_is_the_foot_of_the_perpendicular(seed, classes):
    rng = torch.Generator().manual_seed(seed)
    weights = torch.randn(classes, 16, generator=rng)
    # The two classes are level at grey, the others far below: only the plane between the two counts.
    target = level_target(weights, level=(0.0, 0.0, -25.0, -25.0)[:classes])
    starts = (0.5 + 0.1 * torch.randn(6, 1, 4, 4, generator=rng)).clamp(0.3, 0.7)
    borders = pixel_borders(target, [(0, 1)] * 6, starts)
    slope = weights[0] - weights[1]
    odds = (starts.flatten(1) - 0.5) @ slope
    distances = [row.distance for row in borders.rows]
    # One point of the border alone is as near as that, so the images are known along with their distances.
    np.testing.assert_allclose(distances, odds.abs() / slope.norm(), rtol=0.03, atol=2e-3)
    assert max(row.gap for row in borders.rows) <= 1e-3
    assert borders.share_reached == 1
    assert_rows_hold(borders, target)


def test_a_third_class_is_pushed_down():
    weights = torch.zeros(3, 16)
    weights[0, 0], weights[1, 1], weights[2, 2] = 8.0, 8.0, 8.0
    target = level_target(weights, level=(0.0, 0.0, 0.0))
    borders = pixel_borders(target, [(0, 1), (1, 2)], torch.full((2, 1, 4, 4), 0.5))
    assert borders.share_reached == 1
    assert all(row.touches for row in borders.rows)
    # Level with the two others at the start, where each class has a third.
    assert borders.images[0, 0, 0, 2] < 0.45
    assert_rows_hold(borders, target)


def test_a_border_that_no_image_has_is_not_reached():
    weights = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    below = level_target(weights, level=(0.0, -1000.0, -1000.0))
    row = pixel_borders(below, [(0, 1)], torch.full((1, 1, 4, 4), 0.5), QUICK).rows[0]
    assert row.status.startswith("gap 1, expected at most 0.02")
    assert not row.touches
    level = flat_target(torch.zeros(3, 16), torch.tensor([0.0, 0.0, 0.5]))
    row = pixel_borders(level, [(0, 1)], torch.full((1, 1, 4, 4), 0.5), QUICK).rows[0]
    assert row.status == "both at 0.27, expected 0.45: class 2 has 0.45"
    assert not row.touches
    assert row.distance == pytest.approx(0, abs=1e-4)


def test_where_the_start_has_no_slope_the_search_begins_half_way_to_the_goal():
    hidden, head = nn.Linear(16, 1), nn.Linear(1, 2)
    with torch.no_grad():
        # Class 1 gains nothing before the first pixel is at 0.3, and is level with class 0 at 0.4.
        hidden.weight.copy_(torch.eye(16)[:1])
        hidden.bias.fill_(-0.3)
        head.weight.copy_(torch.tensor([[0.0], [10.0]]))
        head.bias.copy_(torch.tensor([1.0, 0.0]))
    target = Target(nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), head), SPEC).eval()
    start = torch.zeros(1, 1, 4, 4)
    assert pixel_borders(target, [(0, 1)], start, QUICK).share_reached == 0
    found = pixel_borders(target, [(0, 1)], start, QUICK, goals=torch.ones(1, 1, 4, 4))
    assert found.share_reached == 1
    assert found.images[0, 0, 0, 0] == pytest.approx(0.4, abs=1e-3)
    assert found.starts[0].max() == 0
    assert_rows_hold(found, target)


@pytest.mark.slow
def test_digits_have_a_border_for_every_pair(trained, held_out_digits):
    pairs = all_pairs(10)
    starts = []
    for a, _ in pairs:
        starts.append(held_out_digits.images[held_out_digits.labels == a][0].float() / 255)
    was_training = trained.training
    borders = pixel_borders(trained, pairs, torch.stack(starts), QUICK, second=trained)
    assert trained.training == was_training
    assert all(value.requires_grad for value in trained.parameters())
    assert borders.share_reached >= 0.95
    assert_rows_hold(borders, trained)
    # The target itself is undecided on its own borders.
    assert borders.share_undecided == 1


@pytest.mark.slow
def test_a_heavier_distance_brings_the_border_no_further_away(trained, held_out_digits):
    pairs = [(3, 8), (4, 9), (1, 7), (5, 6)]
    starts = torch.stack([held_out_digits.images[held_out_digits.labels == a][0].float() / 255 for a, _ in pairs])
    by_weight = [pixel_borders(trained, pairs, starts, PixelBorderSettings(distance=weight)) for weight in (0.0, 0.5)]
    assert by_weight[0].share_reached == by_weight[1].share_reached == 1
    assert by_weight[1].median_distance < by_weight[0].median_distance


@pytest.mark.slow
def test_batches_change_nothing(trained, held_out_digits):
    pairs = all_pairs(4)
    starts = held_out_digits.images[: len(pairs)].float() / 255
    whole = pixel_borders(trained, pairs, starts, QUICK)
    parts = pixel_borders(trained, pairs, starts, PixelBorderSettings(steps=60, pace=0.2, batch_size=2))
    np.testing.assert_allclose(whole.images, parts.images, atol=1e-3)


def test_attack_and_second_model_are_asked_about_the_same_images():
    target = level_target(torch.eye(3, 16), level=(0.0, 0.0, -9.0))
    seen = []

    def attack(_target, images, labels):
        seen.append((len(images), labels.tolist()))
        # Leaves class 0 and stays within class 1.
        return torch.where(labels.view(-1, 1, 1, 1) == 0, torch.zeros_like(images), images)

    starts = torch.full((3, 1, 4, 4), 0.5)
    starts[:2, 0, 0, 0], starts[2, 0, 0, 1] = 0.9, 0.9
    second = level_target(torch.zeros(3, 16), level=(0.0, 9.0, 0.0))
    borders = measure(target, [(0, 1), (0, 1), (1, 0)], starts, starts, by="pixels", attack=attack, second=second)
    assert [count for count, _ in seen] == [2]
    assert sorted(seen[0][1]) == [0, 1]
    distances = [row.attack_distance for row in borders.rows]
    # All zero: both classes are level there, and the first counts, so that nothing was left.
    assert distances == [None, None, None]
    assert all(row.second_model == pytest.approx((1e-4, 0.9998, 1e-4), abs=1e-4) for row in borders.rows)
    assert not any(row.second_is_undecided for row in borders.rows)


def test_the_distance_of_an_attack_that_leaves_the_class():
    target = level_target(torch.eye(3, 16), level=(0.0, 0.0, -9.0))
    start = torch.full((1, 1, 4, 4), 0.5)
    start[0, 0, 0, 0] = 0.9

    def attack(_target, images, _labels):
        moved = images.clone()
        moved[0, 0, 0, :2] += torch.tensor([-0.3, 0.4])
        return moved

    borders = measure(target, [(0, 1)], start, start, by="pixels", attack=attack)
    assert borders.rows[0].attack_distance == pytest.approx(0.5)


def test_shares_count_what_was_reached_alone():
    def row(status, distance, told, attacked):
        return Border((0, 1), 0.5, 0.5, 2, 0.0, distance, status, attacked, told)

    rows = (
        row("reached", 1.0, (SURE, 0.2, 0.0), 0.5),
        row("reached", 3.0, (0.9, 0.1, 0.0), None),
        row("gap 0.5", 99.0, (0.5, 0.5, 0.0), 98.0),
    )
    nothing = np.zeros((3, 1, 4, 4), np.float32)
    borders = Borders("pixels", rows, nothing, nothing)
    assert borders.share_reached == pytest.approx(2 / 3)
    assert borders.median_distance == 2
    assert borders.median_attack_distance == 0.5
    assert borders.share_undecided == 0.5
    none = Borders("pixels", (), nothing[:0], nothing[:0])
    shares = (none.share_reached, none.median_distance, none.median_attack_distance, none.share_undecided)
    assert shares == (None, None, None, None)


def test_what_cannot_be_measured_is_refused():
    target = level_target(torch.eye(3, 16), level=(0.0, 0.0, 0.0))
    image = torch.full((1, 1, 4, 4), 0.5)
    for pair in ((0, 0), (0, 3), (-1, 2)):
        with pytest.raises(SettingError, match="two different classes from 0 to 2"):
            pixel_borders(target, [pair], image)
    with pytest.raises(ShapeError, match="1 starts for 2 pairs"):
        pixel_borders(target, [(0, 1), (0, 2)], image)
    with pytest.raises(ShapeError, match="images have shape"):
        measure(target, [(0, 1)], image, image[:, :, :3], by="pixels")
    with pytest.raises(SettingError, match="second model has 2 classes, the target 3"):
        measure(target, [(0, 1)], image, image, by="pixels", second=level_target(torch.eye(2, 16), level=(0.0, 0.0)))


def test_no_pairs_give_no_borders(trained):
    borders = pixel_borders(trained, [], torch.empty(0, 1, 8, 8))
    assert len(borders) == 0
