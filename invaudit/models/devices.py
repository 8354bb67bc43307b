"""Where and how precisely to compute."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from invaudit.runtime.errors import SettingError

PIXELS_AT_ONCE = 1_250_000
"""Pixels of the images that go through a network together, forward and back: 24 images of 224 x 224, for which
EfficientNet-Lite0 keeps about 3 GB."""


def images_at_once(shape: Sequence[int], most: int) -> int:
    """Return how many images (C, H, W) go through a network together: ``most``, or fewer large ones."""
    return max(2, min(most, PIXELS_AT_ONCE // (shape[-2] * shape[-1])))


def resolve_device(text: str) -> torch.device:
    """Return the device named ``auto``, ``cpu``, ``cuda`` or ``cuda:K``.

    Raises:
        SettingError: Unknown name, or no such device on this machine.
    """
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if text != "cpu" and text.partition(":")[0] != "cuda":
        raise SettingError(f"--device {text!r}: expected auto, cpu, cuda or cuda:K")
    try:
        device = torch.device(text)
    except RuntimeError as error:
        raise SettingError(f"--device {text!r}: expected auto, cpu, cuda or cuda:K") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingError(
            f"--device {text}: this machine shows {torch.cuda.device_count()} CUDA devices; use --device cpu"
        )
    return device


def resolve_precision(text: str, device: torch.device) -> torch.dtype:
    """Return the dtype of training: ``float32``, ``bfloat16``, or for ``auto`` bfloat16 where the device is fast at it.

    Raises:
        SettingError: Unknown name.
    """
    if text == "auto":
        return torch.bfloat16 if _fast_bfloat16(device) else torch.float32
    if text not in ("float32", "bfloat16"):
        raise SettingError(f"--precision {text!r}: expected auto, float32 or bfloat16")
    return getattr(torch, text)


def _fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))


def autocast(device: torch.device, precision: torch.dtype) -> Any:
    """Return the autocast context of a precision; none for float32."""
    return torch.autocast(device.type, precision) if precision != torch.float32 else nullcontext()


@contextmanager
def seed_torch(rng: torch.Generator) -> Iterator[None]:
    """Seed torch's own generators from ``rng`` inside, for layers that take no generator, and restore them after."""
    seed = int(torch.randint(2**62, (), generator=rng))
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def limit_threads(n: int) -> Iterator[None]:
    """Compute with ``n`` threads inside, and restore the number after."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
