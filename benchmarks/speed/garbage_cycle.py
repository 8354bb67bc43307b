"""What the garbage cycle costs beside plain training, at equal epochs and ID batches, on MNIST.

Data from INVAUDIT_DATA. Every network is timed in turn, one repeat after another, so that whatever else the machine
does falls on all of them.

    python benchmarks/speed/garbage_cycle.py [--json] [--images 10000] [--epochs 5] [--repeats 3] [--threads 2]
"""

import argparse
import json
import statistics

import torch

from invaudit.data import ImageSet, Splits, load, seeded_rng, split
from invaudit.inversion import InversionSettings
from invaudit.models import TrainingSettings, accuracy, collect
from invaudit.ood import GarbageSettings, Recipe, TrainingResult, train_network, untrained_target
from invaudit.runtime.environment import describe_environment

NETWORKS: dict[str, GarbageSettings | None] = {
    "plain": None,
    "noise": GarbageSettings(noise=1.0),
    "inversion": GarbageSettings(noise=0.25, inversions=0.75, noise_kinds=("gaussian",)),
    "full": GarbageSettings(noise=0.25, derived=0.5, inversions=0.25),
}
INVERSION = InversionSettings(steps=50, batch_size=64, eval_every=50, eval_images=4)
LIMIT = 2.0


def run(garbage: GarbageSettings | None, splits: Splits, epochs: int) -> TrainingResult:
    """Train one network; weights and ID batches are the same for all."""
    recipe = Recipe(training=TrainingSettings(epochs=epochs), garbage=garbage, inversion=INVERSION)
    target = untrained_target("cnn", splits.train, 10, seeded_rng(0, "weights"), garbage=garbage is not None)
    return train_network(target, splits.train, recipe, seeded_rng(0, "training"), held_out=splits.fit)


def measure(images: ImageSet, test: ImageSet, epochs: int, repeats: int) -> dict[str, dict[str, float]]:
    """Return steps, median seconds, their ratios to plain training, and test accuracy of every network."""
    sizes = {"train": len(images) - 500, "fit": 250, "calibrate": 250}
    splits = split(images, sizes, seeded_rng(0, "splits"), test=test)
    made: dict[str, list[TrainingResult]] = {name: [] for name in NETWORKS}
    for _ in range(repeats):
        for name, garbage in NETWORKS.items():
            made[name].append(run(garbage, splits, epochs))
    rows = {}
    for name, runs in made.items():
        first, seconds = runs[0], [one.seconds for one in runs]
        found = collect(first.target, test, keep_maps=False).logits.argmax(1)
        ratios = [one.seconds / plain.seconds for one, plain in zip(runs, made["plain"], strict=True)]
        rows[name] = {
            "classifier_steps": first.steps,
            "generator_steps": first.inversion_steps,
            "images_per_step": 128 + (round(128 * garbage.slots) if (garbage := NETWORKS[name]) else 0),
            "seconds": statistics.median(seconds),
            "seconds_ratio": statistics.median(ratios),
            "steps_ratio": (first.steps + first.inversion_steps) / made["plain"][0].steps,
            "id_accuracy": accuracy(found, test.labels),
        }
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = measure(load(f"mnist:train@0:{options.images}"), load("mnist:test"), options.epochs, options.repeats)
    if options.json:
        print(json.dumps(describe_environment(limit=LIMIT, options=vars(options), networks=rows), indent=2))
        return
    for name, row in rows.items():
        print(name, {key: round(value, 4) for key, value in row.items()})


if __name__ == "__main__":
    main()
