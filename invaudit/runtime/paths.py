"""The one place that asks, lists and opens paths that somebody else names: any way to fail is one error of ours."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

from invaudit.runtime.errors import InputError
from invaudit.runtime.text import printable

Kind = Literal["file", "folder", "other"]
"""``other``: a FIFO, a socket, a device. Opening one may wait for ever."""

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)
_REMEDIES = {
    errno.EACCES: "ask for the permission, or choose another path",
    errno.EPERM: "ask for the permission, or choose another path",
    errno.ENAMETOOLONG: "give a shorter path",
    errno.ELOOP: "its links lead to each other; give the path of a real file or folder",
}
MOST_OF_A_PATH = 300
"""Characters of a path in a message."""


@contextmanager
def asking(path: Path, kind: type[InputError], remedy: str = "check the path") -> Iterator[None]:
    """Turn what the system, or Python on its way there, says of a path into one error.

    Args:
        path: The path that is asked, listed or opened inside.
        kind: The error to raise.
        remedy: What to do where the reason does not tell.
    """
    try:
        yield
    except OSError as error:
        action = _REMEDIES.get(error.errno or 0, remedy)
        raise kind(f"{short(path)}: {error.strerror or error}; {action}") from error
    except (ValueError, RuntimeError) as error:  # NUL or a lone surrogate in it; a loop, in Python before 3.13
        raise kind(f"{short(path)} is no path ({printable(str(error), 100)}); {remedy}") from error


def short(path: Path) -> str:
    """Return a path for a message."""
    return printable(str(path), MOST_OF_A_PATH)


def what_is(path: Path, kind: type[InputError]) -> Kind | None:
    """Return what lies at a path, links followed; None where nothing does.

    Raises:
        InputError: Of the kind given: the path cannot be asked.
    """
    with asking(path, kind):
        try:
            mode = path.stat().st_mode
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise
        if stat.S_ISREG(mode):
            return "file"
        return "folder" if stat.S_ISDIR(mode) else "other"


def is_file(path: Path, kind: type[InputError]) -> bool:
    """Return whether a regular file lies at a path; raises the kind where that cannot be asked."""
    return what_is(path, kind) == "file"


def is_folder(path: Path, kind: type[InputError]) -> bool:
    """Return whether a folder lies at a path; raises the kind where that cannot be asked."""
    return what_is(path, kind) == "folder"


def resolved(path: Path, kind: type[InputError]) -> Path:
    """Return the absolute path without links; raises the kind where there is none."""
    with asking(path, kind):
        return path.resolve()


def inside(folder: Path, kind: type[InputError]) -> list[Path]:
    """Return the paths in a folder, sorted by name; raises the kind where it cannot be listed."""
    with asking(folder, kind):
        return sorted(folder.iterdir())


@contextmanager
def opened(path: Path, kind: type[InputError]) -> Iterator[IO[bytes]]:
    """Open a regular file to read its bytes; raises the kind where it cannot be opened, or is something else."""
    with asking(path, kind):
        # Without waiting: opening a FIFO would wait for somebody who writes into it.
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    with file:
        _refuse_irregular(file, path, kind)
        yield file


def read_bytes(path: Path, kind: type[InputError], *, most: int | None = None) -> bytes:
    """Return the bytes of a regular file.

    Args:
        path: The file.
        kind: The error to raise.
        most: Largest size that is read.

    Raises:
        InputError: Of the kind given: it cannot be read, is no regular file, or is larger.
    """
    with opened(path, kind) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise kind(f"{short(path)} has {size} bytes, expected at most {most}; give another file")
        with asking(path, kind):
            return file.read()


def read_text(path: Path, kind: type[InputError], *, most: int | None = None) -> str:
    """Return the text of a regular file of UTF-8, with or without a byte order mark; raises the kind otherwise."""
    try:
        return read_bytes(path, kind, most=most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise kind(
            f"{short(path)} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error


def open_own(path: Path, kind: type[InputError]) -> IO[str]:
    """Open a text file of ours to append to it, made where it is missing; never through a link, never anything else.

    Raises:
        InputError: Of the kind given: a link, a FIFO or a folder lies there, or it cannot be written.
    """
    remedy = f"remove {short(path)}, or choose another --out"
    if path.is_symlink():
        raise kind(f"{short(path)} is a link, expected a file of our own; {remedy}")
    with asking(path, kind, remedy):
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.fdopen(os.open(path, flags, 0o666), "a", encoding="utf-8", errors="backslashreplace")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise kind(f"{short(path)} is no regular file; {remedy}")
    return file


def _refuse_irregular(file: IO[bytes], path: Path, kind: type[InputError]) -> None:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise kind(f"{short(path)} is no regular file; give the path of one")
