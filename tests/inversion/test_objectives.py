"""Every objective against an independent computation, and the contract of all."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import optimize, special
from torch import nn

from invaudit.inversion import OBJECTIVES, Step, sample_condition
from invaudit.inversion.conditions import Condition
from invaudit.inversion.objectives import PERTURBED, Statistics
from invaudit.inversion.observing import perturbed, recorded_statistics, serve, unserved, weight_gradients
from invaudit.models import InputSpec, Target, frozen_eval
from invaudit.runtime.errors import SettingError

N, CLASSES, WIDTH = 12, 4, 6


def step(*, garbage: bool = False, seed: int = 0, dtype=torch.float64) -> Step:
    rng = torch.Generator().manual_seed(seed)
    condition = sample_condition("vector", torch.arange(N) % CLASSES, rng, classes=CLASSES)
    condition = Condition(condition.labels, condition.wanted.to(dtype), None, None)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=rng, dtype=dtype)

    statistics = Statistics(normal(3), normal(3).square(), normal(3), normal(3).square() + 0.1)
    images = torch.rand((N, 2, 5, 6), generator=rng, dtype=dtype)
    logits, features, noisy = normal(N, CLASSES + garbage), normal(N, WIDTH), normal(N, CLASSES + garbage)
    gradients, centre = (normal(4, 3), normal(4)), normal(2, 5, 6)
    return Step(images, condition, logits, features, (statistics, statistics), noisy, gradients, centre)


def with_rows(rows: torch.Tensor, labels: list[int]) -> Step:
    condition = Condition(torch.tensor(labels), torch.eye(max(labels) + 1)[labels], None, None)
    return Step(rows.view(len(rows), 1, 1, -1), condition, torch.zeros(len(rows), max(labels) + 1), rows)


def cosine_matrix(rows: torch.Tensor) -> np.ndarray:
    values = rows.numpy()
    return np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in values] for a in values])


def pairs(labels: torch.Tensor, *, same: bool) -> list[tuple[int, int]]:
    pairs = [(i, j) for i in range(len(labels)) for j in range(len(labels)) if i != j]
    return [(i, j) for i, j in pairs if labels[i] == labels[j]] if same else pairs


def by_pairs(rows: torch.Tensor, labels: torch.Tensor, value, *, same: bool) -> float:
    cosines = cosine_matrix(rows)
    return float(np.mean([value(cosines[i, j]) for i, j in pairs(labels, same=same)]))


def statistics_by_hand(observed: Step) -> float:
    values = []
    for layer in observed.batch_norm:
        mean, variance, stored, spread = (
            value.numpy() for value in (layer.mean, layer.variance, layer.stored_mean, layer.stored_variance)
        )
        values.append(
            np.linalg.norm(mean - stored) / np.linalg.norm(np.sqrt(spread))
            + np.linalg.norm(variance - spread) / np.linalg.norm(spread)
        )
    return float(np.mean(values))


def variation_by_loops(images: torch.Tensor) -> float:
    n, channels, height, width = images.shape
    down = across = 0.0
    for i in range(n):
        for c in range(channels):
            down += sum(
                abs(images[i, c, y + 1, x] - images[i, c, y, x]) for y in range(height - 1) for x in range(width)
            )
            across += sum(
                abs(images[i, c, y, x + 1] - images[i, c, y, x]) for y in range(height) for x in range(width - 1)
            )
    return float(down / (n * channels * (height - 1) * width) + across / (n * channels * height * (width - 1)))


def kl_by_hand(observed: Step, logits: torch.Tensor) -> float:
    wanted = observed.condition.wanted.numpy()
    return float(special.rel_entr(wanted, special.softmax(logits.numpy(), 1)).sum(1).mean())


def cross_entropy_by_hand(observed: Step, logits: torch.Tensor) -> float:
    return float(-special.log_softmax(logits.numpy(), 1)[np.arange(N), observed.condition.labels.numpy()].mean())


def head_gradient_by_autograd(observed: Step) -> float:
    """Return the mean norm of each image's loss gradient in a head whose logits are those of the step."""
    norms = []
    for feature, logits, label in zip(observed.features, observed.logits, observed.condition.labels, strict=True):
        weight = torch.linalg.lstsq(feature[None], logits[None]).solution.T.requires_grad_()
        loss = nn.functional.cross_entropy((weight @ feature)[None], label[None])
        norms.append(torch.autograd.grad(loss, weight)[0].norm().item())
    return float(np.mean(norms))


