"""Model files of our own: safetensors whose header says what the weights are."""

import json
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from safetensors.torch import save
from torch import Tensor

from invaudit.models.architectures import Classifier
from invaudit.models.ends import LastLayer
from invaudit.models.foreign import tensors_of
from invaudit.models.spec import InputSpec
from invaudit.models.target import Target
from invaudit.runtime.errors import InputError, ModelError
from invaudit.runtime.files import write_bytes
from invaudit.runtime.text import shown

SCHEMA = 1
KEY = "invaudit"
"""Name of our entry in the metadata of a safetensors file."""
LONGEST = 1_000_000
"""Characters that our entry may have: class names are the longest part."""
MOST_OUTPUTS = 10**6
AGAIN = "fetch it again, or save it again"
"""What to do about a file of weights that is damaged."""


@dataclass(frozen=True)
class Ending:
    """The layer whose output are the logits, where the network makes something else of it."""

    layer: str
    pooled: bool


@dataclass(frozen=True)
class Header:
    """What a file of ours says of itself; what has a default is written only where it is known.

    Attributes:
        arch: Architecture, as ``load_model`` takes it.
        spec: What the network takes.
        classes: Number of ID classes.
        outputs: Number of logits.
        head: Name of the last linear layer.
        ending: Where the logits are read, if that is not the end of the network.
        class_names: A name for each class.
        settings: What the architecture is built with beside its name (the ``config.json`` of a Hugging Face model).
        blocks: Names of the blocks that are read, which take passes to find; () for our own networks.
    """

    arch: str
    spec: InputSpec
    classes: int
    outputs: int
    head: str
    ending: Ending | None = None
    class_names: tuple[str, ...] = ()
    settings: dict[str, Any] | None = None
    blocks: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the header as it stands in a file."""
        values: dict[str, Any] = {"schema": SCHEMA}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.default is MISSING or value != field.default:
                values[field.name] = value
        values["spec"] = asdict(self.spec)
        if self.spec.preparation is None:
            del values["spec"]["preparation"]
        if self.ending:
            values["ending"] = asdict(self.ending)
        return json.dumps(values, sort_keys=True, allow_nan=False)

    @staticmethod
    def read(text: str, path: Path) -> "Header":
        """Return the header that a file has.

        Raises:
            ModelError: It is damaged, of another schema, or says what cannot be.
        """
        try:
            header = _checked(text)
        except InputError as error:
            raise ModelError(f"{path}: what it says of itself is wrong: {error}; {AGAIN}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelError(f"{path}: what it says of itself is damaged; {AGAIN}") from error
        return header


def _checked(text: str) -> Header:
    """Return the header that a text is; raises an error of ours, or one of those that text of others leads to."""
    if len(text) > LONGEST:
        raise ModelError(f"{len(text)} characters, expected {LONGEST} at most")
    values = json.loads(text)
    if values["schema"] != SCHEMA:
        raise ModelError(f"schema {shown(values['schema'])}, this version reads {SCHEMA}")
    known = {field.name: values[field.name] for field in fields(Header) if field.name in values}
    header = TypeAdapter(Header).validate_python(known)
    if not 2 <= header.outputs <= MOST_OUTPUTS:
        raise ModelError(f"{shown(header.outputs)} outputs, expected 2 to {MOST_OUTPUTS}")
    if header.classes not in (header.outputs, header.outputs - 1):
        got = f"{shown(header.classes)} classes for {header.outputs} outputs"
        raise ModelError(f"{got}, expected as many, or one less with a garbage class")
    if header.class_names and len(header.class_names) != header.classes:
        raise ModelError(f"{len(header.class_names)} class names for {header.classes} classes")
    return header


def save_target(target: Target, path: Path) -> None:
    """Write a target as safetensors: weights, and what they are as text.

    Raises:
        ModelError: The target has no architecture name, so nobody could load it again.
    """
    if target.arch is None:
        raise ModelError(
            "a wrapped module has no architecture name and cannot be saved; build it with load_model and --arch"
        )
    module = target.module
    header = Header(
        arch=target.arch,
        spec=target.spec,
        classes=target.classes,
        outputs=target.outputs,
        head=target.layers.head,
        ending=Ending(module.layer, module.pooled) if isinstance(module, LastLayer) else None,
        class_names=target.class_names,
        settings=target.settings,
        blocks=() if isinstance(module, Classifier) else target.layers.blocks,
    )
    weights: dict[str, Tensor] = {}
    for name, value in tensors_of(module).items():
        # A copy, since layers may share a tensor, and the format has no word for that.
        weights[name] = value.detach().cpu().contiguous().clone()
    write_bytes(path, save(weights, {KEY: header.text()}))
