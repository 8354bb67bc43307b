"""Loading a trained classifier: the MODEL grammar, read without executing anything that the user does not name."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from invaudit.models.architectures import full_name
from invaudit.models.families import KNOWN
from invaudit.models.filling import Filling
from invaudit.models.huggingface import read_folder
from invaudit.models.layers import Layers
from invaudit.models.matching import Match
from invaudit.models.own_files import AGAIN, Header
from invaudit.models.presets import describe_spec, find_preset, published_weights
from invaudit.models.spec import InputSpec
from invaudit.models.stored_weights import StoredWeights, read_weights
from invaudit.models.target import Target
from invaudit.runtime import console
from invaudit.runtime.errors import MissingDataError, ModelError
from invaudit.runtime.paths import is_file, is_folder, short

WEIGHTS_FOLDER = "INVAUDIT_WEIGHTS"
"""Environment variable that names a folder with model files."""


def load_model(
    path: str | Path,
    *,
    arch: str | None = None,
    spec: InputSpec | Mapping[str, Any] | None = None,
    classes: int | None = None,
    match: Match = "name",
    output: str | None = None,
    download: bool = False,
) -> Target:
    """Load a trained classifier.

    Args:
        path: safetensors, or a torch checkpoint with weights alone, looked for here and in the folder that
            INVAUDIT_WEIGHTS names; a folder with ``config.json`` and safetensors; or the published weights that
            ``torchvision:NAME@WEIGHTS`` or ``timm:NAME[.TAG]`` name.
        arch: ``invaudit:NAME`` (or NAME alone), ``torchvision:NAME[@WEIGHTS]``, ``timm:NAME[.TAG]`` or
            ``package.module:callable``; our files know it, but a callable has to be named here: a file must not choose
            which code runs.
        spec: What it takes; our own files and presets know it. A mapping changes fields of what they know.
        classes: Number of ID classes; by default all outputs.
        match: How stored tensors find their place: by ``name``, or those without an equal name by ``order``. Nothing
            but accuracy on labelled images can tell whether an order was right.
        output: Name of the output that holds the logits, where the network has several.
        download: Whether published weights that are not there may be fetched.

    Returns:
        The classifier; its ``notes`` say what was taken, left out, or read from a preset.

    Raises:
        MissingDataError: There is no such file.
        ModelError: A damaged file, a file that would execute code, unknown architecture, weights that do not fit, a
            network that cannot be read.
        SettingError: A spec outside its range.
        MissingExtraError: timm is not installed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import torch
        >>> from invaudit.models import build
        >>> spec = InputSpec(channels=1, height=8, width=8)
        >>> network = build("small-cnn", spec, 10)
        >>> with TemporaryDirectory() as folder:
        ...     torch.save(network.state_dict(), f"{folder}/weights.pth")
        ...     target = load_model(f"{folder}/weights.pth", arch="small-cnn", spec=spec)
        >>> target.classes, target.arch
        (10, 'invaudit:small-cnn')
    """
    source = _source(path, arch, download=download)
    header = source.weights.header
    notes = []
    if header:
        spec = _of_our_file(header.spec, spec, source.path)
    elif not isinstance(spec, InputSpec):
        name = f"{source.preset}, with the options over it," if spec else source.preset
        spec = _input_spec(spec or {}, source)
        if source.preset:
            notes.append(describe_spec(name, spec))
    filling = Filling(source.arch, spec, source.weights, f"{source.path} does not fit {source.arch}", source.settings)
    with _naming(source.path):
        module, matched = filling.network(match)
    classes = classes or (header.classes if header else None)
    layers = _stored_layers(header, module, source.path)
    target = Target(module, spec, classes, arch=source.arch, output=output, layers=layers).eval()
    target.notes[:0] = [*notes, *filling.notes(matched)]
    target.settings = source.settings
    if len(source.class_names) == target.classes:
        target.class_names = source.class_names
    for note in target.notes:
        console.notice(note)
    return target


def names_published_weights(model: str | Path) -> bool:
    """Whether a MODEL is no file but names weights that torchvision or timm publish."""
    text = str(model)
    return text.startswith(("timm:", "torchvision:")) and not is_file(Path(text), ModelError)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say which file it was that named what cannot be built."""
    try:
        yield
    except ModelError as error:
        if str(path) in str(error):
            raise
        raise ModelError(f"{path}: {error}") from error


