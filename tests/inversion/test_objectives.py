"""Values that objectives take and limits that they reach, and what a step observes for them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import optimize, special
from torch import nn

from invaudit.inversion import OBJECTIVES, Step, sample_condition
from invaudit.inversion.conditions import Condition
from invaudit.inversion.objectives import PERTURBED
from invaudit.inversion.observing import perturbed, recorded_statistics, serve, unserved, weight_gradients
from invaudit.models import InputSpec, Target, frozen_eval
from invaudit.runtime.errors import SettingError
from tests.inversion.steps import N, step, with_rows


def test_kl_is_zero_where_the_target_gives_what_is_wanted():
    observed = step()
    exact = Step(observed.images, observed.condition, observed.condition.wanted.log(), observed.features)
    # The distributions are float32, whose rows sum to one up to rounding.
    assert OBJECTIVES["kl"](exact).item() == pytest.approx(0, abs=1e-7)


def test_kl_takes_one_softmax_so_that_it_can_reach_zero():
    # With a second softmax the least value for 10 classes and a one-hot target would be -log(e / (e + 9)).
    defect = -math.log(math.e / (math.e + 9))
    assert defect == pytest.approx(1.4612, abs=1e-4)
    condition = Condition(torch.tensor([3]), torch.eye(10)[[3]], None, None)
    sure = Step(torch.zeros(1, 1, 8, 8), condition, 60 * torch.eye(10)[[3]], torch.zeros(1, 2))
    assert OBJECTIVES["kl"](sure).item() < 1e-6


def test_garbage_gets_no_wanted_share():
    observed = step(garbage=True)
    probabilities = special.softmax(observed.logits.numpy(), 1)
    padded = np.hstack([observed.condition.wanted.numpy(), np.zeros((N, 1))])
    assert OBJECTIVES["kl"](observed).item() == pytest.approx(special.rel_entr(padded, probabilities).sum(1).mean())


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (1.0, 4.0), (3.0, 0.5)])
def test_kl_and_cross_entropy_meet_at_their_weighted_mean(a, b):
    wanted = torch.tensor([[0.5, 0.3, 0.15, 0.05]], dtype=torch.float64)
    condition = Condition(torch.tensor([0]), wanted, None, None)

    def loss(logits: np.ndarray) -> float:
        observed = Step(torch.zeros(1, 1, 2, 2), condition, torch.from_numpy(logits)[None], torch.zeros(1, 2))
        return float(a * OBJECTIVES["kl"](observed) + b * OBJECTIVES["cross-entropy"](observed))

    best = special.softmax(optimize.minimize(loss, np.zeros(4), tol=1e-12).x)
    np.testing.assert_allclose(best, (a * wanted[0].numpy() + b * np.eye(4)[0]) / (a + b), atol=1e-4)


def test_orthogonality_limits():
    labels = [0, 1, 2, 3]
    assert OBJECTIVES["orthogonality"](with_rows(3 * torch.eye(4), labels)).item() == pytest.approx(0)
    assert OBJECTIVES["orthogonality"](with_rows(torch.ones(4, 5), labels)).item() == pytest.approx(1)
    # Three directions at 120 degrees: as orthogonal as three can be in a plane, (N / D - 1) / (N - 1).
    angles = torch.tensor([0.0, 2 * math.pi / 3, 4 * math.pi / 3])
    plane = torch.stack([angles.cos(), angles.sin()], 1)
    assert OBJECTIVES["orthogonality"](with_rows(plane, [0, 1, 2])).item() == pytest.approx((3 / 2 - 1) / 2)


@pytest.mark.parametrize("name", ["cosine", "image-cosine"])
def test_pairs_of_other_labels_do_not_count(name):
    rows = torch.ones(4, 3)
    assert OBJECTIVES[name](with_rows(rows, [0, 0, 1, 1])).item() == pytest.approx(1)
    assert OBJECTIVES[name](with_rows(rows, [0, 1, 2, 3])).item() == 0


def test_batch_norm_is_zero_exactly_where_the_statistics_match():
    images = torch.rand((16, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    layer = nn.BatchNorm2d(1, momentum=1.0)
    target = Target(
        nn.Sequential(layer, nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3)), InputSpec(1, 8, 8), 3
    ).eval()
    layer.running_mean = images.mean((0, 2, 3))
    layer.running_var = images.var((0, 2, 3), correction=0)
    condition = sample_condition("label", torch.zeros(16, dtype=torch.int64), torch.Generator(), classes=3)
    with frozen_eval(target), recorded_statistics(target) as take:
        logits = target(images)
        observed = Step(images, condition, logits, logits, take())
        assert OBJECTIVES["batch-norm"](observed).item() == pytest.approx(0, abs=1e-6)
        target(images / 2)
        assert OBJECTIVES["batch-norm"](Step(images, condition, logits, logits, take())).item() > 0.1
        assert take() == ()


def test_recorded_statistics_equal_those_of_the_inputs_and_hooks_are_removed(new_target):
    target = new_target("cnn")
    images = torch.rand((8, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    with frozen_eval(target), torch.no_grad():
        with recorded_statistics(target) as take:
            target(images)
            statistics = take()
        block = target.module.get_submodule("blocks.0.0")(target.normalise(images)).double()
    assert len(statistics) == 3
    torch.testing.assert_close(statistics[0].mean.double(), block.mean((0, 2, 3)))
    torch.testing.assert_close(statistics[0].variance.double(), block.var((0, 2, 3), correction=0))
    assert all(not part._forward_pre_hooks for part in target.modules())


def test_only_targets_with_stored_statistics_serve_batch_norm(new_target):
    assert set(unserved(new_target("cnn"))) == {"distance"}
    assert set(unserved(new_target("mlp"))) == {"batch-norm", "batch-norm-scaled", "distance"}
    assert set(unserved(new_target("mlp"), torch.zeros(1, 8, 8))) == {"batch-norm", "batch-norm-scaled"}


def test_objectives_are_served_skipped_or_switched_off(new_target):
    weights = {"distance": 2.0, "cross-entropy": 0.5, "cosine": 0.0, "batch-norm": 1.0}
    objectives = serve(weights, new_target("mlp"))
    assert objectives.weights == {"cross-entropy": 0.5}
    assert set(objectives.skipped) == {"distance", "batch-norm"}
    assert "objective distance skipped, there are no reference images" in objectives.skipped_note
    served = serve(weights, new_target("cnn"), torch.zeros(1, 8, 8))
    assert (list(served.weights), served.skipped_note) == (["distance", "cross-entropy", "batch-norm"], "")
    assert served.scale(torch.device("cpu")).tolist() == [2.0, 0.5, 1.0]


def test_perturbed_images_move_by_the_radius_up_or_down_and_stay_in_range():
    images = torch.rand((40, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    moved = perturbed(images, 0.1)
    inside = (images > 0.1) & (images < 0.9)
    torch.testing.assert_close((moved - images)[inside].abs(), torch.full_like(images, 0.1)[inside])
    assert 0.4 < (moved > images)[inside].float().mean() < 0.6
    assert moved.min() >= 0
    assert moved.max() <= 1


@pytest.mark.parametrize("name", [*PERTURBED, "distance"])
def test_what_a_step_lacks_is_said(name):
    with pytest.raises(SettingError, match="the step holds no"):
        OBJECTIVES[name](replace(step(), perturbed_logits=None, centre=None))


@pytest.mark.parametrize("arch", ["mlp", "plain-cnn"])
def test_weight_gradients_equal_those_of_a_backward_pass_and_leave_a_frozen_target_alone(arch, new_target, rng):
    target = new_target(arch)
    images, labels = torch.rand((6, 1, 8, 8), generator=rng), torch.arange(6)
    nn.functional.cross_entropy(target(images), labels).backward()
    expected = [value.grad.clone() for value in target.module.parameters()]
    target.zero_grad(set_to_none=True)
    with frozen_eval(target):
        gradients = weight_gradients(target, images.requires_grad_(), labels)
        squares = torch.stack([value.square().sum() for value in gradients]).sum()
        (slope,) = torch.autograd.grad(squares, images)
    torch.testing.assert_close(list(gradients), expected)
    assert slope.abs().max() > 0
    assert all(value.grad is None and value.requires_grad for value in target.parameters())
