"""Model files: the MODEL grammar, read without executing anything."""

import json
import os
import pickle
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from invaudit.models.architectures import build, full_name
from invaudit.models.spec import InputSpec
from invaudit.models.target import Target
from invaudit.runtime.errors import MissingDataError, MissingExtraError, ModelError
from invaudit.runtime.files import write_bytes
from invaudit.runtime.named import import_named
from invaudit.runtime.paths import is_file, short

SCHEMA = 1
WEIGHTS_FOLDER = "INVAUDIT_WEIGHTS"
"""Environment variable that names a folder with model files."""
KNOWN = ("invaudit", "torchvision", "timm")
"""Families of architectures that a file may name by itself: anything else is code of somebody's."""
COUNTERS = "num_batches_tracked"
"""Ending of the names of batch norm's counters, which hold no weights."""


def save_target(target: Target, path: Path) -> None:
    """Write a target as safetensors: weights, and architecture, input spec and classes as text.

    Raises:
        ModelError: The target has no architecture name, so nobody could load it again.
    """
    if target.arch is None:
        raise ModelError(
            "a wrapped module has no architecture name and cannot be saved; build it with load_model and --arch"
        )
    header = {
        "schema": SCHEMA,
        "arch": target.arch,
        "classes": target.classes,
        "outputs": target.outputs,
        "head": target.layers.head,
        "spec": asdict(target.spec),
    }
    weights: dict[str, Tensor] = {}
    for name, value in target.module.state_dict().items():
        weights[name] = value.detach().cpu().contiguous()
    write_bytes(path, save(weights, {"invaudit": json.dumps(header, sort_keys=True)}))


def load_model(
    path: str | Path, *, arch: str | None = None, spec: InputSpec | None = None, classes: int | None = None
) -> Target:
    """Load a trained classifier.

    Args:
        path: safetensors, or a torch checkpoint with weights alone; looked for here and in the folder that
            INVAUDIT_WEIGHTS names.
        arch: ``invaudit:NAME`` (or NAME alone), ``torchvision:NAME``, ``timm:NAME`` or ``package.module:callable``; our
            files know it, but a callable has to be named here: a file must not choose which code runs.
        spec: What it takes; our own files know it.
        classes: Number of ID classes; by default all outputs.

    Raises:
        MissingDataError: There is no such file.
        ModelError: A damaged file, a file that would execute code, unknown architecture, weights that do not fit.
        MissingExtraError: timm is not installed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> spec = InputSpec(channels=1, height=8, width=8)
        >>> network = build("small-cnn", spec, 10)
        >>> with TemporaryDirectory() as folder:
        ...     torch.save(network.state_dict(), f"{folder}/weights.pth")
        ...     target = load_model(f"{folder}/weights.pth", arch="small-cnn", spec=spec)
        >>> target.classes, target.arch
        (10, 'invaudit:small-cnn')
    """
    path = model_file(path)
    weights, header, ordered = _read(path)
    if header:
        if spec not in (None, header.spec):
            raise ModelError(f"{path} says that it takes {header.spec}, the options say {spec}; leave the options out")
        arch, spec, classes = arch or _own_arch(header.arch, path), header.spec, classes or header.classes
    if arch is None or spec is None:
        raise ModelError(f"{path} does not say what it is; give --arch and --input (and --mean, --std)")
    arch = full_name(arch)
    _refuse_not_finite(weights, path)
    problems: list[ModelError] = []
    possible_outputs = [header.outputs] if header else _outputs(weights, path)
    for outputs in possible_outputs:
        # Loading replaces these first weights, so drawing them must not advance the caller's random numbers.
        with torch.random.fork_rng(devices=[]):
            module = _build(arch, spec, outputs)
            if header:
                _widen(module, header.head, outputs, path)
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
    places = [Path(path)]
    if folder := os.environ.get(WEIGHTS_FOLDER):
        places.append(Path(folder) / path)
    for place in places:
        if is_file(place, ModelError):
            return place
    raise MissingDataError(
        f"model file {short(Path(path))} does not exist; give its path, or name its folder in {WEIGHTS_FOLDER}"
    )


def _refuse_not_finite(weights: dict[str, Tensor], path: Path) -> None:
    broken = []
    for name, value in weights.items():
        if not value.float().isfinite().all():
            broken.append(name)
    if broken:
        raise ModelError(f"{path}: weights are not finite in {', '.join(broken[:3])}")


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
class _Header:
    """What a file of ours says of itself."""

    arch: str
    spec: InputSpec
    classes: int
    outputs: int
    head: str


