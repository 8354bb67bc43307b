"""The gallery of an audit: an inversion of each class and the atlas, in the time that is left, whatever the model."""

import math

import numpy as np
import pytest
import torch

from invaudit.audit import gallery, planning
from invaudit.audit.gallery import GalleryCost, explained, gallery_settings, make_gallery
from invaudit.data import ImageSet, load, seeded_rng
from invaudit.explain import all_pairs
from invaudit.explain.budget import cut
from invaudit.inversion import InversionSettings, PixelInversionSettings
from invaudit.models import InputSpec, Target, build, limit_threads
from invaudit.models.devices import seed_torch
from invaudit.records.audit_gallery import GalleryRecord
from invaudit.runtime.errors import Interrupted
from tests.audit.galleries import quick_gallery

COST = GalleryCost(searches=80.0, rest=2.0)


def untrained(side=8, classes=10, channels=1):
    spec = InputSpec(channels, side, side)
    with seed_torch(seeded_rng(0, "tests/gallery")):
        return Target(build("mlp-100", spec, classes), spec, classes=classes).eval()


@pytest.fixture(scope="module")
def digits():
    return load("digits@0:200")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(gallery, "gallery_settings", quick_gallery)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_every_class_has_pictures_and_every_pair_is_tried(digits, tmp_path):
    with limit_threads(1):
        record, pictures = make_gallery(untrained(), digits, 1.0, seed=0, place=tmp_path / "work")
    assert pictures["images"].shape == (10, gallery.PICTURES, 1, 8, 8)
    assert pictures["images"].dtype == np.uint8
    assert (record.status, record.classes, record.n_classes) == ("ok", tuple(range(10)), 10)
    assert record.inversion.outcome in ("converged", "budget", "uninformative", "collapsed")
    assert record.inversion.message
    assert len(record.inversion.accuracy) == 10
    assert {(row.first, row.second) for row in record.borders.pairs} == set(all_pairs(10))
    assert GalleryRecord.model_validate_json(record.model_dump_json()) == record


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_it_depends_on_the_seed_alone(digits, tmp_path):
    target, made = untrained(classes=3), []
    before = torch.get_rng_state()
    with limit_threads(1):
        for name, seed in (("a", 0), ("b", 0), ("c", 1)):
            made.append(make_gallery(target, digits, 1.0, seed=seed, place=tmp_path / name)[1]["images"])
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_what_does_not_fit_the_model_has_its_reason(tmp_path):
    """A generator makes no images of 4 pixels."""
    small = ImageSet("small", torch.zeros(20, 1, 4, 4, dtype=torch.uint8), torch.arange(20) % 3)
    record, pictures = make_gallery(untrained(side=4, classes=3), small, 1.0, seed=0, place=tmp_path)
    assert (record.status, record.inversion, record.borders, pictures) == ("skipped", None, None, {})
    assert record.reason


@pytest.mark.parametrize(
    ("side", "classes", "kind", "n"),
    [(8, 10, InversionSettings, 10), (8, 30, InversionSettings, 20), (104, 30, PixelInversionSettings, 5)],
)
def test_large_models_are_looked_at_in_part(side, classes, kind, n):
    target = untrained(side=side, classes=classes)
    assert isinstance(gallery_settings(target).search(1), kind)
    shown = explained(target)
    assert shown.classes == n
    images = torch.rand(2, 1, side, side)
    torch.testing.assert_close(shown(images)[:, :n], target(images)[:, :n])


@pytest.mark.parametrize(
    ("left", "share"), [(math.inf, 1.0), (82.0, 1.0), (81.0, 0.5), (42.0, 0.5), (12.0, 0.125), (0.0, 0.0625)]
)
def test_the_time_that_is_left_is_kept_by_halves(monkeypatch, left, share):
    monkeypatch.setattr(planning, "gallery_cost", lambda _: COST)
    stage, chosen = planning.gallery_stage(untrained(), left)
    assert chosen == share
    assert stage.seconds == COST.rest + share * COST.searches
    assert bool(stage.cut) == (share < 1)
    assert stage.seconds <= left or share == planning.SHARES[-1]


def test_a_share_cuts_every_search_that_is_done():
    whole = gallery_settings(untrained())
    fewer = cut(whole, 0.25, channels=1)
    assert fewer.search(1).steps == whole.search(1).steps // 4
    assert fewer.borders.steps == whole.borders.steps // 4


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_killed_search_goes_on_to_the_same_pictures(digits, tmp_path, monkeypatch):
    target = untrained(classes=3)

    def stop(_work):
        raise Interrupted("stopped")

    with limit_threads(1):
        whole, pictures = make_gallery(target, digits, 1.0, seed=0, place=tmp_path / "whole")
        with monkeypatch.context() as patch:
            patch.setattr(gallery, "borders_by_pixels", stop)
            with pytest.raises(Interrupted):
                make_gallery(target, digits, 1.0, seed=0, place=tmp_path / "stopped")
        again, same = make_gallery(target, digits, 1.0, seed=0, place=tmp_path / "stopped")
    assert again == whole
    np.testing.assert_array_equal(same["images"], pictures["images"])
