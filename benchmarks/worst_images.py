"""The images that ours takes most for ID, and what two classifiers that had no part in it make of them.

From the stored scores of a finished run: the 50 images of an OOD set with the lowest mean score of ours over the seeds,
or for an attack by fresh generators the image of each class and seed with the lowest score. The images of an attack are
made again, for which its networks are trained once more (kept in the run's folder `work` for the next call).

Two networks of other kinds, trained plainly on the ID training images with a seed of their own, say which of these they
call the same ID class with p > 0.99, and how often they do so on all images of the set: plain networks are sure of much
that is no ID image, so the first share says something only where it is well above the second. Data from INVAUDIT_DATA.

`results_page.py` shows a record `worst-IMAGES.json` beside the tables of a run and its figure
`docs/images/worst-RUN-IMAGES.png`.

    python benchmarks/worst_images.py runs/fashion-mnist mnist [--figure FILE.png] [--out FILE.json]
    python benchmarks/worst_images.py runs/mnist other-kind-sure-long [--figure FILE.png] [--out FILE.json]
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invaudit.benchmarks.ood import OODBenchmark
from invaudit.benchmarks.ood.attacks import fresh_inversions
from invaudit.benchmarks.ood.job import ALPHA, job_name
from invaudit.benchmarks.ood.networks import new_network, train_new
from invaudit.benchmarks.ood.sets import load_sets
from invaudit.data import ImageSet, Splits, seeded_rng
from invaudit.data.image_set import eight_bits
from invaudit.models import TrainingSettings, accuracy, collect, limit_threads
from invaudit.ood import Recipe, confidence, predictions, train_network, untrained_target
from invaudit.ood.scores import garbage_logit
from invaudit.records.names import ATTACK_PREFIX, CALIBRATE, OURS
from invaudit.report.drawing import mosaic, write_figure
from invaudit.runtime import SettingError, describe_environment, load_config, read_json, write_json
from invaudit.stats import conformal_threshold

JUDGES = {"small-cnn": 3, "resnet20": 2}
"""Architecture -> epochs. The networks of a run that is judged are of none of these."""
SEED = 900
SHOWN, COLUMNS = 50, 10
SURE = 0.99
GARBAGE = "garbage-logit"


@dataclass(frozen=True)
class Examined:
    """Images that were looked at (N), and those of them that are drawn, by rows."""

    images: Tensor
    shown: Tensor
    """(rows, columns) positions."""
    titles: list[str]
    columns: list[str]
    accepted: Tensor | None = None
    """(N,) whether ours accepts them at a false-alarm rate of 5 %; None: not looked at."""
    asked: Tensor | None = None
    """(N,) the class that an attack was asked for."""


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


def of_set(run: Path, settings: OODBenchmark, images: ImageSet, ood_set: str) -> Examined:
    """Return all images of an OOD set; the 50 lowest are drawn."""
    chosen = lowest(run, settings, ood_set)
    chosen = chosen[: len(chosen) // COLUMNS * COLUMNS].reshape(-1, COLUMNS)
    return Examined(images.floats(), chosen, [str(COLUMNS * row + 1) for row in range(len(chosen))], [])


def of_attack(run: Path, settings: OODBenchmark, attack: str) -> Examined:
    """Return all images of an attack on our network; for each seed and class the lowest is drawn.

    Raises:
        SettingError: The attack diverged, or the images are not those of the run.
    """
    images, shown, accepted, asked = [], [], [], []
    for row, seed in enumerate(settings.seeds):
        name = job_name(seed, OURS[0])
        sets, choices = load_sets(settings, seed), settings.networks[OURS[0]]
        target = new_network(settings, seed, choices, sets)
        train_new(settings, seed, choices, sets, target, run / "work" / f"{name}.pt")
        rng = seeded_rng(seed, f"attack/{attack}")
        _, made = fresh_inversions(target, settings.attacks[attack], settings.attack_images, rng)
        if made is None:
            raise SettingError(f"{name}: {attack} diverged, so that there are no images")
        with np.load(run / "scores" / f"seed-{seed}" / f"{OURS[0]}.npz", allow_pickle=False) as file:
            scores, calibration = (file[f"{OURS[1]}::{where}"] for where in (f"{ATTACK_PREFIX}{attack}", CALIBRATE))
            stored = file[f"{GARBAGE}::{ATTACK_PREFIX}{attack}"]
        again = garbage_logit(collect(target, made, keep_maps=False).logits, target.classes)
        if not np.allclose(again, stored, rtol=1e-4, atol=1e-4):
            raise SettingError(f"{name}: {attack} made other images than in the run; use its versions and machine")
        classes = target.classes
        shown.append([row * len(scores) + k + classes * int(scores[k::classes].argmin()) for k in range(classes)])
        images.append(made)
        accepted.append(torch.from_numpy(scores <= conformal_threshold(calibration, ALPHA)))
        asked.append(torch.arange(len(scores)) % classes)
    return Examined(
        torch.cat(images),
        torch.tensor(shown),
        [f"seed {seed}" for seed in settings.seeds],
        [str(k) for k in range(len(shown[0]))],
        torch.cat(accepted),
        torch.cat(asked),
    )


def judged(splits: Splits, images: Tensor) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Return each judge's class (2, N) and its probability (2, N) for the images, and the judges' ID accuracies."""
    data, test = splits.train, splits.test
    found, sure, right = [], [], {}
    for arch, epochs in JUDGES.items():
        rng = seeded_rng(SEED, f"worst/{arch}")
        target = untrained_target(arch, data, data.classes, rng, garbage=False)
        train_network(target, data, Recipe(training=TrainingSettings(epochs=epochs)), rng, held_out=splits.fit)
        right[arch] = accuracy(predictions(collect(target, test, keep_maps=False).logits), test.labels)
        logits = collect(target, images, keep_maps=False).logits
        found.append(predictions(logits))
        sure.append(confidence(logits))
    return torch.stack(found), torch.stack(sure), right


