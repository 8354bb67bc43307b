"""Networks and checkpoints in the shapes that people have: each taken, or refused by its name with the remedy."""

import argparse
import sys
import types
import zipfile
from collections import namedtuple
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from invaudit.models import InputSpec, Target, load_model, save_target
from invaudit.runtime.errors import InputError, ModelError

SPEC = InputSpec(1, 8, 8)


class Net(nn.Module):
    """The network of all cases: flatten, linear, ReLU, linear."""

    outputs = 5

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(64, 16), nn.Linear(16, self.outputs)

    def logits(self, x):
        return self.fc2(self.hidden(x))

    def hidden(self, x):
        return functional.relu(self.fc1(x.flatten(1)))

    forward = logits


class LogSoftmax(Net):
    def forward(self, x):
        return functional.log_softmax(self.logits(x), dim=1)


class Softmax(Net):
    def __init__(self):
        super().__init__()
        self.end = nn.Softmax(1)

    def forward(self, x):
        return self.end(self.logits(x))


class Pair(Net):
    def forward(self, x):
        return self.logits(x), x.flatten(1)


class Dict(Net):
    def forward(self, x):
        return {"hidden": self.hidden(x), "logits": self.logits(x)}


class NamedPair(Net):
    Output = namedtuple("Output", ["loss", "scores"])

    def forward(self, x):
        return self.Output(None, self.logits(x))


class OneLogit(Net):
    outputs = 1


class OneLogitFlat(OneLogit):
    def forward(self, x):
        return self.logits(x).squeeze(1)


class OneProbability(OneLogit):
    def forward(self, x):
        return torch.sigmoid(self.logits(x))


class ConvolutionHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 5, 1)

    def forward(self, x):
        return functional.avg_pool2d(self.head(torch.relu(self.body(x))), 8).flatten(1)


class TwoHeads(Net):
    def __init__(self):
        super().__init__()
        self.other = nn.Linear(16, 7)

    def forward(self, x):
        return {"fine": self.logits(x), "coarse": self.other(self.hidden(x))}


class DropoutStaysOn(Net):
    def forward(self, x):
        return self.fc2(functional.dropout(self.hidden(x), 0.5))


class BatchStatistics(Net):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(16, track_running_stats=False)

    def forward(self, x):
        return self.fc2(self.norm(self.fc1(x.flatten(1))))


class LeavesEval(Net):
    def forward(self, x):
        self.train()
        return self.logits(x)


class Scaled(Net):
    def forward(self, x):
        return 16 * self.logits(x)


class ClippedInPlace(Net):
    def forward(self, x):
        return self.logits(x).relu_()


class Normalised(Net):
    def forward(self, x):
        return functional.linear(functional.normalize(self.hidden(x)), functional.normalize(self.fc2.weight))


class Raises(Net):
    def forward(self, x):
        raise KeyError("boom" if x.ndim else "")


class Nothing(Net):
    def forward(self, x):
        self.logits(x)


class NoGradient(Net):
    @torch.no_grad()
    def forward(self, x):
        return self.logits(x)


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(autouse=True)
def nets(monkeypatch):
    """Make the networks above importable as the module ``nets``."""
    module = types.ModuleType("nets")
    for name, value in globals().items():
        if isinstance(value, type) and issubclass(value, nn.Module):
            setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "nets", module)


def images(n=3, channels=1, side=8):
    return torch.rand((n, channels, side, side), generator=torch.Generator().manual_seed(1))


def log_odds(logits):
    return logits.log_softmax(1)


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        (LogSoftmax, "ends with log-softmax"),
        (Softmax, "ends with softmax"),
        (Pair, "outputs, 0 is taken"),
        (Dict, "outputs, logits is taken"),
        (NamedPair, "outputs, scores is taken"),
        (OneLogit, r"one output z"),
        (OneLogitFlat, r"one output z"),
        (OneProbability, "ends with sigmoid"),
        (ConvolutionHead, None),
    ],
)
def test_endings_are_taken_and_said(kind, note, tmp_path):
    network = kind().eval()
    target = Target(deepcopy(network), SPEC, arch=f"nets:{kind.__name__}").eval()
    assert any(note in said for said in target.notes) if note else not target.notes
    x = images()
    with torch.no_grad():
        found = target.activations(x)
        torch.testing.assert_close(target.head(found.features), found.logits)
        if issubclass(kind, OneLogit):
            assert torch.equal(found.logits[:, 0], torch.zeros(3))
            torch.testing.assert_close(found.logits[:, 1:], network.logits(x))
        elif kind is ConvolutionHead:
            torch.testing.assert_close(found.logits, network(x))
        else:
            torch.testing.assert_close(found.logits, network.logits(x))
    save_target(target, tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors", arch=f"nets:{kind.__name__}")
    assert again.hash == target.hash
    assert torch.equal(again(x), target(x))
    torch.save(network.state_dict(), tmp_path / "m.pth")
    assert torch.equal(load_model(tmp_path / "m.pth", arch=f"nets:{kind.__name__}", spec=SPEC)(x), target(x))


@pytest.mark.parametrize("kind", [LogSoftmax, OneLogit, ConvolutionHead])
def test_a_garbage_class_and_gradients_fit_onto_adapted_networks(kind):
    from invaudit.ood.cycle import with_garbage

    target = Target(kind(), SPEC)
    wider, x = with_garbage(target), images().requires_grad_()
    assert wider.has_garbage
    torch.testing.assert_close(wider(x)[:, : target.classes], target(x))
    target(x).sum().backward()
    assert x.grad is not None
    assert all(value.requires_grad for value in target.parameters())


def test_a_network_that_gives_logits_is_left_as_it_is():
    network = Net()
    assert Target(network, SPEC).module is network


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (DropoutStaysOn, "answers the same images differently.*training=self.training"),
        (BatchStatistics, "differently beside other images.*track_running_stats=True"),
        (LeavesEval, "leaves eval mode"),
        (Scaled, "not that of a linear layer.*wrap a model"),
        (ClippedInPlace, "not that of a linear layer"),
        (Normalised, "not that of a linear layer"),
        (TwoHeads, r"fine \(2, 5\), coarse \(2, 7\); name one: --output NAME"),
        (Nothing, "gives NoneType for 2 images"),
        (Raises, r"Raises.forward of inputs \(2, 1, 8, 8\) failed in its own code: KeyError: 'boom' \(test_strangers"),
    ],
)
def test_networks_that_cannot_be_read_are_refused_at_the_door(kind, message):
    with pytest.raises(ModelError, match=message):
        Target(kind(), SPEC)


