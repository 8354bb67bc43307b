"""Weights in a file of anybody: read without executing anything, and without making real what a file only claims."""

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from invaudit.models.own_files import AGAIN, KEY, Header
from invaudit.runtime.errors import ModelError
from invaudit.runtime.paths import asking, opened
from invaudit.runtime.text import shown

PLACES = (
    "state_dict", "model_state_dict", "model", "net", "network", "module", "params", "weights",
    "params_ema", "ema", "model_ema", "state_dict_ema", "ema_state_dict",
)  # fmt: skip
"""Where checkpoints keep the weights of their network, the first that is there."""
DEEPEST = 4
"""Levels of nesting that are looked into."""
LONGEST_NAME = 1_000
"""Characters that the name of a tensor may have: matching takes the square of them."""
NAMED = 5
"""How many names a message lists."""


@dataclass(frozen=True)
class StoredWeights:
    """Weights as a file has them.

    Attributes:
        tensors: By name, in the order of the file.
        ordered: Whether that order means something (safetensors sort by name).
        header: What a file of ours says of itself.
        left_out: What else the file holds beside them.
    """

    tensors: dict[str, Tensor]
    ordered: bool
    header: Header | None = None
    left_out: list[str] = field(default_factory=list)


def read_weights(path: Path) -> StoredWeights:
    """Read the weights of a safetensors file or a torch checkpoint.

    Raises:
        ModelError: The file is damaged, of another format, would execute code, holds no weights or weights of a kind
            that cannot be computed with, or claims more than it holds.
    """
    with opened(path, ModelError) as file, asking(path, ModelError):
        size = os.fstat(file.fileno()).st_size
        start = file.read(64)
    _refuse_other_formats(path, start)
    if int.from_bytes(start[:8], "little") <= size and start[8:9] == b"{":
        weights = _read_safetensors(path)
    else:
        weights = _read_checkpoint(path, size)
    for name, value in weights.tensors.items():
        if len(name) > LONGEST_NAME:
            raise ModelError(
                f"{path}: {name[:80]}... has {len(name)} characters, expected {LONGEST_NAME} at most; rename it"
            )
        _refuse_unusable(name, value, path)
    return weights


def named(names: list[str]) -> str:
    """Return the first of many names as a list."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _read_safetensors(path: Path) -> StoredWeights:
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # SafetensorError, and what torch raises of types that it does not have
        raise ModelError(f"{path} is a safetensors file that is damaged: {str(error)[:200]}; {AGAIN}") from error
    return StoredWeights(tensors, ordered=False, header=None if text is None else Header.read(text, path))


def _read_checkpoint(path: Path, size: int) -> StoredWeights:
    _refuse_archives_that_grow(path, size)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_plain_data()):
            # torch warns of a foreign pickle before it refuses it; the error says it once.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch raises on damaged bytes is not listed anywhere
        if isinstance(error, pickle.UnpicklingError) and "Unsupported operand" not in str(error):
            found = re.search(r"GLOBAL (\S{1,80})", str(error))
            raise ModelError(
                f"{path} holds more than weights{f' ({found[1]})' if found else ''} and would have to execute code to "
                "be read; refused. Save its weights where you trust it: torch.save(model.state_dict(), 'weights.pth')"
            ) from error
        raise ModelError(
            f"{path} is neither a safetensors file nor a torch checkpoint, or it is damaged; {AGAIN}"
        ) from error
    held, left_out = _state_dict(content, path)
    tensors: dict[str, Tensor] = {}
    for name, value in held.items():
        if "_packed_params" in str(name):
            raise ModelError(_quantised(path, str(name)))
        if isinstance(name, str) and isinstance(value, Tensor):
            tensors[name] = value.detach()
        else:
            left_out.append(_key(name))
    return StoredWeights(tensors, ordered=True, left_out=left_out)


class _Inert:
    """Stands for a value that a checkpoint keeps beside its weights: it is made, and nothing is done with it."""

    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        """Take what the file says, and forget it."""

    def __new__(cls, *_arguments: Any, **_named: Any) -> "_Inert":
        """Take what the file says, and forget it."""
        return super().__new__(cls)

    def __setstate__(self, _state: Any) -> None:
        """Take what the file says, and forget it."""


def _plain_data() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return what may stand beside weights, each with what is made of it: nothing of the named code is called."""
    inert = [
        "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype", "numpy.ndarray",
        "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct", "argparse.Namespace",
        "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib._local.PosixPath", "pathlib._local.WindowsPath",
        "datetime.datetime", "datetime.timedelta",
    ]  # fmt: skip
    for kind in ("Float16", "Float32", "Float64", "Int8", "Int16", "Int32", "Int64", "UInt8", "Bool", "Str"):
        inert.append(f"numpy.dtypes.{kind}DType")
    dicts = ["pytorch_lightning.utilities.parsing.AttributeDict", "lightning.fabric.utilities.data.AttributeDict"]
    dicts.append("lightning_fabric.utilities.data.AttributeDict")
    return [*((_Inert, name) for name in inert), *((dict, name) for name in dicts)]