REFERENCES = {
    "kl": lambda s: kl_by_hand(s, s.logits),
    "cross-entropy": lambda s: cross_entropy_by_hand(s, s.logits),
    "kl-perturbed": lambda s: kl_by_hand(s, s.perturbed_logits),
    "cross-entropy-perturbed": lambda s: cross_entropy_by_hand(s, s.perturbed_logits),
    "gradient-norm": head_gradient_by_autograd,
    "gradient-norm-all": lambda s: float(np.linalg.norm(np.concatenate([g.flatten() for g in s.weight_gradients]))),
    "cosine": lambda s: by_pairs(s.features, s.condition.labels, lambda c: max(c, 0.0), same=True),
    "cosine-all": lambda s: by_pairs(s.features, s.condition.labels, lambda c: c, same=False),
    "orthogonality": lambda s: by_pairs(s.features, s.condition.labels, lambda c: c * c, same=False),
    "image-cosine": lambda s: by_pairs(s.images.flatten(1), s.condition.labels, lambda c: c * c, same=True),
    "batch-norm": statistics_by_hand,
    "total-variation": lambda s: variation_by_loops(s.images),
    "distance": lambda s: float(
        np.mean([np.linalg.norm(x - s.centre.numpy()) ** 2 for x in s.images.numpy()]) / s.centre.numel()
    ),
    "pixel-range": lambda s: float(np.mean([max(-v, 0) + max(v - 1, 0) for v in s.images.flatten().tolist()])),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_value_equals_an_independent_one(name):
    assert name in REFERENCES, f"give {name} an independent computation in REFERENCES"
    observed = step()
    if name == "pixel-range":
        observed = replace(observed, images=2 * observed.images - 0.5)
    value = OBJECTIVES[name](observed)
    assert value.shape == ()
    assert value.item() == pytest.approx(REFERENCES[name](observed), rel=1e-10)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradient_equals_finite_differences(name):
    observed = step()

    def value(*leaves: torch.Tensor) -> torch.Tensor:
        images, logits, features, mean, noisy, gradient = leaves
        statistics = tuple(replace(layer, mean=mean) for layer in observed.batch_norm)
        changed = Step(
            3 * images - 1, observed.condition, logits, features, statistics, noisy, (gradient,), observed.centre
        )
        # The sum keeps a gradient for what this objective does not use.
        return OBJECTIVES[name](changed) + 0 * sum(leaf.sum() for leaf in leaves)

    leaves = (observed.images, observed.logits, observed.features, observed.batch_norm[0].mean)
    leaves += (observed.perturbed_logits, observed.weight_gradients[0])
    assert torch.autograd.gradcheck(value, tuple(leaf.clone().requires_grad_() for leaf in leaves), fast_mode=True)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_order_of_the_batch_does_not_matter(name):
    observed, order = step(), torch.randperm(N, generator=torch.Generator().manual_seed(1))
    condition = Condition(observed.condition.labels[order], observed.condition.wanted[order], None, None)
    moved = replace(
        observed,
        images=observed.images[order],
        condition=condition,
        logits=observed.logits[order],
        features=observed.features[order],
        perturbed_logits=observed.perturbed_logits[order],
    )
    torch.testing.assert_close(OBJECTIVES[name](moved), OBJECTIVES[name](observed))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_finite_with_a_garbage_class_extreme_logits_and_dead_features(name):
    observed = step(garbage=True, dtype=torch.float32)
    logits = (1e4 * observed.logits).requires_grad_()
    features = torch.zeros_like(observed.features).requires_grad_()
    images = torch.zeros_like(observed.images).requires_grad_()
    still = torch.zeros(3, requires_grad=True)
    value = OBJECTIVES[name](
        Step(images, observed.condition, logits, features, observed.batch_norm, logits, (still,), images.detach()[0])
    )
    assert value.isfinite()
    (value + 0 * (logits.sum() + features.sum() + images.sum() + still.sum())).backward()
    for leaf in (logits, features, images, still):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


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
    assert set(unserved(new_target("mlp"))) == {"batch-norm", "distance"}
    assert set(unserved(new_target("mlp"), torch.zeros(1, 8, 8))) == {"batch-norm"}


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
