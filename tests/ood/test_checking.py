"""A guard at work: checked on new images, and calibrated for another site."""

from dataclasses import replace

import pytest
import torch

from invaudit.ood import GuardedClassifier, check, recalibrated
from invaudit.runtime import DataError
from invaudit.stats import false_alarm_band
from tests.ood.toys import NAMES, blends, patterns, toy_guard


@pytest.fixture(scope="module")
def guard(toys):
    return toy_guard(toys("small-cnn").target)


def darker(images, share):
    """The same images under a dimmer lamp."""
    return replace(images, pixels=(images.images.float() * share).round().byte())


def test_images_of_the_same_kind_keep_the_promise(guard):
    new = patterns(150, "new")
    found = check(guard, new)
    assert found.promise == "kept"
    assert found.false_alarms.value == pytest.approx(float((~guard.accept(new)).double().mean()))
    assert found.band == false_alarm_band(99, 150, 0.05, level=0.99)
    assert found.accuracy is not None
    assert found.accuracy.value == pytest.approx(float((guard.predict(new) == new.labels).double().mean()))
    assert found.record()["promise"] == "kept"


def test_images_of_another_kind_do_not(guard):
    assert check(guard, blends(60), alpha=0.1, delta=0.05).promise == "too-many"
    assert check(guard, blends(60)).accuracy is None


def test_images_that_are_more_ordinary_than_calibration_are_told(guard):
    far = replace(guard, calibration=guard.calibration - guard.calibration.max() + guard.calibration.min())
    assert check(far, patterns(150, "new")).promise == "too-many"
    ordinary = replace(guard, calibration=guard.calibration + 1e3)
    assert check(ordinary, patterns(150, "new"), alpha=0.2).promise == "too-few"


def test_accuracy_is_of_the_labelled_images_and_by_the_names_of_classes(guard):
    new = patterns(90, "new")
    partly = replace(new, labels=torch.where(torch.arange(90) < 30, new.labels, -1))
    assert check(guard, partly).accuracy.n == 30
    turned = replace(new, labels=2 - new.labels, class_names=NAMES[::-1])
    assert check(guard, turned).accuracy == check(guard, new).accuracy
    with pytest.raises(DataError, match="upside"):
        check(guard, replace(new, class_names=("across", "down", "upside")))
    with pytest.raises(DataError, match="labels up to 3"):
        check(guard, replace(new, labels=new.labels + 1))


def test_the_images_that_a_guard_was_made_of_are_no_new_ones(guard):
    known = patterns(99, "guard/calibrate")
    for call in (check, recalibrated):
        with pytest.raises(DataError, match="made of"):
            call(guard, known)


def test_a_threshold_for_another_site_keeps_the_promise_there(guard, tmp_path):
    site, later = darker(patterns(120, "site"), 0.7), darker(patterns(150, "later"), 0.7)
    assert check(guard, later).promise == "too-many"
    moved = recalibrated(guard, site)
    assert check(moved, later).promise == "kept"
    assert torch.equal(moved.calibration, guard.score(site).sort().values)
    assert torch.equal(moved.score(later), guard.score(later))
    assert moved.about["earlier"][0]["scores"] == guard.calibration.tolist()
    assert moved.about["earlier"][0]["held_out"] == guard.about["held_out"]
    assert "held_out" not in moved.about
    again = recalibrated(moved, patterns(60, "third"))
    assert [len(earlier["scores"]) for earlier in again.about["earlier"]] == [99, 120]
    with pytest.raises(DataError, match="made of"):
        check(moved, site)
    with_name = replace(again, target=guard.target)
    with_name.target.arch = "invaudit:small-cnn"
    with_name.save(tmp_path)
    assert GuardedClassifier.load(tmp_path).about["calibration"]["count"] == 60


def test_too_few_images_for_a_threshold_are_told_how_many_are_missing(guard):
    with pytest.raises(DataError, match=r"has 44 images, expected at least 45.*give 1 more"):
        recalibrated(guard, patterns(44, "few"))
