"""Attacks: fresh generators, unseen in training, try to make images that a network calls a class."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from invaudit.benchmarks.ood.settings import OODBenchmark
from invaudit.data import seeded_rng
from invaudit.data.image_set import eight_bits
from invaudit.inversion import InversionSettings, Inverter
from invaudit.models import Target
from invaudit.records.names import ACCEPTED, ATTACK_PREFIX, CALIBRATE, IMAGES, scores_key
from invaudit.stats import conformal_threshold


class Attacks(NamedTuple):
    """What the attacks of a benchmark made against one network.

    Attributes:
        images: Name of the set of images -> (N, C, H, W) in [0, 1]; an attack that diverged has none.
        outcomes: Name of the attack -> how its inversion ended.
    """

    images: dict[str, Tensor]
    outcomes: dict[str, str]


def attack_network(settings: OODBenchmark, seed: int, target: Target) -> Attacks:
    """Let every attack of a benchmark work on a network."""
    attacks = Attacks({}, {})
    for name, attack in settings.attacks.items():
        rng = seeded_rng(seed, f"attack/{name}")
        attacks.outcomes[name], images = fresh_inversions(target, attack, settings.attack_images, rng)
        if images is not None:
            attacks.images[ATTACK_PREFIX + name] = images
    return attacks


def fresh_inversions(
    target: Target, attack: InversionSettings, n: int, rng: torch.Generator
) -> tuple[str, Tensor | None]:
    """Train a new generator against a target; return the outcome and n images of its classes in turn, if any."""
    attacker = Inverter(attack, target, rng)
    outcome = attacker.run(target).outcome
    if outcome == "diverged":
        return outcome, None
    return outcome, attacker.sample(torch.arange(n) % target.classes, rng)


def attack_pictures(
    images: dict[str, Tensor], scores: dict[str, np.ndarray], classes: int, detector: str, alpha: float
) -> dict[str, np.ndarray]:
    """Return an image of each class of every set, and which of them a detector accepts.

    Args:
        images: Name of the set -> images, of the classes in turn.
        scores: Stored scores by detector and set.
        classes: Number of classes.
        detector: Name of the detector.
        alpha: Its false-alarm rate.

    Returns:
        Arrays by name of the set and `IMAGES` or `ACCEPTED`, joined by `scores_key`; where the detector failed, there
        is no `ACCEPTED`.
    """
    pictures = {}
    calibration = scores.get(scores_key(detector, CALIBRATE))
    for name, of_attack in images.items():
        pictures[scores_key(name, IMAGES)] = eight_bits(of_attack[:classes]).numpy()
        attacked = scores.get(scores_key(detector, name))
        if calibration is not None and attacked is not None:
            accepted = attacked[:classes] <= conformal_threshold(calibration, alpha)
            pictures[scores_key(name, ACCEPTED)] = accepted
    return pictures
