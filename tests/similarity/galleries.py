"""Queries and a gallery for searches: equal images, nearly equal ones, and images that occur twice."""

import torch
from torch import Tensor

from invaudit.data import seeded_rng
from invaudit.similarity import Neighbours

SHAPE = (3, 12, 12)


def images(n: int, stage: str) -> Tensor:
    return torch.rand(n, *SHAPE, generator=seeded_rng(0, f"tests/{stage}"))


QUERIES = images(6, "queries")
GALLERY = images(41, "gallery")
GALLERY[5] = GALLERY[30] = QUERIES[2]
GALLERY[7] = GALLERY[8] = 0.5
GALLERY[9] = (QUERIES[3] + 1e-4).clamp(0, 1)
GALLERY[10:20] = GALLERY[20:30]


def same(first: Neighbours, second: Neighbours) -> bool:
    return torch.equal(first.index, second.index) and torch.equal(first.value, second.value)
