"""Adversarial samples by inversion, counterfeits, and the rows of both."""

import pytest
import torch

from invaudit.data import seeded_rng
from invaudit.explain.adversarial import INVERSION, attacked
from invaudit.explain.adversary import AdversarySettings, other_classes, train_adversary
from invaudit.explain.aims import euclidean_norms
from invaudit.explain.counterfeits import COUNTERFEIT, SURE, counterfeit_row, counterfeits
from invaudit.models import InputSpec, Target, build
from invaudit.runtime.errors import SettingError, ShapeError
from tests.explain.attacked_targets import grey_images, random_linear_target

QUICK = AdversarySettings(steps=150, width=8)
DDN = {"ddn": {"steps": 30}}


@pytest.fixture(scope="session")
def adversary(trained, training_digits):
    rng = seeded_rng(0, "tests/adversary")
    return train_adversary(trained, training_digits.floats(), training_digits.labels, rng, QUICK)


@pytest.fixture(scope="session")
def photos(held_out_digits):
    return held_out_digits.floats()[:60], held_out_digits.labels[:60]


@pytest.mark.slow
def test_samples_for_photos_that_were_not_seen_are_the_wanted_class_and_near(trained, adversary, photos):
    images, labels = photos
    wanted = other_classes(labels, 10, seeded_rng(0, "tests/wanted"))
    samples = adversary.sample(images, wanted)
    assert float((trained(samples).argmax(1) == wanted).double().mean()) > 0.4  # of the photos: none
    # Nearer than photos of the class are to one another.
    assert float(euclidean_norms(samples - images).median()) < 0.9 * float(euclidean_norms(images - images[0]).median())
    assert float(samples.min()) >= 0
    assert float(samples.max()) <= 1


@pytest.mark.slow
def test_distance_that_weighs_more_is_smaller(trained, adversary, training_digits, photos):
    images, labels = photos
    wanted = other_classes(labels, 10, seeded_rng(0, "tests/wanted"))
    settings = QUICK.model_copy(update={"distance": 10.0})
    rng = seeded_rng(0, "tests/adversary")
    nearer = train_adversary(trained, training_digits.floats(), training_digits.labels, rng, settings)
    near, far = (float(euclidean_norms(made.sample(images, wanted) - images).mean()) for made in (nearer, adversary))
    assert near < far / 2


