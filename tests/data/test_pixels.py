"""Pixel statistics against plain loops."""

import zlib

import numpy as np
import pytest
import torch

from invaudit.data import STATISTICS, seeded_rng

REFERENCE = {
    "mean": lambda image: sum(image.ravel().tolist()) / image.size,
    "variance": lambda image: float(np.var(image.astype(np.float64))),
    "total-variation": lambda image: (
        np.mean(np.abs(image[:, 1:].astype(int) - image[:, :-1]))
        + np.mean(np.abs(image[:, :, 1:].astype(int) - image[:, :, :-1]))
    ),
    "grey-levels": lambda image: len(set(image.ravel().tolist())),
    "compressed-size": lambda image: len(zlib.compress(image.tobytes(), 6)),
}


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("size", [(1, 8, 8), (3, 9, 12)])
def test_contract(name: str, size: tuple[int, ...]) -> None:
    images = torch.randint(60, (7, *size), dtype=torch.uint8, generator=seeded_rng(0, "pixels"))
    images[0] = 0
    before = images.clone()
    values = STATISTICS[name](images)
    assert values.shape == (7,)
    assert values.dtype == np.float64
    assert values == pytest.approx([REFERENCE[name](image) for image in images.numpy()], rel=1e-12)
    assert np.array_equal(values, np.concatenate([STATISTICS[name](images[:3]), STATISTICS[name](images[3:])]))
    assert torch.equal(images, before)


def test_names_are_those_of_the_rows() -> None:
    assert list(STATISTICS) == list(REFERENCE)
