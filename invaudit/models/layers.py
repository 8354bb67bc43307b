"""Which layers of a classifier are read: the linear head and the blocks before it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from invaudit.runtime.errors import ModelError


@dataclass(frozen=True)
class Layers:
    """Names of submodules: the head, whose input are the features, and the blocks, whose outputs are read."""

    head: str
    blocks: tuple[str, ...]

    @contextmanager
    def recorded(self, module: nn.Module) -> Iterator[dict[str, Tensor]]:
        """Record the input of the head and the outputs of the blocks during the forward passes inside."""
        seen: dict[str, Tensor] = {}

        def output_of(name: str):
            def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
                seen[name] = output

            return hook

        def input_of_head(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen[self.head] = inputs[0]

        handles = [module.get_submodule(name).register_forward_hook(output_of(name)) for name in self.blocks]
        handles.append(module.get_submodule(self.head).register_forward_pre_hook(input_of_head))
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()


def find_layers(module: nn.Module, inputs: Tensor) -> Layers:
    """Find head and blocks of any classifier by one forward pass.

    A block starts at a part that holds a convolution and ends before the next such part, so that its output is the one
    after normalisation and activation.

    Args:
        module: The classifier, in eval mode.
        inputs: (B, C, H, W), normalised.

    Raises:
        ModelError: The output is not that of a linear layer.
    """
    calls: list[tuple[str, nn.Module, Tensor]] = []

    def note(name: str):
        def hook(part: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if isinstance(output, Tensor):
                calls.append((name, part, output.clone()))

        return hook

    handles = [part.register_forward_hook(note(name)) for name, part in module.named_modules() if name]
    try:
        logits = module(inputs)
    finally:
        for handle in handles:
            handle.remove()
    leaves = [
        call for call in calls if not any(call[1].children()) and not isinstance(call[1], nn.Identity | nn.Dropout)
    ]
    name, last, output = leaves[-1] if leaves else ("", None, logits)
    # The values alone do not tell: a ReLU after the last layer changes nothing where all logits are positive.
    if not isinstance(last, nn.Linear) or output.shape != logits.shape or not torch.equal(output, logits):
        raise ModelError(
            "the output of the model is not that of a linear layer (nn.Linear); wrap a model that ends with one"
        )
    return Layers(name, tuple(_blocks(module, calls)))


def _blocks(module: nn.Module, calls: list[tuple[str, nn.Module, Tensor]]) -> list[str]:
    container, prefix = module, ""
    while len(children := list(container.named_children())) <= 2 and any(
        len(list(c.children())) > 1 for _, c in children
    ):
        name, container = max(children, key=lambda item: sum(1 for _ in item[1].modules()))
        prefix += f"{name}."
    direct = {f"{prefix}{name}": part for name, part in container.named_children()}
    blocks: list[str] = []
    for name, _, output in calls:
        if name not in direct or output.ndim != 4 or output.shape[2:].numel() < 2:
            continue
        if any(isinstance(part, nn.Conv2d) for part in direct[name].modules()):
            blocks.append(name)
        elif blocks:
            blocks[-1] = name
    return list(dict.fromkeys(blocks))
