"""The networks of a benchmark: made, and trained, each by its own recipe and from the same draws."""

from pathlib import Path

from invaudit.benchmarks.ood.sets import Sets
from invaudit.benchmarks.ood.settings import Network, OODBenchmark
from invaudit.data import seeded_rng
from invaudit.models import Target, resolve_device
from invaudit.ood import Recipe, TrainingResult, train_network, untrained_target


def new_network(settings: OODBenchmark, seed: int, choices: Network, sets: Sets) -> Target:
    """Return an untrained network of a benchmark."""
    # The same draws for every network of a seed: initial weights of all layers but the head.
    data, rng = sets.splits.train, seeded_rng(seed, "network/weights")
    garbage = recipe_of(settings, choices).has_garbage_class
    target = untrained_target(settings.arch, data, data.classes, rng, garbage=garbage)
    return target.to(resolve_device(settings.device)).eval()


def train_new(
    settings: OODBenchmark, seed: int, choices: Network, sets: Sets, target: Target, checkpoint: Path | None = None
) -> TrainingResult:
    """Train a new network of a benchmark in place, and continue from a checkpoint where there is one."""
    # The same draws for every network of a seed: ID batches, shifts, dropout.
    rng = seeded_rng(seed, "network/training")
    return train_network(
        target,
        sets.splits.train,
        recipe_of(settings, choices),
        rng,
        held_out=sets.splits.fit,
        real=sets.real[choices.real] if choices.real else None,
        checkpoint=checkpoint,
    )


def recipe_of(settings: OODBenchmark, choices: Network) -> Recipe:
    """Return how a network of a benchmark is trained: its own garbage, loss and inversion, the rest as for all."""
    inversion = choices.inversion or settings.inversion
    return Recipe(training=settings.training, garbage=choices.garbage, loss=choices.loss, inversion=inversion)
