"""Small trained networks, with what their detectors are fitted with and scored on."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from invaudit.data import ImageSet, Splits, seeded_rng
from invaudit.models import Activations, InputSpec, Target, TrainingSettings, build, collect, train
from invaudit.ood import FitInputs, GarbageSettings, Recipe, guard, train_network

CLASSES = 3
NAMES = ("across", "down", "diagonal")
SPEC = InputSpec(1, 8, 8, (0.3,), (0.3,))


def patterns(n, stage):
    """Bars across, bars down and a diagonal, each at a random place, with noise."""
    rng = seeded_rng(0, stage)
    labels = torch.arange(n) % CLASSES
    images = 0.15 * torch.rand(n, 1, 8, 8, generator=rng)
    for i, label in enumerate(labels.tolist()):
        at = int(torch.randint(6, (), generator=rng))
        bar = torch.zeros(8, 8)
        if label == 2:
            bar = torch.eye(8).roll(at, 1)
        else:
            bar[at : at + 2] = 1
        images[i, 0] += 0.8 * (bar.T if label == 1 else bar)
    return ImageSet(stage, (images.clamp(0, 1) * 255).round().byte(), labels)


def blends(n):
    """One of each class at a time, averaged, with more noise."""
    whole = patterns(CLASSES * n, "toy/blends").floats()
    images = whole.view(n, CLASSES, 1, 8, 8).mean(1)
    images = images + 0.2 * torch.rand(images.shape, generator=seeded_rng(0, "toy/blends/noise"))
    return ImageSet("blends", (images.clamp(0, 1) * 255).round().byte(), torch.full((n,), -1))


def toy_guard(target):
    """A guard of a network, fitted to patterns."""
    parts = []
    for stage, n in (("train", 150), ("fit", 60), ("calibrate", 99), ("test", 60)):
        parts.append(patterns(n, f"guard/{stage}"))
    about = {"data": {"name": "patterns", "hash": "", "classes": CLASSES, "class_names": list(NAMES)}}
    return guard(target, Splits(*parts), about)


@dataclass
class Toy:
    """A trained network with what its detectors are fitted with and scored on."""

    target: Target
    data: ImageSet
    fitting: FitInputs
    inside: Activations
    outside: Activations


def sequential():
    """A network of a user's own, with ReLU in place and dropout."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, 1, 1), nn.BatchNorm2d(12), nn.ReLU(inplace=True), nn.Conv2d(12, 16, 3, 2, 1),
        nn.ReLU(inplace=True), nn.Flatten(), nn.Dropout(0.3), nn.Linear(256, 24), nn.ReLU(inplace=True),
        nn.Linear(24, CLASSES),
    )  # fmt: skip


MODULES = {
    "small-cnn": lambda: build("small-cnn", SPEC, CLASSES),
    "plain-cnn": lambda: build("plain-cnn", SPEC, CLASSES),
    "sequential": sequential,
    "mlp": lambda: build("mlp-32-16", SPEC, CLASSES),
    "garbage": lambda: build("small-cnn", SPEC, CLASSES + 1),
}


@pytest.fixture(scope="session")
def toys():
    """Name of the network -> toy, trained on first use."""
    made = {}

    def toy(name):
        if name not in made:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                target = Target(MODULES[name](), SPEC, CLASSES)
            data, held_out = patterns(300, "toy/train"), patterns(90, "toy/fit")
            settings = TrainingSettings(epochs=4, batch_size=32, precision="float32")
            rng = seeded_rng(0, "toy/training")
            if target.has_garbage:
                recipe = Recipe(training=settings, garbage=GarbageSettings(noise=0.5, derived=0.5))
                train_network(target, data, recipe, rng, held_out=held_out)
            else:
                train(target, data, settings, rng)
            target.zero_grad()
            first = data.subset(slice(240))
            fitting = FitInputs(
                target=target,
                train=collect(target, data, keep_maps=False),
                train_labels=data.labels,
                maps=collect(target, first),
                maps_labels=first.labels,
                fit=collect(target, held_out),
                fit_labels=held_out.labels,
                rng=seeded_rng(0, "toy/draws"),
                held_out=held_out,
                tuning=collect(target, blends(40)),
            )
            inside, outside = collect(target, patterns(120, "toy/test")), collect(target, blends(120))
            made[name] = Toy(target, data, fitting, inside, outside)
        return made[name]

    return toy
