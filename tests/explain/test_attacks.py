"""Attacks: known distances of linear targets, bounds, aims, draws; and libraries where they are installed."""

import warnings

import pytest
import torch

from invaudit.data import seeded_rng
from invaudit.explain.aims import Aim
from invaudit.explain.attacks import ATTACKS, FMNSettings, attack
from invaudit.runtime.errors import SettingError, ShapeError
from tests.explain.attacked_targets import (
    distances_to_border,
    grey_images,
    linear_target,
    random_linear_target,
)

QUICK = {"pgd": {"radius": 0.4, "steps": 10}, "ddn": {"steps": 30}, "fmn": {"steps": 30}}


@pytest.fixture(scope="session")
def some_digits(held_out_digits):
    return held_out_digits.floats()[:60], held_out_digits.labels[:60]


@pytest.mark.parametrize("method", ["ddn", "fmn"])
def test_the_nearest_border_of_a_linear_target_is_reached(method):
    target, images = random_linear_target(), grey_images(20)
    labels = target(images).argmax(1)
    found = attack(target, images, labels, method, {"steps": 300})
    known = distances_to_border(target, images, labels)
    assert found.reached.all()
    assert (found.euclidean >= known * (1 - 1e-4)).all()
    assert (found.euclidean <= known * 1.03).all()


def test_pgd_reaches_as_far_as_its_radius_and_no_further():
    target, images = random_linear_target(2), grey_images(30)
    labels = target(images).argmax(1)
    logits = target(images).detach()
    slopes = (target.head.weight[0] - target.head.weight[1]).detach().abs().sum()
    needed = (logits[:, 0] - logits[:, 1]).abs() / slopes  # the smallest radius that holds another answer
    radius = float(needed.median()) + 1e-6
    found = attack(target, images, labels, "pgd", {"radius": radius})
    torch.testing.assert_close(found.reached, needed < radius)


@pytest.mark.parametrize("random_start", [True, False])
def test_pgd_stays_in_its_ball(trained, random_start, some_digits):
    images, labels = some_digits
    found = attack(trained, images, labels, "pgd", {"radius": 0.05, "step": 0.7, "random_start": random_start})
    assert float(found.largest.max()) <= 0.05 + 1e-6
    assert float(found.largest.min()) > 0.04


@pytest.mark.parametrize("wants", [False, True])
@pytest.mark.parametrize("method", ATTACKS)
def test_what_is_told_of_the_images_is_so(trained, method, wants, some_digits):
    images, labels = some_digits
    wanted = (labels + 1) % 10 if wants else None
    found = attack(trained, images, labels, method, QUICK[method], wanted=wanted)
    answers = trained(found.images).argmax(1)
    torch.testing.assert_close(found.reached, answers == wanted if wants else answers != labels)
    assert float(found.reached.double().mean()) > 0.5
    assert float(found.images.min()) >= 0
    assert float(found.images.max()) <= 1
    changes = (found.images - images).flatten(1)
    torch.testing.assert_close(found.euclidean, changes.norm(dim=1))
    torch.testing.assert_close(found.largest, changes.abs().amax(1))


def test_more_steps_reach_more(trained, some_digits):
    images, labels = some_digits
    values = {"radius": 0.2, "step": 0.1, "random_start": False}
    few, many = (
        float(attack(trained, images, labels, "pgd", values | {"steps": steps}).reached.double().mean())
        for steps in (1, 20)
    )
    assert few < many


@pytest.mark.parametrize("method", ["ddn", "fmn"])
def test_more_steps_come_nearer(trained, method, some_digits):
    images, labels = some_digits
    few, many = (attack(trained, images, labels, method, {"steps": steps}) for steps in (10, 100))
    assert many.reached.all()
    assert float(many.euclidean.median()) < float(few.euclidean[few.reached].median())


@pytest.mark.parametrize("method", ["ddn", "fmn"])
def test_an_image_that_is_answered_otherwise_already_stays(method):
    target, images = random_linear_target(), grey_images(5)
    found = attack(target, images, (target(images).argmax(1) + 1) % 3, method, {"steps": 5})
    assert found.reached.all()
    assert torch.equal(found.images, images)


def test_the_garbage_class_is_another_answer():
    bias = torch.tensor([1.0, 0.0, 0.9])  # garbage is nearest
    target = linear_target(0.3 * torch.eye(3, 64), bias, classes=2)
    images = grey_images(4)
    found = attack(target, images, torch.zeros(4, dtype=torch.long), "ddn")
    assert found.reached.all()
    assert (target(found.images).argmax(1) == 2).all()


