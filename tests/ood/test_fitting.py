"""What `fit` asks of its images, and what it says of the guard that it made."""

from dataclasses import replace

import pytest
import torch

from invaudit.data import Splits, seeded_rng
from invaudit.models import Target, TrainingSettings, build, train
from invaudit.ood import GarbageSettings, Recipe, fit, fitting
from invaudit.ood.fitting import SHARES, split_sizes
from invaudit.ood.trial import caught_outliers
from invaudit.runtime import DataError
from tests.ood.toys import MODULES, SPEC, patterns, toy_guard

SHORT = Recipe(training=TrainingSettings(epochs=1, precision="float32"), garbage=GarbageSettings())


@pytest.mark.parametrize("n", [100, 101, 150, 299, 300, 449])
def test_small_sets_are_split_by_what_each_part_needs(n):
    sizes = split_sizes(n)
    assert list(sizes) == list(SHARES)
    assert sum(sizes.values()) == n
    assert sizes["calibrate"] == 45
    assert sizes["fit"] >= 30
    assert sizes["test"] >= 10
    assert sizes["train"] >= 15


def test_from_450_images_on_the_shares_hold_and_nothing_jumps():
    assert split_sizes(450) == split_sizes(60_000) == SHARES
    assert split_sizes(449) == {"train": 314, "fit": 45, "calibrate": 45, "test": 45}


def test_too_few_images_are_told_how_many_are_missing():
    with pytest.raises(DataError, match=r"has 99 images, expected at least 100.*give 1 more"):
        fit(patterns(99, "few"), SHORT)


def test_copies_that_leave_too_few_are_refused_before_training(monkeypatch):
    monkeypatch.setattr(fitting, "split", lambda images, *_: Splits(images, images.subset(slice(29)), images, images))
    monkeypatch.setattr(fitting, "train_network", None)
    with pytest.raises(DataError, match="holds copies of images, which leave 29"):
        fit(patterns(120, "copies"), SHORT)


@pytest.mark.slow
def test_a_hundred_images_make_a_guard_that_says_how_little_it_knows():
    guarded = fit(patterns(100, "hundred"), SHORT, seeded_rng(0, "x"), arch="tiny-cnn")
    assert len(guarded.calibration) == 45
    held_out = guarded.about["held_out"]
    assert held_out["n"] == 10
    assert held_out["id_accuracy_high"] - held_out["id_accuracy_low"] > 0.3
    assert held_out["false_alarms_at_5_percent_low"] <= held_out["false_alarms_at_5_percent"]
    assert held_out["id_accuracy_before"] is None
    assert guarded.accept(patterns(20, "new")).shape == (20,)


@pytest.mark.slow
def test_accuracy_before_is_that_of_the_network_that_training_began_with():
    torch.manual_seed(0)
    start, images = Target(build("tiny-cnn", SPEC, 3), SPEC, 3), patterns(120, "before")
    train(start, images, TrainingSettings(epochs=5, batch_size=32, precision="float32"), seeded_rng(0, "start"))
    held_out = fit(images, SHORT, seeded_rng(0, "x"), start=start).about["held_out"]
    assert held_out["id_accuracy_before_low"] <= held_out["id_accuracy_before"] <= held_out["id_accuracy_before_high"]
    as_it_is = fit(images, rng=seeded_rng(0, "x"), start=start, as_it_is=True)
    assert as_it_is.about["held_out"]["id_accuracy"] == held_out["id_accuracy_before"]
    assert as_it_is.about["held_out"]["id_accuracy_before"] is None
    assert as_it_is.about["recipe"] is None


def test_a_guard_is_weak_if_most_synthetic_outliers_pass():
    torch.manual_seed(0)
    guarded = toy_guard(Target(MODULES["mlp"](), SPEC, 3).eval())
    threshold = guarded.threshold(0.05)
    passing, stopped = torch.full((10,), threshold), torch.full((10,), threshold + 1)
    found = caught_outliers(guarded, {"a": passing, "b": torch.cat([passing, stopped]), "c": passing})
    assert found is not None
    assert found["caught_at_5_percent"] == {"a": 0.0, "b": 0.5, "c": 0.0}
    assert found["weak"]
    assert not caught_outliers(guarded, {"a": stopped, "b": passing, "c": stopped})["weak"]
    few = replace(guarded, calibration=guarded.calibration[:18])
    assert caught_outliers(few, {"a": stopped}) is None


def test_the_figures_of_a_guard_are_those_of_its_own_decisions():
    torch.manual_seed(0)
    guarded = toy_guard(Target(MODULES["mlp"](), SPEC, 3).eval())
    test = patterns(60, "guard/test")
    held_out = guarded.about["held_out"]
    assert held_out["false_alarms_at_5_percent"] == pytest.approx(float((~guarded.accept(test)).double().mean()))
    assert held_out["id_accuracy"] == pytest.approx(float((guarded.predict(test) == test.labels).double().mean()))
    assert set(guarded.about["synthetic"]["caught_at_5_percent"]) >= {"class-mix", "strokes", "pink-noise"}
