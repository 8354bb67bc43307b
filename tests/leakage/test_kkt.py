"""KKT reconstruction: its loss against loops, its search on a small target, its checkpoint."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from invaudit.data import seeded_rng
from invaudit.data.digits import digits
from invaudit.leakage.gradients import fan_in, layers
from invaudit.leakage.kkt import KKTSettings, _Equations, _Prior, _Rectified, _SmoothReLU, kkt
from invaudit.leakage.targets import RECIPES, draw_pairs, train_target
from invaudit.models import InputSpec, Target, build, limit_threads
from invaudit.models.devices import seed_torch
from invaudit.runtime.errors import ModelError, RunFolderError, ShapeError
from invaudit.stats.rank_metrics import auroc

pytestmark = pytest.mark.slow


def make(arch: str, classes: int = 3) -> Target:
    spec = InputSpec(1, 8, 8, (0.3,), (0.5,))
    with seed_torch(seeded_rng(0, "tests/kkt")):
        return Target(build(arch, spec, classes), spec, classes).eval()


@pytest.mark.parametrize("arch", ["mlp-9", "mlp-7-6", "tiny-cnn"])
def test_loss_against_a_loop_over_images(arch):
    target = make(arch).double()
    rng = seeded_rng(1, "tests/kkt")
    images, labels = torch.rand((5, 1, 8, 8), generator=rng).double(), torch.arange(5) % 3
    multipliers = torch.rand(5, generator=rng).double()
    # So sharp that the smooth derivative is the step.
    loss = _Equations(target, labels).loss(images, multipliers.sqrt(), 1e9)
    left = {name: value.detach().clone() for name, value in target.module.named_parameters()}
    for image, label, multiplier in zip(images, labels, multipliers, strict=True):
        logits = target(image[None])[0]
        score = logits[label] - torch.cat([logits[:label], logits[label + 1 :]]).logsumexp(0)
        for name, gradient in zip(left, torch.autograd.grad(score, list(target.module.parameters())), strict=True):
            left[name] -= multiplier * gradient
    over, under = 0.0, 0.0
    for name, layer in layers(target).items():
        for kind in ("weight", "bias"):
            over += fan_in(layer) * float(left[f"{name}.{kind}"].square().sum())
            under += fan_in(layer) * float(getattr(layer, kind).detach().square().sum())
    assert float(loss.detach()) == pytest.approx(over / under, rel=1e-9)


@pytest.mark.parametrize("shape", [(6, 5), (4, 3, 5, 5), (4, 7, 3)])
@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_smooth_derivative_is_the_formula(shape, slope):
    inputs = torch.randn(shape, generator=seeded_rng(0, "tests/kkt"), dtype=torch.float64).requires_grad_()
    outputs = _Rectified.apply(inputs, slope, 3.0)
    torch.testing.assert_close(outputs, functional.leaky_relu(inputs, slope))
    (derivative,) = torch.autograd.grad(outputs.sum(), inputs, create_graph=True)
    unit = 1 if len(shape) == 4 else len(shape) - 1
    values = np.moveaxis(inputs.detach().numpy(), unit, 0)
    size = np.sqrt((values**2).mean(axis=tuple(range(1, len(shape))), keepdims=True))
    step = 1 / (1 + np.exp(-3 * values / size))
    np.testing.assert_allclose(np.moveaxis(derivative.detach().numpy(), unit, 0), slope + (1 - slope) * step)
    (second,) = torch.autograd.grad(derivative.sum(), inputs)
    expected = (1 - slope) * step * (1 - step) * 3 / size
    np.testing.assert_allclose(np.moveaxis(second.numpy(), unit, 0), expected)


def test_every_way_to_call_a_rectifier_is_smoothed():
    inputs = torch.tensor([[-0.5, 0.5], [-1.0, 0.7]])
    calls = [
        nn.ReLU(), nn.ReLU(inplace=True), nn.LeakyReLU(0.2), functional.relu, torch.relu, torch.Tensor.relu,
        lambda values: functional.leaky_relu(values, negative_slope=0.2),
    ]  # fmt: skip
    for call in calls:
        point = inputs.clone().requires_grad_()
        with _SmoothReLU(2.0):
            outputs = call(point * 1.0)
        (slope,) = torch.autograd.grad(outputs.sum(), point)
        assert 0.2 < float(slope[0, 0]) < 0.5, call


def test_prior_is_the_derivative_of_its_formula():
    rng = seeded_rng(0, "tests/kkt")
    reference, images = torch.rand((30, 1, 3, 3), generator=rng), torch.rand((4, 1, 3, 3), generator=rng)
    pixels = reference.flatten(1).double().numpy()
    covariance = np.cov(pixels.T)
    precision = torch.from_numpy(np.linalg.inv(covariance + 0.02 * np.trace(covariance) / 9 * np.eye(9)))
    point = images.double().requires_grad_()
    centred = point.flatten(1) - torch.from_numpy(pixels.mean(0))
    value = 0.5 * torch.einsum("ni,ij,nj->n", centred, precision, centred).mean() / 9
    (expected,) = torch.autograd.grad(value, point)
    torch.testing.assert_close(_Prior(reference, 0.5).gradient(images).double(), expected, rtol=1e-3, atol=1e-6)


@pytest.fixture(scope="module")
def trained():
    """A ten-class target with 40 members, and what an auditor has."""
    data = digits()
    drawn = draw_pairs(data.labels, 40, seeded_rng(100, "tests/draw"))
    images, labels = data.floats(drawn.index), data.labels[drawn.index]
    with limit_threads(1):
        target = train_target(
            RECIPES["mlp"], images[drawn.member], labels[drawn.member], 10, seeded_rng(100, "tests/target")
        )
    return target, images, labels, drawn.member.numpy(), data.floats(drawn.reference)


def test_members_are_nearer_than_controls(trained):
    target, images, labels, member, reference = trained
    reconstructions = kkt(target, KKTSettings(restarts=1, steps=800), seeded_rng(0, "tests/kkt"), reference=reference)
    assert reconstructions.outcome == "budget"
    assert reconstructions.images.shape == (80, 1, 8, 8)
    mean = reference.mean(0)
    queries, pool = ((part - mean).flatten(1) for part in (reconstructions.images, images))
    cosine = functional.normalize(pool, dim=1) @ functional.normalize(queries, dim=1).T
    best = cosine.masked_fill(labels[:, None] != reconstructions.labels, -1).amax(1)
    assert auroc(best[~member], best[member]) > 0.7


SHORT = KKTSettings(images=12, restarts=2, steps=25, record_every=10)


def test_a_killed_search_resumes_to_the_same_bytes(trained, tmp_path, monkeypatch):
    target, _, _, _, reference = trained
    whole = kkt(target, SHORT, seeded_rng(0, "tests/kkt"), reference=reference)
    assert whole.restart.tolist() == [0] * 12 + [1] * 12
    assert [len(losses) for losses in whole.history.values()] == [3, 3]
    path = tmp_path / "kkt.pt"
    for killed_after in (1, 3, 2):
        saved = []

        def save(file, data, saved=saved, killed_after=killed_after):
            file.write_bytes(data)
            saved.append(file)
            if len(saved) == killed_after:
                raise KeyboardInterrupt

        monkeypatch.setattr("invaudit.models.checkpoints.write_bytes", save)
        if killed_after == 2:
            break
        with pytest.raises(KeyboardInterrupt):
            kkt(target, SHORT, seeded_rng(0, "tests/kkt"), reference=reference, checkpoint=path)
    monkeypatch.undo()
    for _ in range(2):  # the second time from a finished search
        again = kkt(target, SHORT, seeded_rng(0, "tests/kkt"), reference=reference, checkpoint=path)
        assert torch.equal(again.images, whole.images)
        assert again.history == whole.history
    with pytest.raises(RunFolderError, match="another search"):
        kkt(target, SHORT, seeded_rng(1, "tests/kkt"), reference=reference, checkpoint=path)


def test_multipliers_that_fall_to_zero_are_flagged(trained):
    target = trained[0]
    reconstructions = kkt(
        target, KKTSettings(images=2, restarts=2, steps=1, multiplier_rate=1.0), seeded_rng(0, "tests/kkt")
    )
    assert reconstructions.outcome == "collapsed"
    assert "fell to zero" in reconstructions.message


def test_a_search_that_diverges_gives_no_images(trained):
    # No such rate can be set: this stands for whatever may make a search diverge.
    settings = KKTSettings(images=4, restarts=1, steps=3).model_copy(update={"multiplier_rate": 1e30})
    reconstructions = kkt(trained[0], settings, seeded_rng(0, "tests/kkt"))
    assert reconstructions.outcome == "diverged"
    assert len(reconstructions) == 0


def test_batch_norm_is_refused():
    with pytest.raises(ModelError, match="batch norm"):
        kkt(make("small-cnn"), SHORT, seeded_rng(0, "tests/kkt"))


def test_a_reference_of_another_shape_is_refused(trained):
    for reference in (torch.zeros(5, 1, 9, 9), torch.zeros(1, 1, 8, 8)):
        with pytest.raises(ShapeError, match="expected at least 2"):
            kkt(trained[0], SHORT, seeded_rng(0, "tests/kkt"), reference=reference)


def test_the_target_is_given_back_as_it_was():
    target = make("tiny-cnn").train()
    before = target.hash
    kkt(target, KKTSettings(images=3, restarts=1, steps=2), seeded_rng(0, "tests/kkt"))
    assert target.training
    assert target.hash == before
    assert all(value.requires_grad and value.grad is None for value in target.parameters())