def _stored_layers(header: Header | None, module: nn.Module, path: Path) -> Layers | None:
    """Return which layers a file of ours says are read; None where that has to be found by passes.

    Code of a user may have changed since, so what it gives is looked at again.

    Raises:
        ModelError: The network has no such layers.
    """
    if header is None or not header.blocks or header.arch.partition(":")[0] not in KNOWN:
        return None
    names = {name for name, _ in module.named_modules()}
    if not names.issuperset((header.head, *header.blocks)):
        raise ModelError(
            f"{path}: what it says of itself is wrong: it names layers that the network does not have; {AGAIN}"
        )
    return Layers(header.head, header.blocks)


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


@dataclass(frozen=True)
class _Source:
    """Where a model comes from, and what is known of it there.

    Attributes:
        path: File of the weights.
        weights: What it holds.
        arch: Architecture, with its family.
        spec: What the network takes, where a preset or a folder says it.
        class_names: A name for each class, where they are known.
        settings: What a Hugging Face model is built with.
        preset: Who says what the network takes.
    """

    path: Path
    weights: StoredWeights
    arch: str
    spec: InputSpec | None = None
    class_names: tuple[str, ...] = ()
    settings: dict[str, Any] | None = None
    preset: str = ""


def _source(path: str | Path, arch: str | None, *, download: bool) -> _Source:
    if names_published_weights(path):
        if arch is not None:
            raise ModelError(f"{path} names its architecture itself; leave --arch {arch} out")
        return _published(str(path), download=download)
    if is_folder(Path(path), ModelError):
        return _hub_folder(Path(path), arch)
    path = model_file(path)
    weights = read_weights(path)
    if header := weights.header:
        own = full_name(arch or _own_arch(header.arch, path))
        return _Source(path, weights, own, class_names=header.class_names, settings=header.settings)
    if arch is None:
        raise ModelError(f"{path} does not say what it is; give --arch and --input (and --mean, --std)")
    arch = full_name(arch)
    preset = find_preset(arch)
    if preset is None:
        return _Source(path, weights, arch)
    return _Source(path, weights, arch, preset.spec, preset.class_names, preset=preset.name)


def _published(arch: str, *, download: bool) -> _Source:
    preset = find_preset(arch)
    if preset is None:
        raise ModelError(f"{arch} is no file and names no published weights; expected torchvision:NAME@WEIGHTS")
    path = published_weights(preset, download=download)
    return _Source(path, read_weights(path), arch, preset.spec, preset.class_names, preset=preset.name)


def _hub_folder(path: Path, arch: str | None) -> _Source:
    folder = read_folder(path)
    if arch not in (None, folder.arch):
        raise ModelError(f"{path} says that it is {folder.arch}; leave --arch {arch} out")
    weights = read_weights(folder.weights)
    if weights.header:
        raise ModelError(f"{folder.weights} is a file of ours; give it alone")
    preset = str(path) if folder.spec else ""
    return _Source(folder.weights, weights, folder.arch, folder.spec, folder.class_names, folder.settings, preset)


def _own_arch(arch: str, path: Path) -> str:
    if arch.partition(":")[0] not in KNOWN:
        raise ModelError(
            f"{path} says that it is built by {arch}, which is no part of invaudit, torchvision or timm, and would be "
            f"executed; if you trust that code, name it yourself: --arch {arch}"
        )
    return arch


def _of_our_file(known: InputSpec, given: InputSpec | Mapping[str, Any] | None, path: Path) -> InputSpec:
    """Return what a file of ours says, with a preparation that is given; what the network takes cannot be changed."""
    wanted = given if isinstance(given, InputSpec) else replace(known, **(given or {}))
    if wanted != known:
        raise ModelError(f"{path} says that it takes {known}, the options say {wanted}; leave the options out")
    return replace(known, preparation=wanted.preparation or known.preparation)


def _input_spec(fields: Mapping[str, Any], source: _Source) -> InputSpec:
    """Return the fields that are given, over what a preset or a folder says."""
    if source.spec is None:
        if not {"channels", "height", "width"} <= set(fields):
            raise ModelError(
                f"{source.path} does not say what it takes; give --input (and --mean, --std), or for a published "
                "network --arch torchvision:NAME@WEIGHTS"
            )
        return InputSpec(**fields)
    spec = replace(source.spec, **fields)
    if spec.shape != source.spec.shape and "preparation" not in fields:
        # Its steps lead to the preset's own size.
        spec = replace(spec, preparation=None)
    return spec
