"""Code that others wrote: what it raises is told as theirs."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from invaudit.runtime.boundary import is_ours_or_the_machines, reason
from invaudit.runtime.errors import ModelError

_TORCH = str(Path(torch.__file__).parent)


@contextmanager
def foreign_code(call: str, *, remedy: str = "") -> Iterator[None]:
    """Run code of others: whatever it raises, ``SystemExit`` too, becomes one message that says whose fault it is.

    Args:
        call: Whose code, which call, and the shape that it was given, e.g. ``Net.forward of inputs (2, 1, 8, 8)``.
        remedy: What to do, where it can be said.

    Raises:
        ModelError: The code raised something; the message ends with the last line of its traceback, and where it was.
    """
    try:
        yield
    except BaseException as error:
        if is_ours_or_the_machines(error):
            raise
        end = f"; {remedy}" if remedy else ""
        raise ModelError(f"{call} failed in its own code: {reason(error)}{_place(error)}{end}") from error


def called(module: nn.Module, inputs: Tensor) -> str:
    """Return in words which call of whose code is made."""
    return f"{type(module).__name__}.forward of inputs {tuple(inputs.shape)}"


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a network's state by name; what else its code keeps there is its own.

    Raises:
        ModelError: Its code fails.
    """
    with foreign_code(f"{type(module).__name__}.state_dict"):
        return {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}


def _place(error: BaseException) -> str:
    """Return the last line outside of torch and of invaudit that the error passed through, in words."""
    ours = str(Path(__file__).parent.parent)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((_TORCH, ours)):
            return f" ({Path(frame.filename).name}, line {frame.lineno}, in {frame.name})"
    return ""
