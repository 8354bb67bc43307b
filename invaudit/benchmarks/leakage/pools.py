"""Pools of the targets that a leakage benchmark trains: who is a member, decided by coins, and what is set aside."""

from dataclasses import replace

import torch
from torch import Tensor

from invaudit.audit import coin_pool
from invaudit.audit.pools import load_labelled
from invaudit.benchmarks.leakage.settings import LeakageBenchmark
from invaudit.data import ImageSet, seeded_rng
from invaudit.leakage import Pool
from invaudit.records.names import ATTACK_CONTROL
from invaudit.runtime.errors import SettingError


def load_data(settings: LeakageBenchmark) -> ImageSet:
    """Load the images that pools are drawn from.

    Raises:
        InputError: They are not there, or have no labels.
    """
    return load_labelled(settings.data)


def draw_pool(settings: LeakageBenchmark, data: ImageSet, seed: int, target: str) -> tuple[Pool, ImageSet]:
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
    pool, draw = coin_pool(data, choice.members, seeded_rng(seed, stage))
    members = draw.index[draw.member]
    if choice.negative:
        unused = torch.ones(len(data), dtype=torch.bool)
        unused[draw.index] = unused[draw.reference] = False
        members = _balanced(data.labels, unused.nonzero()[:, 0], data.labels[members])
    return pool, data.subset(members)


def _balanced(labels: Tensor, candidates: Tensor, classes: Tensor) -> Tensor:
    """Return positions among the candidates with as many images of every class as ``classes`` has."""
    positions = []
    for label, count in zip(*classes.unique(return_counts=True), strict=True):
        of_class = candidates[labels[candidates] == label][: int(count)]
        if len(of_class) < count:
            raise SettingError(
                f"class {int(label)} has {len(of_class)} images left for a negative control, expected {int(count)}; "
                "ask for fewer members or give more images"
            )
        positions.append(of_class)
    return torch.cat(positions)
