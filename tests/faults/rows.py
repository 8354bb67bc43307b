"""What a row of the table of faults is, and how inputs are spoilt."""

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

SHORT = {"steps": 1, "batch_size": 2, "eval_images": 2}
"""Settings of the finished run among the inputs."""
NINES = "9" * 5000
"""More digits than Python reads."""


class Row(NamedTuple):
    """One input that commands refuse.

    Attributes:
        name: What is wrong with it.
        words: The command.
        says: Parts of the message: what, where, remedy.
        spoil: Spoils the inputs in the folder that it is given.
    """

    name: str
    words: tuple[str, ...]
    says: tuple[str, ...]
    spoil: Callable[[Path], object] = lambda folder: folder


def invert(*words: str) -> tuple[str, ...]:
    """Return an inversion of the right network, with words that spoil it."""
    return ("invert", "--model", "mlp.safetensors", "--out", "o", *words)


def resumed(*words: str) -> tuple[str, ...]:
    """Return the command that goes on with the finished run."""
    settings = [word for key, value in SHORT.items() for word in ("--set", f"{key}={value}")]
    return ("invert", "--model", "mlp.safetensors", "--out", "run", *settings, "--resume", *words)


def fit(data: str, *words: str) -> tuple[str, ...]:
    """Return a fit to images."""
    return ("ood", "fit", data, "--out", "o", *words)


def score(*words: str) -> tuple[str, ...]:
    """Return a scoring of the right reconstructions."""
    return ("leakage", "score", "recs.npz", "members.npz", "controls.npz", "--metric", "cosine", "--out", "o", *words)


def text(name: str, content: str | bytes) -> Callable[[Path], object]:
    """Write a file in place of the right one, links not followed."""

    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def config(content: str | bytes) -> Callable[[Path], object]:
    """Write the config."""
    return text("c.yaml", content)


def fifo(name: str) -> Callable[[Path], object]:
    """Put a FIFO in place of a file: opening it would wait for ever."""

    def make(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return make


def link(name: str, to: str) -> Callable[[Path], object]:
    """Put a link in place of a file."""

    def make(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(to)

    return make


def folder(name: str) -> Callable[[Path], object]:
    """Put a folder in place of a file."""

    def make(inputs: Path) -> None:
        (inputs / name).unlink(missing_ok=True)
        (inputs / name).mkdir()

    return make


def without(name: str) -> Callable[[Path], object]:
    """Take a file away."""
    return lambda inputs: (inputs / name).unlink()


def arrays(**named: object) -> Callable[[Path], object]:
    """Write ``d.npz`` with these arrays, beside right ones."""
    right = {"images": np.zeros((4, 8, 8), np.uint8), "labels": np.arange(4) % 2}
    return lambda inputs: np.savez(inputs / "d.npz", **(right | named))  # pyright: ignore[reportArgumentType]


def npz(**members: bytes) -> bytes:
    """Return the bytes of an archive with these arrays, given as the bytes of .npy files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def npy(header: str, content: bytes = bytes(64)) -> bytes:
    """Return the bytes of a .npy file with a header as it is given."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n" + content


def header(shape: str, kind: str = "|u1") -> str:
    """Return the header of a .npy file."""
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
