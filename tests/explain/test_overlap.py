"""Precision, recall, density and coverage by loops, and on sets whose answer is known."""

from dataclasses import astuple, fields

import numpy as np
import pytest
import torch

from invaudit.explain.overlap import ROWS, Overlap, overlap
from invaudit.runtime.errors import SettingError, ShapeError


def by_loops(images: np.ndarray, reference: np.ndarray, k: int) -> dict[str, float]:
    """Return the four values as the papers' formulas read, one pair after the other."""

    def radius(points: np.ndarray, i: int) -> float:
        others = [np.linalg.norm(points[i] - points[j]) for j in range(len(points)) if j != i]
        return sorted(others)[k - 1]

    in_ball = np.array(
        [[np.linalg.norm(y - x) < radius(reference, i) for i, x in enumerate(reference)] for y in images]
    )
    in_image_ball = np.array(
        [[np.linalg.norm(x - y) < radius(images, j) for j, y in enumerate(images)] for x in reference]
    )
    return {
        "precision": in_ball.any(1).mean(),
        "recall": in_image_ball.any(1).mean(),
        "density": in_ball.sum() / (k * len(images)),
        "coverage": in_ball.any(0).mean(),
    }


def values(found: Overlap) -> dict[str, float]:
    return {field.name: getattr(found, field.name).value for field in fields(Overlap)}


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_formulas_by_loops(rng, draws, k, shift):
    images = torch.randn((23, 4), generator=rng) + shift
    reference = torch.randn((31, 4), generator=rng)
    found = overlap(images, reference, draws, k=k)
    expected = by_loops(images.double().numpy(), reference.double().numpy(), k)
    assert values(found) == pytest.approx(expected)
    assert all(low <= value <= high for value, low, high, *_ in astuple(found))


def test_more_images_than_are_compared_at_once_give_the_same(rng, draws, monkeypatch):
    images, reference = torch.randn((2, 40, 3), generator=rng)
    whole = overlap(images, reference, np.random.default_rng(0))
    monkeypatch.setattr("invaudit.explain.overlap.ROWS", 7)
    assert ROWS > 40
    assert overlap(images, reference, draws) == whole


def test_a_set_lies_in_itself(rng, draws):
    features = torch.randn((60, 6), generator=rng)
    assert values(overlap(features, features.clone(), draws)) == dict.fromkeys(
        values(overlap(features, features, draws)), 1
    )


def test_sets_far_apart_share_nothing(rng, draws):
    features = torch.randn((60, 6), generator=rng)
    assert set(values(overlap(features + 100, features, draws)).values()) == {0}


def test_copies_of_real_images_are_precise_and_cover_little(rng, draws):
    reference = torch.randn((200, 2), generator=rng)
    found = values(overlap(reference[:1].expand(50, -1) + 1e-3 * torch.randn((50, 2), generator=rng), reference, draws))
    assert found["precision"] == 1
    assert found["recall"] < 0.05
    assert found["coverage"] < 0.1


def test_density_is_about_1_for_draws_of_one_distribution(rng, draws):
    found = overlap(torch.randn((800, 3), generator=rng), torch.randn((800, 3), generator=rng), draws)
    assert found.density.low < 1 < found.density.high
    assert found.coverage.value > 0.9


def test_refusals(rng, draws):
    features = torch.randn((9, 3), generator=rng)
    with pytest.raises(SettingError, match="more than k = 5"):
        overlap(features[:5], features, draws)
    with pytest.raises(ShapeError, match="one network"):
        overlap(features, features[:, :2], draws)
    with pytest.raises(SettingError, match="not all finite"):
        overlap(features, features * torch.nan, draws)
