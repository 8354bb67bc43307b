import numpy as np
import pytest
import torch

from invaudit.benchmarks.ood.scoring import Outcomes, evenly, score_sets
from invaudit.models import InputSpec, Target, build
from invaudit.records import DetectorInfo


class Scripted:
    """A detector that gives what it is told to."""

    def __init__(self, name, function, cost="low"):
        self.info = DetectorInfo(name=name, role="user", consumes="logits", cost=cost)
        self.function, self.seen = function, []

    def fit(self, _inputs):
        return self

    def score(self, activations):
        self.seen.append(len(activations))
        return self.function(activations)


@pytest.fixture(scope="module")
def target():
    spec = InputSpec(1, 8, 8, mean=(0.5,), std=(0.5,))
    return Target(build("mlp-20", spec, 4), spec, 4).eval()


def score(target, detector, sets, outcomes, few_images=None):
    images = {name: torch.rand(n, 1, 8, 8) for name, n in sets.items()}
    return score_sets(target, {detector.info.name: detector}, images, outcomes, few_images)


def test_a_detector_that_fails_on_attack_images_keeps_its_other_scores(target):
    def fussy(activations):
        if len(activations) == 3:
            raise ValueError("too few")
        return activations.logits[:, 0]

    detector, outcomes = Scripted("Fussy", fussy), Outcomes()
    assert set(score(target, detector, {"id-test": 5}, outcomes).scores) == {"Fussy::id-test"}
    assert score(target, detector, {"attack-sure": 3}, outcomes).scores == {}
    outcome = outcomes.by_name["Fussy"]
    assert (outcome.status, outcome.reason) == ("failed", "ValueError: too few")
    assert outcome.seconds > 0


@pytest.mark.parametrize(("taken", "shape"), [(np.s_[:, :1], r"(5, 1)"), (np.s_[:4, 0], "(4,)"), (np.s_[0, 0], "()")])
def test_scores_of_another_shape_are_a_failure(target, taken, shape):
    outcomes = Outcomes()
    found = score(target, Scripted("Odd", lambda activations: activations.logits[taken]), {"id-test": 5}, outcomes)
    assert found.scores == {}
    assert outcomes.by_name["Odd"].status == "failed"
    assert f"scores of shape {shape}, expected (5,)" in outcomes.by_name["Odd"].reason


def test_a_detector_of_high_cost_sees_some_evenly_spaced_images(target):
    detector = Scripted("Slow", lambda activations: activations.logits[:, 0], cost="high")
    found = score(target, detector, {"id-test": 300, "letters": 7}, Outcomes(), few_images=20)
    expected = found.logits["id-test"][evenly(300, 20), 0].double().numpy()
    np.testing.assert_array_equal(found.scores["Slow::id-test"], expected)
    assert len(found.scores["Slow::letters"]) == 7
    assert sum(detector.seen) == 27


def test_after_a_failure_a_detector_is_not_asked_again(target):
    def broken(_activations):
        raise ValueError("no luck")

    detector, outcomes = Scripted("Broken", broken), Outcomes()
    score(target, detector, {"id-test": 300, "letters": 7}, outcomes)
    assert len(detector.seen) == 1
    assert not outcomes.works("Broken")
