"""Model files and networks of others: damaged, hostile, or of a kind that nobody foresaw."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from tests.faults.rows import Row, fifo, folder, invert, link, text

HEAD = "head.weight"


def stored(*words: str, model: str = "m.pth") -> tuple[str, ...]:
    """Return an inversion of a network whose weights are those of a file."""
    return ("invert", "--model", model, "--arch", "mlp-8", "--input", "1x8x8", "--out", "o", *words)


def checkpoint(name: str, change: Callable[[dict[str, Any]], Any], *says: str) -> Row:
    """Return the row of a checkpoint that is made of the right one."""

    def spoil(inputs: Path) -> None:
        torch.save(change(torch.load(inputs / "mlp.pth")), inputs / "m.pth")

    return Row(f"checkpoint: {name}", stored(), ("m.pth", *says), spoil)


def weight(name: str, change: Callable[[Tensor], Any], *says: str) -> Row:
    """Return the row of a checkpoint with one tensor changed."""
    return checkpoint(name, lambda state: {**state, HEAD: change(state[HEAD])}, *says)


def content(name: str, what: bytes, *says: str) -> Row:
    """Return the row of a checkpoint of these bytes."""
    return Row(f"checkpoint of bytes: {name}", stored(), ("m.pth", *says), text("m.pth", what))


def named_often() -> dict[str, Any]:
    """Return a mapping of a few kB that holds itself, as it were, 300^4 times."""
    held: dict[str, Any] = {"x": 1}
    for _ in range(4):
        held = {str(key): held for key in range(300)}
    return held


DAMAGED = ("neither a safetensors file nor a torch checkpoint", "fetch it again")
CHECKPOINTS = [
    weight("sparse", lambda value: value.to_sparse(), HEAD, "sparse", "expected dense real weights"),
    weight("complex", lambda value: value.to(torch.complex64), "is complex", "expected dense real weights"),
    weight("without values", lambda value: value.to("meta"), "of the device meta"),
    weight("whole numbers", lambda value: value.long(), "torch.int64", "save it as float32"),
    weight("yes or no", lambda value: value > 0, "torch.bool", "save it as float32"),
    weight("8 bits", lambda value: value.to(torch.int8), "quantised", "before quantisation"),
    weight("not finite", lambda value: value / 0, "not finite in head.weight", "before training diverged"),
    weight("too large for float32", lambda value: value.double() * 1e300, "not finite in head.weight"),
    weight("a number", lambda _: torch.tensor(1.0), "head.weight' has shape ()", "check --arch"),
    weight("no outputs", lambda value: value[:0].clone(), "has shape (0, 8), which are no outputs"),
    weight("one output too few", lambda value: value[:2].clone(), "has shape (3,)", "takes (2,)"),
    weight("turned", lambda value: value.t().contiguous(), "check --arch and --input"),
    weight("much claimed", lambda value: value[:1].expand(10**9, -1), "claims", "and holds", "contiguous"),
    weight("a text", lambda _: "hello", "missing, such as head.weight", "check --arch"),
    checkpoint("no names", lambda state: list(state.values()), "holds no state dict", "torch.save("),
    checkpoint("names that are numbers", lambda state: dict(enumerate(state.values())), "holds no state dict"),
    checkpoint("nothing", lambda _: {}, "holds no state dict"),
    checkpoint("a number alone", lambda _: 5, "holds no state dict"),
    checkpoint("too deep", lambda state: {"a": {"b": {"c": {"d": {"e": state}}}}}, "holds no state dict"),
    checkpoint("one mapping named often", lambda _: named_often(), "holds no state dict"),
    checkpoint("two sets", lambda state: {"a": state, "b": dict(state)}, "several sets of weights, a, b", "save the"),
    checkpoint("others", lambda _: {"a": torch.zeros(1)}, "4 of 4 tensors are missing", "holds a;"),
    checkpoint("a name of 1 MB", lambda state: {"x" * 10**6: state[HEAD]}, "1000000 characters", "rename it"),
    checkpoint("escapes in names", lambda state: {"a\x1b[31m\n": state[HEAD]}, "holds a\\x1b[31m\\n"),
    content("empty", b"", *DAMAGED),
    content("text", b"hello world" * 9, *DAMAGED),
    content("zeros", bytes(999), *DAMAGED),
    content("the start of an archive", b"PK\x03\x04" + bytes(99), *DAMAGED),
    content("a program", b"cos\nsystem\n(S'touch RAN'\ntR.", "(os.system)", "execute code"),
    content("a long number", b"\x80\x02\x8b\xff\xff\xff\x7f", *DAMAGED),
    content("2^40 bytes", b"\x80\x04\x8e" + (2**40).to_bytes(8, "little"), *DAMAGED),
    content("Git LFS", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS", "git lfs pull"),
    content("GGUF", b"GGUF" + bytes(99), "GGUF", "quantised"),
    content("HDF5", b"\x89HDF\r\n\x1a\n" + bytes(99), "Keras", "torch"),
    content("numpy", b"\x93NUMPY\x01\x00" + bytes(99), "numpy", "torch.save("),
    Row("checkpoint: a loop", stored(), ("m.pth: Too many levels",), link("m.pth", "m.pth")),
    Row("checkpoint: a folder", stored(), ("m.pth is a folder without config.json",), folder("m.pth")),
    Row("config.json a FIFO", stored(model="."), ("is a folder without config.json",), fifo("config.json")),
]


def tensors(name: str, header: object, body: bytes, *says: str) -> Row:
    """Return the row of a safetensors file with this header."""
    start = header if isinstance(header, bytes) else json.dumps(header).encode()
    whole = struct.pack("<Q", len(start)) + start + body
    words = stored(model="m.safetensors")
    return Row(f"safetensors: {name}", words, ("m.safetensors", *says), text("m.safetensors", whole))


def one(kind: str, shape: list[int], end: int) -> dict[str, Any]:
    """Return the header of a file with one tensor."""
    return {"w": {"dtype": kind, "shape": shape, "data_offsets": [0, end]}}


WRONG = ("is a safetensors file that is damaged", "fetch it again")
SAFETENSORS = [
    tensors("half a byte", one("F4", [2], 1), b"\2"),
    tensors("unknown type", one("X9", [1], 1), b"\2", *WRONG),
    tensors("negative side", one("F32", [-1], 4), bytes(4), *WRONG),
    tensors("huge", one("F32", [2**62], 2**64 - 1), bytes(4), *WRONG),
    tensors("cut", one("F32", [4], 16), bytes(4), *WRONG),
    tensors("no JSON", b"{nonsense", b"", *WRONG),
    tensors("deep", b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", b"", *WRONG),
    tensors("metadata no texts", {"__metadata__": {"invaudit": 5}}, b"", *WRONG),
    tensors("complex", one("C64", [1], 8), bytes(8), "is complex"),
    tensors("nothing", {}, b"", "4 of 4 tensors are missing"),
]


def own(name: str, change: Callable[[dict[str, Any]], Any], *says: str) -> Row:
    """Return the row of a file of ours that says something else of itself: a text, or what is changed."""

    def spoil(inputs: Path) -> None:
        path = inputs / "mlp.safetensors"
        held, whole = load_file(path), path.read_bytes()
        length = int.from_bytes(whole[:8], "little")
        said = json.loads(json.loads(whole[8 : 8 + length])["__metadata__"]["invaudit"])
        changed = change(said)
        path.write_bytes(save(held, {"invaudit": changed if isinstance(changed, str) else json.dumps(said | changed)}))

    return Row(f"own file: {name}", invert(), ("mlp.safetensors", *says), spoil)


def spec(name: str, value: Any, *says: str) -> Row:
    """Return the row of a file of ours with another input spec."""
    return own(f"{name} {value!r:.30}", lambda said: {"spec": said["spec"] | {name: value}}, *says)


SAYS = ("what it says of itself is", "fetch it again, or save it again")
OWN = [
    own("no JSON", lambda _: "{", *SAYS),
    own("null", lambda _: "null", *SAYS),
    own("a number", lambda _: "5", *SAYS),
    own("deep", lambda _: "[" * 100_000, *SAYS),
    own("long", lambda _: " " * 1_000_001, "1000001 characters", *SAYS),
    own("another schema", lambda _: {"schema": 2}, "schema 2", *SAYS),
    own("a schema of 4000 digits", lambda _: '{"schema": ' + "9" * 4000 + "}", "of about 4000 digits", *SAYS),
    own("no spec", lambda _: {"spec": None}, *SAYS),
    own("outputs -1", lambda _: {"outputs": -1}, "-1 outputs, expected 2", *SAYS),
    own("outputs 1e30", lambda _: {"outputs": 10**30}, *SAYS),
    own("outputs 999999", lambda _: {"outputs": 999_999, "classes": 999_999}, "the network has", "check --arch"),
    own("classes 1", lambda _: {"classes": 1}, "1 classes for 3 outputs", *SAYS),
    own("class names", lambda _: {"class_names": ["a"]}, "1 class names for 3 classes", *SAYS),
    own("head", lambda _: {"head": "nope"}, "'nope' as its last layer"),
    own("blocks", lambda _: {"blocks": ["nope"]}, "names layers that the network does not have", "fetch it again"),
    own("arch of code", lambda _: {"arch": "os:system"}, "would be executed", "--arch os:system"),
    own("arch with escapes", lambda _: {"arch": "invaudit:\x1b[31m"}, "unknown architecture '\\x1b[31m'"),
    own("arch large", lambda _: {"arch": "invaudit:resnet18"}, "the network has 11178839 weights, the file holds 547"),
    own("arch larger", lambda _: {"arch": "invaudit:mlp-999999-999999"}, "would have 1000064999934 weights"),
    own("arch of detection", lambda _: {"arch": "torchvision:fasterrcnn_resnet50_fpn"}, "that classifies images"),
    own("arch elsewhere", lambda _: {"arch": "timm:hf-hub:a/b"}, "would be fetched from elsewhere"),
    own("arch that computes", lambda _: {"arch": "torchvision:regnet_y_128gf"}, "the network has 637857231 weights"),
    spec("height", -8, "height -8, expected 1 to 10000", *SAYS),
    spec("height", 8.5, *SAYS),
    spec("height", 9, "has shape (8, 64), the network takes (8, 72)"),
    spec("channels", 10**30, *SAYS),
    spec("mean", [float("nan")], "mean is nan", *SAYS),
    spec("mean", [0.0, 0.0], "mean has 2 values for 1 channels", *SAYS),
    spec("std", [], "std has 0 values for 1 channels", *SAYS),
    spec("std", [0.0], "std is 0.0, expected 0.0001 to 10000", *SAYS),
    spec("std", [float("inf")], "std is inf", *SAYS),
    spec("preparation", {"resize": 10**9}, "resize is 1000000000", *SAYS),
    spec("preparation", {"interpolation": "x\x1b"}, *SAYS),
]


def hub(name: str, config: object, *says: str) -> Row:
    """Return the row of a folder of Hugging Face with this config."""

    def spoil(inputs: Path) -> None:
        (inputs / "h").mkdir()
        whole = config if isinstance(config, bytes) else json.dumps(config).encode()
        (inputs / "h" / "config.json").write_bytes(whole)
        (inputs / "mlp.safetensors").rename(inputs / "h" / "model.safetensors")
        (inputs / "h" / "model.safetensors").write_bytes(save({"a": torch.zeros(1)}))

    return Row(f"hub folder: {name}", ("invert", "--model", "h", "--input", "1x8x8", "--out", "o"), says, spoil)


VIT = {"model_type": "vit", "image_size": 8, "patch_size": 4, "num_channels": 1, "hidden_size": 8}
VIT |= {"num_attention_heads": 1, "intermediate_size": 8}
HUB = [
    hub("no JSON", b"{", "config.json is no JSON", "fetch it again"),
    hub("deep", b"[" * 100_000, "config.json is no JSON"),
    hub("a list", [], "config.json holds a list", "fetch it again"),
    hub("no UTF-8", b"\xff\xfe", "config.json is not UTF-8"),
    hub("no type", {}, "model_type"),
    hub("a type of 5", {"model_type": 5}, "model_type"),
    hub("many layers", VIT | {"num_hidden_layers": 10**6}, "over 10000 parts", "fetch it again"),
    hub("more layers", VIT | {"num_hidden_layers": 10**9}, "the number 1000000000, expected 1000000 at most"),
    hub("many classes", VIT | {"num_labels": 10**9}, "the number 1000000000, expected 1000000 at most"),
    hub("many in a list", VIT | {"depths": [1, -(10**12)]}, "the number -1000000000000"),
    hub("large", VIT | {"intermediate_size": 10**6}, "the file holds 1"),
    hub("no image classifier", {"model_type": "bert"}, "transformers, building bert, failed"),
]

PLAIN = """
import torch
from torch import nn
class N(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 3)
    def forward(self, x):
        z = self.fc(x.flatten(1))
        {}