def _state_dict(content: Any, path: Path) -> tuple[Mapping[Any, Any], list[str]]:
    """Return the weights within a checkpoint, and what stands beside them."""
    left_out: list[str] = []
    for _ in range(DEEPEST):
        if not isinstance(content, Mapping):
            break
        place = next((key for key in PLACES if _holds_weights(content.get(key))), None)
        if place is None and _holds_weights(content, deep=False):
            return content, left_out
        if place is None:
            places = [key for key, value in content.items() if isinstance(key, str) and _holds_weights(value)]
            if len(places) > 1:
                raise ModelError(f"{path} holds several sets of weights, {named(places)}; save the wanted one alone")
            if not places:
                break
            place = places[0]
        left_out += [_key(key) for key in content if key != place]
        content = content[place]
    raise ModelError(f"{path} holds no state dict of tensors; {_SAVE}")


def _holds_weights(value: Any, *, deep: bool = True) -> bool:
    """Whether there are tensors of numbers under names, here or deeper; an optimiser's lie under numbers.

    A mapping is looked into once, however often it is named: a small file can name one more often than anybody counts.
    """
    level, seen = [value], set()
    for _ in range(DEEPEST if deep else 1):
        below = []
        for mapping in level:
            if not isinstance(mapping, Mapping) or id(mapping) in seen:
                continue
            seen.add(id(mapping))
            named_values = [inner for key, inner in mapping.items() if isinstance(key, str)]
            if any(_is_numbers(inner) for inner in named_values):
                return True
            below += named_values
        level = below
    return False


def _is_numbers(value: Any) -> bool:
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex() or value.is_quantized)


def _key(key: Any) -> str:
    """Return a key of a checkpoint for a message."""
    return key[:80] if isinstance(key, str) else shown(key)


def _refuse_archives_that_grow(path: Path, size: int) -> None:
    """Refuse an archive whose parts are larger than the file: torch does not compress."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(part.file_size for part in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelError(f"{path} is an archive that is damaged; {AGAIN}") from error
    if claimed > size:
        raise ModelError(
            f"{path} has {size} bytes and claims to hold {claimed}; a torch checkpoint is not compressed: refused. "
            "Unpack it and save it again with torch.save"
        )


def _refuse_unusable(name: str, value: Tensor, path: Path) -> None:
    name = name[:80]
    if value.is_quantized or value.dtype in (torch.int8, torch.quint8, torch.qint8, torch.qint32):
        raise ModelError(_quantised(path, name))
    for is_so, kind in (
        (value.layout != torch.strided or value.is_nested, "sparse or nested"),
        (value.device.type == "meta", "a tensor without values (of the device meta)"),
        (value.is_complex(), "complex"),
    ):
        if is_so:
            raise ModelError(f"{path}: {name} is {kind}, expected dense real weights; save it as such")
    claimed, held = value.numel() * value.element_size(), value.untyped_storage().nbytes()
    if claimed > held:
        raise ModelError(f"{path}: {name} claims {claimed} bytes and holds {held}; save it as value.contiguous()")


def _quantised(path: Path, name: str) -> str:
    return (
        f"{path} holds quantised weights ({name}), which have no gradients; "
        "give the weights from before quantisation: torch.save(model.state_dict(), 'weights.pth')"
    )


_SAVE = "give the weights of the network: torch.save(model.state_dict(), 'weights.pth')"
_EXPORTED = f"its gradients cannot be had here; {_SAVE}"


def _refuse_other_formats(path: Path, start: bytes) -> None:
    """Refuse files of formats that others take for models, by their names and with the remedy."""
    for name, remedy in _other_formats(path, start):
        raise ModelError(f"{path} is {name}: {remedy}")


def _other_formats(path: Path, start: bytes) -> Iterator[tuple[str, str]]:
    ending = path.suffix.lower()
    if start.startswith(b"PK") and zipfile.is_zipfile(path):
        yield from _other_archives(path)
    if ending == ".onnx" or (start[:1] == b"\x08" and b"pytorch" in start):
        yield "an ONNX file", _EXPORTED
    if start.startswith(b"\x89HDF"):
        yield "an HDF5 file (Keras)", "only networks of torch are read"
    if start[4:8] == b"TFL3" or ending in (".tflite", ".pb"):
        yield "a file of TensorFlow", "only networks of torch are read"
    if start.startswith(b"GGUF"):
        yield "a GGUF file", "its weights are quantised; give the safetensors file that it was made of"
    if start.startswith(b"\x93NUMPY"):
        yield "an array of numpy", f"expected weights by name; {_SAVE}"
    if start.startswith(b"version https://git-lfs"):
        yield "a pointer of Git LFS and not the file itself", "fetch it with git lfs pull"


def _other_archives(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelError(f"{path} is an archive that is damaged; {AGAIN}") from error
    parts = {name.partition("/")[2] for name in names}
    if "constants.pkl" in parts and any(part.startswith("code/") for part in parts):
        yield "TorchScript", f"it is a program, and is not run; {_SAVE}"
    if any(part.startswith("models/") for part in parts) or "serialized_exported_program.json" in names:
        yield "a program of torch.export", f"it is not run; {_SAVE}"
    if "model.weights.h5" in names:
        yield "a Keras file", "only networks of torch are read"
    if names and all(name.endswith(".npy") for name in names):
        yield "an archive of numpy arrays (.npz)", f"it holds arrays; {_SAVE}"