@pytest.mark.parametrize("method", ATTACKS)
def test_the_seed_decides_and_the_batch_does_not(trained, method, some_digits):
    images, labels = (values[:6] for values in some_digits)
    values = QUICK[method] | ({"random_start": False} if method == "pgd" else {})
    together = attack(trained, images, labels, method, values).images
    assert torch.equal(
        attack(trained, images, labels, method, values, seeded_rng(0, f"attack/{method}")).images, together
    )
    alone = torch.cat([attack(trained, images[i : i + 1], labels[i : i + 1], method, values).images for i in range(6)])
    torch.testing.assert_close(alone, together, atol=1e-4, rtol=0)


def test_another_seed_starts_elsewhere(trained, some_digits):
    images, labels = some_digits
    first, second = (attack(trained, images, labels, "pgd", {"steps": 1}, seed=seed) for seed in (0, 1))
    assert not torch.equal(first.images, second.images)


@pytest.mark.parametrize("method", ATTACKS)
def test_without_any_slope_nothing_is_found_and_nothing_breaks(method):
    target, images = linear_target(torch.zeros(2, 64), torch.tensor([1.0, 0.0])), grey_images(3)
    found = attack(target, images, torch.zeros(3, dtype=torch.long), method, QUICK[method])
    assert not found.reached.any()
    assert found.images.isfinite().all()


def test_ddn_rounds_to_grey_levels_where_asked_to(trained, some_digits):
    images, labels = some_digits
    images = (images * 255).round() / 255
    found = attack(trained, images, labels, "ddn", {"levels": 256})
    steps = found.images * 255
    torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    assert found.reached.all()


def test_fmn_crosses_the_border_of_images_with_pixels_at_the_ends(trained, some_digits):
    # Without overshoot the search comes nearer from one side for ever; see the record of the agreement.
    images, labels = some_digits
    images = images.round()
    kept = trained(images).argmax(1) == labels
    paper, ours = (
        attack(trained, images[kept], labels[kept], "fmn", {"steps": 60, "overshoot": overshoot}).reached
        for overshoot in (0.0, FMNSettings().overshoot)
    )
    assert ours.all()
    assert not paper.all()


def test_the_target_is_given_back_as_it_was():
    target = random_linear_target()
    target.train()
    images = grey_images(2)
    attack(target, images, target(images).argmax(1), "fmn", {"steps": 2})
    assert target.training
    assert all(value.requires_grad and value.grad is None for value in target.parameters())


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"method": "apgd"}, SettingError, "pgd, ddn, fmn"),
        ({"settings": FMNSettings()}, SettingError, "DDNSettings"),
        ({"images": 255 * grey_images(2)}, SettingError, r"\[0, 1\]"),
        ({"images": torch.full((2, 1, 8, 8), torch.nan)}, SettingError, r"\[0, 1\]"),
        ({"images": grey_images(2)[0]}, ShapeError, r"\(N, C, H, W\)"),
        ({"labels": torch.zeros(3, dtype=torch.long)}, ShapeError, "labels"),
        ({"labels": torch.tensor([0, 3])}, SettingError, "expected 0 to 2"),
        ({"wanted": torch.tensor([0, -1])}, SettingError, "wanted from -1"),
    ],
)
def test_what_cannot_be_attacked_is_refused(change, error, words):
    call = {"images": grey_images(2), "labels": torch.zeros(2, dtype=torch.long), "method": "ddn"} | change
    with pytest.raises(error, match=words):
        attack(random_linear_target(), **call)


def test_a_margin_is_below_0_where_the_aim_is_reached():
    logits = torch.randn((200, 5), generator=seeded_rng(0, "tests/logits"))
    labels = logits[:, :4].argmax(1)
    for is_wanted in (True, False):
        aim = Aim(labels, is_wanted)
        torch.testing.assert_close(aim.margin(logits) < 0, aim.reached(logits))


@pytest.mark.parametrize("wants", [False, True])
@pytest.mark.parametrize(
    ("library", "method", "values"),
    [
        ("art", "pgd", {"radius": 0.1, "random_start": False}),
        ("adv_lib", "ddn", {"steps": 40}),
        ("adv_lib", "ddn", {"steps": 40, "levels": 256}),
        ("adv_lib", "fmn", {"steps": 40, "overshoot": 0.0}),
    ],
)
def test_a_library_finds_the_same(trained, library, method, values, wants, some_digits):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they import what is deprecated
        pytest.importorskip(library, reason=f"{library} is not there: uv sync --group attacks")
    from benchmarks.choices.attack_agreement import agree, by_library, measured

    images, labels = some_digits
    wanted = (labels + 1) % 10 if wants else None

    def ours():
        return attack(trained, images, labels, method, values, wanted=wanted).images

    def theirs():
        return by_library(method, values, trained, images, labels, wanted)

    found = measured(method, trained, images, labels, wanted, ours)
    reference = measured(method, trained, images, labels, wanted, theirs)
    assert reference["success"] > 0
    assert agree(found, reference), (found, reference)
