"""Border images: two classes are equally likely and all others less so; what is known of each of them.

How they are found is the matter of ``border_pixels`` and ``border_paths``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from invaudit.models import Target, frozen_eval
from invaudit.models.devices import images_at_once
from invaudit.runtime.errors import SettingError, ShapeError

LARGEST_GAP = 0.02
"""Largest difference between the probabilities of the two classes of a border image."""
LEAST_PROBABILITY = 0.45
"""Smallest probability of either class of a border image, so that all others have 0.1 together at most."""
SURE = 0.8
"""A network that gives no class more than this is undecided."""
MOST_CLASSES = 10
"""All pairs of so many classes are tried; of more, those that are named or most confused."""
MOST_PAIRS = 45
"""Most confused pairs that are tried by default: as many as ten classes have."""
AT_ONCE = 256
"""Most images in one forward pass."""

Pair = tuple[int, int]
"""Two classes a and b; the start of a border image is of class a where there is a choice."""

By = Literal["pixels", "generator"]
"""How border images were searched for."""

Attack = Callable[[Target, Tensor, Tensor], Tensor]
"""``attack(target, images, labels) -> images``: leaves the classes ``labels`` with as small a change as it can."""


@dataclass(frozen=True)
class Border:
    """One image that was searched for between two classes.

    Attributes:
        pair: The two classes a and b.
        first: Probability of class a.
        second: Probability of class b.
        third: The class that is most likely beside them; None where the target knows two only.
        third_probability: Its probability, else 0.
        distance: From the start, Euclidean, over all pixels in [0, 1].
        status: ``reached``, or why not.
        attack_distance: How far a minimal-norm attack went from the same start to leave the class; None without an
            attack, or where it failed.
        second_model: (n,) probabilities of the second model, or None without one.
    """

    pair: Pair
    first: float
    second: float
    third: int | None
    third_probability: float
    distance: float
    status: str
    attack_distance: float | None = None
    second_model: tuple[float, ...] | None = None

    @property
    def gap(self) -> float:
        """Difference between the probabilities of the two classes."""
        return abs(self.first - self.second)

    @property
    def is_reached(self) -> bool:
        """Whether both classes are likely enough and near enough to each other."""
        return self.status == "reached"

    @property
    def touches(self) -> bool:
        """Whether the two classes are level with every other class below, however likely the others are."""
        return self.gap <= LARGEST_GAP and self.third_probability < min(self.first, self.second)

    @property
    def second_is_undecided(self) -> bool | None:
        """Whether the second model gives no class over 0.8; None without one."""
        return None if self.second_model is None else max(self.second_model) <= SURE


@dataclass(frozen=True, eq=False)
class Borders:
    """Border images of several pairs.

    Attributes:
        by: How they were searched for.
        rows: What is known of each image.
        starts: (N, C, H, W) float32 in [0, 1], where each search began.
        images: (N, C, H, W) float32 in [0, 1]. Rounded to 8 bits they are borders no more where a
            network is steep: of a released CIFAR-10 network not one of 45.
        goals: (N, C, H, W) float32 in [0, 1], an image of class b for each; None where there are none.
    """

    by: By
    rows: tuple[Border, ...]
    starts: np.ndarray
    images: np.ndarray
    goals: np.ndarray | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.rows)

    @property
    def reached(self) -> tuple[Border, ...]:
        """The rows that reached the border."""
        return tuple(row for row in self.rows if row.is_reached)

    @property
    def share_reached(self) -> float | None:
        """Share of the images that reached the border; None of none."""
        return len(self.reached) / len(self.rows) if self.rows else None

    @property
    def median_distance(self) -> float | None:
        """Median distance from the start of those that reached the border; None of none."""
        return float(np.median([row.distance for row in self.reached])) if self.reached else None

    @property
    def median_attack_distance(self) -> float | None:
        """Median distance of the attack from the same starts, where both reached a border; None of none."""
        distances = [row.attack_distance for row in self.reached if row.attack_distance is not None]
        return float(np.median(distances)) if distances else None

    @property
    def share_undecided(self) -> float | None:
        """Of the images that reached the border, the share of which the second model is undecided; None of none."""
        told = [row.second_is_undecided for row in self.reached if row.second_is_undecided is not None]
        return sum(told) / len(told) if told else None


def all_pairs(classes: int) -> tuple[Pair, ...]:
    """Return every pair of two classes once, the smaller number first."""
    return tuple((a, b) for a in range(classes) for b in range(a + 1, classes))


def check_pairs(pairs: Sequence[Pair], classes: int) -> None:
    """Refuse pairs that are none.

    Raises:
        SettingError: A class twice, or one outside its range.
    """
    for a, b in pairs:
        if a == b or not (0 <= a < classes and 0 <= b < classes):
            raise SettingError(f"pair {a}, {b}: expected two different classes from 0 to {classes - 1}")


def measure(
    target: Target,
    pairs: Sequence[Pair],
    starts: Tensor,
    images: Tensor,
    *,
    by: By,
    goals: Tensor | None = None,
    attack: Attack | None = None,
    second: Target | None = None,
) -> Borders:
    """Measure images that are meant to lie on borders.

    Args:
        target: The network whose borders they are. A garbage class counts among the others.
        pairs: N pairs of classes.
        starts: (N, C, H, W) in [0, 1], what the images are near to.
        images: (N, C, H, W) in [0, 1].
        by: How they were searched for.
        goals: (N, C, H, W) in [0, 1], images of the second classes.
        attack: Minimal-norm attack on the starts: from the class that the target gives them, to any other.
        second: Another network of the same classes, to be asked about the images.

    Raises:
        ShapeError: Not one start and one image for each pair.
        SettingError: A pair that is none, or a second model of other classes.
    """
    check_pairs(pairs, target.classes)
    shape = (len(pairs), *target.spec.shape)
    for name, given in (("starts", starts), ("images", images), ("goals", goals)):
        if given is not None and tuple(given.shape) != shape:
            raise ShapeError(f"{name} have shape {tuple(given.shape)}, expected {shape}: one for each pair")
    if second is not None and second.classes != target.classes:
        raise SettingError(f"the second model has {second.classes} classes, the target {target.classes}")
    starts, images = starts.cpu(), images.cpu()
    told = probabilities(target, images)
    of_second = None if second is None else probabilities(second, images)
    distances = lengths(images - starts)
    attack_distances = [None] * len(pairs) if attack is None else _attack_distances(target, starts, attack)
    rows = []
    for row, pair in enumerate(pairs):
        rows.append(
            _border(
                pair,
                told[row],
                float(distances[row]),
                attack_distances[row],
                None if of_second is None else tuple(of_second[row].tolist()),
            )
        )
    ends = None if goals is None else goals.cpu().numpy()
    return Borders(by, tuple(rows), starts.numpy(), images.numpy(), ends)


def probabilities(target: Target, images: Tensor) -> np.ndarray:
    """Return what a network makes of images (N, C, H, W) in [0, 1]: (N, K) float64."""
    batches = [torch.empty(0, target.outputs, dtype=torch.float64)]
    with frozen_eval(target), torch.no_grad():
        for batch in images.split(images_at_once(images.shape, AT_ONCE)) if len(images) else ():
            # In double precision, so that small probabilities and small gaps are not rounded away.
            batches.append(target(batch.to(target.device)).double().softmax(1).cpu())
    return torch.cat(batches).numpy()


def lengths(images: Tensor) -> Tensor:
    """Return the Euclidean length (N,) of each of N images, or of their differences."""
    return images.flatten(1).double().norm(dim=1)


def _border(
    pair: Pair,
    told: np.ndarray,
    distance: float,
    attack_distance: float | None,
    second_model: tuple[float, ...] | None,
) -> Border:
    first, second = float(told[pair[0]]), float(told[pair[1]])
    others = np.delete(np.arange(len(told)), pair)
    third = int(others[told[others].argmax()]) if len(others) else None
    third_probability = 0.0 if third is None else float(told[third])
    status = _status(first, second, third, third_probability)
    return Border(pair, first, second, third, third_probability, distance, status, attack_distance, second_model)


def _status(first: float, second: float, third: int | None, third_probability: float) -> str:
    if not np.isfinite(first + second):
        return "the network gives a number that is not finite"
    gap, least = abs(first - second), min(first, second)
    if gap > LARGEST_GAP:
        return f"gap {gap:.2g}, expected at most {LARGEST_GAP:g}: no image between the two was found"
    if least < LEAST_PROBABILITY:
        return f"both at {least:.2f}, expected {LEAST_PROBABILITY:g}: class {third} has {third_probability:.2f}"
    return "reached"


def _attack_distances(target: Target, starts: Tensor, attack: Attack) -> list[float | None]:
    """Return how far the attack went from each start, None where the class stayed."""
    # One start may serve many pairs, and an attack costs more than all else.
    different, place = starts.unique(dim=0, return_inverse=True)
    labels = torch.from_numpy(probabilities(target, different).argmax(1))
    found = attack(target, different.to(target.device), labels.to(target.device)).cpu()
    has_left = torch.from_numpy(probabilities(target, found).argmax(1)) != labels
    distances = lengths(found - different)
    return [float(distances[row]) if has_left[row] else None for row in place.tolist()]
