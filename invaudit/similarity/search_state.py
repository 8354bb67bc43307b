"""What a search leaves in its folder after every block, so that one that was stopped goes on to the same bytes."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import write_bytes

FILE = "nearest.safetensors"


@dataclass(frozen=True)
class State:
    """The neighbours among the first ``seen`` gallery images.

    Attributes:
        similarity: (Q, k) float64.
        index: (Q, k) int64.
        seen: Number of gallery images.
        digest: SHA-256 (hex) of their values.
    """

    similarity: Tensor
    index: Tensor
    seen: int
    digest: str


class Record:
    """The state of one search in a folder.

    Args:
        folder: Where the state is kept; None keeps nothing.
        key: Hash of what is searched: queries, metric, k.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self.path, self.key = folder and Path(folder) / FILE, key
        self._digest = hashlib.sha256()

    def read(self) -> State | None:
        """Return the state that was kept, None where there is none.

        Raises:
            RunFolderError: The file is damaged or belongs to another search.
        """
        if self.path is None or not self.path.is_file():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                header = json.loads(file.metadata()["invaudit"])
                state = State(file.get_tensor("similarity"), file.get_tensor("index"), header["seen"], header["digest"])
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise RunFolderError(f"{self.path} is damaged ({error}); remove it to search from the start") from error
        if header["key"] != self.key:
            raise RunFolderError(
                f"{self.path} belongs to a search with other queries, metric or k; give each search its own folder"
            )
        return state

    def hashed(self, images: Tensor) -> str:
        """Return the digest of all gallery images so far, these included; the same in any batches."""
        self._digest.update(images.float().cpu().contiguous().numpy().tobytes())
        return self._digest.hexdigest()

    def write(self, state: State) -> None:
        """Keep the state, in place of the one before.

        Raises:
            RunFolderError: The folder cannot be written.
        """
        if self.path is not None:
            header = {"key": self.key, "seen": state.seen, "digest": state.digest}
            tensors = {"similarity": state.similarity.cpu().contiguous(), "index": state.index.cpu().contiguous()}
            write_bytes(self.path, save(tensors, {"invaudit": json.dumps(header, sort_keys=True)}))
