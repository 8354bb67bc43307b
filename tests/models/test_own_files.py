"""What a file of ours may say of itself: bounded, finite, and compared with its weights before anything is built."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from invaudit.data.preparation import Preparation
from invaudit.data.vision import import_torchvision
from invaudit.models import InputSpec, Target, build, load_model, save_target
from invaudit.runtime.errors import ModelError, SettingError


def header(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["invaudit"])


@pytest.fixture
def said(make, tmp_path):
    """Return a function that changes what a file says of itself, and gives its path."""
    path = tmp_path / "model.safetensors"
    save_target(make("mlp-20-10"), path)

    def change(**changes):
        values = header(path)
        for name, value in changes.items():
            place, _, key = name.partition("__")
            if key:
                values[place][key] = value
            else:
                values[name] = value
        save_file(load_file(path), path, {"invaudit": json.dumps(values)})
        return path

    return change


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec__height": -8}, "height -8, expected 1 to 10000"),
        ({"spec__width": 0}, "width 0"),
        ({"spec__channels": 10**30}, "channels 0x"),
        ({"spec__height": 40_000}, "height 40000"),
        ({"spec__height": 10_000, "spec__width": 10_000}, "numbers at most"),
        ({"spec__mean": [float("nan")]}, "mean is nan"),
        ({"spec__std": [float("inf")]}, "std is inf"),
        ({"spec__std": [0.0]}, "std is 0"),
        ({"spec__std": []}, "std has 0 values for 1 channels, expected one"),
        ({"spec__mean": [0.1, 0.2]}, "mean has 2 values for 1 channels, expected one"),
        ({"spec__preparation": {"resize": -3}}, "resize is -3"),
        ({"outputs": -1}, "-1 outputs, expected 2"),
        ({"outputs": 10**12}, "1000000000000 outputs, expected 2"),
        ({"outputs": 10**30}, "0 outputs, expected 2 to 1000000"),
        ({"classes": 3}, "one less with a garbage class"),
        ({"class_names": ["a"]}, "1 class names for 5 classes"),
        ({"outputs": 6}, "head.bias' has shape .5,., the network takes .6,."),
        ({"arch": "invaudit:mlp-40000-40000"}, "would have|has shape"),
        ({"arch": "invaudit:mlp-20-20"}, "has shape"),
        ({"arch": "invaudit:mlp-9999-9999", "ending": {"layer": "head", "pooled": False}}, "weights, the file holds"),
        ({"arch": "invaudit:mlp-" + "9" * 5000}, "5013 characters, expected 200"),
        ({"arch": "invaudit:mlp-" + "9" * 50}, "unknown architecture"),
        ({"arch": "torchvision:raft_small", "spec__channels": 3}, "no model 'raft_small' that classifies"),
        ({"arch": "torchvision:fasterrcnn_resnet50_fpn"}, "no model .* that classifies"),
        ({"ending": {"layer": "head", "pooled": True}}, "'head' is Linear, expected Conv2d"),
        ({"ending": {"layer": "tail", "pooled": False}}, "names 'tail' as its last layer"),
    ],
)
def test_what_cannot_be_is_refused(changes, message, said):
    with pytest.raises(ModelError, match=message):
        load_model(said(**changes))


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, '{"schema": ' + "9" * 5000 + "}", "x" * 2_000_000])
def test_texts_that_are_too_much_are_refused(text, make, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(make("mlp-20-10").module.state_dict(), path, {"invaudit": text})
    with pytest.raises(ModelError, match="what it says of itself is"):
        load_model(path)


def test_types_that_no_network_has_are_refused(tmp_path):
    text = json.dumps({"w": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}).encode()
    (tmp_path / "m").write_bytes(len(text).to_bytes(8, "little") + text + b"\2")
    with pytest.raises(ModelError, match=r"damaged|missing"):
        load_model(tmp_path / "m", arch="mlp-3", spec=InputSpec(1, 8, 8))


def test_a_preparation_and_class_names_travel_and_change_nothing_else(make, tmp_path):
    plain, path = make("mlp-20-10"), tmp_path / "plain"
    save_target(plain, path)
    assert set(header(path)) == {"schema", "arch", "classes", "outputs", "head", "spec"}
    assert set(header(path)["spec"]) == {"channels", "height", "width", "mean", "std"}
    known = Preparation(resize=9, interpolation="bicubic")
    spec = InputSpec(1, 8, 8, plain.spec.mean, plain.spec.std, known)
    target = Target(plain.module, spec, 5, arch=plain.arch)
    target.class_names = ("a", "b", "c", "d", "e")
    save_target(target, tmp_path / "more")
    loaded = load_model(tmp_path / "more")
    assert (loaded.spec.preparation, loaded.class_names) == (known, target.class_names)
    assert loaded.hash == plain.hash
    squash = Preparation(squash=True)
    assert load_model(tmp_path / "more", spec={"preparation": squash}).spec.preparation == squash
    with pytest.raises(ModelError, match="leave the options out"):
        load_model(tmp_path / "more", spec={"mean": (0.7,)})


def test_layers_that_share_a_tensor_are_saved(tmp_path):
    module = build("mlp-64-64", InputSpec(1, 8, 8), 5)
    module.blocks[1][1].weight = module.blocks[0][1].weight
    target = Target(module, InputSpec(1, 8, 8), 5, arch="invaudit:mlp-64-64")
    save_target(target, tmp_path / "m")
    assert load_model(tmp_path / "m").hash == target.hash


@pytest.mark.parametrize(
    "values",
    [{"std": (1e38,)}, {"std": (float("nan"),)}, {"mean": (float("inf"),)}, {"channels": 2000}, {"height": 10**5000}],
)
def test_a_spec_outside_its_range_is_refused(values):
    with pytest.raises(SettingError, match="expected"):
        InputSpec(**({"channels": 1, "height": 8, "width": 8} | values))


@pytest.mark.parametrize(("name", "side"), [("cnn", 1), ("plain-cnn", 2), ("plain-cnn", 3)])
def test_images_that_are_too_small_for_a_network_are_refused(name, side):
    with pytest.raises(ModelError, match="sides from 8 up"):
        build(name, InputSpec(1, side, side), 3)


def test_a_network_that_is_too_large_is_refused_before_it_is_built():
    with pytest.raises(ModelError, match="would have"):
        build("mlp-999999-999999", InputSpec(1, 8, 8), 3)
    with torch.device("meta"):
        build("mlp-9999-9999", InputSpec(1, 8, 8), 3)


def test_the_layers_of_a_strangers_network_are_read_from_our_file(tmp_path, monkeypatch):
    network = import_torchvision().models.resnet18(weights=None, num_classes=4)
    target = Target(network, InputSpec(3, 32, 32), 4, arch="torchvision:resnet18").eval()
    save_target(target, tmp_path / "model.safetensors")
    monkeypatch.setattr(Target, "_read", lambda *_: pytest.fail("passes were made to find the layers"))
    again = load_model(tmp_path / "model.safetensors")
    assert again.layers == target.layers
    assert again.hash == target.hash
