"""Checkpoints: the state of long work in one file, from which a killed run goes on to the same bytes."""

import io
from pathlib import Path
from typing import Any

import torch

from invaudit.runtime.boundary import foreign
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import write_bytes
from invaudit.runtime.paths import is_file, read_bytes


class Checkpoint:
    """The file in which long work keeps its state.

    The file is always whole: a run that is killed while it writes leaves the state before.

    Args:
        path: The file.
        identity: Content hash of everything the work begins with; only work with the same one continues the file.
        work: Name of the work in messages, e.g. ``training``.
    """

    def __init__(self, path: Path, identity: str, work: str) -> None:
        self.path, self.identity, self.work = path, identity, work

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file by this state: tensors, numbers, texts, and lists and dicts of them."""
        buffer = io.BytesIO()
        torch.save({"identity": self.identity, **state}, buffer)
        write_bytes(self.path, buffer.getvalue())

    def load(self) -> dict[str, Any] | None:
        """Return the state that was saved last, with its tensors on the CPU; None where there is no file yet.

        Raises:
            RunFolderError: The file is damaged, or belongs to other work.
        """
        if not is_file(self.path, RunFolderError):
            return None
        remedy = f"remove it to begin the {self.work} again"
        content = read_bytes(self.path, RunFolderError)
        with foreign(f"{self.path} is damaged", RunFolderError, remedy=remedy):
            state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        if not isinstance(state, dict):
            raise RunFolderError(
                f"{self.path} holds a {type(state).__name__}, expected the state of the {self.work}; {remedy}"
            )
        if state.pop("identity", None) != self.identity:
            raise self.refusal()
        return state

    def refusal(self) -> RunFolderError:
        """Return the error that says that the file belongs to other work."""
        return RunFolderError(
            f"{self.path} is the checkpoint of another {self.work}; remove it or choose another --out"
        )
