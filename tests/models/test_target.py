"""The target: what is read in one pass, and that it is given back as it was."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from invaudit.data import ImageSet
from invaudit.data.vision import import_torchvision
from invaudit.models import ARCHITECTURES, Activations, InputSpec, Target, build, collect, frozen_eval
from invaudit.models.activations import moments
from invaudit.models.layers import Layers
from invaudit.runtime.errors import ModelError, ShapeError

NAMES = [*ARCHITECTURES, "mlp-20-10"]


def wrapped() -> dict[str, Target]:
    """Return user networks: a plain Sequential, one nested in a module, torchvision's ResNet-18, an MLP."""
    torch.manual_seed(0)
    plain = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(6 * 13 * 13, 5),
    )  # fmt: skip
    nested = nn.Sequential(nn.Sequential(*list(plain)[:6]), nn.Sequential(nn.Flatten(), nn.Linear(6 * 13 * 13, 5)))
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 16), nn.ReLU(), nn.Linear(16, 5))
    resnet = import_torchvision().models.resnet18(weights=None, num_classes=5)
    spec = InputSpec(3, 32, 32, (0.4, 0.5, 0.6), (0.2, 0.2, 0.2))
    modules = {"plain": plain, "nested": deepcopy(nested), "mlp": mlp, "resnet18": resnet}
    return {name: Target(module, spec, 5).eval() for name, module in modules.items()}


@pytest.fixture(scope="module")
def users() -> dict[str, Target]:
    with torch.random.fork_rng():
        return wrapped()


@pytest.mark.parametrize("side", [8, 9, 28])
@pytest.mark.parametrize("name", NAMES)
def test_activations_agree_with_each_other(name, side, make, rng):
    target = make(name, side=side)
    images = torch.rand((3, 1, side, side), generator=rng)
    with torch.no_grad():
        found = target.activations(images)
        assert torch.equal(target.head(found.features), found.logits)
        assert torch.equal(target(images), found.logits)
        if found.maps:
            assert torch.equal(target.tail(found.maps[-1]), found.logits)
    assert len(found) == 3
    widths = {"mlp": [300], "mlp-20-10": [20, 10]}.get(name, [2 * value.shape[1] for value in found.maps])
    assert [value.shape[1] for value in found.moments] == widths
    assert torch.equal(found.images, images)


@pytest.mark.parametrize("name", ["plain", "nested", "mlp", "resnet18"])
def test_user_networks_are_read_without_help(name, users, rng):
    target = users[name]
    images = torch.rand((2, 3, 32, 32), generator=rng)
    with torch.no_grad():
        found = target.activations(images)
        assert torch.equal(target.head(found.features), found.logits)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (target.spec.mean, target.spec.std))
        torch.testing.assert_close(found.logits, target.module((images - mean) / std))
    assert target.tail is None
    shapes = {
        "plain": [(4, 15, 15), (6, 13, 13)],
        "nested": [(4, 15, 15), (6, 13, 13)],
        "mlp": [],
        "resnet18": [(64, 8, 8), (64, 8, 8), (128, 4, 4), (256, 2, 2)],
    }
    assert [tuple(value.shape[1:]) for value in found.maps] == shapes[name]
    if name != "mlp":
        assert all((value >= 0).all() for value in found.maps)


def test_moments_equal_float64_loops(rng):
    maps = torch.randn((3, 4, 5, 6), generator=rng)
    found = moments(maps)
    for i in range(3):
        for c in range(4):
            values = maps[i, c].double().numpy()
            assert found[i, c].item() == pytest.approx(np.mean(values), abs=1e-6)
            assert found[i, 4 + c].item() == pytest.approx(np.std(values), abs=1e-6)
    rows = torch.randn((3, 7), generator=rng)
    assert torch.equal(moments(rows), rows)


def test_moments_have_a_finite_gradient_at_a_constant_map():
    maps = torch.ones((1, 2, 3, 3), requires_grad=True)
    moments(maps).sum().backward()
    assert maps.grad is not None
    assert maps.grad.isfinite().all()


def test_activations_are_differentiable(make, rng):
    images = torch.rand((2, 1, 8, 8), generator=rng, requires_grad=True)
    make("cnn").activations(images).features.sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_parts_of_activations(make, rng):
    found = make("cnn").activations(torch.rand((6, 1, 8, 8), generator=rng))
    joined = Activations.cat([found.select(slice(0, 2)), found.select(torch.arange(2, 6))])
    for name in ("images", "logits", "features"):
        assert torch.equal(getattr(joined, name), getattr(found, name))
    assert all(torch.equal(a, b) for a, b in zip(joined.maps + joined.moments, found.maps + found.moments, strict=True))
    assert torch.equal(found.classes_only(3).logits, found.logits[:, :3])
    lean = found.vectors_only().select(torch.tensor([True, False] * 3))
    assert (len(lean), len(lean.images), lean.maps) == (3, 0, ())
    assert torch.equal(lean.features, found.features[::2])


@pytest.mark.parametrize("name", ["cnn", "mlp", "plain"])
def test_first_outputs_is_a_copy_with_a_shorter_head(name, make, users, rng):
    target = users["plain"] if name == "plain" else make(name, garbage=True)
    images = torch.rand((4, *target.spec.shape), generator=rng)
    before = target.hash
    short = target.first_outputs(3)
    torch.testing.assert_close(short(images), target(images)[:, :3])
    assert (short.outputs, short.classes, short.has_garbage) == (3, 3, False)
    next(iter(short.parameters())).data.zero_()
    assert target.hash == before


