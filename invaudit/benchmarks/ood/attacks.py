"""Attacks: fresh generators, unseen in training, try to make images that a network calls a class.

Or ID images are changed a little, until a network calls them another class.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from invaudit.benchmarks.ood.settings import ImageAttack, OODBenchmark
from invaudit.data import ImageSet, seeded_rng
from invaudit.data.image_set import eight_bits
from invaudit.explain.attacks import attack as change
from invaudit.inversion import InversionSettings, Inverter
from invaudit.models import Target, collect
from invaudit.ood.scores import fools_network
from invaudit.records.names import ACCEPTED, ATTACK_PREFIX, CALIBRATE, IMAGES, scores_key
from invaudit.stats import conformal_threshold


class Attacks(NamedTuple):
    """What the attacks of a benchmark made against one network.

    Attributes:
        images: Name of the set of images -> (N, C, H, W) in [0, 1]; an attack that diverged has none.
        outcomes: Name of the attack -> how it ended.
        labels: Name of the set, of those that are changed ID images -> (N,) the classes that these show.
    """

    images: dict[str, Tensor]
    outcomes: dict[str, str]
    labels: dict[str, Tensor]

    @property
    def inversions(self) -> dict[str, Tensor]:
        """The images that fresh generators made."""
        return {name: images for name, images in self.images.items() if name not in self.labels}

    def fooled(self, name: str, logits: Tensor, classes: int) -> Tensor:
        """Return which images of a set a network takes for a class that they do not show, (N,) bool.

        Of changed ID images the largest output decides, however sure it is: attacks of least norm stop at the border.

        Args:
            name: Name of the set.
            logits: (N, outputs), the network's answers.
            classes: Number of classes.
        """
        if name not in self.labels:
            return fools_network(logits, classes)
        answers = logits.argmax(1)
        return (answers != self.labels[name]) & (answers < classes)


def attack_network(settings: OODBenchmark, seed: int, target: Target, test: ImageSet) -> Attacks:
    """Let every attack of a benchmark work on a network; ``test`` are the ID images that may be changed."""
    attacks = Attacks({}, {}, {})
    for name, attack in settings.attacks.items():
        set_name, rng = ATTACK_PREFIX + name, seeded_rng(seed, f"attack/{name}")
        if isinstance(attack, InversionSettings):
            attacks.outcomes[name], images = fresh_inversions(target, attack, settings.attack_images, rng)
            if images is not None:
                attacks.images[set_name] = images
            continue
        is_known = collect(target, test, keep_maps=False).logits.argmax(1) == test.labels
        attacks.outcomes[name] = "ok" if bool(is_known.any()) else "the network gives no ID test image its class"
        if bool(is_known.any()):
            known = test.subset(is_known).spread(settings.attack_images)
            attacks.images[set_name], attacks.labels[set_name] = (
                changed_images(target, attack, known, rng),
                known.labels,
            )
    return attacks


def changed_images(target: Target, attack: ImageAttack, known: ImageSet, rng: torch.Generator) -> Tensor:
    """Return ID images (N, C, H, W), changed towards the class that the network finds likeliest beside their own.

    Towards a class, since away from their own a network with a garbage class may end there, which fools nobody.

    Args:
        target: The network.
        attack: The attack.
        known: Images that the network gives their class.
        rng: CPU generator of all draws.
    """
    logits = collect(target, known, keep_maps=False).logits[:, : target.classes]
    wanted = logits.scatter(1, known.labels[:, None], -torch.inf).argmax(1)
    chosen = change(target, known.floats(), known.labels, attack.kind, attack.settings, rng, wanted=wanted)
    return chosen.images


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
