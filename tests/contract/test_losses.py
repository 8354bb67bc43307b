"""What every training loss promises: a network that classifies, repeats and resumes, and a word on outliers."""

from typing import get_args

import pytest

from invaudit.benchmarks.ood.settings import Network
from invaudit.models import TrainingSettings, accuracy, checkpoints, collect
from invaudit.ood import GarbageSettings, Recipe
from invaudit.ood.losses import LOSSES, QUEUE
from invaudit.ood.recipes import WITH_OUTLIERS, Loss
from tests.ood.small_trainings import recipe, trained

pytestmark = pytest.mark.slow


def test_every_loss_has_a_name_in_the_settings():
    assert set(LOSSES) == set(get_args(Loss))


@pytest.mark.parametrize("name", LOSSES)
def test_it_trains_an_n_class_network_and_repeats(name, splits):
    first, second = (trained(splits, recipe(name, epochs=10)) for _ in range(2))
    assert first.outputs == first.classes == 7
    assert accuracy(collect(first, splits.test).logits.argmax(1), splits.test.labels) > 0.5
    assert first.hash == second.hash


@pytest.mark.parametrize("name", LOSSES)
def test_a_killed_training_resumes_to_the_same_bytes(name, splits, tmp_path, killed_after):
    chosen, path = recipe(name, epochs=6), tmp_path / "work.pt"
    expected = trained(splits, chosen).hash
    killed_after(checkpoints, 5)
    assert 5 * splits.train.labels.bincount().min() > QUEUE, "vos must have begun to draw virtual outliers"
    with pytest.raises(KeyboardInterrupt):
        trained(splits, chosen, path)
    assert trained(splits, chosen, path).hash == expected


@pytest.mark.parametrize("name", LOSSES)
def test_outliers_are_asked_for_or_refused(name):
    garbage = None if name in WITH_OUTLIERS else GarbageSettings()
    with pytest.raises(ValueError, match="outliers"):
        Recipe(loss=name, garbage=garbage)
    with pytest.raises(ValueError, match="outliers"):
        Network(loss=name, garbage=garbage)
    right = GarbageSettings() if name in WITH_OUTLIERS else None
    with pytest.raises(ValueError, match="label_smoothing"):
        Recipe(loss=name, garbage=right, training=TrainingSettings(label_smoothing=0.1))