def main() -> None:
    """Judge the images, write the figure and print the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("images", help="one of its OOD sets or attacks")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--out", type=Path, help="JSON file of the record")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    settings = load_config(OODBenchmark, str(options.run / "config.yaml"))
    if settings.arch in JUDGES:
        sys.exit(f"the networks of the run are {settings.arch}, as a judge is; judges must be of other kinds")
    sets = load_sets(settings, settings.seeds[0])
    if options.images not in (known := {**sets.ood, **settings.attacks}):
        sys.exit(f"the run has no images of {options.images!r}; it has {', '.join(known)}")
    with limit_threads(options.threads):
        if options.images in sets.ood:
            found = of_set(options.run, settings, sets.ood[options.images], options.images)
        else:
            found = of_attack(options.run, settings, options.images)
        classes, sure, right = judged(sets.splits, found.images)
    same = (sure > SURE).all(0) & (classes[0] == classes[1])
    record: dict[str, Any] = {
        "id_set": settings.name,
        "images_of": options.images,
        "seeds": settings.seeds,
        "all": judgement(same),
        "shown": judgement(same[found.shown]),
        "judges": [{"arch": arch, "epochs": epochs, "id_accuracy": right[arch]} for arch, epochs in JUDGES.items()],
        "judges_seed": SEED,
        "run": read_json(options.run / "environment.json")["git"],
        "environment": describe_environment(),
    }
    if found.accepted is not None:
        of_asked = same & (classes[0] == found.asked)
        record["accepted"] = judgement(of_asked[found.accepted])
        record["rejected"] = judgement(of_asked[~found.accepted])
    if options.figure:
        marks = [f"{classes[0, n]}{'*' if same[n] else ''}" for n in range(len(same))]
        if found.accepted is not None:
            marks = [f"{mark} ✓" if yes else mark for mark, yes in zip(marks, found.accepted, strict=True)]
        shown = eight_bits(found.images[found.shown]).numpy()
        captions = [[marks[n] for n in row] for row in found.shown.tolist()]
        write_figure(mosaic(shown, found.titles, found.columns, captions), options.figure)
    if options.out:
        write_json(options.out, record)
    print(json.dumps(record, indent=2, sort_keys=True))


def judgement(sure: Tensor) -> dict[str, float | int | None]:
    """Return how many images there are, and the share of them that both judges are sure of."""
    return {"images": sure.numel(), "both_sure": float(sure.double().mean()) if sure.numel() else None}


if __name__ == "__main__":
    main()
