"""Twins: untrained networks of the architecture of another."""

import torch

from invaudit.models.devices import seed_torch
from invaudit.models.ends import LastLayer
from invaudit.models.families import build_network, initialise_lazy
from invaudit.models.filling import widen, with_ending
from invaudit.models.foreign import tensors_of
from invaudit.models.target import Target
from invaudit.runtime.errors import ModelError


def untrained_twin(target: Target, rng: torch.Generator) -> Target:
    """Return a network like the target with first weights, on the CPU.

    Args:
        target: The network; it must have the name of an architecture.
        rng: CPU source of the weights.

    Raises:
        ModelError: The target has no architecture name, or its architecture builds another network.
    """
    if target.arch is None:
        raise ModelError(
            "a wrapped module has no architecture name, so that no network like it can be built; load it with "
            "load_model and --arch"
        )
    where = f"{target.arch} does not build the network that the model is"
    with seed_torch(rng):
        module = build_network(target.arch, target.spec, target.outputs, settings=target.settings)
        initialise_lazy(module, target.spec)
        if isinstance(target.module, LastLayer):
            module = with_ending(module, target.module.layer, pooled=target.module.pooled, where=where)
        widen(module, target.layers.head, target.outputs, where)
    shapes, expected = [
        {name: tuple(value.shape) for name, value in tensors_of(network).items()} for network in (module, target.module)
    ]
    unlike = sorted(name for name in shapes.keys() | expected.keys() if shapes.get(name) != expected.get(name))
    if unlike:
        raise ModelError(f"{where}: they differ in {', '.join(unlike[:5])}; name its architecture, --arch")
    twin = Target(module, target.spec, target.classes, layers=target.layers, arch=target.arch)
    twin.settings, twin.class_names = target.settings, target.class_names
    return twin
