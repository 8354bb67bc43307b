"""Short trainings with any of the losses, on a few of the digits."""

from dataclasses import replace

import pytest

from invaudit.data import digits_benchmark, seeded_rng
from invaudit.models import TrainingSettings
from invaudit.ood import GarbageSettings, Recipe, train_network, untrained_target
from invaudit.ood.recipes import WITH_OUTLIERS


@pytest.fixture(scope="session")
def splits():
    """Return the digits for OOD tests, with 250 training images."""
    whole = digits_benchmark(0).splits
    return replace(whole, train=whole.train.subset(slice(0, 250)))


def recipe(loss, epochs=2):
    garbage = GarbageSettings(noise=0.5, derived=0.5) if loss in WITH_OUTLIERS else None
    training = TrainingSettings(epochs=epochs, batch_size=32, precision="float32")
    return Recipe(training=training, garbage=garbage, loss=loss)


def trained(splits, chosen, checkpoint=None):
    target = untrained_target("small-cnn", splits.train, 7, seeded_rng(0, "weights"), garbage=chosen.has_garbage_class)
    given = {"held_out": splits.fit, "checkpoint": checkpoint}
    return train_network(target, splits.train, chosen, seeded_rng(0, "training"), **given).target
