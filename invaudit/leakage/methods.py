"""The reconstruction methods by name, and the one call that runs them."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from invaudit.data import seeded_rng
from invaudit.leakage.deepinversion import DeepInversionSettings, deepinversion
from invaudit.leakage.generator_attack import GeneratorSettings, TldrSettings, from_generator
from invaudit.leakage.kkt import KKTSettings, kkt
from invaudit.leakage.reconstruction import Reconstructions
from invaudit.models import Target
from invaudit.runtime.errors import SettingError
from invaudit.runtime.settings import Settings

_log = logging.getLogger(__name__)


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
        "deepinversion": Method(DeepInversionSettings, deepinversion),
        "kkt": Method(KKTSettings, kkt),
    }
)
"""Name -> method. None sees who is a member, and all restarts are kept: there is no choice that could look at one."""


def reconstruct(
    target: Target,
    method: str = "kkt",
    settings: Settings | Mapping[str, Any] | None = None,
    rng: torch.Generator | None = None,
    *,
    seed: int = 0,
    reference: Tensor | None = None,
    checkpoint: Path | None = None,
) -> Reconstructions:
    """Make images from a target alone that are meant to resemble images it was trained on.

    Args:
        target: Borrowed in eval mode and given back as it was.
        method: A name of ``METHODS``.
        settings: Settings of the method, or their values, by default its own; choose them without the target's members.
        rng: Source of all draws; by default made from ``seed``, as ``invaudit leakage reconstruct`` does.
        seed: Seed where no ``rng`` is given.
        reference: (M, C, H, W) images in [0, 1] of the same kind that are not in the pool; every method but ``tldr``
            is stronger with them.
        checkpoint: File for the state of a long search, so that it can be resumed to the same result; a method may
            write several, with a number appended.

    Raises:
        SettingError: Unknown method, or settings of another one.
        InputError: What the method cannot work with, e.g. batch norm for ``kkt``.

    Example:
        >>> from invaudit.data import load, seeded_rng
        >>> from invaudit.leakage import TargetRecipe, train_target
        >>> members = load("digits@0:40")
        >>> recipe = TargetRecipe(arch="mlp-40", steps=100)
        >>> target = train_target(recipe, members.floats(), members.labels, members.classes, seeded_rng(0, "target"))
        >>> reconstructions = reconstruct(target, "kkt", {"images": 20, "restarts": 1, "steps": 10})
        >>> reconstructions.images.shape, len(reconstructions.labels)
        (torch.Size([20, 1, 8, 8]), 20)
    """
    if method not in METHODS:
        raise SettingError(f"method {method!r} is unknown, expected one of {', '.join(METHODS)}")
    known = METHODS[method]
    chosen = settings if isinstance(settings, Settings) else known.settings.model_validate(settings or {})
    if type(chosen) is not known.settings:
        raise SettingError(f"got {type(chosen).__name__} for {method!r}, expected {known.settings.__name__}")
    start = time.perf_counter()
    rng = rng or seeded_rng(seed, f"reconstruct/{method}")
    found = known.run(target, chosen, rng, reference=reference, checkpoint=checkpoint)
    log = _log.info if found.outcome in ("converged", "budget") else _log.warning
    log("%s %s: %s", method, found.outcome, found.message)
    return replace(found, seconds=time.perf_counter() - start)
