"""Files that are either whole or absent, and content hashes."""

import hashlib
import io
import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from invaudit.runtime.boundary import foreign
from invaudit.runtime.errors import InputError, RunFolderError
from invaudit.runtime.paths import is_file, opened, read_bytes

OTHER_FOLDER = "remove the folder, or choose another"
PARTIAL = ".partial-"
"""How names of files begin that are not whole yet; one that is left belongs to a process that was killed."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically: temporary file, fsync, rename.

    Raises:
        RunFolderError: The disk is full or the folder cannot be written.
    """
    write_parts(path, [data])


def write_parts(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file atomically, part by part as they come, so that it need not fit into memory.

    Raises:
        RunFolderError: The disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise RunFolderError(
            f"cannot write {path}: {error.strerror or error}; free the disk or choose another --out"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as UTF-8; bytes of file names that are no characters are written as escapes."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically: sorted keys, NaN refused."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path, remedy: str = OTHER_FOLDER, kind: type[InputError] = RunFolderError) -> Any:
    """Read a JSON file of ours.

    Args:
        path: The file.
        remedy: What to do where it is missing or damaged.
        kind: The error that is raised then.
    """
    if not is_file(path, kind):
        raise kind(f"{path} is missing; {remedy}")
    content = read_bytes(path, kind)
    with foreign(f"{path} is damaged", kind, remedy=remedy):
        return json.loads(content, parse_constant=_refuse_constant, parse_float=_finite)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def read_object(path: Path, remedy: str = OTHER_FOLDER, kind: type[InputError] = RunFolderError) -> dict[str, Any]:
    """Read a JSON file of ours that holds keys and values; arguments and errors as of `read_json`."""
    value = read_json(path, remedy, kind)
    if not isinstance(value, dict):
        raise kind(f"{path} is damaged: got a {type(value).__name__}, expected keys and values; {remedy}")
    return value


def content_hash(*parts: bytes | str) -> str:
    """Return the SHA-256 (hex) of the parts, each with its length, so that no two lists collide."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


class StoredArrays(dict[str, np.ndarray]):
    """Arrays of a file by their names; one that is asked for and not there is an error that names the file."""

    def __init__(self, path: Path, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__(arrays)
        self.path = path

    def __missing__(self, name: str) -> NoReturn:
        """Refuse a file that does not hold what it should."""
        raise RunFolderError(f"{self.path} holds no array {name!r}; make the run again in another folder")


def read_arrays(path: Path, start: str = "") -> StoredArrays:
    """Return the arrays of an npz file of a run folder whose names begin so.

    Raises:
        RunFolderError: It is missing or damaged; or, where an array is asked for, it does not hold that.
    """
    with (
        opened(path, RunFolderError) as file,
        foreign(f"{path} is damaged", RunFolderError, remedy="make the run again in another folder"),
        np.load(file, allow_pickle=False) as arrays,
    ):
        return StoredArrays(path, {name: arrays[name] for name in arrays.files if name.startswith(start)})


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """Return arrays as the bytes of an npz file, the same for the same arrays."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **dict(sorted(arrays.items())))
    return buffer.getvalue()
