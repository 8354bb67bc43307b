"""What users call: find images of every class of a target, by a generator or by pixels, and judge what they show."""

import logging
from pathlib import Path

import torch

from invaudit.data import ImageSet, seeded_rng
from invaudit.inversion.engine import Inverter
from invaudit.inversion.judging import judged
from invaudit.inversion.observing import share_without_slope
from invaudit.inversion.pixel_inversion import PixelInversion, PixelInversionSettings, search_pixels
from invaudit.inversion.results import Inversion, draw
from invaudit.inversion.settings import InversionSettings
from invaudit.inversion.shipped import shipped_config
from invaudit.models import Target, frozen_eval
from invaudit.runtime.settings import load_config

START_IMAGES = 64
"""Images of the untrained generator that are looked at before a search."""
MOST_WITHOUT_SLOPE = 0.5
"""Share of them that may have no slope."""
_log = logging.getLogger(__name__)


def invert(
    target: Target,
    settings: InversionSettings | None = None,
    rng: torch.Generator | None = None,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    real: ImageSet | None = None,
) -> Inversion:
    """Train one generator against a target, and judge what its images show.

    Args:
        target: Is borrowed: frozen, in eval mode, and given back as it was.
        settings: How to train the generator; by default as the shipped config for the target's channels says.
        rng: CPU generator of everything random; by default made from ``seed``, as ``invaudit invert`` does.
        seed: Seed where no ``rng`` is given.
        checkpoint: File that is written after every evaluation; where it exists, the run goes on from it.
        real: Held-out real images of the target's classes: what the images are measured against, if given.

    Raises:
        SettingError: The target's images are too small.
        RunFolderError: The checkpoint belongs to another inversion.

    References:
        arXiv 2411.17777.

    Example:
        >>> from invaudit.models import InputSpec, Target, build
        >>> spec = InputSpec(channels=1, height=8, width=8)
        >>> target = Target(build("small-cnn", spec, 10), spec, classes=10)
        >>> inversion = invert(target, InversionSettings(steps=5), seed=0)
        >>> wanted = torch.tensor([3, 3, 7])
        >>> inversion.sample(wanted, torch.Generator().manual_seed(0)).shape
        torch.Size([3, 1, 8, 8])
    """
    settings = settings or load_config(InversionSettings, shipped_config("generator", target.spec.channels))
    rng = rng or seeded_rng(seed, "invert")
    inverter = Inverter(settings, target, rng)
    _warn_of_dead_start(target, inverter)
    inversion = inverter.run(target, checkpoint=checkpoint, watch=True)
    inversion, _ = judged(inversion, target, seeded_rng(seed, "invert/judgement"), real=real)
    _say(inversion)
    return inversion


def invert_pixels(
    target: Target,
    settings: PixelInversionSettings | None = None,
    rng: torch.Generator | None = None,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    real: ImageSet | None = None,
) -> PixelInversion:
    """Search for images of every class of a target by their pixels, and judge what they show.

    Args:
        target: Is borrowed: frozen, in eval mode, and given back as it was.
        settings: How to search; by default as the shipped config for the target's channels says.
        rng: CPU generator of everything random; by default made from ``seed``.
        seed: Seed where no ``rng`` is given.
        checkpoint: File from which a killed run goes on; each batch writes one with its number appended.
        real: Held-out real images of the target's classes: what the images are measured against, if given.

    Raises:
        RunFolderError: The checkpoint belongs to another inversion.
    """
    settings = settings or load_config(PixelInversionSettings, shipped_config("pixels", target.spec.channels))
    rng = rng or seeded_rng(seed, "invert")
    inversion = search_pixels(target, settings, rng, checkpoint=checkpoint)
    inversion, _ = judged(inversion, target, seeded_rng(seed, "invert/judgement"), real=real)
    _say(inversion)
    return inversion


def invert_by(
    target: Target,
    settings: InversionSettings | PixelInversionSettings,
    *,
    seed: int,
    checkpoint: Path | None = None,
    real: ImageSet | None = None,
) -> Inversion | PixelInversion:
    """Invert a target by the engine that the settings are of; see ``invert`` and ``invert_pixels``."""
    if isinstance(settings, PixelInversionSettings):
        return invert_pixels(target, settings, seed=seed, checkpoint=checkpoint, real=real)
    return invert(target, settings, seed=seed, checkpoint=checkpoint, real=real)


def _warn_of_dead_start(target: Target, inverter: Inverter) -> None:
    """Say so where the target has no slope for most of the first images: a search cannot leave from there."""
    labels = torch.arange(START_IMAGES) % target.classes
    images = draw(inverter.generator, inverter.settings, target.classes, labels, seeded_rng(0, "invert/start"))
    with frozen_eval(target):
        share = share_without_slope(target, images, labels)
    if share > MOST_WITHOUT_SLOPE:
        _log.warning(
            "the target gives %.0f %% of the first images no slope (dead ReLUs, or logits that are saturated): the "
            "search may not leave its start; check --mean and --std, or try another --seeds",
            100 * share,
        )


def _say(inversion: Inversion | PixelInversion) -> None:
    log = _log.info if inversion.outcome == "converged" else _log.warning
    log("inversion %s: %s", inversion.outcome, inversion.message)
