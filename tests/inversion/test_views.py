"""Views: what the target is shown of a larger canvas."""

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import affine

from invaudit.inversion import InversionSettings, Inverter, invert
from invaudit.inversion.views import ViewSettings, middle, random_views, turned
from invaudit.models.devices import seed_torch

SHAPE = (3, 8, 10)


def canvas_of(settings: ViewSettings, n: int = 4) -> torch.Tensor:
    return torch.rand((n, *settings.canvas(SHAPE)), generator=torch.Generator().manual_seed(0))


def views_of(drawn: torch.Tensor, settings: ViewSettings, seed: int) -> torch.Tensor:
    with seed_torch(torch.Generator().manual_seed(seed)):
        return random_views(drawn, settings, SHAPE)


def test_the_canvas_is_wider_by_the_margin_on_every_side():
    assert ViewSettings(margin=0.25).canvas(SHAPE) == (3, 12, 14)
    assert ViewSettings().canvas(SHAPE) == SHAPE
    assert not ViewSettings().has_views


def test_every_view_is_a_crop_and_all_crops_come_up():
    settings = ViewSettings(margin=0.25)
    drawn = canvas_of(settings)
    crops = {}
    for top in range(5):
        for left in range(5):
            crops[drawn[:, :, top : top + 8, left : left + 10].numpy().tobytes()] = (top, left)
    seen = {crops[views_of(drawn, settings, seed).numpy().tobytes()] for seed in range(300)}
    assert len(seen) == 25
    assert torch.equal(middle(drawn, settings, SHAPE), drawn[:, :, 2:10, 2:12])


@pytest.mark.parametrize(
    ("flip", "channels", "expected"),
    [
        ("never", 3, False),
        ("colour", 3, True),
        ("colour", 1, False),
        ("always", 1, True),
    ],
)
def test_views_are_mirrored_where_that_is_said(flip, channels, expected):
    settings = ViewSettings(flip=flip)
    drawn = canvas_of(settings)[:, :channels]
    seen = set()
    for seed in range(20):
        with seed_torch(torch.Generator().manual_seed(seed)):
            views = random_views(drawn, settings, (channels, 8, 10))
        seen.add(torch.equal(views, drawn))
        assert torch.equal(views, drawn) or torch.equal(views, drawn.flip(3))
    assert (False in seen) == expected


def test_a_change_of_contrast_keeps_the_range_and_the_order_of_pixels():
    settings = ViewSettings(contrast=0.3)
    drawn = 0.4 + 0.2 * canvas_of(settings)
    views = views_of(drawn, settings, 0)
    assert 0 <= views.min() < views.max() <= 1
    assert torch.equal(views.flatten(1).argsort(dim=1, stable=True), drawn.flatten(1).argsort(dim=1, stable=True))
    grey = drawn[:, :1]
    assert torch.equal(random_views(grey, settings, (1, 8, 10)), grey)


def test_a_view_has_black_strips_and_the_picture_has_half_as_wide_ones():
    settings = ViewSettings(frame=0.4)
    drawn = canvas_of(settings).clamp_min(0.1)
    tops = set()
    for seed in range(40):
        views = views_of(drawn, settings, seed)
        is_seen = views[0, 0] > 0
        assert torch.equal(views[:, :, is_seen], drawn[:, :, is_seen])
        # What is seen is one rectangle.
        assert torch.equal(is_seen, is_seen.any(1)[:, None] & is_seen.any(0))
        tops.add(int(is_seen.any(1).int().argmax()))
    assert tops == {0, 1, 2, 3}
    picture = middle(drawn, settings, SHAPE)
    assert torch.equal(picture[:, :, 2:6, 2:8], drawn[:, :, 2:6, 2:8])
    assert int((picture > 0).sum()) == picture[:, :, 2:6, 2:8].numel()


def test_turned_images_are_those_of_an_independent_library():
    image = torch.rand((1, 1, 9, 9), generator=torch.Generator().manual_seed(0))
    settings = ViewSettings(rotation=30, zoom=0.3)
    with seed_torch(torch.Generator().manual_seed(3)):
        found = turned(image, settings, 1)
    with seed_torch(torch.Generator().manual_seed(3)):
        angle, size = 30 * (2 * torch.rand(1) - 1), (0.3 * (2 * torch.rand(1) - 1)).exp()
    expected = affine(image, -float(angle), [0, 0], 1 / float(size), [0.0], InterpolationMode.BILINEAR)
    assert torch.allclose(found, expected, atol=1e-4)


def test_images_are_turned_together_or_each_by_itself():
    images = torch.rand((1, 1, 8, 8), generator=torch.Generator().manual_seed(0)).expand(5, -1, -1, -1)
    settings = ViewSettings(shift=0.3)
    with seed_torch(torch.Generator().manual_seed(0)):
        together, apart = turned(images, settings, 1), turned(images, settings, 5)
    assert torch.equal(together, together[:1].expand_as(together))
    assert len({image.numpy().tobytes() for image in apart}) == 5
    assert torch.allclose(turned(images, ViewSettings(), 5), images, atol=1e-6)


def test_noise_over_views_has_mean_0_and_at_most_the_deviation_that_is_said():
    settings = ViewSettings(view_noise=0.2)
    drawn = canvas_of(settings, 200)
    deviations = []
    for seed in range(20):
        noise = views_of(drawn, settings, seed) - drawn
        assert abs(float(noise.mean())) < 0.01
        deviations.append(float(noise.std()))
    assert 0.15 < max(deviations) < 0.21
    assert min(deviations) < 0.1


@pytest.mark.slow
def test_an_inverter_draws_the_middle_of_its_canvas(trained):
    settings = InversionSettings(steps=3, batch_size=20, eval_images=4, noise=8, margin=0.25, schedule="cosine")
    inverter = Inverter(settings, trained, torch.Generator().manual_seed(0))
    inversion = inverter.run(trained)
    labels = torch.arange(10)
    images = inversion.sample(labels, torch.Generator().manual_seed(1))
    assert images.shape == (10, *trained.spec.shape)
    assert inverter.optimizer.param_groups[0]["lr"] < settings.learning_rate
    again = invert(trained, settings, torch.Generator().manual_seed(0))
    assert torch.equal(images, again.sample(labels, torch.Generator().manual_seed(1)))
