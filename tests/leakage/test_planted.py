import pytest
import torch
from scipy.ndimage import gaussian_filter

from invaudit.data import seeded_rng
from invaudit.leakage import degraded_copies, unrelated
from invaudit.runtime import SettingError


def test_blur_is_gaussian():
    images = torch.rand(2, 3, 16, 16, generator=seeded_rng(0, "planted"))
    copies = degraded_copies(images, seeded_rng(0, "noise"), blur=0.8, noise=0.0)
    wanted = gaussian_filter(images.numpy(), (0, 0, 0.8, 0.8), mode="mirror", radius=3)
    assert copies.numpy() == pytest.approx(wanted, abs=1e-5)


def test_no_blur_and_no_noise_give_the_images():
    images = torch.rand(3, 1, 8, 8, generator=seeded_rng(0, "planted"))
    assert torch.equal(degraded_copies(images, seeded_rng(0, "noise"), blur=0.0, noise=0.0), images)


def test_noise_has_its_size_and_stays_in_range():
    images = torch.full((50, 1, 16, 16), 0.5)
    copies = degraded_copies(images, seeded_rng(0, "noise"), blur=0.0, noise=0.1)
    assert float((copies - images).std()) == pytest.approx(0.1, rel=0.05)
    assert float(degraded_copies(images * 0, seeded_rng(0, "noise"), blur=0.0, noise=0.1).min()) == 0


@pytest.mark.parametrize("side", [8, 9, 28])
def test_a_wide_blur_fits_small_sides(side):
    images = torch.rand(2, 1, side, side, generator=seeded_rng(0, "planted"))
    assert degraded_copies(images, seeded_rng(0, "noise"), blur=5.0, noise=0.0).shape == images.shape


def test_an_image_serves_twice_only_where_there_are_too_few():
    reference = torch.arange(10).view(10, 1, 1, 1).expand(10, 1, 8, 8) / 10
    found = unrelated(reference, 25, seeded_rng(0, "choice"), blur=0.0, noise=0.0)
    counts = (found[:, 0, 0, 0] * 10).round().long().bincount()
    assert set(counts.tolist()) == {2, 3}
    assert len(unrelated(reference, 10, seeded_rng(0, "choice"), blur=0.0, noise=0.0).unique()) == 10


def test_no_reference_is_refused():
    with pytest.raises(SettingError, match="reference"):
        unrelated(torch.empty(0, 1, 8, 8), 5, seeded_rng(0, "choice"))