def _read(path: Path) -> tuple[dict[str, Tensor], _Header | None, bool]:
    """Return the weights, what a file of ours says of itself, and whether the order of the weights means something."""
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get("invaudit")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError:
        return _read_checkpoint(path), None, True
    return weights, None if text is None else _header(text, path), False


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the weights of a torch checkpoint, in their order there."""
    try:
        with warnings.catch_warnings():
            # torch warns of a foreign pickle before it refuses it; the error says it once.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds more than weights and would have to execute code to be read; refused. "
            "Save its weights where you trust it: torch.save(model.state_dict(), 'weights.pth')"
        ) from error
    except Exception as error:  # what torch raises on damaged bytes is not listed anywhere
        raise ModelError(f"{path} is neither a safetensors file nor a torch checkpoint, or it is damaged") from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content:
        raise ModelError(f"{path} holds no state dict of tensors")
    weights: dict[str, Tensor] = {}
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise ModelError(f"{path} holds no state dict of tensors")
        weights[name.removeprefix("module.")] = value
    return weights


def _header(text: str, path: Path) -> _Header:
    try:
        values = json.loads(text)
        if values["schema"] != SCHEMA:
            raise ModelError(f"{path} is of schema {values['schema']}, this version reads {SCHEMA}; save it again")
        known = {field.name: values[field.name] for field in fields(_Header)}
        return TypeAdapter(_Header).validate_python(known)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: what it says of itself is damaged") from error


def _outputs(weights: dict[str, Tensor], path: Path) -> list[int]:
    """Return what may be the number of outputs: the head is mostly the last matrix, but safetensors sort by name."""
    outputs: dict[int, None] = {}  # a set that keeps its order
    for value in reversed(weights.values()):
        if value.ndim == 2:
            outputs[value.shape[0]] = None
    if not outputs:
        raise ModelError(f"{path}: no linear layer among its weights")
    return list(outputs)


def _build(arch: str, spec: InputSpec, outputs: int) -> nn.Module:
    family, _, name = arch.partition(":")
    if family == "invaudit":
        return build(name, spec, outputs)
    if family == "timm":
        return _timm(name, spec, outputs)
    if family == "torchvision":
        return _torchvision(name, outputs)
    try:
        module = import_named(family, name)()
    except (ImportError, AttributeError, ValueError, SyntaxError, TypeError) as error:
        raise ModelError(
            f"--arch {arch!r}: {error}; it must name a callable without arguments that Python can import"
        ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"--arch {arch!r} gave {type(module).__name__}, expected a torch.nn.Module")
    return module


def _torchvision(name: str, outputs: int) -> nn.Module:
    from invaudit.data.vision import import_torchvision

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
    """Return the weights under the module's names: by name, but for how names begin, or else by order and shape."""
    state = module.state_dict()
    if _shape_by_name(weights) == _shape_by_name(state):
        return weights
    read, wanted = _without_counters(weights), _without_counters(state)
    ends, wanted_ends = _without_beginning(read), _without_beginning(wanted)
    order = list(read)
    if sorted(ends) == sorted(wanted_ends):
        by_end = dict(zip(ends, read, strict=True))
        order = [by_end[end] for end in wanted_ends]
    elif not ordered and sorted(_shape_by_name(read).values()) == sorted(_shape_by_name(wanted).values()):
        raise ModelError(
            f"{path} does not fit {arch}: it has other names, such as {order[0]!r} for {next(iter(wanted))!r}, "
            "and safetensors keep no order to match them by; rename them, or give a .pth file"
        )
    for name, wanted_name in zip(order, wanted, strict=False):
        if read[name].shape != wanted[wanted_name].shape:
            raise ModelError(
                f"{path} does not fit {arch}: {name!r} has shape {tuple(read[name].shape)}, "
                f"{wanted_name!r} takes {tuple(wanted[wanted_name].shape)}"
            )
    if len(read) != len(wanted):
        raise ModelError(
            f"{path} does not fit {arch}: it holds {len(read)} tensors, the architecture has {len(wanted)}"
        )
    matched = dict(state)
    for name, wanted_name in zip(order, wanted, strict=True):
        matched[wanted_name] = read[name]
    return matched


def _without_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.endswith(COUNTERS)}


def _shape_by_name(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


def _without_beginning(names: Iterable[str]) -> list[str]:
    """Return dotted names without the parts that all of them begin with."""
    split_names = [name.split(".") for name in names]
    beginnings = [parts[:-1] for parts in split_names]
    n_shared = 0
    for parts in zip(*beginnings, strict=False):
        if len(set(parts)) > 1:
            break
        n_shared += 1
    return [".".join(parts[n_shared:]) for parts in split_names]