def test_the_generator_of_the_draws_decides():
    target, images = random_linear_target(), grey_images(8)
    labels = target(images).argmax(1)
    settings = AdversarySettings(steps=3, width=2, batch_size=4)
    first, again, other = (
        train_adversary(target, images, labels, seeded_rng(seed, "tests"), settings).sample(images, labels)
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert all(value.requires_grad and value.grad is None for value in target.parameters())


def test_every_other_class_is_drawn_and_never_the_label():
    labels = torch.arange(3).repeat(200)
    drawn = other_classes(labels, 3, seeded_rng(0, "tests"))
    assert {(a, b) for a, b in zip(labels.tolist(), drawn.tolist(), strict=True)} == {
        (a, b) for a in range(3) for b in range(3) if a != b
    }


def test_rows_count_what_is_there(trained, photos):
    images, labels = photos
    wrong = (labels + (torch.arange(60) < 5)) % 10  # five photos whose label is not the target's answer
    rows = attacked(trained, images, wrong, DDN | {"pgd": {"radius": 1e-6, "steps": 2}}, second=trained)
    right = (trained(images).argmax(1) == wrong).nonzero()[:, 0]
    ddn, pgd = rows
    assert torch.equal(ddn.index, right)
    assert (ddn.row.attack, ddn.row.aim, ddn.row.n) == ("ddn", "another class", len(right))
    assert ddn.row.success.value == float(ddn.samples.reached.double().mean())
    changes = ddn.samples.images - images[right]
    assert ddn.row.euclidean == pytest.approx(float(euclidean_norms(changes)[ddn.samples.reached].median()), rel=0.05)
    assert ddn.row.largest == pytest.approx(float(changes.flatten(1).abs().amax(1).median()), rel=0.05)
    assert ddn.row.transfer is not None
    assert ddn.row.transfer.value == 1  # to itself
    assert ddn.row.reason == "no guard"
    assert pgd.row.success.value == 0
    assert (pgd.row.euclidean, pgd.row.transfer, pgd.row.accepted) == (None, None, None)
    assert "no sample succeeds" in pgd.row.reason


def test_a_guard_judges_samples_that_succeed_and_the_photos(trained, photos):
    images, labels = photos
    shown = []

    def guard(some):
        shown.append(some)
        return torch.arange(len(some)) % 2 == 0

    (found,) = attacked(trained, images, labels, DDN, guard=guard)
    assert torch.equal(shown[0], found.samples.images[found.samples.reached])
    assert torch.equal(shown[1], images[found.index])
    assert found.row.accepted is not None
    assert found.row.accepted.value == pytest.approx(0.5, abs=0.01)
    assert found.row.accepted.low < 0.5 < found.row.accepted.high


def test_the_adversary_stands_beside_the_attacks_under_the_same_aim(trained, photos):
    images, labels = photos
    settings = AdversarySettings(steps=2, width=2)
    made = train_adversary(trained, images, labels, seeded_rng(0, "tests"), settings)
    wanted = (labels + 1) % 10
    for chosen in (None, wanted):
        *_, last = attacked(trained, images, labels, DDN, adversary=made, wanted=chosen)
        assert last.row.attack == INVERSION
        answers = trained(last.samples.images).argmax(1)
        known = answers != labels[last.index] if chosen is None else answers == wanted[last.index]
        assert torch.equal(last.samples.reached, known)


def test_a_transfer_needs_photos_that_the_second_network_knows(trained, photos):
    images, labels = photos
    spec = InputSpec(1, 8, 8)
    second = Target(build("mlp", spec, 11), spec, 10)
    with torch.no_grad():
        second.head.weight.zero_()
        second.head.bias.copy_(torch.eye(11)[10])  # garbage, whatever it sees
    (found,) = attacked(trained, images, labels, DDN, second=second)
    assert found.row.transfer is None
    assert "no photo" in found.row.reason


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"wanted": "label"}, SettingError, "no attack"),
        ({"labels": "wrong"}, SettingError, "none of 60 photos"),
        ({"guard": lambda some: torch.ones(len(some) + 1, dtype=torch.bool)}, ShapeError, "one bool for each"),
        ({"guard": lambda some: some.mean((1, 2, 3))}, ShapeError, "float32"),
        ({"attacks": {"cw": None}}, SettingError, "unknown"),
    ],
)
def test_what_cannot_be_measured_is_refused(trained, photos, change, error, words):
    images, labels = photos
    if change.get("labels") == "wrong":
        change = {"labels": (trained(images).argmax(1) + 1) % 10}
    if change.get("wanted") == "label":
        change = {"wanted": labels}
    with pytest.raises(error, match=words):
        attacked(trained, **({"photos": images, "labels": labels, "attacks": DDN} | change))


def test_photos_too_small_for_the_generator_are_refused():
    spec = InputSpec(1, 6, 6)
    target = Target(build("mlp", spec, 3), spec)
    with pytest.raises(SettingError, match="6 x 6"):
        train_adversary(target, torch.rand(4, 1, 6, 6), torch.zeros(4, dtype=torch.long), seeded_rng(0, "tests"))


@pytest.mark.slow
def test_the_target_is_sure_of_counterfeits(trained):
    made = counterfeits(trained, 4, seeded_rng(0, "tests"), COUNTERFEIT.model_copy(update={"steps": 100}))
    row = counterfeit_row(trained, made, second=trained, guard=lambda some: torch.zeros(len(some), dtype=torch.bool))
    assert made.labels.bincount().tolist() == [4] * 10
    of_class = trained(made.images).softmax(1).gather(1, made.labels[:, None])[:, 0]
    assert row.sure.value == float((of_class >= SURE).double().mean())
    assert row.sure.value > 0.5
    assert row.n == row.success.n == 40
    assert row.transfer == row.success
    assert row.accepted is not None
    assert row.accepted.value == 0
