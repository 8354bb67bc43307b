"""What every detector promises: ours, pytorch-ood's, and one of a user's own."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from invaudit.data import seeded_rng
from invaudit.models import Activations
from invaudit.ood import BASELINES, DETECTORS, make_detector
from invaudit.ood.detector import CONSUMABLE, our_detectors, source_of
from invaudit.records import DetectorInfo
from invaudit.runtime import SettingError
from invaudit.runtime.errors import NotApplicableError
from invaudit.stats import auroc

pytestmark = pytest.mark.xdist_group("detectors")


class patchwork:  # noqa: N801
    """A user's detector in lower case: how far maps and images are from the nearest of the training images."""

    consumes = "maps+images"
    cost = "high"

    def fit(self, activations, labels):
        assert len(activations.images) == len(labels) == len(activations.maps[-1])
        self.bank = self.read(activations)
        return self

    def score(self, activations):
        return torch.cdist(self.read(activations), self.bank).min(1).values

    def read(self, activations):
        return torch.cat([activations.maps[-1].flatten(1), activations.images.flatten(1)], 1).double()


class Plain:
    """A user's detector that says nothing about itself."""

    def fit(self, activations, labels):
        self.means = torch.stack([activations.features[labels == label].mean(0) for label in labels.unique()])
        return self

    def score(self, activations):
        return torch.cdist(activations.features, self.means).min(1).values


USERS = (f"{__name__}:patchwork", f"{__name__}:Plain")
NEVER = ("MCM", "WeightedEBO")
"""Need what no network here has."""
MEMBERS = [name for name in (*DETECTORS, *USERS) if name not in NEVER]


def network_of(name):
    return "garbage" if "garbage" in make_detector(name).info.consumes.split("+") else "small-cnn"


def fit(toy, name):
    return make_detector(name).fit(replace(toy.fitting, rng=seeded_rng(0, "toy/draws")))


@pytest.fixture(scope="session")
def fitted(toys):
    """Return the toy network of a detector and the detector fitted to it, made on first use."""
    detectors = {}

    def detector(name):
        toy = toys(network_of(name))
        if name not in detectors:
            detectors[name] = fit(toy, name)
        return toy, detectors[name]

    return detector


def close(scores, expected):
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


@pytest.mark.parametrize("name", [*DETECTORS, *USERS])
def test_a_detector_says_what_it_is(name):
    info = make_detector(name).info
    assert info.name == name
    assert info.role == ("ours" if name in our_detectors() else "user" if name in USERS else "library")
    assert set(info.consumes.split("+")) <= {*CONSUMABLE, "garbage"}
    assert info.cost in ("low", "high")
    assert info.paper or info.role == "user"


@pytest.mark.parametrize("name", MEMBERS)
def test_scores_are_finite_and_higher_outside(fitted, name):
    toy, detector = fitted(name)
    inside, outside = detector.score(toy.inside), detector.score(toy.outside)
    for scores, activations in ((inside, toy.inside), (outside, toy.outside)):
        assert scores.dtype == torch.float64
        assert scores.shape == (len(activations),)
        assert scores.isfinite().all()
        assert not scores.requires_grad
    assert auroc(inside.numpy(), outside.numpy()) > 0.8
    assert torch.equal(detector.score(toy.inside), inside)


@pytest.mark.parametrize("name", MEMBERS)
def test_an_image_is_scored_alike_in_any_company_and_order(fitted, name):
    toy, detector = fitted(name)
    whole = Activations.cat([toy.inside, toy.outside])
    expected = detector.score(whole)
    order = torch.randperm(len(whole), generator=seeded_rng(0, "test/order"))
    close(detector.score(whole.select(order)), expected[order])
    alone = torch.cat([detector.score(whole.select(order[i : i + 1])) for i in range(0, len(whole), 16)])
    close(alone, expected[order[::16]])


@pytest.mark.parametrize("name", MEMBERS)
def test_nan_is_refused(fitted, name):
    toy, detector = fitted(name)
    broken = toy.inside.select(slice(4)).map(lambda values: values * torch.nan)
    with pytest.raises(SettingError, match=name.partition("@")[0]):
        detector.score(broken)


