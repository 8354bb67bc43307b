"""The networks of a benchmark: those that were trained elsewhere, and those that it trains from the same draws."""

from dataclasses import replace
from pathlib import Path

from invaudit.benchmarks.ood.sets import Sets
from invaudit.benchmarks.ood.settings import Network, OODBenchmark
from invaudit.data import seeded_rng
from invaudit.data.joining import with_classes
from invaudit.models import Target, resolve_device
from invaudit.ood import Recipe, TrainingResult, train_network, untrained_target, with_garbage
from invaudit.runtime.errors import ModelError


def new_network(settings: OODBenchmark, seed: int, network: str, sets: Sets) -> Target:
    """Return a network of a benchmark as it is before the benchmark trains it.

    Raises:
        InputError: It cannot be built or loaded, or has other classes than the ID images.
    """
    choices, data = settings.networks[network], sets.splits.train
    garbage = recipe_of(settings, choices).has_garbage_class
    if choices.model is not None:
        target = choices.load(choices.model, data.shape)
        if target.classes != data.classes:
            raise ModelError(
                f"{choices.model} knows {target.classes} classes, {data.name} has {data.classes}; they must be the same"
            )
        if choices.is_trained_here and target.has_garbage and not garbage:
            raise ModelError(
                f"{choices.model} has a garbage class, and its training feeds none; say under garbage with what"
            )
        if garbage:
            target = with_garbage(target)
    else:
        # The same draws for every network of a seed: initial weights of all layers but the head.
        rng = seeded_rng(seed, "network/weights")
        target = untrained_target(settings.arch_of(network), data, data.classes, rng, garbage=garbage)
    return target.to(resolve_device(settings.device)).eval()


def numbered_as(target: Target, sets: Sets) -> Sets:
    """Return sets whose ID classes are numbered as those of a network, where both have names."""
    splits = {}
    for name, images in sets.splits.sets().items():
        splits[name] = with_classes(images, target.class_names, known_by="the network")
    return replace(sets, splits=replace(sets.splits, **splits))


def train_new(
    settings: OODBenchmark, seed: int, network: str, sets: Sets, target: Target, checkpoint: Path | None = None
) -> TrainingResult:
    """Train a network of a benchmark in place, and continue from a checkpoint where there is one."""
    choices = settings.networks[network]
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
    """Return how a network of a benchmark is trained: as it says itself, the rest as for all."""
    return Recipe(
        training=choices.training or settings.training,
        garbage=choices.garbage,
        loss=choices.loss,
        inversion=choices.inversion or settings.inversion,
    )
