"""Inversions as users call them: by a generator and by pixels, each with an outcome that says what the images show."""

import logging
from dataclasses import replace

import pytest
import torch
from torch import nn

from invaudit.data import ImageSet
from invaudit.inversion import (
    InversionSettings,
    PixelInversionSettings,
    invert,
    invert_pixels,
    run_inversion,
)
from invaudit.inversion.judging import judged
from invaudit.inversion.observing import share_without_slope
from invaudit.inversion.pixel_inversion import PixelInversion
from invaudit.models import InputSpec, Target, build, checkpoints, collect, frozen_eval
from invaudit.runtime.errors import SettingError

SHORT = PixelInversionSettings(per_class=3, steps=4, batch_size=15, eval_every=2, margin=0.25, schedule="cosine")


@pytest.fixture
def digits_by_class(digit_images):
    """Return real digits (10, 6, 1, 8, 8)."""
    rows = torch.cat([(digit_images.labels == label).nonzero()[:6, 0] for label in range(10)])
    return digit_images.floats(rows).view(10, 6, 1, 8, 8)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.slow
def test_pixels_give_every_class_its_images_in_the_order_of_the_labels(trained):
    found = invert_pixels(trained, SHORT, seed=1)
    assert found.images.shape == (10, 3, *trained.spec.shape)
    labels = torch.tensor([7, 2, 7, 7])
    drawn = found.sample(labels, rng())
    assert torch.equal(drawn, found.images[[7, 2, 7, 7], [0, 0, 1, 2]])
    with pytest.raises(SettingError, match="3 of each were searched for"):
        found.sample(torch.full((4,), 2), rng())
    assert torch.equal(found.images, invert_pixels(trained, SHORT, seed=1).images)


@pytest.mark.slow
def test_pixels_reach_the_wanted_classes(trained):
    settings = SHORT.model_copy(update={"steps": 150, "eval_every": 150, "margin": 0.0})
    found = invert_pixels(trained, settings, seed=0)
    labels = torch.arange(10).repeat_interleave(3)
    predicted = collect(trained, found.sample(labels, rng()), keep_maps=False).logits.argmax(1)
    assert float((predicted == labels).double().mean()) > 0.9


@pytest.mark.slow
def test_a_search_for_pixels_goes_on_from_its_checkpoints_to_the_same_bytes(trained, tmp_path, killed_after):
    checkpoint = tmp_path / "work.pt"
    whole = invert_pixels(trained, SHORT, seed=2)
    killed_after(checkpoints, 1)
    with pytest.raises(KeyboardInterrupt):
        invert_pixels(trained, SHORT, seed=2, checkpoint=checkpoint)
    resumed = invert_pixels(trained, SHORT, seed=2, checkpoint=checkpoint)
    assert torch.equal(whole.images, resumed.images)
    assert whole.history == resumed.history


@pytest.mark.slow
def test_more_pictures_than_were_searched_for_are_refused(trained, tmp_path):
    with pytest.raises(SettingError, match="images is 8, but 3 of each"):
        run_inversion(trained, SHORT, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    run = run_inversion(trained, SHORT, tmp_path / "out", images=3)
    assert run.diagnosis.n_per_class == 3
    assert sorted(path.name for path in run.folder.iterdir() if path.suffix == ".pt") == []


def converged(images: torch.Tensor) -> PixelInversion:
    return PixelInversion(images, PixelInversionSettings(), (), "converged", "every class is reached")


def of_stripes() -> torch.Tensor:
    """Return the same stripes for every class, with a little noise."""
    stripes = (torch.arange(8) % 2).float().expand(10, 6, 1, 8, 8)
    return (0.8 * stripes + 0.05 * torch.randn((10, 6, 1, 8, 8), generator=rng())).clamp(0, 1)


def test_the_same_stripes_in_every_class_are_uninformative(trained):
    found, judgement = judged(converged(of_stripes()), trained, rng())
    assert found.outcome == "uninformative"
    assert "nearly the same" in found.message
    assert judgement is not None
    assert judgement.near_equal


def test_real_digits_are_pictures(trained, digits_by_class):
    found, judgement = judged(converged(digits_by_class), trained, rng())
    assert (found.outcome, judgement.outcome) == ("converged", None)
    pixels = (255 * digits_by_class.flatten(0, 1)).round().byte()
    real = ImageSet("real", pixels, torch.arange(10).repeat_interleave(6))
    assert judged(converged(digits_by_class), trained, rng(), real=real)[0].outcome == "converged"


def test_an_inversion_that_has_not_reached_its_classes_keeps_its_outcome(trained):
    found, _ = judged(replace(converged(of_stripes()), outcome="budget"), trained, rng())
    assert found.outcome == "budget"
    diverged = replace(converged(of_stripes()), outcome="diverged")
    assert judged(diverged, trained, rng()) == (diverged, None)


class Dead(nn.Module):
    """Ends in a ReLU that is off for every image."""

    def __init__(self) -> None:
        super().__init__()
        self.flat, self.head = nn.Flatten(), nn.Linear(64, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.flat(inputs) - 10))


@pytest.mark.slow
def test_a_target_without_slope_is_said(caplog):
    spec = InputSpec(channels=1, height=8, width=8)
    target = Target(Dead(), spec)
    images, labels = torch.rand((6, 1, 8, 8), generator=rng()), torch.arange(6) % 4
    with frozen_eval(target):
        assert share_without_slope(target, images, labels) == 1
    alive = Target(build("mlp-8", spec, 4), spec)
    with frozen_eval(alive):
        assert share_without_slope(alive, images, labels) == 0
    with caplog.at_level(logging.WARNING):
        invert(target, InversionSettings(steps=1, batch_size=8, eval_images=2, noise=4))
    assert "100 % of the first images no slope" in caplog.text
