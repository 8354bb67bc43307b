"""Model files: what is read, what is refused, and that nothing in them is executed."""

import json
import os
import pickle
import sys
import types
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from invaudit.data import load
from invaudit.models import ARCHITECTURES, InputSpec, Target, accuracy, collect, load_model, save_target
from invaudit.runtime.errors import InputError, MissingExtraError, ModelError

SPEC = InputSpec(1, 8, 8, (0.1,), (0.3,))


def images(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("garbage", [False, True])
@pytest.mark.parametrize("name", [*ARCHITECTURES, "mlp-20-10"])
def test_our_files_come_back_whole(name, garbage, make, tmp_path):
    target = make(name, garbage=garbage, channels=3, side=9)
    save_target(target, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.hash == target.hash
    assert (loaded.spec, loaded.classes, loaded.outputs, loaded.arch) == (target.spec, 5, 5 + garbage, target.arch)
    assert not loaded.training
    batch = images(2, 3, 9, 9)
    assert torch.equal(loaded(batch), target(batch))


def test_saving_twice_gives_the_same_bytes(make, tmp_path):
    for name in ("a", "b"):
        save_target(make("cnn"), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("name", ["cnn", "resnet20"])
def test_safetensors_of_others_need_arch_and_spec(name, make, tmp_path):
    target, path = make(name), tmp_path / "model.safetensors"
    save_file(target.module.state_dict(), path)
    with pytest.raises(ModelError, match="give --arch and --input"):
        load_model(path)
    loaded = load_model(path, arch=f"invaudit:{name}", spec=target.spec)
    assert loaded.hash == target.hash


@pytest.mark.parametrize("key", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_torch_checkpoints_in_their_usual_shapes(key, prefix, make, tmp_path):
    target, path = make("cnn"), tmp_path / "model.pth"
    weights = {f"{prefix}{name}": value for name, value in target.module.state_dict().items()}
    torch.save({key: weights, "best_prec1": 91.0} if key else weights, path)
    assert load_model(path, arch="invaudit:cnn", spec=target.spec).hash == target.hash


@pytest.mark.parametrize("counters", [True, False])
def test_other_names_are_matched_by_order_and_shape(counters, make, tmp_path):
    target, path = make("cnn"), tmp_path / "model.pth"
    own = {name: value for name, value in target.module.state_dict().items() if counters or "num_batches" not in name}
    torch.save({f"layer{i}.{name.rpartition('.')[2]}": value for i, (name, value) in enumerate(own.items())}, path)
    with pytest.raises(ModelError, match="give --match order"):
        load_model(path, arch="invaudit:cnn", spec=target.spec)
    loaded = load_model(path, arch="invaudit:cnn", spec=target.spec, match="order")
    batch = images(2, 1, 8, 8)
    assert torch.equal(loaded(batch), target(batch))
    assert any(note.startswith("matched by order: layer0.weight as blocks.0.0.weight") for note in loaded.notes)


def net() -> nn.Module:
    layers = [part for width in ((1, 4), (4, 4))
              for part in (nn.Conv2d(*width, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())]  # fmt: skip
    module = nn.Module()
    module.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    module.forward = module.layers.forward
    return module


@pytest.mark.parametrize("format", ["pth", "safetensors"])
def test_names_that_begin_otherwise_are_matched_by_their_ends(format, tmp_path, monkeypatch):
    module = types.ModuleType("own_networks")
    module.net = net
    monkeypatch.setitem(sys.modules, "own_networks", module)
    torch.manual_seed(0)
    target = Target(net().train(), SPEC, 3)
    target(images(50, 1, 8, 8))  # its batch norm has statistics of its own
    target.eval()
    own, path = target.module.state_dict(), tmp_path / f"model.{format}"
    named = {f"net.{name.removeprefix('layers.')}": value for name, value in own.items()}
    torch.save(named, path) if format == "pth" else save_file(named, path)
    loaded, batch = load_model(path, arch="own_networks:net", spec=SPEC), images(2, 1, 8, 8)
    assert torch.equal(loaded(batch), target(batch))


def test_other_names_without_an_order_are_refused(make, tmp_path):
    target, path = make("cnn"), tmp_path / "model.safetensors"
    own = target.module.state_dict()
    save_file({f"layer{i}.{name.rpartition('.')[2]}": value for i, (name, value) in enumerate(own.items())}, path)
    with pytest.raises(ModelError, match="safetensors keep no order"):
        load_model(path, arch="invaudit:cnn", spec=target.spec, match="order")


@pytest.mark.parametrize("given", [None, "own_code:net"])
def test_code_is_run_only_if_the_user_names_it(given, tmp_path, monkeypatch):
    (tmp_path / "own_code.py").write_text(
        "from pathlib import Path\nfrom torch import nn\nPath('executed').touch()\n"
        "def net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n"
    )
    monkeypatch.chdir(tmp_path)
    target = Target(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), SPEC, 3, arch="own_code:net")
    save_target(target, tmp_path / "model.safetensors")
    if given is None:
        with pytest.raises(ModelError, match=r"would be executed.*--arch own_code:net"):
            load_model("model.safetensors")
    else:
        assert load_model("model.safetensors", arch=given).hash == target.hash
    assert (tmp_path / "executed").exists() == (given is not None)
    sys.modules.pop("own_code", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{", "damaged"),
        ("3", "damaged"),
        ("{}", "damaged"),
        ('{"schema": 1}', "damaged"),
        ('{"schema": 99, "arch": "invaudit:cnn"}', "schema 99, this version reads 1"),
        ({"spec": {"channels": 1}}, "damaged"),
        ({"spec": None}, "damaged"),
        ({"arch": None}, "damaged"),
        ({"classes": "many"}, "damaged"),
        ({"head": "tail"}, "names 'tail' as its last layer"),
    ],
)
def test_a_file_that_says_nonsense_of_itself_is_refused(change, message, make, tmp_path):
    path = tmp_path / "model.safetensors"
    save_target(make("cnn"), path)
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["invaudit"])
    said = change if isinstance(change, str) else json.dumps(about | change)
    save_file(make("cnn").module.state_dict(), path, {"invaudit": said})
    with pytest.raises(ModelError, match=message):
        load_model(path)


def test_safetensors_of_another_architecture_are_told_by_their_names(make, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(make("cnn").module.state_dict(), path)
    with pytest.raises(ModelError, match=r"missing, such as blocks.1.0.conv1.weight.*holds head.weight|check --arch"):
        load_model(path, arch="invaudit:resnet20", spec=SPEC)


def test_loading_leaves_the_global_randomness_alone(make, tmp_path):
    save_target(make("cnn"), tmp_path / "model.safetensors")
    before = torch.get_rng_state()
    load_model(tmp_path / "model.safetensors").first_outputs(2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("invaudit:small-cnn", "has shape"),
        ("invaudit:mlp", "has shape|tensors"),
        ("invaudit:alexnet", "unknown architecture"),
        ("torchvision:nothing", "no model 'nothing'"),
        ("small-cnn", "has shape"),
        ("alexnet", "unknown architecture"),
        ("no_such_package:net", "callable without arguments"),
        ("torch.nn:NoSuchClass", "callable without arguments"),
        ("builtins:dict", "gave dict, expected a torch.nn.Module"),
        ("torch.nn:Linear", "callable without arguments"),
        ("math:pi", "callable without arguments"),
        ("timm:hf-hub:somebody/model", "would be fetched"),
    ],
)
def test_weights_that_do_not_fit_and_unknown_architectures_are_refused(arch, message, make, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(make("cnn").module.state_dict(), path)
    with pytest.raises(ModelError, match=message):
        load_model(path, arch=arch, spec=SPEC)


def test_own_architectures_by_path(tmp_path, monkeypatch):
    module = types.ModuleType("own_networks")
    module.net = lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 3))
    monkeypatch.setitem(sys.modules, "own_networks", module)
    network, path = module.net(), tmp_path / "model.pth"
    torch.save(network.state_dict(), path)
    loaded = load_model(path, arch="own_networks:net", spec=SPEC)
    batch = images(2, 1, 8, 8)
    torch.testing.assert_close(loaded(batch), network((batch - 0.1) / 0.3))
    assert loaded.classes == 3
    assert load_model(path, arch="own_networks:net", spec=SPEC, classes=2).has_garbage


def test_torchvision_architectures(tmp_path):
    from invaudit.data.vision import import_torchvision

    network, path = import_torchvision().models.squeezenet1_1(weights=None, num_classes=4), tmp_path / "model.pth"
    torch.save(network.state_dict(), path)
    with pytest.raises(ModelError, match="not that of a linear layer"):
        load_model(path, arch="torchvision:squeezenet1_1", spec=InputSpec(3, 32, 32))
    network = import_torchvision().models.resnet18(weights=None, num_classes=4)
    torch.save(network.state_dict(), path)
    assert load_model(path, arch="torchvision:resnet18", spec=InputSpec(3, 32, 32)).classes == 4


def test_timm_without_timm_names_the_extra(make, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    path = tmp_path / "model.pth"
    torch.save(make("cnn").module.state_dict(), path)
    with pytest.raises(MissingExtraError, match=r"invaudit\[timm\]"):
        load_model(path, arch="timm:resnet18", spec=SPEC)


def test_unknown_timm_model_is_refused(make, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(make("cnn").module.state_dict(), path)
    with pytest.raises(ModelError, match="timm has no model"):
        load_model(path, arch="timm:nothing", spec=SPEC)


class _Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("how", ["torch", "pickle", "old-torch", "inside"])
def test_files_that_would_execute_code_are_refused_and_not_executed(how, make, tmp_path):
    mark, path = tmp_path / "executed", tmp_path / "model.pth"
    bomb = _Bomb(mark)
    if how == "pickle":
        path.write_bytes(pickle.dumps(bomb))
    else:
        held = {**make("cnn").module.state_dict(), "more": bomb} if how == "inside" else bomb
        torch.save(held, path, _use_new_zipfile_serialization=how != "old-torch")
    with pytest.raises(ModelError, match=r"refused|damaged"):
        load_model(path, arch="invaudit:cnn", spec=SPEC)
    assert not mark.exists()


def test_whole_pickled_modules_are_refused_with_the_remedy(make, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(make("cnn").module, path)
    with pytest.raises(ModelError, match=r"execute code.*torch\.save\(model\.state_dict\(\)"):
        load_model(path, arch="invaudit:cnn", spec=SPEC)


@pytest.mark.parametrize("content", ["empty", "text", "cut-safetensors", "cut-torch", "cut-header", "flipped"])
def test_damaged_files_are_refused(content, make, tmp_path):
    path = tmp_path / "model"
    if content in ("empty", "text"):
        path.write_bytes(b"" if content == "empty" else b"not a model at all")
    elif content == "cut-torch":
        torch.save(make("cnn").module.state_dict(), path)
        path.write_bytes(path.read_bytes()[:-500])
    else:
        save_target(make("cnn"), path)
        data = path.read_bytes()
        path.write_bytes(
            data[:-100]
            if content == "cut-safetensors"
            else data[:40]
            if content == "cut-header"
            else b"\xff" + data[1:]
        )
    with pytest.raises(ModelError, match=r"damaged|refused"):
        load_model(path, arch="invaudit:cnn", spec=SPEC)


@pytest.mark.parametrize("held", [[1, 2], {"a": 1}, {}, {"state_dict": {}}])
def test_files_without_a_state_dict_are_refused(held, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(held, path)
    with pytest.raises(ModelError, match="no state dict"):
        load_model(path, arch="invaudit:cnn", spec=SPEC)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused_by_name(value, make, tmp_path):
    target, path = make("cnn"), tmp_path / "model"
    target.module.get_parameter("blocks.1.0.weight").data[0, 0, 0, 0] = value
    save_target(target, path)
    with pytest.raises(ModelError, match=r"not finite in blocks\.1\.0\.weight"):
        load_model(path)


def test_missing_file_and_nameless_target(make, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_model(tmp_path / "none")
    with pytest.raises(ModelError, match="cannot be saved"):
        save_target(Target(make("cnn").module, SPEC, 5), tmp_path / "model")


PUBLISHED = {
    "resnet20-12fca82f.th": (
        "invaudit:resnet20", "cifar10:test@0:500",
        InputSpec(3, 32, 32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), 0.917,
    ),
    "fashion_cnn_chyun.pth": (
        "invaudit:plain-cnn", "fashion-mnist:test", InputSpec(1, 28, 28, (0.2860,), (0.3530,)), 0.9084,
    ),
    "mnist_fc_chyun.pth": ("invaudit:mlp-32-16", "mnist:test", InputSpec(1, 28, 28), 0.9565),
}  # fmt: skip


@pytest.mark.data
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_checkpoint_reaches_its_measured_accuracy(name):
    if not os.environ.get("INVAUDIT_WEIGHTS") or not os.environ.get("INVAUDIT_DATA"):
        pytest.skip("INVAUDIT_WEIGHTS and INVAUDIT_DATA are not set")
    arch, data, spec, expected = PUBLISHED[name]
    images = load(data)
    target = load_model(Path(os.environ["INVAUDIT_WEIGHTS"]) / name, arch=arch, spec=spec, match="order")
    assert target.classes == 10
    measured = accuracy(collect(target, images, keep_maps=False).logits.argmax(1), images.labels)
    # The measured values are of 10,000 test images; 500 of CIFAR-10 may lie three standard deviations off.
    abs_error = 1e-4 if len(images) == 10_000 else 3 * (expected * (1 - expected) / len(images)) ** 0.5
    assert measured == pytest.approx(expected, abs=abs_error)
