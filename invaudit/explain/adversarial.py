"""What fools a network: attacks and the generator of adversarial samples on the same photos, measured alike."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from invaudit.data import seeded_rng
from invaudit.explain.adversary import Adversary, other_classes
from invaudit.explain.aims import Aim, checked_aim, euclidean_norms, largest_changes
from invaudit.explain.attacks import Attacked, attack
from invaudit.explain.judging import Guard, accepted_share, predictions
from invaudit.models import Target
from invaudit.runtime.errors import SettingError
from invaudit.runtime.settings import Settings
from invaudit.stats import Estimate, counted_share

INVERSION = "inversion"
"""Name of the generator of adversarial samples among the attacks."""


@dataclass(frozen=True)
class AttackRow:
    """What one attack did to photos that the target classifies rightly.

    Attributes:
        attack: A name of ``ATTACKS``, or ``INVERSION``.
        aim: ``another class``, or ``a wanted class``.
        n: Number of the photos.
        success: Share of them that the target answers as was asked for.
        euclidean: Median Euclidean norm of the changes that succeed; None where none does.
        largest: Median over the same changes of the largest change of a pixel; None where none does.
        transfer: Of the samples that succeed, and whose photo a second network classifies rightly, the share that the
            second network answers as was asked for, too; None without such samples or without a second network.
        accepted: Share of the samples that succeed that the guard accepts; None without such samples or a guard.
        accepted_photos: Share of the photos themselves that it accepts; None without a guard.
        seconds: Wall time.
        reason: Why a value is None; empty where none is.
    """

    attack: str
    aim: str
    n: int
    success: Estimate
    euclidean: float | None
    largest: float | None
    transfer: Estimate | None
    accepted: Estimate | None
    accepted_photos: Estimate | None
    seconds: float
    reason: str


@dataclass(frozen=True)
class Fooled:
    """The row of one attack, and the images behind it.

    Attributes:
        row: Numbers alone.
        index: (n,) int64, which of the photos given were attacked: those that the target classifies rightly.
        samples: Of these photos, in this order.
    """

    row: AttackRow
    index: Tensor
    samples: Attacked


def attacked(
    target: Target,
    photos: Tensor,
    labels: Tensor,
    attacks: Mapping[str, Settings | Mapping[str, Any] | None],
    *,
    seed: int = 0,
    wanted: Tensor | None = None,
    adversary: Adversary | None = None,
    second: Target | None = None,
    guard: Guard | None = None,
) -> tuple[Fooled, ...]:
    """Attack photos in several ways, and measure each.

    Args:
        target: Borrowed in eval mode and given back as it was.
        photos: (N, C, H, W) float32 in [0, 1]; those that the target classifies wrongly are left out.
        labels: (N,) int64, their classes.
        attacks: Name of an attack -> its settings; None: its own.
        seed: Seed of all draws.
        wanted: (N,) int64, classes that the target shall give, other than the labels; None: any other.
        adversary: Beside the attacks; it was trained on other photos. Where no class is wanted, it is shown one at
            random, and any other class than the label counts.
        second: Another network of the same classes.
        guard: Which images are accepted.

    Returns:
        One entry for each attack, in order, the adversary's last.

    Raises:
        SettingError: The target classifies no photo rightly, a wanted class is the label, or an attack is unknown.
        ShapeError: Photos and classes do not fit, or the guard does not give one answer for each image.
    """
    checked_aim(target, photos, labels, wanted)
    if wanted is not None and bool((wanted == labels).any()):
        raise SettingError("wanted holds the label of a photo, which is no attack; choose another class")
    index = (predictions(target, photos) == labels).nonzero()[:, 0]
    if not len(index):
        raise SettingError(f"the target classifies none of {len(photos)} photos rightly: check labels and input spec")
    photos, labels = photos[index], labels[index]
    wanted = None if wanted is None else wanted[index]
    aim = Aim(labels, is_wanted=False) if wanted is None else Aim(wanted, is_wanted=True)
    found: list[Fooled] = []

    def add(name: str, make: Callable[[], Attacked]) -> None:
        start = time.perf_counter()
        samples = make()
        seconds = time.perf_counter() - start
        found.append(Fooled(_row(name, photos, labels, aim, samples, seconds, second, guard), index, samples))

    for name, settings in attacks.items():
        add(name, lambda name=name, settings=settings: attack(
            target, photos, labels, name, settings, wanted=wanted, seed=seed
        ))  # fmt: skip
    if adversary is not None:
        shown = other_classes(labels, target.classes, seeded_rng(seed, "adversary")) if wanted is None else wanted
        add(INVERSION, lambda: _drawn(target, adversary, photos, shown, aim))
    return tuple(found)


def _drawn(target: Target, adversary: Adversary, photos: Tensor, wanted: Tensor, aim: Aim) -> Attacked:
    images = adversary.sample(photos, wanted)
    change = images - photos
    reached = (predictions(target, images) == aim.labels) == aim.is_wanted
    return Attacked(images, reached, euclidean_norms(change), largest_changes(change))


def _row(
    name: str,
    photos: Tensor,
    labels: Tensor,
    aim: Aim,
    samples: Attacked,
    seconds: float,
    second: Target | None,
    guard: Guard | None,
) -> AttackRow:
    reached, reasons = samples.reached, []
    transfer = None
    if not bool(reached.any()):
        reasons.append("no sample succeeds")
    elif second is not None:
        transfer = _transfer(photos[reached], labels[reached], aim.select(reached), samples.images[reached], second)
        if transfer is None:
            reasons.append("the second network classifies no photo behind the samples rightly")
    if second is None:
        reasons.append("no second network")
    if guard is None:
        reasons.append("no guard")
    return AttackRow(
        attack=name,
        aim="a wanted class" if aim.is_wanted else "another class",
        n=len(photos),
        success=counted_share(int(reached.sum()), len(photos)),
        euclidean=_median(samples.euclidean[reached]),
        largest=_median(samples.largest[reached]),
        transfer=transfer,
        accepted=accepted_share(guard, samples.images[reached]),
        accepted_photos=accepted_share(guard, photos),
        seconds=seconds,
        reason="; ".join(reasons),
    )


def _transfer(photos: Tensor, labels: Tensor, aim: Aim, samples: Tensor, second: Target) -> Estimate | None:
    right = predictions(second, photos) == labels
    if not bool(right.any()):
        return None
    fooled = (predictions(second, samples[right]) == aim.labels[right]) == aim.is_wanted
    return counted_share(int(fooled.sum()), len(fooled))


def _median(values: Tensor) -> float | None:
    return float(values.double().quantile(0.5)) if len(values) else None
