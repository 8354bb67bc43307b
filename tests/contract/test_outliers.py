"""What every noise, derivation and family of outliers promises."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from invaudit.data import DERIVED, FAMILIES, NOISES, derived, noise, seeded_rng
from tests.data.image_pools import pool

SIZES = [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 32, 32), (1, 11, 11), (3, 9, 14)]
N = 12

Make = Callable[[Tensor, Tensor, torch.Generator], Tensor]
MAKERS: dict[str, Make] = {
    **{f"noise/{name}": lambda x, _y, rng, f=f: f((N, *x.shape[1:]), rng) for name, f in NOISES.items()},
    **{f"derived/{name}": lambda x, y, rng, f=f: f(x, y, rng, N) for name, f in DERIVED.items()},
    **{f"family/{name}": lambda x, y, rng, f=f: f(x, y, N, rng) for name, f in FAMILIES.items()},
    "noise": lambda x, _y, rng: noise(N, tuple(x.shape[1:]), rng),
    "derived": lambda x, y, rng: derived(x, y, N, rng),
}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", MAKERS)
def test_outliers_are_images_that_only_the_seed_decides(name: str, size: tuple[int, ...]) -> None:
    images, labels = pool(size)
    before = images.clone(), labels.clone()
    made = MAKERS[name](images, labels, seeded_rng(0, "outliers"))
    assert tuple(made.shape) == (N, *size)
    assert made.dtype == torch.float32
    assert made.isfinite().all()
    assert made.min() >= 0
    assert made.max() <= 1
    assert torch.equal(made, MAKERS[name](images, labels, seeded_rng(0, "outliers")))
    assert not torch.equal(made, MAKERS[name](images, labels, seeded_rng(1, "outliers")))
    assert len({image.numpy().tobytes() for image in made}) > N // 3
    assert torch.equal(images, before[0])
    assert torch.equal(labels, before[1])


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "noise" and not name.startswith("noise/")])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_pools_of_one_image_and_of_one_class_are_enough(name: str, n: int) -> None:
    images = pool((1, 8, 8), n)[0]
    made = MAKERS[name](images, torch.zeros(n).long(), seeded_rng(0, "outliers"))
    assert made.isfinite().all()


@pytest.mark.parametrize("name", DERIVED)
def test_without_a_number_each_image_gives_one_in_order(name: str) -> None:
    images, labels = pool((1, 8, 8), 7)
    assert len(DERIVED[name](images, labels, seeded_rng(0, "outliers"))) == 7
    black = torch.zeros_like(images)
    one_lit = black.clone()
    one_lit[3] = images[3]
    outliers, of_black = (DERIVED[name](pool, labels, seeded_rng(0, "outliers")) for pool in (one_lit, black))
    assert (outliers[3] != of_black[3]).any()
