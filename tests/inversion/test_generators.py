"""Contract of every generator, and the layout of the papers' one."""

import pytest
import torch

from invaudit.inversion import GENERATORS, MODES, build_generator, sample_condition
from invaudit.models.devices import seed_torch
from invaudit.runtime.errors import SettingError

SIDES = [8, 9, 16, 28, 32, 33]
# The large one is the small one with more channels: one mode is enough.
KINDS = [(name, mode) for name in GENERATORS for mode in MODES if name != "transposed" or mode == "vector-matrix"]


def build_with_inputs(name, mode, shape, *, classes=10, dropout=0.1, n=3):
    with seed_torch(torch.Generator().manual_seed(0)):
        generator = build_generator(name, shape, classes, mode=mode, noise=12, dropout=dropout)
    rng = torch.Generator().manual_seed(1)
    condition = sample_condition(mode, torch.arange(n) % classes, rng, classes=classes)
    return generator, torch.randn((n, 12), generator=rng), condition


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("name", "mode"), KINDS)
def test_images_have_the_shape_and_range_and_gradients_reach_every_weight(name, mode, side):
    generator, noise, condition = build_with_inputs(name, mode, (1, side, side))
    images = generator.train()(noise, condition)
    assert images.shape == (3, 1, side, side)
    assert images.min() >= 0
    assert images.max() <= 1
    weights = torch.linspace(0, 1, images.numel()).view_as(images)
    (images * weights).sum().backward()
    for label, value in generator.named_parameters():
        assert value.grad is not None, label
        assert value.grad.isfinite().all(), label
    assert any(bool(value.grad.abs().sum() > 0) for value in generator.parameters() if value.grad is not None)


@pytest.mark.parametrize(("name", "mode"), KINDS)
@pytest.mark.parametrize(("shape", "classes"), [((3, 32, 32), 100), ((3, 9, 30), 2)])
def test_colour_oblong_and_any_number_of_classes(name, mode, shape, classes):
    generator, noise, condition = build_with_inputs(name, mode, shape, classes=classes)
    assert generator(noise, condition).shape == (3, *shape)


@pytest.mark.parametrize(("name", "mode"), KINDS)
def test_eval_mode_is_deterministic_and_dropout_acts_in_training_alone(name, mode):
    generator, noise, condition = build_with_inputs(name, mode, (1, 16, 16), dropout=0.5)
    generator.eval()
    assert torch.equal(generator(noise, condition), generator(noise, condition))
    for part in generator.modules():
        part.training = isinstance(part, torch.nn.Dropout2d)
    assert not torch.equal(generator(noise, condition), generator(noise, condition))
    without, noise, condition = build_with_inputs(name, mode, (1, 16, 16), dropout=0.0)
    assert not any(isinstance(part, torch.nn.Dropout2d) for part in without.modules())


@pytest.mark.parametrize(("name", "mode"), KINDS)
def test_same_seed_same_bytes(name, mode):
    first, noise, condition = build_with_inputs(name, mode, (1, 9, 9))
    second, _, _ = build_with_inputs(name, mode, (1, 9, 9))
    assert torch.equal(first.eval()(noise, condition), second.eval()(noise, condition))


@pytest.mark.parametrize(("name", "mode"), KINDS)
def test_noise_and_condition_both_matter(name, mode):
    generator, noise, _ = build_with_inputs(name, mode, (1, 8, 8))
    generator.eval()
    labels = torch.arange(10)
    condition = sample_condition(mode, labels, torch.Generator(), classes=10, hot=True)
    same = generator(noise[:1].expand(10, -1), condition).flatten(1)
    assert (torch.cdist(same, same) + torch.eye(10)).min() > 0
    alike = sample_condition(mode, torch.zeros(3, dtype=torch.int64), torch.Generator(), classes=10, hot=True)
    assert torch.pdist(generator(noise, alike).flatten(1)).min() > 0


def test_the_papers_generator_has_their_parameters_and_maps():
    generator = build_generator("transposed", (1, 28, 28), 10, mode="vector-matrix", noise=100, dropout=0.1)
    assert sum(value.numel() for value in generator.parameters()) == 5_724_365
    layers = [part for part in generator.modules() if isinstance(part, torch.nn.ConvTranspose2d)]
    assert [layer.in_channels for layer in layers] == [200, 64, 128, 257, 512, 256, 128, 64]
    sides = []
    for layer in layers:
        layer.register_forward_hook(lambda _part, _inputs, output: sides.append(output.shape[2]))
    condition = sample_condition("vector-matrix", torch.tensor([3]), torch.Generator(), classes=10)
    generator.eval()(torch.zeros(1, 100), condition)
    assert sides == [4, 7, 10, 11, 12, 24, 27, 28]


def test_light_generator_is_light():
    light = build_generator("upsample", (1, 28, 28), 10, mode="vector-matrix", noise=64, dropout=0.1)
    assert sum(value.numel() for value in light.parameters()) < 300_000


@pytest.mark.parametrize(
    ("name", "mode", "shape", "message"),
    [
        ("upsampling", "label", (1, 8, 8), "known: upsample"),
        ("upsample", "labels", (1, 8, 8), "label, vector"),
        ("upsample", "label", (1, 7, 8), "sides from 8 up"),
    ],
)
def test_refusals(name, mode, shape, message):
    with pytest.raises(SettingError, match=message):
        build_generator(name, shape, 10, mode=mode, noise=4, dropout=0.0)
