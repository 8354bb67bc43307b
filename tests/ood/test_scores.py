import numpy as np
import pytest
import torch

from invaudit.ood.scores import confidence, fools_network, garbage_odds, garbage_probability, predictions, uncertainty

CLASSES = 4


@pytest.fixture
def logits():
    return torch.randn(50, CLASSES + 1, generator=torch.Generator().manual_seed(0)) * 4


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ([1.0] + [0.0] * 10, 0.0),
        ([1 / 11] * 11, 1.0),
        ([0.9] + [0.01] * 10, 0.2079),
    ],
)
def test_uncertainty_has_the_published_values(probabilities, expected):
    logits = torch.tensor([probabilities], dtype=torch.float64).log()
    assert float(uncertainty(logits, 10)) == pytest.approx(expected, abs=1e-4)


def test_uncertainty_is_the_normalised_gini_impurity(logits):
    probabilities = logits.double().softmax(1).numpy()
    outputs = probabilities.shape[1]
    gini = (1 - (probabilities**2).sum(1)) * outputs / (outputs - 1)
    np.testing.assert_allclose(uncertainty(logits, CLASSES).numpy(), gini, rtol=1e-12)


def test_garbage_odds_are_the_log_odds_of_the_probability(logits):
    probability = garbage_probability(logits, CLASSES)
    torch.testing.assert_close(garbage_odds(logits, CLASSES), (probability / (1 - probability)).log())


def test_garbage_odds_keep_what_a_probability_loses():
    far = torch.tensor([[0.0, 0, 0, 0, 60], [0, 0, 0, 0, 70]])
    assert len(garbage_probability(far, CLASSES).unique()) == 1
    assert len(garbage_odds(far, CLASSES).unique()) == 2


def test_predictions_count_garbage_and_counterfeits_do_not():
    logits = torch.tensor([[9.0, 0, 0, 0, 0], [0.0, 0, 0, 0, 9], [0.0, 0, 0, 0, 0]])
    assert predictions(logits).tolist() == [0, 4, 0]
    assert fools_network(logits, CLASSES).tolist() == [True, False, False]
    assert float(confidence(logits)[2]) == pytest.approx(0.2)
