"""Which layers of a classifier are read: the linear head and the blocks before it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from invaudit.models.foreign import called, foreign_code


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

        def input_of_head(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            seen[self.head] = first_given(inputs, named)

        handles: list[RemovableHandle] = []
        for name in self.blocks:
            handles.append(module.get_submodule(name).register_forward_hook(output_of(name)))
        handles.append(module.get_submodule(self.head).register_forward_pre_hook(input_of_head, with_kwargs=True))
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()


def find_blocks(module: nn.Module, inputs: Tensor) -> tuple[str, ...]:
    """Find the blocks of any classifier by one forward pass.

    A block starts at a part that holds a convolution and ends before the next such part, so that its output is the one
    after normalisation and activation.

    Args:
        module: The classifier, in eval mode.
        inputs: (B, C, H, W), normalised.
    """
    return tuple(_blocks(module, _recorded_calls(module, inputs)))


class _Call(NamedTuple):
    """One call of a submodule in a forward pass."""

    name: str
    part: nn.Module
    shape: torch.Size


def _recorded_calls(module: nn.Module, inputs: Tensor) -> list[_Call]:
    """Return the calls of all submodules in one forward pass, in order."""
    calls: list[_Call] = []

    def record(name: str, part: nn.Module, _given: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            calls.append(_Call(name, part, output.shape))

    parts = {name: part for name, part in module.named_modules() if part is not module}
    watch_pass(module, inputs, parts, record)
    return calls


def watch_pass(
    module: nn.Module,
    inputs: Tensor,
    parts: Mapping[str, nn.Module],
    watch: Callable[[str, nn.Module, Any, Any], None],
) -> None:
    """Pass inputs through a network, and show each call of some of its parts: name, part, first input, output.

    Raises:
        ModelError: The network fails.
    """

    def show(name: str, part: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        watch(name, part, first_given(inputs, named), output)

    handles: list[RemovableHandle] = []
    for name, part in parts.items():
        handles.append(part.register_forward_hook(partial(show, name), with_kwargs=True))
    try:
        with foreign_code(called(module, inputs)):
            module(inputs.clone())
    finally:
        for handle in handles:
            handle.remove()


def first_given(inputs: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    """Return the first input of a call, which may be given by its name."""
    return inputs[0] if inputs else next(iter(named.values()), None)


def _blocks(module: nn.Module, calls: list[_Call]) -> list[str]:
    """Return the names of the parts after which a block ends, see ``find_blocks``."""
    container, prefix = _main_container(module)
    names = {f"{prefix}{name}" for name, _ in container.named_children()}
    blocks: list[str] = []
    for name, part, shape in calls:
        if name not in names or len(shape) != 4 or shape[2:].numel() < 2:
            continue
        if _holds_convolution(part):
            blocks.append(name)
        elif blocks:
            blocks[-1] = name
    return list(dict.fromkeys(blocks))


def _main_container(module: nn.Module) -> tuple[nn.Module, str]:
    """Return the module whose children are the parts of the network, and the beginning of their names.

    A wrapper has one or two children, the larger of which holds the network.
    """
    container, prefix = module, ""
    children = list(container.named_children())
    while len(children) <= 2 and any(_has_several_parts(child) for _, child in children):
        name, container = max(children, key=lambda child: len(list(child[1].modules())))
        prefix += f"{name}."
        children = list(container.named_children())
    return container, prefix


def _has_several_parts(module: nn.Module) -> bool:
    return len(list(module.children())) > 1


def _holds_convolution(part: nn.Module) -> bool:
    return any(isinstance(inner, nn.Conv2d) for inner in part.modules())
