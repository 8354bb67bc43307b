"""The reconstruction methods by name, and the one call that runs them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from invaudit.leakage.inverted import GeneratorSettings, TldrSettings, from_generator
from invaudit.leakage.kkt import KKTSettings, kkt
from invaudit.leakage.reconstruction import Reconstructions
from invaudit.models import Target
from invaudit.runtime.errors import SettingError
from invaudit.runtime.settings import Settings


@dataclass(frozen=True)
class Method:
    """A reconstruction method.

    Attributes:
        settings: Class of its settings.
        run: ``run(target, settings, rng, *, reference=None, checkpoint=None) -> Reconstructions``.
    """

    settings: type[Settings]
    run: Callable[..., Reconstructions]


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "generator": Method(GeneratorSettings, from_generator),
        "tldr": Method(TldrSettings, from_generator),
        "kkt": Method(KKTSettings, kkt),
    }
)
"""Name -> method."""


def reconstruct(
    target: Target,
    method: str,
    settings: Settings | Mapping[str, Any],
    rng: torch.Generator,
    *,
    reference: Tensor | None = None,
    checkpoint: Path | None = None,
) -> Reconstructions:
    """Make images from a target alone that are meant to resemble images it was trained on.

    Args:
        target: Borrowed in eval mode and given back as it was.
        method: A name of ``METHODS``.
        settings: Settings of the method, or their values; choose them without the target's members.
        rng: Source of all draws.
        reference: (M, C, H, W) images in [0, 1] of the same kind that are not in the pool, for methods with an image
            prior.
        checkpoint: File for the state of a long search, so that it can be resumed to the same result.

    Raises:
        SettingError: Unknown method.
        InputError: What the method cannot work with, e.g. batch norm for ``kkt``.
    """
    if method not in METHODS:
        raise SettingError(f"method {method!r} is unknown, expected one of {', '.join(METHODS)}")
    known = METHODS[method]
    chosen = settings if isinstance(settings, Settings) else known.settings.model_validate(settings)
    return known.run(target, chosen, rng, reference=reference, checkpoint=checkpoint)
