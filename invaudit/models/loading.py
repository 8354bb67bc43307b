"""Model files: the MODEL grammar, read without executing anything."""

import json
import os
import pickle
import warnings
from dataclasses import dataclass, fields
from itertools import takewhile
from pathlib import Path

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from invaudit.models.architectures import build
from invaudit.models.spec import InputSpec
from invaudit.models.target import Target
from invaudit.runtime.errors import MissingDataError, MissingExtraError, ModelError
from invaudit.runtime.files import write_bytes
from invaudit.runtime.named import import_named

SCHEMA = 1
WEIGHTS_FOLDER = "INVAUDIT_WEIGHTS"
"""Environment variable that names a folder with model files."""
KNOWN = ("invaudit", "torchvision", "timm")
"""Families of architectures that a file may name by itself: anything else is code of somebody's."""
COUNTERS = "num_batches_tracked"
"""Of batch norm; they hold no weights."""


def save_target(target: Target, path: Path) -> None:
    """Write a target as safetensors: weights, and architecture, input spec and classes as text.

    Raises:
        ModelError: The target has no architecture name, so nobody could load it again.
    """
    if target.arch is None:
        raise ModelError(
            "a wrapped module has no architecture name and cannot be saved; build it with load_model and --arch"
        )
    about = {
        "schema": SCHEMA,
        "arch": target.arch,
        "classes": target.classes,
        "outputs": target.outputs,
        "head": target.layers.head,
        "spec": {name: getattr(target.spec, name) for name in InputSpec.__dataclass_fields__},
    }
    weights = {name: value.detach().cpu().contiguous() for name, value in target.module.state_dict().items()}
    write_bytes(path, save(weights, {"invaudit": json.dumps(about, sort_keys=True)}))


def load_model(
    path: str | Path, *, arch: str | None = None, spec: InputSpec | None = None, classes: int | None = None
) -> Target:
    """Load a trained classifier.

    Args:
        path: safetensors, or a torch checkpoint with weights alone; looked for here and in the folder that
            INVAUDIT_WEIGHTS names.
        arch: ``invaudit:NAME``, ``torchvision:NAME``, ``timm:NAME`` or ``package.module:callable``; our files know it,
            but a callable has to be named here: it is code, which a file has no say in.
        spec: What it takes; files of ours know it.
        classes: Number of ID classes; by default all outputs.

    Raises:
        MissingDataError: There is no such file.
        ModelError: A damaged file, a file that would execute code, unknown architecture, weights that do not fit.
        MissingExtraError: timm is not installed.
    """
    path = model_file(path)
    weights, about, ordered = _read(path)
    if about:
        if spec not in (None, about.spec):
            raise ModelError(f"{path} says that it takes {about.spec}, the options say {spec}; leave the options out")
        arch, spec, classes = arch or _own_arch(about.arch, path), about.spec, classes or about.classes
    if arch is None or spec is None:
        raise ModelError(f"{path} does not say what it is; give --arch and --input (and --mean, --std)")
    broken = [name for name, value in weights.items() if not value.float().isfinite().all()]
    if broken:
        raise ModelError(f"{path}: weights are not finite in {', '.join(broken[:3])}")
    problems: list[ModelError] = []
    for outputs in [about.outputs] if about else _outputs(weights, path):
        # Loading replaces these first weights, so drawing them must not advance the caller's random numbers.
        with torch.random.fork_rng(devices=[]):
            module = _build(arch, spec, outputs)
            if about:
                _widen(module, about.head, outputs, path)
        try:
            module.load_state_dict(_fit_names(weights, module, path, arch, ordered=ordered))
            return Target(module, spec, classes or outputs, arch=arch).eval()
        except ModelError as error:
            problems.append(error)
    raise problems[0]


def model_file(path: str | Path) -> Path:
    """Return where a model file lies: here, or in the folder that INVAUDIT_WEIGHTS names.

    Raises:
        MissingDataError: There is no such file.
    """
    places = [Path(path), *(Path(folder) / path for folder in [os.environ.get(WEIGHTS_FOLDER)] if folder)]
    for place in places:
        if place.is_file():
            return place
    raise MissingDataError(f"model file {path} does not exist; give its path, or name its folder in {WEIGHTS_FOLDER}")


def _own_arch(arch: str, path: Path) -> str:
    if arch.partition(":")[0] not in KNOWN:
        raise ModelError(
            f"{path} says that it is built by {arch}, which is no part of invaudit, torchvision or timm, and would be "
            f"executed; if you trust that code, name it yourself: --arch {arch}"
        )
    return arch


def _widen(module: nn.Module, name: str, outputs: int, path: Path) -> None:
    """Give the head as many outputs as the file has: a callable that takes no arguments knows no garbage class."""
    try:
        head = module.get_submodule(name)
    except AttributeError as error:
        raise ModelError(f"{path} names {name!r} as its last layer, which its architecture does not have") from error
    if isinstance(head, nn.Linear) and head.out_features != outputs:
        module.set_submodule(name, nn.Linear(head.in_features, outputs, bias=head.bias is not None))


@dataclass(frozen=True)
class _About:
    """What a file of ours says of itself."""

    arch: str
    spec: InputSpec
    classes: int
    outputs: int
    head: str


