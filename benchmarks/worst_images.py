"""The OOD images that ours takes most for ID, and what two classifiers that had no part in it make of them.

From the stored scores of a finished run: the 50 images of an OOD set with the lowest mean score of ours over the seeds.
Two networks of other kinds, trained plainly on the ID training images with a seed of their own, say which of these they
call the same ID class with p > 0.99, and how often they do so on all images of the set: plain networks are sure of much
that is no ID image, so the first share says something only where it is well above the second. Data from INVAUDIT_DATA.

    python benchmarks/worst_images.py runs/fashion-mnist mnist [--figure docs/images/worst-fashion-mnist.png]
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invaudit.benchmarks.ood import OODBenchmark
from invaudit.benchmarks.ood.jobs import job_name
from invaudit.benchmarks.ood.sets import load_sets
from invaudit.benchmarks.ood.settings import OURS
from invaudit.data import Splits, generator
from invaudit.models import TrainingSettings, accuracy, collect, threads
from invaudit.ood import Recipe, confidence, new_target, predictions, train_network
from invaudit.report.drawing import mosaic, write_figure
from invaudit.runtime import SettingError, describe_environment, load_config, read_json, write_json

JUDGES = {"small-cnn": 3, "resnet20": 2}
"""Architecture -> epochs; the benchmarks use another one."""
SEED = 900
SHOWN, COLUMNS = 50, 10
SURE = 0.99


def lowest(run: Path, settings: OODBenchmark, ood_set: str) -> Tensor:
    """Return the positions of the images with the lowest mean score of ours over the seeds, the lowest first."""
    hashes = {
        read_json(run / "records" / f"{job_name(seed, OURS[0])}.json")["sets"]["ood"][ood_set]["hash"]
        for seed in settings.seeds
    }
    if len(hashes) > 1:
        raise SettingError(f"{ood_set} holds other images for each seed, so that no mean score can be taken")
    scores = []
    for seed in settings.seeds:
        with np.load(run / "scores" / f"seed-{seed}" / f"{OURS[0]}.npz", allow_pickle=False) as file:
            scores.append(file[f"{OURS[1]}::{ood_set}"])
    return torch.from_numpy(np.mean(scores, axis=0).argsort(kind="stable")[:SHOWN])


def judged(splits: Splits, images: Tensor) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Return each judge's class (2, N) and its probability (2, N) for the images, and the judges' ID accuracies."""
    data, test = splits.train, splits.test
    found, sure, right = [], [], {}
    for arch, epochs in JUDGES.items():
        rng = generator(SEED, f"worst/{arch}")
        target = new_target(arch, data, data.classes, rng, garbage=False)
        train_network(target, data, Recipe(training=TrainingSettings(epochs=epochs)), rng, held_out=splits.fit)
        right[arch] = accuracy(predictions(collect(target, test, keep_maps=False).logits), test.labels)
        logits = collect(target, images, keep_maps=False).logits
        found.append(predictions(logits))
        sure.append(confidence(logits))
    return torch.stack(found), torch.stack(sure), right


def main() -> None:
    """Judge the worst images, write the figure and print the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("ood_set")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--out", type=Path, help="JSON file of the record")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    settings = load_config(OODBenchmark, str(options.run / "config.yaml"))
    sets = load_sets(settings, settings.seeds[0])
    images = sets.ood[options.ood_set]
    chosen = lowest(options.run, settings, options.ood_set)
    with threads(options.threads):
        found, sure, right = judged(sets.splits, images.floats())
    same = (sure > SURE).all(0) & (found[0] == found[1])
    worst = images.subset(chosen)
    record: dict[str, Any] = {
        "id_set": settings.name,
        "ood_set": options.ood_set,
        "seeds": settings.seeds,
        "images": len(worst),
        "both_sure_of_one_class": float(same[chosen].double().mean()),
        "both_sure_of_one_class_of_all": float(same.double().mean()),
        "judges": {arch: {"epochs": epochs, "id_accuracy": right[arch]} for arch, epochs in JUDGES.items()},
        "judges_seed": SEED,
        "run": read_json(options.run / "environment.json")["git"],
        "environment": describe_environment(),
    }
    if options.figure:
        rows = len(worst) // COLUMNS
        captions = [f"{found[1][n]}{'*' if same[n] else ''}" for n in chosen]
        write_figure(
            mosaic(
                worst.images[: rows * COLUMNS].numpy().reshape(rows, COLUMNS, *worst.images.shape[1:]),
                [str(COLUMNS * row + 1) for row in range(rows)],
                captions=[captions[COLUMNS * row : COLUMNS * (row + 1)] for row in range(rows)],
            ),
            options.figure,
        )
    if options.out:
        write_json(options.out, record)
    print(json.dumps(record, indent=2, sort_keys=True))


if __name__ == "__main__":
    main()
