"""Measures of real images that pass for inversions, of copies, and of what cannot be measured."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from invaudit.data import ImageSet
from invaudit.explain.measures import MEANINGS, Measure, accuracies, measure_inversions
from invaudit.models import InputSpec, Target, build
from invaudit.runtime.errors import DataError, ShapeError


@pytest.fixture
def named(training_digits: ImageSet, held_out_digits: ImageSet, trained: Target, draws: np.random.Generator):
    """Return a function that measures the first 30 digits of each class, or other images of them, by name."""

    def measure(images: torch.Tensor | None = None, **options) -> dict[str, Measure]:
        order = training_digits.labels.argsort(stable=True)
        order = torch.cat([order[training_digits.labels[order] == label][:30] for label in range(10)])
        images = training_digits.floats(order) if images is None else images
        options = {"second": trained, "real": held_out_digits} | options
        rows = measure_inversions(images, training_digits.labels[order], trained, draws, **options)
        overall = {row.name: row for row in rows if row.label is None}
        assert len(overall) == sum(row.label is None for row in rows)
        return overall

    return measure


def value(row: Measure) -> float:
    assert row.estimate is not None, row.reason
    return row.estimate.value


def test_real_images_measure_as_real_images_do(named):
    found = named()
    assert set(found) == set(MEANINGS)
    assert value(found["second_accuracy"]) > 0.8
    for name in ("precision", "recall", "density", "coverage", "feature_cosine", "pixel_cosine", "ssim"):
        assert value(found[name]) == pytest.approx(value(found[f"{name}_real"]), abs=0.25), name
    for row in found.values():
        if row.estimate is not None:
            assert row.estimate.low <= row.estimate.value <= row.estimate.high


def test_copies_of_one_image_are_alike_and_reach_nothing(named, training_digits):
    copy = training_digits.floats(slice(0, 1))
    found = named(copy.expand(300, -1, -1, -1))
    assert value(found["feature_cosine"]) == pytest.approx(1)
    assert value(found["ssim"]) == pytest.approx(1)
    assert value(found["second_accuracy"]) == pytest.approx(0.1)
    assert value(found["recall"]) == 0
    assert value(found["coverage"]) < 0.1


def test_what_is_not_given_has_a_reason(named):
    found = named(second=None, real=None)
    assert "--second-model" in found["precision"].reason
    assert "--data" in found["feature_cosine_real"].reason
    assert found["recall"].estimate is None
    assert set(found) == set(MEANINGS)
    assert "--data" in named(real=None)["coverage"].reason


def test_images_too_small_for_lpips_and_classes_too_small_for_pairs_have_a_reason(named, held_out_digits):
    seldom = (held_out_digits.labels != 3) | (torch.arange(len(held_out_digits)) < 20)
    found = named(real=held_out_digits.subset(seldom))
    assert "sides from 17 up" in found["lpips"].reason
    assert "class 3 has" in found["feature_cosine_real"].reason


def test_other_classes_of_the_real_images_are_left_out(trained, held_out_digits, draws):
    chosen = held_out_digits.subset(held_out_digits.labels < 2)
    rows = measure_inversions(chosen.floats(), chosen.labels, trained, draws, real=held_out_digits, second=trained)
    of_real = [row for row in rows if row.name == "second_accuracy_real"]
    assert [row.label for row in of_real] == [None, 0, 1]
    assert of_real[0].estimate.n == len(chosen)


def test_accuracies_by_hand():
    rows = accuracies("inversion_accuracy", torch.tensor([0, 0, 10, 2]), torch.tensor([0, 0, 0, 2]))
    assert [(row.label, row.estimate.value, row.estimate.n) for row in rows] == [
        (None, 0.75, 4),
        (0, pytest.approx(2 / 3), 3),
        (2, 1, 1),
    ]
    expected = binomtest(3, 4).proportion_ci(0.95, "exact")
    assert (rows[0].estimate.low, rows[0].estimate.high) == pytest.approx((expected.low, expected.high))


def test_lpips_by_the_metric_that_the_side_allows(draws, rng, tmp_path, monkeypatch):
    # Weights that are not there are a reason as well.
    monkeypatch.setenv("INVAUDIT_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for side, net in ((20, "squeeze"), (32, "alex")):
        spec = InputSpec(3, side, side)
        target = Target(build("tiny-cnn", spec, 3), spec)
        images, labels = torch.rand((15, 3, side, side), generator=rng), torch.arange(15) % 3
        rows = measure_inversions(images, labels, target, draws)
        [lpips] = [row for row in rows if row.name == "lpips"]
        assert f"lpips-{net} needs the trunk weights" in lpips.reason


def test_refusals(named, held_out_digits):
    unlabelled = ImageSet("unlabelled", held_out_digits.images, torch.full((len(held_out_digits),), -1))
    with pytest.raises(DataError, match="unlabelled has no images of the classes"):
        named(real=unlabelled)
    large = ImageSet("large", torch.zeros((10, 1, 9, 9), dtype=torch.uint8), torch.arange(10))
    with pytest.raises(ShapeError, match="resize them"):
        named(real=large)
