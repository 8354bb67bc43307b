"""What a table of borders says, computed a second time from its images."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from invaudit.explain.borders import LARGEST_GAP, LEAST_PROBABILITY, Borders
from invaudit.models import Target


def assert_rows_hold(borders: Borders, target: Target) -> None:
    """Check every row against a second computation of its image, all of it in double precision."""
    with torch.no_grad():
        told = deepcopy(target).double().eval()(torch.from_numpy(borders.images).double()).softmax(1).numpy()
    assert borders.images.min() >= 0
    assert borders.images.max() <= 1
    for probabilities, row, start, image in zip(told, borders.rows, borders.starts, borders.images, strict=True):
        a, b = row.pair
        others = np.delete(probabilities, [a, b])
        assert (row.first, row.second) == pytest.approx((probabilities[a], probabilities[b]), abs=1e-4)
        assert row.third_probability == pytest.approx(others.max(initial=0), abs=1e-4)
        assert row.distance == pytest.approx(np.linalg.norm(image.astype(float) - start), rel=1e-5)
        if row.is_reached:
            assert abs(probabilities[a] - probabilities[b]) <= LARGEST_GAP
            assert min(probabilities[a], probabilities[b]) >= LEAST_PROBABILITY
            assert others.max(initial=0) < min(probabilities[a], probabilities[b])
