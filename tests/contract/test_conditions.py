"""What every condition mode promises: the label wanted, the parts that it names, and repeatable draws."""

import pytest
import torch

from invaudit.inversion import MODES, sample_condition

LABELS = torch.arange(40) % 7


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("hot", [False, True])
@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_every_mode_wants_the_label_and_shows_what_it_says(mode, hot, temperature, rng):
    condition = sample_condition(mode, LABELS, rng, classes=7, hot=hot, temperature=temperature)
    kind = MODES[mode]
    assert len(condition) == 40
    assert torch.equal(condition.labels, LABELS)
    assert torch.equal(condition.wanted.argmax(1), LABELS)
    assert condition.wanted.shape == (40, 7)
    torch.testing.assert_close(condition.wanted.sum(1), torch.ones(40))
    assert ((condition.wanted == 1).sum(1) == 1).all() == (hot or not kind.soft)
    assert (condition.vector is condition.wanted) if kind.vector else (condition.vector is None)
    assert (condition.matrix is not None) == kind.matrix


@pytest.mark.parametrize("mode", MODES)
def test_same_generator_same_conditions(mode):
    draws = [sample_condition(mode, LABELS, torch.Generator().manual_seed(3), classes=7).wanted for _ in range(2)]
    assert torch.equal(*draws)
