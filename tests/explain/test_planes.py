"""The plane through three images: its coordinates by hand, its classes against the network."""

import numpy as np
import pytest
import torch

from invaudit.explain.planes import plane_through
from invaudit.runtime.errors import SettingError, ShapeError
from tests.explain.flat_targets import level_target

WEIGHTS = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
TARGET = level_target(WEIGHTS, level=(0.0, 0.0, -1.0))
GREY = torch.full((1, 4, 4), 0.5)


def pixels(**values: float) -> torch.Tensor:
    image = GREY.clone()
    for place, value in values.items():
        image.view(-1)[int(place[1:])] = value
    return image


def test_coordinates_of_a_right_angle():
    plane = plane_through(TARGET, GREY, pixels(p3=0.9), pixels(p0=0.7), grid=7)
    np.testing.assert_allclose(plane.points, [[0, 0], [0, 0.4], [0.2, 0]], atol=1e-6)
    np.testing.assert_allclose(plane.across[[0, -1]], [-0.05, 0.25], atol=1e-6)
    np.testing.assert_allclose(plane.up[[0, -1]], [-0.1, 0.5], atol=1e-6)
    # 0.5 + 0.5 at the top is 1: nothing is clipped.
    assert plane.clipped == 0


@pytest.mark.parametrize("seed", range(3))
def test_points_lie_as_far_apart_as_their_images_and_get_the_networks_answer(seed):
    rng = torch.Generator().manual_seed(seed)
    images = 0.4 + 0.2 * torch.rand(3, 1, 4, 4, generator=rng)
    plane = plane_through(TARGET, *images, grid=5)
    for a in range(3):
        for b in range(3):
            far = float((images[a] - images[b]).norm())
            assert np.linalg.norm(plane.points[a] - plane.points[b]) == pytest.approx(far, abs=1e-5)
    # Any point is start + u (goal - start) + v (border - start): u and v from its coordinates.
    start, border, goal = (image.double() for image in images)
    for i, j in ((0, 0), (2, 3), (4, 1)):
        sides = np.stack([plane.points[2], plane.points[1]], 1)
        u, v = np.linalg.solve(sides, [plane.across[j], plane.up[i]])
        with torch.no_grad():
            told = TARGET((start + u * (goal - start) + v * (border - start)).float()[None]).double().softmax(1)[0]
        np.testing.assert_allclose(plane.probabilities[i, j], told.numpy(), atol=1e-5)
        assert plane.classes[i, j] == told.argmax()
        assert plane.sureness[i, j] == pytest.approx(float(told.max()), abs=1e-5)


def test_what_leaves_the_range_is_clipped_and_counted():
    plane = plane_through(TARGET, GREY, pixels(p3=1.0), pixels(p0=0.6), grid=5)
    # The top row alone asks for 1.125.
    assert plane.clipped == pytest.approx(1 / 5)


def test_what_spans_no_plane_is_refused():
    for border, goal in ((pixels(p0=0.6), pixels(p0=0.7)), (GREY, pixels(p0=0.7)), (pixels(p0=0.7), GREY)):
        with pytest.raises(SettingError, match="lie on one line"):
            plane_through(TARGET, GREY, border, goal)
    with pytest.raises(SettingError, match="grid is 1"):
        plane_through(TARGET, GREY, pixels(p3=0.9), pixels(p0=0.7), grid=1)
    with pytest.raises(ShapeError, match="border has shape"):
        plane_through(TARGET, GREY, GREY[:, :3], pixels(p0=0.7))
