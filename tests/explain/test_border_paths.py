"""Border images by a generator: its own images, level in every condition mode, repeated by their seed."""

import numpy as np
import pytest
import torch
from torch import nn

from invaudit.data import seeded_rng
from invaudit.explain.border_paths import GeneratorBorderSettings, generator_borders
from invaudit.explain.borders import all_pairs
from invaudit.inversion import MODES, Inversion, InversionSettings, invert
from invaudit.runtime.errors import SettingError
from tests.explain.flat_targets import level_target
from tests.explain.recomputing import assert_rows_hold

QUICK = GeneratorBorderSettings(candidates=4, noise_steps=40)


class Blend(nn.Module):
    """Draws class k as pixel k, from the vector alone; the noise is the background."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, noise, condition):
        images = torch.sigmoid(noise).clone()
        images[:, : condition.vector.shape[1]] = self.scale * condition.vector
        return images.view(-1, 1, 4, 4)


def blending(classes: int, outcome: str = "converged") -> Inversion:
    settings = InversionSettings(mode="vector", noise=16)
    return Inversion(Blend(), settings, classes, (), outcome, "")  # pyright: ignore[reportArgumentType]


def test_the_border_of_a_known_generator_lies_where_its_pixels_are_level():
    weights = torch.eye(3, 16) * torch.tensor([[10.0], [30.0], [10.0]])
    target = level_target(weights, level=(5.0, 15.0, 0.0))
    borders = generator_borders(target, blending(3), [(0, 1), (1, 0)], seeded_rng(0, "x"), QUICK)
    # 10 (1 - t) = 30 t at t = 1/4, whichever way it is gone.
    np.testing.assert_allclose(borders.images[:, 0, 0, :2], [[0.75, 0.25]] * 2, atol=1e-4)
    np.testing.assert_allclose(borders.starts[:, 0, 0, :2], [[1, 0], [0, 1]])
    np.testing.assert_allclose(borders.goals[:, 0, 0, :2], [[0, 1], [1, 0]])
    # One noise vector all along a way.
    np.testing.assert_array_equal(borders.starts[:, 0, 1:], borders.images[:, 0, 1:])
    assert borders.share_reached == 1
    assert max(row.gap for row in borders.rows) <= 1e-3
    assert_rows_hold(borders, target)


def test_a_generator_that_draws_one_class_alone_reaches_no_border():
    target = level_target(torch.eye(3, 16), level=(50.0, 0.0, 0.0))
    borders = generator_borders(target, blending(3), [(0, 1)], seeded_rng(0, "x"), QUICK)
    assert borders.share_reached == 0
    assert borders.rows[0].status.startswith("gap 1")


def test_what_there_is_nothing_to_draw_from_is_refused():
    target = level_target(torch.eye(3, 16), level=(0.0, 0.0, 0.0))
    with pytest.raises(SettingError, match="nothing to draw from"):
        generator_borders(target, blending(3, "diverged"), [(0, 1)], seeded_rng(0, "x"))
    with pytest.raises(SettingError, match="two different classes"):
        generator_borders(target, blending(3), [(1, 1)], seeded_rng(0, "x"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_generators_of_digits_draw_borders_in_every_mode(trained, mode):
    inversion = invert(trained, InversionSettings(mode=mode, steps=150), seeded_rng(0, "tests/invert"))
    before = inversion.sample(torch.arange(10), seeded_rng(1, "x"))
    borders = generator_borders(trained, inversion, all_pairs(10), seeded_rng(0, "x"), QUICK)
    assert borders.share_reached >= 0.8
    assert_rows_hold(borders, trained)
    again = generator_borders(trained, inversion, all_pairs(10), seeded_rng(0, "x"), QUICK)
    np.testing.assert_array_equal(borders.images, again.images)
    assert torch.equal(before, inversion.sample(torch.arange(10), seeded_rng(1, "x")))
