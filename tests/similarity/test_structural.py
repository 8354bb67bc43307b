"""SSIM against scikit-image, against its formula written out, and the bound on the error of its screening."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity
from torch import Tensor

from invaudit.data import seeded_rng
from invaudit.similarity import make_metric, paired_ssim, pairwise, structural

C1, C2 = 0.01**2, 0.03**2


def pool(channels: int, side: int) -> Tensor:
    """Return unlike, alike, inverted, white, constant and half-black images."""
    rng = seeded_rng(side, "tests/pool", channels)
    coarse = torch.rand(3, channels, 4, 4, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear").clamp(0, 1)
    near = (smooth[:1] + 0.05 * torch.randn(1, channels, side, side, generator=rng)).clamp(0, 1)
    noise = torch.rand(1, channels, side, side, generator=rng)
    white, grey, half = torch.ones_like(noise), torch.full_like(noise, 0.3), noise.clone()
    half[..., : side // 2, :] = 0
    return torch.cat([smooth, near, 1 - smooth[:1], noise, white, grey, half])


@pytest.mark.parametrize(
    ("channels", "side"), [(1, 28), (3, 28), (1, 32), (3, 32), (3, 64), (1, 128), (3, 128), (1, 11)]
)
def test_scikit_image_agrees(channels, side):
    images = pool(channels, side)[:: 1 if side < 64 else 2]
    found = pairwise(images, images, make_metric("ssim"))
    for i, first in enumerate(images.double().numpy()):
        for j, second in enumerate(images.double().numpy()):
            expected = structural_similarity(
                first, second, channel_axis=0, data_range=1.0,
                gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            )  # fmt: skip
            assert found[i, j].item() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("side", [3, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_other_windows_agree_with_the_formula(side, channels):
    images = pool(channels, 12)
    found = paired_ssim(images, images.roll(1, 0), side)
    for i in range(len(images)):
        assert found[i].item() == pytest.approx(by_the_formula(images[i], images[i - 1], side), abs=1e-10)


def by_the_formula(x: Tensor, y: Tensor, side: int) -> float:
    """Return SSIM of two images (C, H, W), window by window."""
    weights = torch.tensor([math.exp(-((i - side // 2) ** 2) / (2 * 1.5**2)) for i in range(side)], dtype=torch.float64)
    window = torch.outer(weights, weights) / weights.sum() ** 2
    values = []
    for a, b in zip(x.double(), y.double(), strict=True):
        for i in range(x.shape[1] - side + 1):
            for j in range(x.shape[2] - side + 1):
                p, q = a[i : i + side, j : j + side], b[i : i + side, j : j + side]
                mean_p, mean_q = (window * p).sum(), (window * q).sum()
                var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
                covariance = (window * (p - mean_p) * (q - mean_q)).sum()
                luminance = (2 * mean_p * mean_q + C1) / (mean_p**2 + mean_q**2 + C1)
                values.append(luminance * (2 * covariance + C2) / (var_p + var_q + C2))
    return float(torch.stack(values).mean())


@pytest.mark.parametrize(
    ("height", "width", "window"), [(8, 8, 5), (10, 16, 5), (5, 5, 5), (11, 13, 11)], ids="{}".format
)
def test_the_formula_agrees_also_under_eleven_pixels(height, width, window):
    images = torch.rand(4, 3, height, width, generator=seeded_rng(0, "tests/small"))
    images[3] = 1 - images[0]
    found = pairwise(images, images, make_metric("ssim"))
    for i in range(4):
        for j in range(4):
            assert found[i, j].item() == pytest.approx(by_the_formula(images[i], images[j], window), abs=1e-12)


def test_known_values_and_negative_ones():
    images = pool(1, 28)
    black = torch.zeros_like(images[:1])
    found = pairwise(torch.cat([images, black]), torch.cat([images, black]), make_metric("ssim"))
    torch.testing.assert_close(found.diagonal(), torch.ones(len(found), dtype=torch.float64), atol=1e-12, rtol=0)
    assert found[0, 4] < -0.3  # an image and its inverse
    assert found[6, 9].item() == pytest.approx(C1 / (1 + C1), rel=1e-9)  # white and black
    torch.testing.assert_close(found, found.T, atol=1e-14, rtol=0)


def test_the_label_names_the_window():
    assert "window 11 (5 for sides under 11)" in make_metric("ssim").label
    assert make_metric("ssim", resize=8).label == "SSIM, window 5, resized to 8"
    assert make_metric("ssim", resize=16).label == "SSIM, window 11, resized to 16"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(["noise", "strokes", "faint", "blocks"]))
@settings(max_examples=15, deadline=None)
def test_screening_is_within_its_bound(dtype, seed, kind):
    rng = seeded_rng(seed, "tests/screen")
    images = torch.rand(40, 1, 14, 13, generator=rng)
    if kind == "strokes":
        images = (images > 0.8).float()
    elif kind == "faint":
        images = 0.5 + 0.02 * (images - 0.5)
    elif kind == "blocks":
        images = images[:, :, :2, :2].repeat_interleave(7, 2).repeat_interleave(7, 3)[..., :13]
    images[20:] = (images[:20] + 0.02 * torch.randn(images[:20].shape, generator=rng)).clamp(0, 1)
    metric = make_metric("ssim")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structural, "resolve_precision", lambda *_: dtype)
        embedded = metric.embed(images)
        rough, bound = metric.screen(embedded)(embedded)
    assert ((rough - pairwise(images, images, metric)).abs() <= bound).all()
    assert bound.max() < (0.02 if dtype == torch.bfloat16 else 3e-5)


def test_tiles_do_not_change_what_is_screened(monkeypatch):
    images = torch.rand(30, 1, 12, 12, generator=seeded_rng(0, "tests/tiles"))
    metric = make_metric("ssim")
    embedded = metric.embed(images)
    whole, bound = metric.screen(embedded)(embedded)
    monkeypatch.setattr(structural, "TILE", (7, 11))
    tiled, _ = metric.screen(embedded)(embedded)
    assert ((whole - tiled).abs() <= 2 * bound).all()
    assert (whole.argmax(1) == torch.arange(30)).all()
    assert (tiled.argmax(1) == torch.arange(30)).all()
