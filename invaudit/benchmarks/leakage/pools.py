"""Pools of a leakage benchmark: who is a member, decided by coins or as it was found, and what is set aside."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from invaudit.benchmarks.leakage.settings import ATTACK_CONTROL, LeakageBenchmark, ReleasedTarget
from invaudit.data import ImageSet, load, refuse_duplicates, seeded_rng
from invaudit.leakage import BlindBaseline, draw_pairs, make_pool, stratified
from invaudit.runtime.errors import DataError, SettingError
from invaudit.runtime.seeds import child_seed
from invaudit.stats import Design, Pairs


@dataclass(frozen=True)
class DrawnPool:
    """One pool with all that an audit of it needs.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1], members and controls.
        labels: (N,) int64.
        design: Who is a member.
        classes: Number of classes.
        reference: Images of the same source that are in no pool: for priors and the centre of the cosine.
    """

    images: Tensor
    labels: Tensor
    design: Design
    classes: int
    reference: Tensor

    @property
    def member(self) -> Tensor:
        """(N,) bool."""
        return torch.from_numpy(self.design.member.copy())


def load_data(settings: LeakageBenchmark) -> ImageSet:
    """Load the images that pools are drawn from.

    Raises:
        InputError: They are not there, or have no labels.
    """
    return _labelled(settings.data)


def draw_pool(settings: LeakageBenchmark, data: ImageSet, seed: int, target: str) -> tuple[DrawnPool, ImageSet]:
    """Draw the pool of one seed: the same for all targets with equally many members, but for the attack control.

    Returns:
        The pool, and what the target is trained on: the pool's members, or for a negative control as many other images.

    Raises:
        SettingError: Too few images of a class.
    """
    choice = settings.choice(target)
    stage = ATTACK_CONTROL if target == ATTACK_CONTROL else f"pool/{choice.members}"
    if settings.odd_even:
        data = replace(data, labels=data.labels % 2)
    drawn = draw_pairs(data.labels, choice.members, seeded_rng(seed, stage))
    pool = DrawnPool(
        images=data.floats(drawn.index),
        labels=data.labels[drawn.index],
        design=Pairs(drawn.member.numpy(), drawn.pair.numpy()),
        classes=int(data.labels.max()) + 1,
        reference=data.floats(drawn.reference),
    )
    members = drawn.index[drawn.member]
    if choice.negative:
        free = torch.ones(len(data), dtype=torch.bool)
        free[drawn.index] = free[drawn.reference] = False
        members = _balanced(data.labels, free.nonzero()[:, 0], data.labels[members])
    return pool, data.subset(members)


def released_pool(choice: ReleasedTarget, seed: int) -> tuple[DrawnPool, BlindBaseline]:
    """Draw the pool of a released target, and measure the blind baseline on it, whose score makes the strata.

    Raises:
        InputError: Data that is missing, has no labels, or does not fit together.
    """
    members, controls, reference = _labelled(choice.members), _labelled(choice.controls), load(choice.reference)
    refuse_duplicates({"members": members, "controls": controls, "reference": reference})
    rng = np.random.default_rng(child_seed(seed, f"pool/{choice.members}"))
    tested, blind = stratified(make_pool(members, controls), rng, most=choice.most)
    classes = int(members.labels.max()) + 1
    return DrawnPool(tested.images.floats(), tested.images.labels, tested.design, classes, reference.floats()), blind


def _labelled(name: str) -> ImageSet:
    data = load(name)
    if int(data.labels.min()) < 0:
        raise DataError(f"{name} has images without labels, expected a class for each; give labelled data")
    return data


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
