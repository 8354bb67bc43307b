"""Conditions: their law, their matrices, and what they refuse."""

import math

import pytest
import torch
from scipy import stats
from torch.nn import functional

from invaudit.inversion import condition_from, sample_condition
from invaudit.inversion.conditions import crosses, fit_matrix, matrix_channels
from invaudit.runtime.errors import InputError, SettingError, ShapeError

LABELS = torch.arange(40) % 7


@pytest.mark.parametrize("label", [0, 3])
def test_soft_vectors_have_the_law_of_rejection_sampling(label, rng):
    swapped = sample_condition("vector", torch.full((4_000,), label), rng, classes=5).wanted
    draws = torch.randn((30_000, 5), generator=rng).softmax(1)
    waited_for = draws[draws.argmax(1) == label]
    for entry in range(5):
        assert stats.ks_2samp(swapped[:, entry].numpy(), waited_for[:, entry].numpy()).pvalue > 1e-4
    second = [values.topk(2).values[:, 1].numpy() for values in (swapped, waited_for)]
    assert stats.ks_2samp(*second).pvalue > 1e-4


def test_soft_vectors_of_ten_classes_have_the_known_moments(rng):
    # Independent values: 400,000 draws of softmax(v), v ~ N(0, I_10).
    wanted = sample_condition("vector", torch.arange(60_000) % 10, rng, classes=10).wanted.double()
    top = wanted.topk(2).values
    assert float(top[:, 0].mean()) == pytest.approx(0.320, abs=0.003)
    assert float((top[:, 0] - top[:, 1]).mean()) == pytest.approx(0.137, abs=0.003)
    assert float(-(wanted * wanted.log()).sum(1).mean()) == pytest.approx(1.92, abs=0.01)
    assert float((top[:, 0] > 0.5).double().mean()) == pytest.approx(0.074, abs=0.005)


def test_matrix_is_a_cross_at_the_largest_entry():
    wanted = torch.tensor([[0.1, 0.7, 0.2], [0.45, 0.1, 0.45]])
    expected = torch.zeros(2, 1, 3, 3)
    for row, tops in enumerate([[1], [0, 2]]):
        for top in tops:
            expected[row, 0, top, :] = 1
            expected[row, 0, :, top] = 1
    assert torch.equal(crosses(wanted), expected)


@pytest.mark.parametrize("classes", [2, 7, 10, 100])
@pytest.mark.parametrize("size", [(4, 4), (4, 5), (10, 10), (14, 14)])
def test_fitted_matrices_keep_the_classes_apart(classes, size):
    fitted = fit_matrix(crosses(torch.eye(classes)), size)
    assert fitted.shape == (classes, matrix_channels(classes, size), *size)
    assert len(fitted.unique(dim=0)) == classes


def test_fitted_matrix_is_itself_where_it_fits_and_nearest_where_the_map_is_larger():
    matrix = crosses(torch.eye(4))
    assert torch.equal(fit_matrix(matrix, (4, 4)), matrix)
    grown = fit_matrix(matrix, (6, 9))
    for row in range(6):
        for column in range(9):
            assert torch.equal(grown[:, :, row, column], matrix[:, :, row * 4 // 6, column * 4 // 9])


def test_folded_matrix_unfolds_to_itself():
    matrix = crosses(torch.eye(10))
    unfolded = functional.pixel_shuffle(fit_matrix(matrix, (4, 4)), math.isqrt(matrix_channels(10, (4, 4))))
    assert torch.equal(unfolded[:, :, :10, :10], matrix)
    assert unfolded[:, :, 10:].sum() == unfolded[:, :, :, 10:].sum() == 0


def test_condition_from_takes_any_distribution():
    border = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.2, 0.8]])
    condition = condition_from(border)
    assert torch.equal(condition.wanted, border)
    assert condition.labels.tolist() == [0, 2]
    assert condition.matrix is not None
    assert condition.matrix[0, 0].sum() == 8
    assert condition_from(torch.eye(3), "matrix").vector is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rng: sample_condition("vectors", LABELS, rng, classes=7), "known: label, vector"),
        (lambda rng: sample_condition("label", LABELS, rng, classes=6), "expected 0 to 5"),
        (lambda rng: sample_condition("label", -LABELS, rng, classes=7), "expected 0 to 6"),
        (lambda rng: sample_condition("vector", LABELS, rng, classes=7, temperature=0.0), "more than 0"),
        (lambda _: condition_from(torch.tensor([[0.5, 0.6]])), "sum to 1"),
        (lambda _: condition_from(torch.tensor([[-0.5, 1.5]])), "sum to 1"),
        (lambda _: condition_from(torch.tensor([[float("nan"), 1.0]])), "sum to 1"),
        (lambda _: condition_from(torch.tensor([[0.5, 0.5]]), "matrix"), "use vector"),
        (lambda _: condition_from(torch.tensor([0.5, 0.5])), "expected \\(N, classes\\)"),
    ],
)
def test_refusals(make, message, rng):
    with pytest.raises(InputError, match=message) as caught:
        make(rng)
    assert isinstance(caught.value, (SettingError, ShapeError))
