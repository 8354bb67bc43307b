"""A local folder of a Hugging Face model: config.json, weights, preprocessor_config.json; nothing is fetched."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from math import floor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

from invaudit.data.preparation import Interpolation, Preparation
from invaudit.models.foreign import foreign_code
from invaudit.models.spec import InputSpec
from invaudit.models.stored_weights import named
from invaudit.runtime.boundary import foreign, reason
from invaudit.runtime.console import notice
from invaudit.runtime.errors import InputError, MissingDataError, MissingExtraError, ModelError
from invaudit.runtime.paths import is_file, read_text
from invaudit.runtime.text import shown

AGAIN = "fetch it again"
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Names of the weights, the first that is there."""
LARGEST_NUMBER = 1_000_000
"""Largest whole number in the settings of a network: each is a size, a number of parts or of classes."""
MOST_PARTS = 10_000
"""Modules of a network at most; the largest classifiers have some thousands."""
LARGEST_JSON = 10_000_000
"""Bytes of a file of settings."""
NOT_KEPT = ("auto_map", "id2label", "label2id", "dtype", "torch_dtype", "_name_or_path", "transformers_version")
"""Entries of config.json that build nothing: code of others, names, and how the weights were stored."""
RESAMPLING: dict[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of the ways to interpolate."""
STEPS = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb")
"""Steps of a preprocessor that we can do alike."""


@dataclass(frozen=True)
class HubFolder:
    """What a folder says.

    Attributes:
        arch: ``hf:TYPE``, the type of model that config.json names.
        settings: What a network is built with, see ``build_from_settings``.
        class_names: A name for each class, where the folder has names of its own.
        weights: The file of the weights.
        spec: What the network takes, where preprocessor_config.json says it.
    """

    arch: str
    settings: dict[str, Any]
    class_names: tuple[str, ...]
    weights: Path
    spec: InputSpec | None


def read_folder(folder: Path) -> HubFolder:
    """Read what a folder says; no code in it is run.

    Raises:
        MissingDataError: It holds no config.json, or no weights.
        ModelError: A file of it is damaged, or asks for pictures to be prepared in a way that is not known here.
    """
    config = _read_object(folder / CONFIG)
    weights = [folder / name for name in WEIGHTS if is_file(folder / name, ModelError)]
    if not weights:
        raise MissingDataError(f"{folder} holds no weights in one file: looked for {' and '.join(WEIGHTS)}")
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise ModelError(f"{folder / CONFIG} does not say which type of model it is (model_type); {AGAIN}")
    labels = config.get("id2label")
    settings = {name: value for name, value in config.items() if name not in NOT_KEPT}
    if isinstance(labels, Mapping):
        settings["num_labels"] = len(labels)
    return HubFolder(f"hf:{kind[:80]}", settings, _class_names(labels), weights[0], _spec(folder, config))


def build_from_settings(settings: Mapping[str, Any]) -> nn.Module:
    """Build the image classifier of transformers that settings describe, with first weights, in float32.

    Raises:
        MissingExtraError: transformers is not installed.
        ModelError: transformers has no such classifier.
    """
    _refuse_huge_numbers(settings)
    transformers = _import_transformers()
    with foreign_code(_building(settings)), _bounded():
        config = _config(transformers, settings)
        return transformers.AutoModelForImageClassification.from_config(config, trust_remote_code=False).float()


def fill_from_folder(
    settings: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str
) -> tuple[nn.Module, list[str]]:
    """Build a network of a folder and give it the weights there, whose names transformers translates to its own.

    Args:
        settings: See ``build_from_settings``.
        tensors: The weights, by the names that they have in the file.
        where: The folder, for messages.

    Returns:
        The network, in float32, and the names that have no place in it.

    Raises:
        MissingExtraError: transformers is not installed.
        ModelError: The weights do not fit.
    """
    transformers = _import_transformers()
    with torch.device("meta"):
        empty = build_from_settings(settings)
    kind: Any = type(empty)
    numbers = sum(value.numel() for value in empty.parameters())
    held = sum(value.numel() for value in tensors.values())
    if numbers > 2 * held:
        raise ModelError(f"{where}: {CONFIG} describes a network of {numbers} weights, the file holds {held}")
    with foreign_code(_building(settings)), _quiet(transformers), torch.random.fork_rng(devices=[]):
        network, report = kind.from_pretrained(
            None,
            config=_config(transformers, settings),
            state_dict=dict(tensors),
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    for problem in ("missing_keys", "mismatched_keys"):
        wrong = sorted(str(name) for name in report[problem])
        if wrong:
            raise ModelError(f"{where}: {problem.replace('_', ' ')} are {named(wrong)}")
    return network.float(), sorted(report["unexpected_keys"])


def _import_transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            'a folder of Hugging Face needs transformers; run: pip install "invaudit[hf]"'
        ) from error
    return transformers


def _config(transformers: Any, settings: Mapping[str, Any]) -> Any:
    rest = {name: value for name, value in settings.items() if name not in (*NOT_KEPT, "model_type")}
    return transformers.AutoConfig.for_model(str(settings.get("model_type")), **rest)


def _refuse_huge_numbers(value: Any) -> None:
    """Refuse numbers of which transformers would make lists, before it reads the first."""
    if isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            _refuse_huge_numbers(inner)
    elif isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise ModelError(f"{CONFIG} has the number {shown(value)}, expected {LARGEST_NUMBER} at most; {AGAIN}")


@contextmanager
def _bounded() -> Iterator[None]:
    """Refuse a network of more parts than any has, while it is built."""
    parts = count(1)

    def counted(*_: Any) -> None:
        if next(parts) > MOST_PARTS:
            raise ModelError(f"{CONFIG} describes a network of over {MOST_PARTS} parts; {AGAIN}")

    handle = register_module_module_registration_hook(counted)
    try:
        yield
    finally:
        handle.remove()


def _building(settings: Mapping[str, Any]) -> str:
    return f"transformers, building {str(settings.get('model_type'))[:80]},"


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep transformers from drawing bars and tables: what matters is said once, by us."""
    logs = transformers.utils.logging
    before, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity(logs.CRITICAL)
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(before)
        if bars:
            logs.enable_progress_bar()


def _read_object(path: Path) -> dict[str, Any]:
    if not is_file(path, ModelError):
        raise MissingDataError(
            f"{path.parent} is a folder without {path.name}; give a model file, or a folder of Hugging Face with "
            f"{CONFIG}, {WEIGHTS[0]} and {PREPROCESSOR}"
        )
    content = read_text(path, ModelError, most=LARGEST_JSON)
    with foreign(f"{path} is no JSON", ModelError, remedy=AGAIN):
        value = json.loads(content)
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds a {type(value).__name__}, expected keys and values; {AGAIN}")
    return value


def _class_names(labels: Any) -> tuple[str, ...]:
    """Return the names of id2label in order; ``LABEL_0`` and the like are none."""
    if not isinstance(labels, Mapping):
        return ()
    names = tuple(str(labels.get(str(index), "")) for index in range(len(labels)))
    own = all(names) and any(name != f"LABEL_{index}" for index, name in enumerate(names))
    return names if own else ()


ODD_PROCESSORS = ("EfficientNet", "LevitImage", "LevitFeature", "Perceiver")
"""Beginnings of processors whose steps are not what their file says: normalised twice, or cropped in another order."""


def _spec(folder: Path, config: Mapping[str, Any]) -> InputSpec | None:
    path = folder / PREPROCESSOR
    if not is_file(path, ModelError):
        return None
    steps = _read_object(path)
    unknown = [name for name, on in steps.items() if name.startswith("do_") and on is True and name not in STEPS]
    if unknown:
        raise ModelError(
            f"{path} asks for {', '.join(unknown)[:200]}, which is not known here; prepare pictures yourself"
        )
    maker = str(steps.get("image_processor_type") or steps.get("feature_extractor_type") or "")
    if maker.startswith(ODD_PROCESSORS):
        notice(f"{path} is of {maker[:80]}, which takes steps of its own: they are not read")
        return None
    try:
        if steps.get("do_rescale", True) is not True or abs(steps.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6:
            got = shown(steps.get("rescale_factor"))
            raise ModelError(f"{path} scales pixels by {got}, expected 1 / 255; give a model of pixels in [0, 1]")
        preparation, height, width = _preparation(steps, config)
        channels = int(config.get("num_channels", 3))
        normalised = steps.get("do_normalize", True) is True
        mean = tuple(map(float, steps["image_mean"])) if normalised else (0.0,)
        std = tuple(map(float, steps["image_std"])) if normalised else (1.0,)
        return InputSpec(channels, height, width, mean, std, preparation)
    except InputError as error:
        raise ModelError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise ModelError(
            f"{path} does not say how pictures are prepared ({reason(error)}); give --input, --mean, --std"
        ) from error


def _preparation(steps: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[Preparation | None, int, int]:
    """Return the steps, and height and width of what they lead to."""
    interpolation = RESAMPLING[int(steps.get("resample", 2))]
    size = steps["size"]
    if isinstance(size, int):
        size = {"shortest_edge": size} if steps.get("do_center_crop") else {"height": size, "width": size}
    if not steps.get("do_resize", True):
        side = int(config["image_size"])
        return None, side, side
    if "height" in size:
        height, width = int(size["height"]), int(size["width"])
        crop = _crop(steps, height)
        # Scaled to one size whatever the shape, then cropped: the same as ours only where nothing is cut off.
        squashed = crop == height == width or not steps.get("do_center_crop")
        side = height if squashed else crop
        preparation = Preparation(squash=True, interpolation=interpolation) if squashed else None
        return preparation, side, width if squashed else crop
    short = int(size["shortest_edge"])
    if share := steps.get("crop_pct"):  # ConvNeXt: the size is that of the crop; from 384 on nothing is cut
        whole = Preparation(squash=True, interpolation=interpolation)
        cut = Preparation(resize=floor(short / share), interpolation=interpolation)
        return (whole if short >= 384 else cut), short, short
    side = _crop(steps, int(config["image_size"]) if not steps.get("do_center_crop") else short)
    return Preparation(resize=short, interpolation=interpolation), side, side


def _crop(steps: Mapping[str, Any], default: int) -> int:
    if not steps.get("do_center_crop"):
        return default
    crop = steps.get("crop_size", default)
    return int(crop["height"] if isinstance(crop, Mapping) else crop)