def test_one_of_several_outputs_is_named():
    network = TwoHeads()
    assert Target(network, SPEC, output="coarse").classes == 7
    with pytest.raises(ModelError, match="no such output; it has fine"):
        Target(network, SPEC, output="course")


def test_other_precisions_and_lost_gradients_are_refused():
    with pytest.raises(ModelError, match=r"computes in torch.float16; give it in float32: network.float\(\)"):
        Target(Net().half(), SPEC)
    target = Target(NoGradient(), SPEC)
    assert target(images()).shape == (3, 5)
    with pytest.raises(ModelError, match="lets no gradient through"):
        target(images().requires_grad_())


def test_networks_of_others_get_contiguous_float32():
    class Seen(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.given = nn.Linear(3 * 64, 4), []

        def forward(self, x):
            self.given.append((x.is_contiguous(), x.dtype))
            return self.fc(x.view(-1, 3 * 64))

    network = Seen()
    target = Target(network, InputSpec(3, 8, 8, (0.5,), (0.2,)))
    target(images(channels=3).to(memory_format=torch.channels_last))
    assert set(network.given) == {(True, torch.float32)}


STATE = Net().state_dict()


def with_prefix(prefix, state=STATE):
    return {f"{prefix}{name}": value for name, value in state.items()}


CHECKPOINTS = {
    "plain": (STATE, None),
    "net": ({"net": STATE, "acc": 99.1}, "acc"),
    "net-parallel": ({"net": with_prefix("module.")}, None),
    "params": ({"params": STATE}, None),
    "nested": ({"model": {"state_dict": STATE}}, None),
    "ema-beside": ({"state_dict": STATE, "ema": with_prefix("", {k: 2 * v for k, v in STATE.items()})}, "ema"),
    "ema-alone": ({"model_ema": STATE, "epoch": 3}, "epoch"),
    "unknown-place": ({"classifier_weights": STATE, "epoch": 3}, "epoch"),
    "swa": ({"n_averaged": torch.tensor(3), **with_prefix("module.")}, None),
    "lightning": ({"state_dict": {**with_prefix("model."), "loss.weight": torch.ones(10)}}, "loss.weight"),
    "compiled": (with_prefix("_orig_mod."), None),
    "compiled-within": ({f"model._orig_mod.{k}": v for k, v in STATE.items()}, None),
    "numpy": ({"model": STATE, "acc": np.float64(97.4), "history": np.arange(3.0)}, "acc, history"),
    "arguments": ({"model": STATE, "args": argparse.Namespace(lr=0.1)}, "args"),
    "optimiser": (
        {"model": STATE, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []}},
        "optimizer",
    ),
    "half": ({k: v.half() for k, v in STATE.items()}, None),
    "double": ({k: v.double() for k, v in STATE.items()}, None),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_in_the_shapes_that_people_have(name, tmp_path):
    held, left_out = CHECKPOINTS[name]
    torch.save(held, tmp_path / "m.pth")
    target = load_model(tmp_path / "m.pth", arch="nets:Net", spec=SPEC)
    for key, value in STATE.items():
        torch.testing.assert_close(target.module.state_dict()[key], value, rtol=1e-3, atol=1e-4)
    assert target.notes == ([f"left out of the file: {left_out}"] if left_out else [])


def stride_0():
    return {**STATE, "big": torch.zeros(1).expand(4_000_000_000)}


REFUSED = {
    "int8": (lambda: {**STATE, "fc1.weight": STATE["fc1.weight"].to(torch.int8)}, "quantised weights .fc1.weight"),
    "packed": (lambda: {**STATE, "fc2._packed_params.dtype": torch.qint8}, "quantised"),
    "integers": (lambda: {**STATE, "fc1.weight": STATE["fc1.weight"].long()}, "torch.int64, expected floats"),
    "complex": (lambda: {k: v.to(torch.complex64) for k, v in STATE.items()}, "fc1.weight is complex"),
    "sparse": (lambda: {**STATE, "fc1.weight": STATE["fc1.weight"].to_sparse()}, "fc1.weight is sparse"),
    "meta": (lambda: {**STATE, "fc1.weight": STATE["fc1.weight"].to("meta")}, "without values"),
    "stride-0": (stride_0, "big claims 16000000000 bytes and holds 4"),
    "numbered": (lambda: {0: torch.zeros(3, 3)}, "no state dict"),
    "several": (lambda: {"netG": STATE, "netD": STATE}, "several sets of weights, netG, netD"),
    "copies": (lambda: with_prefix("teacher.") | with_prefix("student."), "several sets of its weights, under teacher"),
    "not-finite": (lambda: {**STATE, "fc1.bias": STATE["fc1.bias"] / 0}, "not finite in fc1.bias"),
    "half-missing": (lambda: {"fc1.weight": STATE["fc1.weight"]}, "3 of 4 tensors are missing, such as fc1.bias"),
    "larger": (lambda: {**STATE, "fc1.extra": torch.ones(2)}, "more of the network than it has, such as fc1.extra"),
    "no-outputs": (lambda: {**STATE, "fc2.weight": torch.zeros(0, 16)}, r"has shape \(0, 16\)"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_weights_that_cannot_be_computed_with_are_refused(name, tmp_path):
    make, message = REFUSED[name]
    torch.save(make(), tmp_path / "m.pth")
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path / "m.pth", arch="nets:Net", spec=SPEC)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["s/data.pkl", "s/constants.pkl", "s/code/__torch__/net.py"], r"is TorchScript.*torch\.save"),
        (["e/models/model.json", "e/data/weights/weight_0"], r"torch\.export.*torch\.save"),
        (["config.json", "model.weights.h5"], "is a Keras file"),
        (["images.npy", "labels.npy"], "archive of numpy arrays"),
    ],
)
def test_archives_of_other_formats_are_refused_by_name(parts, message, tmp_path):
    with zipfile.ZipFile(tmp_path / "m", "w") as archive:
        for part in parts:
            archive.writestr(part, b"")
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path / "m", arch="nets:Net", spec=SPEC)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"\x08\x08\x12\x07pytorch\x1a\x052.0.0", "is an ONNX file"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x20\0\0\0TFL3", "TensorFlow"),
        (b"GGUF\x03", "GGUF"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_files_of_other_formats_are_refused_by_name(start, message, tmp_path):
    (tmp_path / "m").write_bytes(start + bytes(100))
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path / "m", arch="nets:Net", spec=SPEC)