make = N
"""


def network(name: str, code: str, *says: str) -> Row:
    """Return the row of a network of a user's own, whose forward ends so, or whose whole code is given."""
    module = f"own_network_{name}"
    words = ("invert", "--model", "n.pth", "--arch", f"{module}:make", "--input", "1x8x8", "--out", "o")

    def spoil(inputs: Path) -> None:
        (inputs / f"{module}.py").write_text(code if "\n" in code else PLAIN.format(code))
        torch.save({"fc.weight": torch.ones(3, 64), "fc.bias": torch.zeros(3)}, inputs / "n.pth")

    return Row(f"network: {name}", words, says, spoil)


def method(name: str, definition: str) -> str:
    """Return the code of a network with one more method."""
    return PLAIN.format("return z") + f"def more(self, *_, **__): {definition}\nN.{name} = more\n"


CUT = """
class Cut(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z): return z.clone()
"""
WRAP = "wrap a model that ends with one"
NETWORKS = [
    network("gives_a_number", "return z.mean()", "shape ()", WRAP),
    network("gives_a_loss_alone", "return {'loss': z.mean()}", "dict for 2 images", WRAP),
    network("gives_one_column", "return z[:, 0]", WRAP),
    network("gives_classes", "return z.argmax(1)", "torch.int64", WRAP),
    network("gives_text", "return 'cat'", "gives str", WRAP),
    network("gives_nothing", "pass", "gives NoneType", WRAP),
    network("gives_complex", "return z + 0j", "torch.complex64", WRAP),
    network("gives_sparse", "return z.to_sparse()", WRAP),
    network("gives_lists", "return [[z]]", "gives list", WRAP),
    network("yields", "yield z", "gives generator", WRAP),
    network("changes", "self.k = getattr(self, 'k', 0) + 1; return (z,) * self.k", "differently each time"),
    network("random", "return z + torch.randn(3)", "differently each time", "training=self.training"),
    network("learns", "self.train(); return z", "leaves eval mode", "take train() out"),
    network("looks_beside", "return z - z.mean(0)", "beside other images"),
    network("detaches", "return z.detach()", "lets no gradient through", "take no_grad() and detach() out"),
    network("no_gradient", PLAIN.format("return Cut.apply(z)") + CUT, "the gradient of N.forward", "NotImplemented"),
    network("takes_two_at_most", "assert len(x) < 3; return z", "forward of inputs", "AssertionError"),
    network("raises", "raise ValueError('boom\\x1b[31m')", "forward of inputs (2, 1, 8, 8)", "boom\\x1b[31m"),
    network("raises_5_MB", "raise ValueError('x' * 5_000_000)", "ValueError: xxx"),
    network("exits", "raise SystemExit(0)", "SystemExit: 0"),
    network("recurses", "return self(x)", "RecursionError"),
    network("logs", "import logging; logging.warning('b'); assert 0", "AssertionError"),
    network("takes_memory", "torch.empty(10**15)", "too little memory"),
    network("not_begun", "from torch import nn\nclass make(nn.Module):\n    def __init__(self): pass\n", "_modules"),
    network("no_state", method("state_dict", "raise RuntimeError('mine')"), "N.state_dict failed", "mine"),
    network("no_float", method("float", "raise RuntimeError('mine')"), "failed in its own code", "mine"),
    network("no_loading", method("load_state_dict", "raise OSError('mine')"), "N.load_state_dict failed", "mine"),
    network("makes_5", "def make():\n    return 5\n", "gave int, expected a torch.nn.Module"),
    network("takes_arguments", "def make(a):\n    return 5\n", "a callable without arguments"),
    network("no_python", "def (\n", "a callable without arguments that Python can import"),
    network("nothing_there", "x = 1\n", "has no attribute 'make'"),
    network("raises_when_made", "def make():\n    raise RuntimeError('boom')\n", "RuntimeError: boom"),
    network("exits_when_imported", "import sys\nsys.exit(0)\n", "SystemExit: 0"),
    network("TorchScript", PLAIN.format("return z") + "make = lambda: torch.jit.script(N())\n", "TorchScript"),
]

ROWS = [*CHECKPOINTS, *SAFETENSORS, *OWN, *HUB, *NETWORKS]
