import math

import numpy as np
import pytest
import torch

from invaudit.models import Activations
from invaudit.ood import logit_scores
from invaudit.ood.scores import confidence, fools_network, garbage_odds, garbage_probability, predictions, uncertainty
from invaudit.runtime import SettingError

CLASSES = 4


def activations(logits):
    n = len(logits)
    return Activations(torch.zeros(n, 1, 8, 8), logits, torch.zeros(n, 3), (), (torch.zeros(n, 3),))


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


@pytest.mark.parametrize("name", list(logit_scores(CLASSES, garbage=True)))
def test_contract_of_every_logit_score(name, logits):
    detector = logit_scores(CLASSES, garbage=True)[name]
    scores = detector.fit(activations(logits), torch.zeros(50)).score(activations(logits))
    assert scores.dtype == torch.float64
    assert scores.shape == (50,)
    parts = torch.cat([detector.score(activations(part)) for part in logits.split(7)])
    assert torch.equal(parts, scores)
    # A confident ID answer is less OOD than an undecided one; for garbage scores, than a garbage answer.
    sure = torch.tensor([[20.0, 0, 0, 0, 0]])
    odd = torch.tensor([[0.0, 0, 0, 0, 20]]) if detector.needs_garbage else torch.zeros(1, CLASSES + 1)
    assert detector.score(activations(sure)) < detector.score(activations(odd))
    with pytest.raises(SettingError, match="image 1"):
        detector.score(activations(torch.tensor([[0.0] * 5, [math.nan] * 5])))


def test_garbage_scores_exist_only_with_a_garbage_class(logits):
    assert set(logit_scores(CLASSES, garbage=False)) == {"max-probability", "uncertainty"}
    with pytest.raises(SettingError, match="needs a garbage class"):
        logit_scores(CLASSES, garbage=True)["garbage-logit"].score(activations(logits[:, :CLASSES]))


def test_predictions_count_garbage_and_counterfeits_do_not():
    logits = torch.tensor([[9.0, 0, 0, 0, 0], [0.0, 0, 0, 0, 9], [0.0, 0, 0, 0, 0]])
    assert predictions(logits).tolist() == [0, 4, 0]
    assert fools_network(logits, CLASSES).tolist() == [True, False, False]
    assert float(confidence(logits)[2]) == pytest.approx(0.2)
