"""Presets of torchvision and timm: what a network takes, how pictures are prepared for it, where its weights lie."""

import re
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Any, get_args

import torch

from invaudit.data.preparation import Interpolation, Preparation
from invaudit.models.spec import InputSpec
from invaudit.runtime.errors import MissingDataError, MissingExtraError, ModelError

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names under which timm keeps the weights of a network."""
_HASH = re.compile(r"-([0-9a-f]{8,})\.")


@dataclass(frozen=True)
class Preset:
    """What the library says that a published network takes.

    Attributes:
        name: Whose preset it is.
        spec: What the network takes, with the preparation where we can do it alike.
        class_names: A name for each class, where the library has them.
        url: Where the weights are published, if they are.
        hub: Their name on the hub of Hugging Face, if they are there.
    """

    name: str
    spec: InputSpec
    class_names: tuple[str, ...]
    url: str | None
    hub: str | None


def describe_spec(name: str, spec: InputSpec) -> str:
    """Return in words what something takes."""
    steps = spec.preparation.describe(spec.height, spec.width) if spec.preparation else "no steps known here"
    mean, std = (" ".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std))
    return f"{name} takes {spec.channels}x{spec.height}x{spec.width}, mean {mean}, std {std}; pictures: {steps}"


def find_preset(arch: str) -> Preset | None:
    """Return the preset that an architecture names: ``torchvision:NAME@WEIGHTS``, or ``timm:NAME[.TAG]``.

    Raises:
        ModelError: There are no such weights.
        MissingExtraError: timm is not installed.
    """
    family, _, name = arch.partition(":")
    if family == "torchvision" and "@" in name:
        return _torchvision(*name.split("@", 1))
    if family == "timm" and ":" not in name:
        return _timm(name)
    return None


def published_weights(preset: Preset, *, download: bool) -> Path:
    """Return the file with the weights of a preset: in the cache of torch or of Hugging Face, fetched only if asked.

    Raises:
        MissingDataError: They are not there, or could not be fetched.
    """
    looked = []
    if preset.url and preset.url.endswith((".pth", ".pt", ".safetensors")):
        file = Path(torch.hub.get_dir()) / "checkpoints" / preset.url.rpartition("/")[2]
        if file.is_file() or (download and not preset.hub and _fetched(preset.url, file)):
            return file
        looked.append(str(file))
    if preset.hub:
        found = _from_hub(preset.hub, download=download)
        if found:
            return found
        looked.append(f"{preset.hub} in the cache of Hugging Face")
    remedy = "check the network" if download else "give the file as --model FILE with this --arch, or pass --download"
    places = " and ".join(looked) or "nothing, since none are published"
    raise MissingDataError(f"the weights of {preset.name} are not there: looked for {places}; {remedy}")


def import_timm() -> Any:
    """Import timm.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import timm  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError('a timm model needs timm; run: pip install "invaudit[timm]"') from error
    return timm


RENORMALISING = ("googlenet", "inception_v3")
"""With published weights torchvision builds these so that they turn ImageNet's normalisation into values from -1 to 1
inside. Built from a file they do not, and take such values."""


def _torchvision(name: str, weights: str) -> Preset | None:
    from invaudit.data.vision import import_torchvision

    models = import_torchvision().models
    if name not in models.list_models(module=models):
        raise ModelError(f"torchvision has no model {name!r} that classifies images; see its list_models()")
    known = {member.name: member for member in models.get_model_weights(name)}
    known["DEFAULT"] = models.get_model_weights(name).DEFAULT
    if weights not in known:
        raise ModelError(f"torchvision's {name} has no weights {weights!r}; it has {', '.join(known)}")
    chosen = known[weights]
    steps = chosen.transforms()
    side = steps.crop_size[0]
    preparation = Preparation(resize=steps.resize_size[0], interpolation=steps.interpolation.value)
    mean, std = tuple(steps.mean), tuple(steps.std)
    if name in RENORMALISING:
        mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    spec = InputSpec(3, side, side, mean, std, preparation)
    return Preset(f"torchvision's {name}@{chosen.name}", spec, tuple(chosen.meta["categories"]), chosen.url, None)


def _timm(name: str) -> Preset | None:
    timm = import_timm()
    if not timm.is_model(name.partition(".")[0]):
        raise ModelError(f"timm has no model {name!r}")
    try:
        config = timm.models.get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = ", ".join(timm.list_pretrained(f"{name.partition('.')[0]}.*")[:8])
        raise ModelError(f"timm has no weights {name!r}; it has {tags or 'none'}") from error
    if config is None:
        return None
    channels, height, width = config.input_size
    spec = InputSpec(channels, height, width, tuple(config.mean), tuple(config.std), _timm_preparation(config))
    url = config.url if isinstance(config.url, str) and not config.custom_load else None
    tagged = f"{name.partition('.')[0]}.{config.tag}" if config.tag else name
    return Preset(f"timm's {tagged}", spec, (), url, config.hf_hub_id)


def _timm_preparation(config: Any) -> Preparation | None:
    """Return timm's steps for evaluation; None where they are others than ours."""
    _, height, width = config.input_size
    if height != width or config.interpolation not in get_args(Interpolation):
        return None
    if config.crop_mode == "squash" and config.crop_pct == 1:
        return Preparation(interpolation=config.interpolation, squash=True)
    if config.crop_mode == "center":
        return Preparation(resize=floor(height / config.crop_pct), interpolation=config.interpolation)
    return None


def _fetched(url: str, file: Path) -> bool:
    """Fetch a file, and check it by the beginning of its SHA-256 that its name holds."""
    match = _HASH.search(file.name)
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(file), hash_prefix=match and match[1], progress=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise MissingDataError(f"{url} could not be fetched: {error}") from error
    return True


def _from_hub(name: str, *, download: bool) -> Path | None:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    for file in HUB_FILES:
        held = try_to_load_from_cache(name, file)
        if isinstance(held, str):
            return Path(held)
    if not download:
        return None
    try:
        return Path(hf_hub_download(name, HUB_FILES[0]))
    except Exception as error:  # its errors come from three libraries
        raise MissingDataError(f"{name} could not be fetched from Hugging Face: {error}") from error