def _read(path: Path) -> tuple[dict[str, Tensor], _About | None, bool]:
    """Return the weights, what a file of ours says of itself, and whether the order of the weights means something."""
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get("invaudit")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return weights, None if text is None else _about(text, path), False
    except SafetensorError:
        pass
    try:
        with warnings.catch_warnings():
            # torch warns of a foreign pickle before it refuses it; the error says it once.
            warnings.simplefilter("ignore", UserWarning)
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds more than weights and would have to execute code to be read; refused. "
            "Save its weights where you trust it: torch.save(model.state_dict(), 'weights.pth')"
        ) from error
    except Exception as error:  # what torch raises on damaged bytes is not listed anywhere
        raise ModelError(f"{path} is neither a safetensors file nor a torch checkpoint, or it is damaged") from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise ModelError(f"{path} holds no state dict of tensors")
    return {name.removeprefix("module."): value for name, value in found.items()}, None, True


def _about(text: str, path: Path) -> _About:
    try:
        about = json.loads(text)
        if about["schema"] != SCHEMA:
            raise ModelError(f"{path} is of schema {about['schema']}, this version reads {SCHEMA}; save it again")
        return TypeAdapter(_About).validate_python({one.name: about[one.name] for one in fields(_About)})
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: what it says of itself is damaged") from error


def _outputs(weights: dict[str, Tensor], path: Path) -> list[int]:
    """Return what may be the number of outputs: the head is mostly the last matrix, but safetensors sort by name."""
    matrices = [value for value in weights.values() if value.ndim == 2]
    if not matrices:
        raise ModelError(f"{path}: no linear layer among its weights")
    return list(dict.fromkeys(value.shape[0] for value in reversed(matrices)))


def _build(arch: str, spec: InputSpec, outputs: int) -> nn.Module:
    family, found, name = arch.partition(":")
    if not found:
        raise ModelError(
            f"--arch {arch!r}: expected invaudit:NAME, torchvision:NAME, timm:NAME or package.module:callable"
        )
    if family == "invaudit":
        return build(name, spec, outputs)
    if family == "timm":
        return _timm(name, spec, outputs)
    if family == "torchvision":
        return _torchvision(name, outputs)
    try:
        made = import_named(family, name)()
    except (ImportError, AttributeError, ValueError, SyntaxError, TypeError) as error:
        raise ModelError(
            f"--arch {arch!r}: {error}; it must name a callable without arguments that Python can import"
        ) from error
    if not isinstance(made, nn.Module):
        raise ModelError(f"--arch {arch!r} gave {type(made).__name__}, expected a torch.nn.Module")
    return made


def _torchvision(name: str, outputs: int) -> nn.Module:
    from invaudit.data import import_torchvision

    models = import_torchvision().models
    if name not in models.list_models():
        raise ModelError(f"torchvision has no model {name!r}")
    return models.get_model(name, weights=None, num_classes=outputs)


def _timm(name: str, spec: InputSpec, outputs: int) -> nn.Module:
    if ":" in name:
        raise ModelError(f"timm:{name} would be fetched from elsewhere; give the name of an architecture of timm")
    try:
        import timm  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError('a timm model needs timm; run: pip install "invaudit[timm]"') from error
    try:
        return timm.create_model(name, pretrained=False, num_classes=outputs, in_chans=spec.channels)
    except RuntimeError as error:
        raise ModelError(f"timm has no model {name!r}") from error


def _fit_names(
    weights: dict[str, Tensor], module: nn.Module, path: Path, arch: str, *, ordered: bool
) -> dict[str, Tensor]:
    own = module.state_dict()
    if set(weights) == set(own) and all(weights[name].shape == own[name].shape for name in own):
        return weights
    # Other names for the same layers: the same but for how they begin, or else the same order and the same shapes.
    given = [(name, value) for name, value in weights.items() if not name.endswith(COUNTERS)]
    wanted = [(name, value) for name, value in own.items() if not name.endswith(COUNTERS)]
    ends, own_ends = (_without_beginning([name for name, _ in part]) for part in (given, wanted))
    if sorted(ends) == sorted(own_ends):
        by_end = dict(zip(ends, given, strict=True))
        given = [by_end[end] for end in own_ends]
    elif not ordered and sorted(tuple(one.shape) for _, one in given) == sorted(tuple(one.shape) for _, one in wanted):
        raise ModelError(
            f"{path} does not fit {arch}: it has other names, such as {given[0][0]!r} for {wanted[0][0]!r}, "
            "and safetensors keep no order to match them by; rename them, or give a .pth file"
        )
    for (name, value), (own_name, own_value) in zip(given, wanted, strict=False):
        if value.shape != own_value.shape:
            raise ModelError(
                f"{path} does not fit {arch}: {name!r} has shape {tuple(value.shape)}, "
                f"{own_name!r} takes {tuple(own_value.shape)}"
            )
    if len(given) != len(wanted):
        raise ModelError(
            f"{path} does not fit {arch}: it holds {len(given)} tensors, the architecture has {len(wanted)}"
        )
    matched = {own_name: value for (own_name, _), (_, value) in zip(wanted, given, strict=True)}
    return {**{name: value for name, value in own.items() if name.endswith(COUNTERS)}, **matched}


def _without_beginning(names: list[str]) -> list[str]:
    """Return dotted names without the parts that all of them begin with."""
    parts = [name.split(".") for name in names]
    columns = zip(*(part[:-1] for part in parts), strict=False)
    shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    return [".".join(part[shared:]) for part in parts]
