"""Means over pairs of one class by loops, and their intervals."""

import itertools

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from invaudit.explain.likeness import FEWEST, cosines, mean_within, metric_values, positions_by_class
from invaudit.inversion.diagnostics import pair_cosine
from invaudit.runtime.errors import DataError
from invaudit.similarity import make_metric


def test_the_mean_by_loops_and_as_the_diagnosis_has_it(rng, draws):
    groups = torch.rand((3, 7, 5), generator=rng)
    pairs = [
        [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in itertools.combinations(group, 2)]
        for group in groups.double().numpy()
    ]
    found = mean_within([cosines(group) for group in groups], draws)
    assert found.value == pytest.approx(np.mean(pairs))
    assert found.value == pytest.approx(pair_cosine(groups))
    assert found.low < found.value < found.high
    assert found.n == 21


def test_ssim_of_pairs_as_scikit_image_has_it(rng, draws):
    images = torch.rand((5, 1, 12, 12), generator=rng)
    expected = [
        structural_similarity(a[0], b[0], gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1)
        for a, b in itertools.combinations(images.double().numpy(), 2)
    ]
    assert mean_within([metric_values(images, make_metric("ssim"))], draws).value == pytest.approx(np.mean(expected))


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says():
    # Likeness x y of images x, y = 0.5 + noise has the mean 0.25.
    source = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        x = 0.5 + source.standard_normal((4, 25))
        found = mean_within([np.outer(row, row) for row in x], source)
        held += found.low <= 0.25 <= found.high
    assert 86 <= held <= 99


def test_copies_are_exactly_alike(draws):
    found = mean_within([cosines(torch.ones(6, 4))], draws)
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))


def test_positions_are_spread_over_each_class():
    labels = torch.arange(40) % 4
    groups = positions_by_class(labels, [1, 3], most=5)
    assert [labels[group].unique().tolist() for group in groups] == [[1], [3]]
    assert [len(group.unique()) for group in groups] == [5, 5]
    assert groups[0][0] == 1
    assert groups[0][-1] == 37


def test_a_class_with_too_few_images_is_named():
    with pytest.raises(DataError, match=f"class 2 has 0 images, expected at least {FEWEST}"):
        positions_by_class(torch.arange(40) % 2, [0, 2], most=5)
