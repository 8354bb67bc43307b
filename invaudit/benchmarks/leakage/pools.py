"""Pools of a leakage benchmark: who is a member, decided by coins, and what is set aside."""

from dataclasses import dataclass

import torch
from torch import Tensor

from invaudit.benchmarks.leakage.settings import ATTACK_CONTROL, LeakageBenchmark
from invaudit.data import ImageSet, generator, load
from invaudit.leakage import draw_pairs
from invaudit.runtime.errors import DataError, SettingError
from invaudit.stats import Pairs


@dataclass(frozen=True)
class DrawnPool:
    """One pool with all that an audit of it needs.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1], members and controls.
        labels: (N,) int64.
        design: Who is a member.
        classes: Number of classes.
        reference: Images of the same source that are in no pool: for priors and the centre of the cosine.
        others: As many images as there are members, neither in the pool nor reference: members of negative controls.
        other_labels: Their classes.
    """

    images: Tensor
    labels: Tensor
    design: Pairs
    classes: int
    reference: Tensor
    others: Tensor
    other_labels: Tensor

    @property
    def member(self) -> Tensor:
        """(N,) bool."""
        return torch.from_numpy(self.design.member.copy())


def load_data(settings: LeakageBenchmark) -> ImageSet:
    """Load the images that pools are drawn from.

    Raises:
        InputError: They are not there, or have no labels.
    """
    data = load(settings.data)
    if int(data.labels.min()) < 0:
        raise DataError(f"{settings.data} has images without labels, expected a class for each; give labelled data")
    return data


def draw_pool(settings: LeakageBenchmark, data: ImageSet, seed: int, target: str) -> DrawnPool:
    """Draw the pool of one seed: the same for all targets with equally many members, but for the attack control.

    Raises:
        SettingError: Too few images of a class.
    """
    choice = settings.attack_control if target == ATTACK_CONTROL else settings.targets[target]
    stage = ATTACK_CONTROL if target == ATTACK_CONTROL else f"pool/{choice.members}"
    labels = data.labels % 2 if settings.odd_even else data.labels
    drawn = draw_pairs(labels, choice.members, generator(seed, stage))
    used = torch.zeros(len(data), dtype=torch.bool)
    used[drawn.index] = used[drawn.reference] = True
    others = _balanced(labels, (~used).nonzero()[:, 0], labels[drawn.index[drawn.member]])
    return DrawnPool(
        images=data.floats(drawn.index),
        labels=labels[drawn.index],
        design=Pairs(drawn.member.numpy(), drawn.pair.numpy()),
        classes=int(labels.max()) + 1,
        reference=data.floats(drawn.reference),
        others=data.floats(others),
        other_labels=labels[others],
    )


def _balanced(labels: Tensor, free: Tensor, wanted: Tensor) -> Tensor:
    """Return positions among ``free`` with as many images of every class as ``wanted`` has."""
    chosen = []
    for label, count in zip(*wanted.unique(return_counts=True), strict=True):
        found = free[labels[free] == label][: int(count)]
        if len(found) < count:
            raise SettingError(
                f"class {int(label)} has {len(found)} images left for a negative control, expected {int(count)}; "
                "ask for fewer members or give more images"
            )
        chosen.append(found)
    return torch.cat(chosen)
