"""Attacks of a benchmark that change ID test images: settings, what they make, and what counts as fooled."""

import pytest
import torch
from pydantic import ValidationError

from invaudit.benchmarks.ood import OODBenchmark
from invaudit.benchmarks.ood.attacks import Attacks, attack_network
from invaudit.benchmarks.ood.settings import ImageAttack
from invaudit.data import ImageSet
from invaudit.explain.attacks import ATTACKS
from invaudit.inversion import InversionSettings
from invaudit.models import InputSpec, Target
from invaudit.runtime.settings import explain

BASE = {"name": "digits", "networks": {"plain": {}}, "attack_images": 6}
STEPS = {"pgd": {"radius": 0.7, "steps": 20}, "ddn": {"steps": 30}, "fmn": {"steps": 30}}


def settings(**attacks):
    return OODBenchmark.model_validate(BASE | {"attacks": attacks})


@pytest.fixture
def target():
    """Return a linear network of four classes and a garbage class: the class is the brightest of the first pixels."""
    layer = torch.nn.Linear(64, 5)
    with torch.no_grad():
        layer.weight.copy_(4 * torch.eye(5, 64))
        layer.weight[4].zero_()
        layer.bias.zero_()
    return Target(torch.nn.Sequential(torch.nn.Flatten(), layer), InputSpec(1, 8, 8), classes=4).eval()


@pytest.fixture
def images():
    """Return images that the network gives their class, but for the last one."""
    labels = torch.arange(12) % 4
    pixels = torch.zeros(12, 1, 8, 8, dtype=torch.uint8)
    pixels[torch.arange(12), 0, 0, labels] = 255
    labels[11] = 0
    return ImageSet("made", pixels, labels)


@pytest.mark.parametrize("kind", ATTACKS)
def test_images_that_have_their_class_are_changed_into_another_and_counted(kind, target, images):
    made = attack_network(settings(near={"kind": kind, "settings": STEPS[kind]}), 0, target, images)
    changed, labels = made.images["attack-near"], made.labels["attack-near"]
    assert made.outcomes == {"near": "ok"}
    assert changed.shape == (6, 1, 8, 8)
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1
    logits = target(changed).detach()
    answers = logits.argmax(1)
    assert ((answers != labels) & (answers < 4)).all()  # never the garbage class
    assert made.fooled("attack-near", logits, 4).all()  # those of least norm, too, which are hardly over the border
    in_garbage = torch.eye(5)[torch.full((6,), 4)]
    assert not made.fooled("attack-near", in_garbage, 4).any()
    again = attack_network(settings(near={"kind": kind, "settings": STEPS[kind]}), 0, target, images)
    assert torch.equal(again.images["attack-near"], changed)
    assert not made.inversions


def test_what_keeps_its_class_fools_nobody(target, images):
    floats = images.floats(slice(4))
    made = Attacks({"attack-near": floats}, {"near": "ok"}, {"attack-near": images.labels[:4]})
    assert not made.fooled("attack-near", target(floats), 4).any()
    of_generator = Attacks({"attack-near": floats}, {"near": "converged"}, {})
    assert of_generator.fooled("attack-near", target(floats), 4).all()


def test_a_network_that_knows_no_image_has_no_attack(target, images):
    wrong = ImageSet("wrong", images.images, (images.labels + 1) % 4)
    wrong = wrong.subset(slice(0, 11))
    made = attack_network(settings(near={"kind": "ddn"}), 0, target, wrong)
    assert not made.images
    assert made.outcomes["near"].startswith("the network gives no ID test image")


def test_a_kind_tells_the_two_apart_and_both_are_written_as_they_are_read():
    both = settings(sure={"steps": 2}, near={"kind": "pgd", "settings": {"radius": 0.1}})
    assert isinstance(both.attacks["sure"], InversionSettings)
    assert isinstance(both.attacks["near"], ImageAttack)
    assert OODBenchmark.model_validate(both.model_dump(mode="json")) == both


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"stesp": 2}, "unknown key 'attacks.near.stesp'; did you mean 'steps'"),
        ({"steps": 0}, "attacks.near.steps"),
        ({"kind": "pgf"}, "attack 'pgf' is unknown, expected one of pgd, ddn, fmn"),
        ({"kind": "pgd", "settings": {"radios": 1}}, "unknown key 'radios'; did you mean 'radius'"),
        ({"kind": "pgd", "radius": 1}, "unknown key 'attacks.near.radius'"),
    ],
)
def test_what_an_attack_does_not_have_is_refused_by_name(values, words):
    with pytest.raises(ValidationError) as raised:
        settings(near=values)
    assert words in explain(OODBenchmark, raised.value)