@pytest.mark.parametrize("own", [True, False])
def test_a_target_is_on_the_device_of_its_module(own, make):
    if own:
        target = make("cnn").to("meta")
    else:
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 5)).to("meta")
        target = Target(module, InputSpec(1, 8, 8), 5, layers=Layers("1", ()))
    logits = target.first_outputs(3)(torch.zeros(2, 1, 8, 8, device="meta"))
    assert (logits.shape, logits.device.type) == ((2, 3), "meta")


def test_borrowed_gives_back_modes_and_gradients_even_after_an_error(make):
    target = make("cnn").train()
    target.module.blocks[1].eval()
    for index, value in enumerate(target.parameters()):
        value.requires_grad_(index % 3 == 0)
    modes = [part.training for part in target.modules()]
    grads = [value.requires_grad for value in target.parameters()]

    def use() -> None:
        with frozen_eval(target):
            assert not any(part.training for part in target.modules())
            assert not any(value.requires_grad for value in target.parameters())
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert [part.training for part in target.modules()] == modes
    assert [value.requires_grad for value in target.parameters()] == grads


def test_reading_leaves_no_hooks(make, users, rng):
    for target in (make("cnn"), users["resnet18"]):
        target.activations(torch.rand((2, *target.spec.shape), generator=rng))
        assert all(not part._forward_hooks and not part._forward_pre_hooks for part in target.modules())


def test_hash_is_that_of_weights_spec_and_classes(make):
    target = make("cnn")
    assert target.hash == make("cnn").hash == deepcopy(target).hash
    assert len(target.hash) == 64
    seen = {target.hash, make("cnn", seed=1).hash}
    for name in ("blocks.0.0.bias", "head.weight"):
        changed = deepcopy(target)
        changed.module.get_parameter(name).data.view(-1)[0] += 1e-6
        seen.add(changed.hash)
    changed = deepcopy(target)
    changed.module.get_buffer("blocks.0.1.running_mean")[0] += 1
    seen.add(changed.hash)
    spec = InputSpec(1, 8, 8, (0.2,), target.spec.std)
    seen |= {Target(target.module, spec, 5).hash, Target(target.module, target.spec, 4).hash}
    assert len(seen) == 7


def test_garbage_is_the_output_beyond_the_classes(make):
    assert make("cnn", garbage=True).has_garbage
    assert not make("cnn").has_garbage


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten()),
        nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.ReLU()),
    ],
)
def test_networks_that_do_not_end_with_a_linear_layer_are_refused(module):
    with pytest.raises(ModelError, match="wrap a model that ends with one"):
        Target(module, InputSpec(1, 8, 8), 3)


def test_wrong_input_spec_or_classes_are_refused():
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    for classes in (1, 4):
        with pytest.raises(ModelError, match="3 outputs, expected"):
            Target(module, InputSpec(1, 8, 8), classes)
    with pytest.raises(ShapeError, match="resize them"):
        Target(module, InputSpec(1, 8, 8), 3)(torch.zeros(2, 1, 9, 9))


def test_collect_equals_one_pass_and_gives_the_target_back(make):
    target = make("cnn").train()
    images = ImageSet(
        "images", torch.arange(20 * 64).remainder(256).to(torch.uint8).view(20, 1, 8, 8), torch.arange(20)
    )
    found = collect(target, images, batch_size=7)
    assert target.training
    assert not found.logits.requires_grad
    with torch.no_grad():
        whole = target.eval().activations(images.floats())
    for name in ("images", "logits", "features"):
        torch.testing.assert_close(getattr(found, name), getattr(whole, name))
    torch.testing.assert_close(found.maps + found.moments, whole.maps + whole.moments)
    floats = collect(target, images.floats(), keep_maps=False)
    torch.testing.assert_close(floats.logits, whole.logits)
    assert floats.maps == ()


def test_collect_refuses_logits_that_are_not_finite(make):
    target = make("cnn")
    target.head.bias.data[0] = torch.inf
    with pytest.raises(ModelError, match="not finite"):
        collect(target, torch.zeros(2, 1, 8, 8))


def test_copies_keep_what_is_known_of_a_network() -> None:
    target = Target(build("mlp-4", InputSpec(1, 8, 8), 3), InputSpec(1, 8, 8), 3, arch="invaudit:mlp-4")
    target.class_names, target.settings = ("ant", "bee", "cow"), {"hidden": 4}
    copy = target.first_outputs(3)
    assert (copy.class_names, copy.settings, copy.arch) == (target.class_names, target.settings, target.arch)
    assert target.first_outputs(2).class_names == ()


def test_a_target_of_some_classes_keeps_the_probabilities(rng):
    spec = InputSpec(1, 8, 8)
    target = Target(build("small-cnn", spec, 5), spec).eval()
    target.class_names = tuple("abcde")
    some = target.of_classes([3, 1])
    images = torch.rand(4, 1, 8, 8, generator=rng)
    assert some.classes == 2
    assert some.class_names == ("d", "b")
    assert torch.equal(some(images), target(images)[:, [3, 1, 0, 2, 4]])
    assert some.hash != target.hash
