"""Building the network that a file of weights belongs to, and filling it; all sizes are compared before it is built."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn

from invaudit.models.ends import LastLayer
from invaudit.models.families import KNOWN, SIZED, build_network, initialise_lazy, shapes_by_name
from invaudit.models.foreign import foreign_code, tensors_of
from invaudit.models.huggingface import fill_from_folder
from invaudit.models.matching import Match, Matched, check_shapes, match_names
from invaudit.models.own_files import Header
from invaudit.models.spec import InputSpec
from invaudit.models.stored_weights import StoredWeights, named
from invaudit.runtime.errors import ModelError

SMALL = 10**6
"""Weights that are built without a question."""


@dataclass(frozen=True)
class Filling:
    """A network to build, and the weights that it gets.

    Args:
        arch: Architecture, with its family.
        spec: What it takes.
        weights: As the file has them.
        where: The file and the network, for messages.
        settings: What a Hugging Face model is built with.
    """

    arch: str
    spec: InputSpec
    weights: StoredWeights
    where: str
    settings: Mapping[str, Any] | None = None

    def network(self, match: Match) -> tuple[nn.Module, Matched]:
        """Return the network with its weights, and which went where.

        Raises:
            ModelError: They do not fit, or are not finite.
        """
        if self.weights.header:
            return self._of_our_file(self.weights.header)
        if self.settings is not None:
            module, left_out = fill_from_folder(self.settings, self.weights.tensors, self.where)
            return self._finite(module), Matched({}, [], left_out, [])
        shapes = self._shapes(2)
        matched = match_names(
            list(self.weights.tensors), list(shapes), match=match, ordered=self.weights.ordered, where=self.where
        )
        outputs = 2
        if self.arch.partition(":")[0] in SIZED:
            outputs = self._outputs(matched, shapes)
            shapes = self._shapes(outputs)
        check_shapes(matched, self.weights.tensors, shapes, self.where)
        return self._filled(self._built(outputs), matched), matched

    def notes(self, matched: Matched) -> list[str]:
        """Return what was left out of the file, and what was matched by order."""
        notes = []
        left_out = [*matched.left_out, *self.weights.left_out]
        if left_out:
            notes.append(f"left out of the file: {named(left_out)}")
        if matched.by_order:
            pairs = [f"{stored} as {name}" for name, stored in matched.by_order]
            notes.append(
                f"matched by order: {named(pairs)}; only accuracy on labelled images can tell whether that is right"
            )
        return notes

    def _of_our_file(self, header: Header) -> tuple[nn.Module, Matched]:
        """Return the network of a file of ours: all names are equal, and its ending is known."""
        names = {name: name for name in self.weights.tensors}
        matched = Matched(names, [], [], [])
        self._refuse_larger(header.outputs)
        module = self._built(header.outputs)
        if header.ending:
            module = with_ending(module, header.ending.layer, pooled=header.ending.pooled, where=self.where)
        widen(module, header.head, header.outputs, self.where)
        self._compare(matched, {name: tuple(value.shape) for name, value in tensors_of(module).items()})
        return self._filled(module, matched), matched

    def _refuse_larger(self, outputs: int) -> None:
        """Refuse a network much larger than its file, before it is built: its name comes from the file, too."""
        if self.arch.partition(":")[0] not in KNOWN:
            return
        numbers = sum(map(prod, self._shapes(outputs).values()))
        held = sum(value.numel() for value in self.weights.tensors.values())
        if numbers > 2 * held + SMALL:
            raise ModelError(f"{self.where}: the network has {numbers} weights, the file holds {held}; check --arch")

    def _shapes(self, outputs: int) -> dict[str, tuple[int, ...]]:
        return shapes_by_name(self.arch, self.spec, outputs, self.settings)

    def _built(self, outputs: int) -> nn.Module:
        module = build_network(self.arch, self.spec, outputs, settings=self.settings)
        initialise_lazy(module, self.spec)
        return module

    def _outputs(self, matched: Matched, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Return the number of outputs that the file has: the size of what depends on it in the network."""
        other = self._shapes(3)
        for name, stored in matched.stored.items():
            if shapes[name] != other[name]:
                value = self.weights.tensors[stored]
                if not (value.ndim and len(value)):
                    raise ModelError(
                        f"{self.where}: {stored!r} has shape {tuple(value.shape)}, which are no outputs; check --arch"
                    )
                return len(value)
        return 2

    def _compare(self, matched: Matched, wanted: Mapping[str, tuple[int, ...]]) -> None:
        """Refuse a file of ours whose names or shapes are not those of the network."""
        found = self.weights.tensors
        missing, more = [name for name in wanted if name not in found], [name for name in found if name not in wanted]
        if missing or more:
            raise ModelError(
                f"{self.where}: it lacks {named(missing) or 'nothing'} and holds {named(more) or 'nothing'} beside; "
                "check --arch"
            )
        check_shapes(matched, found, wanted, self.where)

    def _filled(self, module: nn.Module, matched: Matched) -> nn.Module:
        """Give a network its weights, in the precision that it computes in."""
        tensors = tensors_of(module)
        state = module.state_dict()  # with what else its code keeps there, and the version of its layers
        for name, stored in matched.stored.items():
            value = self.weights.tensors[stored]
            if tensors[name].is_floating_point() and not value.is_floating_point():
                raise ModelError(f"{self.where}: {stored!r} is of {value.dtype}, expected floats; save it as float32")
            state[name] = value
        with foreign_code(f"{type(module).__name__}.load_state_dict"):
            module.load_state_dict(state)
        return self._finite(module, matched.stored)

    def _finite(self, module: nn.Module, stored: Mapping[str, str] | None = None) -> nn.Module:
        """Refuse weights that are not finite, by the names that they have in the file."""
        broken = []
        for name, value in tensors_of(module).items():
            if not value.isfinite().all():
                broken.append((stored or {}).get(name, name))
        if broken:
            raise ModelError(
                f"{self.where}: weights are not finite in {named(broken)}; give those from before training diverged"
            )
        return module


def with_ending(module: nn.Module, layer: str, *, pooled: bool, where: str) -> LastLayer:
    """Return a network whose logits are what a layer of it gives, see ``LastLayer``.

    Raises:
        ModelError: There is no such layer, or it is of another kind; ``where`` begins the message.
    """
    kind = nn.Conv2d if pooled else nn.Linear
    found = _part(module, layer, where)
    if not isinstance(found, kind):
        raise ModelError(f"{where}: {layer!r} is {type(found).__name__}, expected {kind.__name__}")
    return LastLayer(module, layer, pooled=pooled)


def widen(module: nn.Module, name: str, outputs: int, where: str) -> None:
    """Give the head so many outputs, with new weights: a callable that takes no arguments knows no garbage class.

    Raises:
        ModelError: There is no such layer; ``where`` begins the message.
    """
    head = _part(module, name, where)
    if isinstance(head, nn.Linear) and head.out_features != outputs:
        with torch.random.fork_rng(devices=[]):
            module.set_submodule(name, nn.Linear(head.in_features, outputs, bias=head.bias is not None))


def _part(module: nn.Module, name: str, where: str) -> nn.Module:
    try:
        return module.get_submodule(name)
    except AttributeError as error:
        raise ModelError(f"{where}: it names {name[:80]!r} as its last layer, which there is not") from error
