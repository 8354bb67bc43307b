"""A student of real images that pass for inversions knows the classes; one of noise or of wrong labels does not."""

import pytest
import torch
from pydantic import ValidationError

from invaudit.data import ImageSet, seeded_rng
from invaudit.explain.student import (
    MOST_INVERSIONS,
    Student,
    StudentSettings,
    default_training,
    train_student,
    varied,
)
from invaudit.inversion import PixelInversion, PixelInversionSettings
from invaudit.models import InputSpec, TrainingSettings
from invaudit.runtime.errors import DataError, ShapeError


class Drawn:
    """Gives random images of the wanted class, or of the class after it; counts what was asked for."""

    def __init__(self, images: ImageSet, *, moved: int = 0) -> None:
        self.images, self.moved = images, moved
        self.asked: list[torch.Tensor] = []

    def sample(self, wanted, rng):
        """Return images."""
        self.asked.append(wanted)
        rows = []
        for label in ((wanted + self.moved) % 10).tolist():
            members = (self.images.labels == label).nonzero()[:, 0]
            rows.append(members[torch.randint(len(members), (), generator=rng)])
        return self.images.floats(torch.stack(rows))


class Noise:
    """Gives noise."""

    def sample(self, wanted, rng):
        """Return images."""
        return torch.rand((len(wanted), 1, 8, 8), generator=rng)


SHORT = StudentSettings(inversions=1_000, training=TrainingSettings(epochs=3, shift=1))


def test_a_student_of_real_images_learns_the_classes_and_of_wrong_labels_the_wrong_ones(
    trained, training_digits, held_out_digits
):
    sampler = Drawn(training_digits)
    student = train_student(sampler, trained, held_out_digits, seeded_rng(0, "tests"), SHORT)
    assert student.accuracy.value > 0.8
    assert student.accuracy.n == len(held_out_digits)
    assert student.accuracy.low < student.accuracy.value < student.accuracy.high
    assert student.arch == trained.arch
    assert student.seconds > 0
    assert torch.cat(sampler.asked).bincount().tolist() == [student.n_inversions // 10] * 10
    assert len(student.by_class) == 10
    right = sum(share.value * share.n for share in student.by_class)
    assert right == pytest.approx(student.accuracy.value * student.accuracy.n)
    wrong = train_student(Drawn(training_digits, moved=1), trained, held_out_digits, seeded_rng(0, "tests"), SHORT)
    assert wrong.accuracy.value < 0.1
    assert wrong.inversion_accuracy.value > 0.8


def test_a_student_of_noise_guesses_and_is_the_same_again(trained, held_out_digits):
    few = StudentSettings(inversions=205, training=TrainingSettings(epochs=1))
    first, again = (train_student(Noise(), trained, held_out_digits, seeded_rng(0, "tests"), few) for _ in range(2))
    assert first.accuracy == again.accuracy
    assert first.accuracy.value < 0.3
    assert first.n_inversions == 200


def test_the_few_images_of_a_search_by_pixels_are_shown_in_as_many_views_as_are_wanted(
    trained, training_digits, held_out_digits
):
    by_class = [training_digits.floats((training_digits.labels == label).nonzero()[:30, 0]) for label in range(10)]

    def student_of(views: PixelInversionSettings) -> Student:
        searched = PixelInversion(torch.stack(by_class), views, (), "converged", "")
        return train_student(searched, trained, held_out_digits, seeded_rng(0, "tests"), SHORT)

    as_they_are, thrown_about = student_of(PixelInversionSettings()), student_of(PixelInversionSettings(rotation=180))
    assert as_they_are.n_inversions == thrown_about.n_inversions == 1_000
    assert as_they_are.accuracy.value > 0.6
    assert thrown_about.inversion_accuracy.value < as_they_are.inversion_accuracy.value - 0.1


def test_pictures_are_darkened_faded_and_noisy_each_by_an_amount_of_its_own():
    ramp = torch.linspace(0, 1, 64).view(1, 1, 8, 8).repeat(500, 1, 1, 1)
    rng = seeded_rng(0, "tests")
    assert torch.equal(varied(ramp, StudentSettings(), rng), ramp)
    darker = varied(ramp, StudentSettings(darkening=0.5), rng)
    assert torch.equal(darker.amax((1, 2, 3)), torch.ones(500))
    black = (darker == 0).float().mean((1, 2, 3))
    assert black.min() < 0.02
    assert 0.48 < black.max() <= 0.5
    faded = varied(ramp, StudentSettings(fading=0.6), rng)
    brightest = faded.amax((1, 2, 3))
    torch.testing.assert_close(faded, ramp * brightest[:, None, None, None])
    assert 0.4 <= brightest.min() < 0.42
    assert brightest.max() > 0.98
    noisy = varied(torch.full_like(ramp, 0.5), StudentSettings(noise=0.1), rng)
    spread = noisy.std((1, 2, 3))
    assert spread.min() < 0.005
    assert 0.09 < spread.max() < 0.14
    assert varied(ramp, StudentSettings(noise=1), rng).min() >= 0


def test_a_foreign_network_gets_a_student_of_ours(trained, held_out_digits, monkeypatch):
    monkeypatch.setattr(trained, "arch", "timm:resnet18")
    few = StudentSettings(inversions=20, training=TrainingSettings(epochs=1))
    assert train_student(Noise(), trained, held_out_digits, seeded_rng(0, "tests"), few).arch == "invaudit:vgg-small"


def test_only_colour_is_mirrored():
    grey, colour = InputSpec(1, 28, 28), InputSpec(3, 32, 32)
    assert not default_training(grey, epochs=8).flip
    assert default_training(colour, epochs=24).flip
    assert default_training(colour, epochs=24).shift == 4


def test_refusals(trained, rng):
    large = ImageSet("large", torch.zeros((10, 1, 9, 9), dtype=torch.uint8), torch.arange(10))
    with pytest.raises(ShapeError, match="large has images of"):
        train_student(Noise(), trained, large, rng)
    other = ImageSet("other", torch.zeros((10, 1, 8, 8), dtype=torch.uint8), torch.arange(10) + 5)
    with pytest.raises(DataError, match="labels from 5 to 14, expected 0 to 9"):
        train_student(Noise(), trained, other, rng)
    with pytest.raises(ValidationError, match=str(MOST_INVERSIONS)):
        StudentSettings(inversions=MOST_INVERSIONS + 1)
