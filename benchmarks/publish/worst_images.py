"""The images that ours takes most for ID, and what two classifiers that had no part in it make of them.

From the stored scores of a finished run: the 50 images of an OOD set with the lowest mean score of ours over the seeds,
or for an attack by fresh generators the image of each class and seed with the lowest score. The images of an attack are
made again, for which its networks are trained once more (kept in the run's folder `work` for the next call).

Two networks of other kinds, trained plainly on the ID training images with a seed of their own, say which of these they
call the same ID class with p > 0.99, and how often they do so on all images of the set: plain networks are sure of much
that is no ID image, so the first share says something only where it is well above the second. Data from INVAUDIT_DATA.

`results_pages.py` shows a record `worst-IMAGES.json` beside the tables of a run and its figure
`docs/images/worst-RUN-IMAGES.png`.

    python -m benchmarks.publish.worst_images runs/fashion-mnist mnist [--figure FILE.png] [--out FILE.json]
    python -m benchmarks.publish.worst_images runs/mnist other-kind-sure-long [--figure FILE.png] [--out FILE.json]
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invaudit.benchmarks.ood import OODBenchmark
from invaudit.benchmarks.ood.attacks import fresh_inversions
from invaudit.benchmarks.ood.networks import new_network, train_new
from invaudit.benchmarks.ood.sets import load_sets
from invaudit.data import ImageSet, Splits, seeded_rng
from invaudit.data.image_set import eight_bits
from invaudit.models import Target, TrainingSettings, accuracy, collect, limit_threads
from invaudit.ood import Recipe, train_network, untrained_target
from invaudit.ood.guarded import FALSE_ALARM_RATE
from invaudit.ood.scores import confidence, garbage_logit, predictions
from invaudit.records.names import ATTACK_PREFIX, CALIBRATE, OURS, job_name, scores_file, scores_key
from invaudit.report.drawing import mosaic, write_figure
from invaudit.runtime import SettingError, describe_environment, load_config, read_json, write_json
from invaudit.stats import conformal_threshold

JUDGES = {"small-cnn": 3, "resnet20": 2}
"""Architecture -> epochs. The networks of a run that is judged are of none of these."""
SEED = 900
N_WORST, COLUMNS = 50, 10
SURE = 0.99
GARBAGE = "garbage-logit"


@dataclass(frozen=True)
class Examined:
    """Images that are judged (N), and those of them that are drawn, by rows."""

    images: Tensor
    drawn: Tensor
    """(rows, columns) positions."""
    titles: list[str]
    columns: list[str]
    accepted: Tensor | None = None
    """(N,) whether ours accepts them at a false-alarm rate of 5 %; None: not looked at."""
    asked: Tensor | None = None
    """(N,) the class that an attack was asked for."""


@dataclass(frozen=True)
class Judgement:
    """What the two judges say of N images.

    Attributes:
        classes: (2, N) the class that each judge gives.
        confidence: (2, N) the probability of that class.
        id_accuracy: Accuracy of each judge on the ID test images, by architecture.
    """

    classes: Tensor
    confidence: Tensor
    id_accuracy: dict[str, float]

    @property
    def both_sure(self) -> Tensor:
        """(N,) whether both are sure of one and the same class."""
        return (self.confidence > SURE).all(0) & (self.classes[0] == self.classes[1])


def read_scores(run: Path, seed: int, *names: str) -> list[np.ndarray]:
    """Read arrays of scores on our network, each named ``"DETECTOR::SET"``."""
    with np.load(run / scores_file(seed, OURS[0]), allow_pickle=False) as file:
        return [file[name] for name in names]


def lowest(run: Path, settings: OODBenchmark, ood_set: str) -> Tensor:
    """Return the positions of the images with the lowest mean score of ours over the seeds, the lowest first.

    Raises:
        SettingError: The set holds different images for each seed.
    """
    records = [read_json(run / "records" / f"{job_name(seed, OURS[0])}.json") for seed in settings.seeds]
    if len({record["sets"]["ood"][ood_set]["hash"] for record in records}) > 1:
        raise SettingError(f"{ood_set} holds other images for each seed, so that no mean score can be taken")
    scores = []
    for seed in settings.seeds:
        scores += read_scores(run, seed, scores_key(OURS[1], ood_set))
    return torch.from_numpy(np.mean(scores, axis=0).argsort(kind="stable")[:N_WORST])


def of_set(run: Path, settings: OODBenchmark, images: ImageSet, ood_set: str) -> Examined:
    """Return all images of an OOD set; the 50 lowest are drawn."""
    worst = lowest(run, settings, ood_set)
    n_rows = len(worst) // COLUMNS
    titles = [str(COLUMNS * row + 1) for row in range(n_rows)]
    return Examined(images.floats(), worst[: n_rows * COLUMNS].reshape(-1, COLUMNS), titles, [])


def of_attack(run: Path, settings: OODBenchmark, attack: str) -> Examined:
    """Return all images of an attack on our network; for each seed and class the lowest is drawn.

    Raises:
        SettingError: The attack diverged, or the images are not those of the run.
    """
    images, drawn, accepted, asked = [], [], [], []
    for row, seed in enumerate(settings.seeds):
        target, attack_images = attack_again(run, settings, seed, attack)
        sets = (ATTACK_PREFIX + attack, CALIBRATE)
        scores, calibration = read_scores(run, seed, *(scores_key(OURS[1], name) for name in sets))
        # Image n of an attack was asked for class n modulo the number of classes.
        lowest_of_class = [int(scores[k :: target.classes].argmin()) for k in range(target.classes)]
        drawn.append([row * len(scores) + target.classes * n + k for k, n in enumerate(lowest_of_class)])
        images.append(attack_images)
        accepted.append(torch.from_numpy(scores <= conformal_threshold(calibration, FALSE_ALARM_RATE)))
        asked.append(torch.arange(len(scores)) % target.classes)
    return Examined(
        torch.cat(images),
        torch.tensor(drawn),
        [f"seed {seed}" for seed in settings.seeds],
        [str(k) for k in range(len(drawn[0]))],
        torch.cat(accepted),
        torch.cat(asked),
    )


def attack_again(run: Path, settings: OODBenchmark, seed: int, attack: str) -> tuple[Target, Tensor]:
    """Train our network of a seed again, and return it with the images of an attack on it.

    Raises:
        SettingError: The attack diverged, or the images are not those of the run.
    """
    name = job_name(seed, OURS[0])
    sets = load_sets(settings, seed)
    target = new_network(settings, seed, OURS[0], sets)
    train_new(settings, seed, OURS[0], sets, target, run / "work" / f"{name}.pt")
    rng = seeded_rng(seed, f"attack/{attack}")
    _, images = fresh_inversions(target, settings.attacks[attack], settings.attack_images, rng)
    if images is None:
        raise SettingError(f"{name}: {attack} diverged, so that there are no images")
    (stored,) = read_scores(run, seed, scores_key(GARBAGE, ATTACK_PREFIX + attack))
    scores = garbage_logit(collect(target, images, keep_maps=False).logits, target.classes)
    if not np.allclose(scores, stored, rtol=1e-4, atol=1e-4):
        raise SettingError(f"{name}: {attack} made other images than in the run; use its versions and machine")
    return target, images


def judge(splits: Splits, images: Tensor) -> Judgement:
    """Train the judges on the ID training images, and let them judge other images."""
    classes, sureness, id_accuracy = [], [], {}
    for arch, epochs in JUDGES.items():
        rng = seeded_rng(SEED, f"worst/{arch}")
        target = untrained_target(arch, splits.train, splits.train.classes, rng, garbage=False)
        recipe = Recipe(training=TrainingSettings(epochs=epochs))
        train_network(target, splits.train, recipe, rng, held_out=splits.fit)
        test_logits = collect(target, splits.test, keep_maps=False).logits
        id_accuracy[arch] = accuracy(predictions(test_logits), splits.test.labels)
        logits = collect(target, images, keep_maps=False).logits
        classes.append(predictions(logits))
        sureness.append(confidence(logits))
    return Judgement(torch.stack(classes), torch.stack(sureness), id_accuracy)


def count_sure(both_sure: Tensor) -> dict[str, float | int | None]:
    """Return how many images there are, and the share of them that both judges are sure of."""
    n_images = both_sure.numel()
    return {"images": n_images, "both_sure": float(both_sure.double().mean()) if n_images else None}


def record_of(settings: OODBenchmark, run: Path, name: str, examined: Examined, judgement: Judgement) -> dict[str, Any]:
    """Return what is recorded: how often both judges are sure, of which images."""
    both_sure = judgement.both_sure
    record: dict[str, Any] = {
        "id_set": settings.name,
        "images_of": name,
        "seeds": settings.seeds,
        "all": count_sure(both_sure),
        "shown": count_sure(both_sure[examined.drawn]),
        "judges": [
            {"arch": arch, "epochs": epochs, "id_accuracy": judgement.id_accuracy[arch]}
            for arch, epochs in JUDGES.items()
        ],
        "judges_seed": SEED,
        "run": read_json(run / "environment.json")["git"],
        "environment": describe_environment(),
    }
    if examined.accepted is not None:
        of_asked = both_sure & (judgement.classes[0] == examined.asked)
        record["accepted"] = count_sure(of_asked[examined.accepted])
        record["rejected"] = count_sure(of_asked[~examined.accepted])
    return record


def draw(examined: Examined, judgement: Judgement, path: Path) -> None:
    """Draw the worst images, below each its class by the first judge and the marks that the page explains."""
    both_sure = judgement.both_sure

    def caption(position: int) -> str:
        text = str(int(judgement.classes[0, position]))
        if both_sure[position]:
            text += "*"
        if examined.accepted is not None and examined.accepted[position]:
            text += " ✓"
        return text

    captions = [list(map(caption, row)) for row in examined.drawn.tolist()]
    pixels = eight_bits(examined.images[examined.drawn]).numpy()
    write_figure(mosaic(pixels, examined.titles, examined.columns, captions), path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge the images, write the figure and print the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("images", help="one of its OOD sets or attacks")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--out", type=Path, help="JSON file of the record")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    settings = load_config(OODBenchmark, str(options.run / "config.yaml"))
    if settings.arch in JUDGES:
        sys.exit(f"the networks of the run are {settings.arch}, as a judge is; judges must be of other kinds")
    sets = load_sets(settings, settings.seeds[0])
    if options.images not in (known := {**sets.ood, **settings.attacks}):
        sys.exit(f"the run has no images of {options.images!r}; it has {', '.join(known)}")
    with limit_threads(options.threads):
        if options.images in sets.ood:
            examined = of_set(options.run, settings, sets.ood[options.images], options.images)
        else:
            examined = of_attack(options.run, settings, options.images)
        judgement = judge(sets.splits, examined.images)
    record = record_of(settings, options.run, options.images, examined, judgement)
    if options.figure:
        draw(examined, judgement, options.figure)
    if options.out:
        write_json(options.out, record)
    print(json.dumps(record, indent=2, sort_keys=True))


if __name__ == "__main__":
    main()
