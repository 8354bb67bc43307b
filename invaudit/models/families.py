"""Architectures by name: ours, those of torchvision, timm and Hugging Face, and code that a user names."""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from invaudit.models.architectures import build
from invaudit.models.foreign import foreign_code, tensors_of
from invaudit.models.spec import InputSpec
from invaudit.runtime.errors import ModelError
from invaudit.runtime.named import import_named

KNOWN = ("invaudit", "torchvision", "timm", "hf")
"""Families of architectures that a file may name by itself: anything else is code of somebody's."""
SIZED = ("invaudit", "torchvision", "timm")
"""Families whose number of outputs can be chosen."""
LONGEST = 200
"""Characters of the name of an architecture."""


def build_network(
    arch: str, spec: InputSpec, outputs: int, *, settings: Mapping[str, Any] | None = None, device: str = "cpu"
) -> nn.Module:
    """Build a network with first weights, in float32.

    Args:
        arch: With its family, see ``full_name``.
        spec: What it takes.
        outputs: Number of logits, for the families that are ``SIZED``.
        settings: What a Hugging Face model is built with.
        device: ``meta`` for one whose weights take no room, to compare shapes.

    Raises:
        ModelError: Unknown name, or code of others that fails.
        MissingExtraError: The family needs a package that is not installed.
    """
    family, _, name = arch.partition(":")
    if len(arch) > LONGEST:
        raise ModelError(f"--arch {arch[:40]}...: {len(arch)} characters, expected {LONGEST} at most")
    # Loading replaces these first weights, so drawing them must not advance the caller's random numbers.
    with torch.random.fork_rng(devices=[]), torch.device(device), warnings.catch_warnings():
        # What libraries say while they build, of options that nobody gave, is nothing a user could act on.
        if family in KNOWN:
            warnings.simplefilter("ignore")
        if family == "invaudit":
            return build(name, spec, outputs)
        if family == "torchvision":
            return _torchvision(name, outputs)
        if family == "timm":
            return _timm(name, spec, outputs)
        if family == "hf":
            from invaudit.models.huggingface import build_from_settings

            return build_from_settings(settings or {})
        return _callable(arch)


def shapes_by_name(
    arch: str, spec: InputSpec, outputs: int, settings: Mapping[str, Any] | None = None
) -> dict[str, tuple[int, ...]]:
    """Return name and shape of each tensor of a network, by one whose weights take no room where that is possible.

    Raises:
        ModelError: As ``build_network``.
    """
    if arch.partition(":")[0] in KNOWN:
        try:
            network = build_network(arch, spec, outputs, settings=settings, device="meta")
        except (NotImplementedError, RuntimeError):  # RegNet asks for the value of a tensor while it is built
            with _without_weights():
                network = build_network(arch, spec, outputs, settings=settings)
    else:
        network = build_network(arch, spec, outputs)
        initialise_lazy(network, spec)
    return {name: tuple(value.shape) for name, value in tensors_of(network).items()}


@contextmanager
def _without_weights() -> Iterator[None]:
    """Take the values of each weight away as soon as it is made, so that a large network takes no room."""

    def emptied(_module: nn.Module, _name: str, weight: nn.Parameter | None) -> nn.Parameter | None:
        return None if weight is None else nn.Parameter(weight.to("meta"), weight.requires_grad)

    # Declared to return nothing, though what a hook returns is taken in place of the weight.
    handle = register_module_parameter_registration_hook(emptied)  # pyright: ignore[reportArgumentType]
    try:
        yield
    finally:
        handle.remove()


def initialise_lazy(network: nn.Module, spec: InputSpec) -> None:
    """Give layers that wait for their first input (``nn.LazyLinear``) their sizes.

    Raises:
        ModelError: The network fails.
    """
    if any(isinstance(value, nn.UninitializedParameter) for value in network.parameters()):
        network.eval()
        with torch.no_grad(), foreign_code(f"{type(network).__name__}.forward of inputs (2, {spec.shape})"):
            network(torch.zeros(2, *spec.shape))


def _callable(arch: str) -> nn.Module:
    module, _, name = arch.partition(":")
    if not (module and name):
        raise ModelError(f"--arch {arch!r}: expected package.module:callable")
    with foreign_code(f"--arch {arch}"), _process_as_it_is():
        try:
            made = import_named(module, name)()
        except (ImportError, AttributeError, ValueError, SyntaxError, TypeError) as error:
            raise ModelError(
                f"--arch {arch!r}: {error}; it must name a callable without arguments that Python can import, in the "
                "current folder or in one that PYTHONPATH names"
            ) from error
        if isinstance(made, torch.jit.ScriptModule):
            raise ModelError(f"--arch {arch!r} gave TorchScript, which cannot be read; give the module it was made of")
        if not isinstance(made, nn.Module):
            raise ModelError(f"--arch {arch!r} gave {type(made).__name__}, expected a torch.nn.Module")
        # A compiled module runs its parts without calling them, so that nothing can be read of them.
        return getattr(made, "_orig_mod", made).float()


@contextmanager
def _process_as_it_is() -> Iterator[None]:
    """Undo what code of others sets for the whole process while it is imported: it meant its own scripts."""
    kind, folder = torch.get_default_dtype(), Path.cwd()
    try:
        with torch.set_grad_enabled(torch.is_grad_enabled()):
            yield
    finally:
        torch.set_default_dtype(kind)
        os.chdir(folder)


def _torchvision(name: str, outputs: int) -> nn.Module:
    from invaudit.data.vision import import_torchvision

    models = import_torchvision().models
    name = name.partition("@")[0]
    if name not in models.list_models(module=models):
        raise ModelError(f"torchvision has no model {name!r} that classifies images; see its list_models()")
    builder = models.get_model_builder(name)
    # GoogLeNet and Inception have further classifiers for training, and draw their first weights for minutes.
    spared = {"googlenet": {"aux_logits": False, "init_weights": False}}
    spared["inception_v3"] = spared["googlenet"]
    return builder(weights=None, num_classes=outputs, **spared.get(name, {}))


def _timm(name: str, spec: InputSpec, outputs: int) -> nn.Module:
    from invaudit.models.presets import import_timm

    if ":" in name:
        raise ModelError(f"timm:{name} would be fetched from elsewhere; give the name of an architecture of timm")
    timm = import_timm()
    if not timm.is_model(name.partition(".")[0]):
        raise ModelError(f"timm has no model {name!r}; see its list_models()")
    with foreign_code(f"timm:{name}"):
        options: dict[str, Any] = {"pretrained": False, "num_classes": outputs, "in_chans": spec.channels}
        return timm.create_model(name, **options, **_timm_size(timm, name, spec))


def _timm_size(timm: Any, name: str, spec: InputSpec) -> dict[str, Any]:
    """Return the size of the input for the networks that are built for one, such as ViT."""
    config = timm.models.get_pretrained_cfg(name)
    if config is None or not config.fixed_input_size or tuple(config.input_size[1:]) == (spec.height, spec.width):
        return {}
    return {"img_size": (spec.height, spec.width)}
