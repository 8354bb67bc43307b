"""Code that others wrote: what it raises is told as theirs."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from invaudit.runtime.boundary import lacks_memory
from invaudit.runtime.errors import InvauditError, ModelError

LONGEST = 300
"""Characters that are quoted of a message of others."""
_TORCH = str(Path(torch.__file__).parent)


@contextmanager
def foreign_code(call: str) -> Iterator[None]:
    """Run code of others: whatever it raises, ``SystemExit`` too, becomes one message that says whose fault it is.

    Args:
        call: Whose code, which call, and the shape that it was given, e.g. ``Net.forward of inputs (2, 1, 8, 8)``.

    Raises:
        ModelError: The code raised something; the message ends with the last line of its traceback, and where it was.
    """
    try:
        yield
    except (KeyboardInterrupt, InvauditError):
        raise
    except BaseException as error:
        if lacks_memory(error):
            raise
        raise ModelError(f"{call} failed in its own code: {_last_line(error)}{_place(error)}") from error


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


def _last_line(error: BaseException) -> str:
    lines = traceback.format_exception_only(error)[-1].strip().splitlines()
    line = lines[0] if lines else type(error).__name__
    return line if len(line) <= LONGEST else line[:LONGEST] + " ..."


def _place(error: BaseException) -> str:
    """Return the last line outside of torch and of invaudit that the error passed through, in words."""
    ours = str(Path(__file__).parent.parent)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((_TORCH, ours)):
            return f" ({Path(frame.filename).name}, line {frame.lineno}, in {frame.name})"
    return ""