@pytest.mark.parametrize("name", MEMBERS)
def test_fitted_twice_it_gives_the_same_and_the_network_is_a_guest(fitted, name):
    toy, detector = fitted(name)
    target = toy.target
    before = {key: value.clone() for key, value in target.state_dict().items()}
    target.train()
    target.head.weight.requires_grad_(False)
    try:
        again = fit(toy, name)
        few = toy.inside.select(slice(8))
        assert torch.equal(again.score(few), detector.score(few))
        assert all(part.training for part in target.modules())
        assert [name for name, value in target.named_parameters() if not value.requires_grad] == ["module.head.weight"]
    finally:
        target.eval().requires_grad_(True)
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())
    assert all(value.grad is None and type(value) is torch.nn.Parameter for value in target.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in target.modules())


@pytest.mark.parametrize("name", ["MaxSoftmax", "KNN", "KNN@tuned", "ReAct", "ODIN", "Gram", "GradNorm", *USERS])
def test_detectors_of_others_see_the_id_classes_alone(toys, name):
    toy = toys("garbage")
    few = toy.inside.select(slice(8))
    scores = fit(toy, name).score(few)
    inputs = replace(toy.fitting, rng=seeded_rng(0, "toy/draws")).classes_only()
    assert torch.equal(make_detector(name).fit(inputs).score(few.classes_only(inputs.target.classes)), scores)


@pytest.mark.parametrize("name", ["garbage-probability", "garbage-logit"])
def test_garbage_scores_need_a_garbage_class(toys, name):
    with pytest.raises(NotApplicableError, match="needs a garbage class"):
        fit(toys("small-cnn"), name)
    detector = fit(toys("garbage"), name)
    with pytest.raises(SettingError, match="got 3 logits, expected 4"):
        detector.score(toys("small-cnn").inside)
    with pytest.raises(SettingError, match="not fitted"):
        make_detector(name).score(toys("garbage").inside)


def test_a_user_who_reads_maps_needs_a_network_that_has_some(toys):
    with pytest.raises(NotApplicableError, match="needs maps of blocks"):
        fit(toys("mlp"), USERS[0])


class Forgetful(Plain):
    def fit(self, activations, labels):
        super().fit(activations, labels)


class Described(Plain):
    """Says what it is as our own detectors do."""

    @property
    def info(self):
        return DetectorInfo(name="its own", role="ours", consumes="features", cost="high", paper="own work")


class Fussy(Plain):
    def __init__(self, size):
        self.size = size


class Vague(Plain):
    @property
    def info(self):
        return self.forgotten


class Greedy(Plain):
    consumes = "logits+gradients"


class Unclear(Plain):
    cost = "much"


def test_a_user_is_told_what_is_wrong_with_a_detector(toys):
    with pytest.raises(SettingError, match=r"Forgetful returned NoneType, .* end it with: return self"):
        fit(toys("small-cnn"), f"{__name__}:Forgetful")
    with pytest.raises(SettingError, match="Greedy consumes 'gradients', expected logits, features"):
        make_detector(f"{__name__}:Greedy")
    with pytest.raises(
        SettingError, match=r"Fussy' cannot be made .TypeError: .*'size'.; it is made without arguments"
    ):
        make_detector(f"{__name__}:Fussy")
    with pytest.raises(SettingError, match=r"Vague' cannot be made .AttributeError: .*'forgotten'"):
        make_detector(f"{__name__}:Vague")
    with pytest.raises(SettingError, match="declares cost 'much'"):
        make_detector(f"{__name__}:Unclear")
    with pytest.raises(SettingError, match=r"expected package\.module:Class"):
        make_detector("patchwork")
    with pytest.raises(SettingError, match="Nothing"):
        make_detector(f"{__name__}:Nothing")


def test_what_a_user_says_in_a_property_is_heard():
    path = f"{__name__}:Described"
    assert make_detector(path).info == DetectorInfo(
        name=path, role="user", consumes="features", cost="high", paper="own work"
    )


def test_the_source_of_a_users_class_is_the_file_that_holds_it():
    assert source_of(USERS[0]) == Path(__file__).read_bytes()
    assert source_of("invaudit.ood:Joint") == source_of("invaudit.ood.joint:Joint")
    with pytest.raises(SettingError, match="Nothing"):
        source_of(f"{__name__}:Nothing")


def test_every_row_of_the_library_is_registered():
    assert set(BASELINES) < set(DETECTORS)
    assert {"joint", "garbage-logit"} <= set(our_detectors())
    assert not {*BASELINES, *USERS} & set(our_detectors())