def test_an_archive_that_grows_is_refused_before_it_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    with pytest.raises(ModelError, match="claims to hold 10000000; a torch checkpoint is not compressed"):
        load_model(tmp_path / "m.pth", arch="nets:Net", spec=SPEC)


class Ordered(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.fc = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 5)

    def forward(self, x):
        x = torch.relu(self.b(torch.relu(self.a(x.flatten(1)))))
        return self.fc(x) if hasattr(self, "fc") else self.head(x)


class OrderedOtherwise(Ordered):
    def __init__(self):
        nn.Module.__init__(self)
        self.b, self.a, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 5)


def test_equal_names_are_never_ignored_and_order_is_asked_for(tmp_path):
    old = Ordered().eval()
    torch.save(old.state_dict(), tmp_path / "m.pth")
    with pytest.raises(ModelError, match=r"head.weight, head.bias; without an equal name it holds fc.weight.*--match"):
        load_model(tmp_path / "m.pth", arch="nets:OrderedOtherwise", spec=SPEC)
    target = load_model(tmp_path / "m.pth", arch="nets:OrderedOtherwise", spec=SPEC, match="order")
    assert torch.equal(target(images()), old(images()))
    assert "fc.weight as head.weight" in target.notes[0]


@pytest.mark.parametrize("body", ["raise RuntimeError('boom')", "import sys; sys.exit(0)", "undefined"])
@pytest.mark.parametrize("inside", [True, False])
def test_what_the_code_of_a_user_raises_is_theirs(body, inside, tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text(f"def make():\n    {body}\n" if inside else f"{body}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    torch.save(STATE, tmp_path / "m.pth")
    with pytest.raises(ModelError, match=r"--arch theirs:make failed in its own code: (RuntimeError|SystemExit|Name)"):
        load_model("m.pth", arch="theirs:make", spec=SPEC)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
def test_names_that_no_file_can_have_are_refused(name):
    with pytest.raises(InputError, match=r"is no path|name too long"):
        load_model(name, arch="cnn", spec=SPEC)
