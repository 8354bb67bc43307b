"""Products of per-image gradients agree with a loop of torch's autograd, whatever the layers and the streaming."""

import pytest
import torch
from torch import nn

from invaudit.data import seeded_rng
from invaudit.leakage import gradients
from invaudit.leakage.gradients import fan_in, layers, log_odds, products, squared_lengths, weights
from invaudit.models import InputSpec, Target, build
from invaudit.models.devices import seed_torch


def make(arch: str, *, side: int = 8, classes: int = 4, seed: int = 0) -> Target:
    """Return an untrained target in float64, in eval mode."""
    spec = InputSpec(1, side, side, (0.3,), (0.5,))
    with seed_torch(seeded_rng(seed, "tests/gradients")):
        module = nn.Sequential(
            nn.Conv2d(1, 3, 3, stride=2, padding=1, padding_mode="reflect", bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(3, 5, (1, 3), padding="same", dilation=2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Flatten(),
            nn.Linear(80, 4),
        ) if arch == "odd-cnn" else build(arch, spec, classes)  # fmt: skip
    return Target(module.eval(), spec, classes).double().eval()


def pool(n: int = 7, side: int = 8, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    rng = seeded_rng(1, "tests/gradients")
    return torch.rand((n, 1, side, side), generator=rng).double(), torch.randint(classes, (n,), generator=rng)


def by_loop(target: Target, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the gradient of each image's margin by the weights and bias of each layer, flattened: (N, P)."""
    found = {name: [] for name in layers(target)}
    for image, label in zip(images, labels, strict=True):
        logits = target(image[None])[0]
        others = torch.cat([logits[:label], logits[label + 1 :]])
        score = logits[label] - others.logsumexp(0)
        for name, layer in layers(target).items():
            parameters = [value for value in (layer.weight, layer.bias) if value is not None]
            parts = torch.autograd.grad(score, parameters, retain_graph=True)
            found[name].append(torch.cat([part.flatten(1) if part.ndim > 1 else part[:, None] for part in parts], 1))
    return {name: torch.stack(rows).flatten(1) for name, rows in found.items()}


@pytest.mark.parametrize(
    ("arch", "block"),
    [
        *((arch, block) for arch in ("mlp-9", "mlp-6-5", "odd-cnn") for block in (1, 500, gradients.BLOCK)),
        *((arch, gradients.BLOCK) for arch in ("tiny-cnn", "plain-cnn", "small-cnn", "resnet20")),
    ],
)
def test_products_agree_with_autograd(arch, block):
    target, (images, labels) = make(arch), pool()
    loop = by_loop(target, images, labels)
    fitted = {name: weights(layer) for name, layer in layers(target).items()}
    found = products([target], fitted, images, labels, block=block)
    scales = {name: fan_in(layer) for name, layer in layers(target).items()}
    gram = sum(scales[name] * rows @ rows.T for name, rows in loop.items())
    inner = sum(scales[name] * rows @ fitted[name].flatten() for name, rows in loop.items())
    torch.testing.assert_close(found.gram, gram)
    torch.testing.assert_close(found.inner, inner)
    lengths = squared_lengths(target, images, labels)
    for name, rows in loop.items():
        torch.testing.assert_close(lengths[name], rows.square().sum(1))


@pytest.mark.parametrize("arch", ["mlp-9", "tiny-cnn"])
def test_two_targets_are_averaged(arch):
    targets, (images, labels) = [make(arch, seed=0), make(arch, seed=1)], pool()
    loops = [by_loop(target, images, labels) for target in targets]
    fitted = {name: weights(layer) for name, layer in layers(targets[1]).items()}
    found = products(targets, fitted, images, labels)
    rows = {name: (loops[0][name] + loops[1][name]) / 2 for name in fitted}
    scales = {name: fan_in(layer) for name, layer in layers(targets[0]).items()}
    torch.testing.assert_close(found.gram, sum(scales[name] * one @ one.T for name, one in rows.items()))


def test_batches_change_nothing(monkeypatch):
    target, (images, labels) = make("tiny-cnn"), pool()
    fitted = {name: weights(layer) for name, layer in layers(target).items()}
    whole = products([target], fitted, images, labels)
    monkeypatch.setattr(gradients, "AT_ONCE", 3)
    parts = products([target], fitted, images, labels)
    torch.testing.assert_close(parts.gram, whole.gram)
    torch.testing.assert_close(parts.inner, whole.inner)


def test_margin_is_the_log_odds_of_the_class():
    logits = torch.randn((6, 5), generator=seeded_rng(0, "tests"), dtype=torch.float64)
    labels = torch.arange(6) % 5
    probability = logits.softmax(1)[torch.arange(6), labels]
    torch.testing.assert_close(log_odds(logits, labels), (probability / (1 - probability)).log())


def test_the_target_is_given_back_as_it_was():
    target, (images, labels) = make("tiny-cnn").train(), pool()
    fitted = {name: weights(layer) for name, layer in layers(target).items()}
    products([target], fitted, images, labels)
    assert target.training
    assert all(value.requires_grad and value.grad is None for value in target.parameters())
    assert not any(part._forward_hooks for part in target.modules())
