import numpy as np
import pytest
import torch

from invaudit.data import seeded_rng
from invaudit.leakage import blind_baseline
from invaudit.runtime import ShapeError
from invaudit.stats import Pairs


def images(n, seed=0):
    return torch.rand(n, 1, 8, 8, generator=seeded_rng(seed, "blind"))


def pairs(n, seed=0):
    coins = np.random.default_rng(seed).random(n) < 0.5
    return Pairs(np.stack([coins, ~coins], 1).ravel(), np.repeat(np.arange(n), 2))


def test_a_shift_is_seen_and_no_shift_is_not():
    design = pairs(100)
    member = torch.from_numpy(design.member.copy())
    pool = images(200) * 0.5
    none = blind_baseline(pool, design, np.random.default_rng(0), draws=199)
    pool[member, :, :2] += 0.15  # one standard deviation of a pixel
    found = blind_baseline(pool, design, np.random.default_rng(0), draws=199)
    assert (none.finding, found.finding) == ("no-shift", "shift")
    assert found.auroc > 0.9
    assert found.p_value == pytest.approx(1 / 200)
    assert none.p_value > 0.05


def test_what_statistics_alone_see_is_seen():
    # Fewer grey levels: the mean of each pixel is the same.
    design = pairs(100)
    pool = images(200)
    member = torch.from_numpy(design.member.copy())
    pool[member] = (pool[member] * 15).round() / 15
    assert blind_baseline(pool, design, np.random.default_rng(0), draws=199).finding == "shift"


def test_a_pixel_that_never_varies_does_no_harm():
    pool = images(20)
    pool[:, :, 0, 0] = 0.5
    assert 0 <= blind_baseline(pool, pairs(10), np.random.default_rng(0), draws=9).auroc <= 1


def test_a_design_of_another_pool_is_refused():
    with pytest.raises(ShapeError, match="one per pool image"):
        blind_baseline(images(10), pairs(6), np.random.default_rng(0))
