"""Inversion accuracy of the four condition modes on MNIST, class by class.

    INVAUDIT_DATA=... python benchmarks/choices/inversion_modes.py --seeds 0 1 2

Each seed trains a classifier on 10,000 images and inverts it once in each mode with the default settings. Each finished
inversion is recorded, so that a run that was stopped continues where it was.
"""

import argparse
import csv
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from invaudit.data import ImageSet, load, seeded_rng
from invaudit.inversion import MODES, InversionSettings, diagnose, invert
from invaudit.models import (
    InputSpec,
    Target,
    TrainingSettings,
    accuracy,
    build,
    collect,
    limit_threads,
    resolve_device,
    train,
)
from invaudit.models.devices import resolve_precision, seed_torch
from invaudit.runtime import describe_environment, read_json, write_json, write_text
from invaudit.runtime.errors import InputError, RunFolderError

ARCH = "cnn"
TRAIN, TEST = "mnist:train@0:10000", "mnist:test"
TRAINING = TrainingSettings(epochs=5)
PER_CLASS = 200


def trained(seed: int, data: ImageSet, device: torch.device) -> Target:
    """Return the classifier of one seed."""
    pixels = data.floats()
    spec = InputSpec(*data.images.shape[1:], mean=(float(pixels.mean()),), std=(float(pixels.std()),))
    with seed_torch(seeded_rng(seed, "modes/weights")):
        target = Target(build(ARCH, spec, data.classes), spec, data.classes, arch=f"invaudit:{ARCH}").to(device)
    train(
        target,
        data,
        TRAINING,
        seeded_rng(seed, "modes/training"),
        precision=resolve_precision(TRAINING.precision, device),
    )
    return target


def measured(seed: int, mode: str, target: Target, data: ImageSet, right: float) -> dict[str, Any]:
    """Return the row of one inversion of a target with this test accuracy."""
    settings = InversionSettings(mode=mode)
    start = time.perf_counter()
    inversion = invert(target, settings, seeded_rng(seed, f"modes/{mode}"))
    seconds = time.perf_counter() - start
    found = diagnose(
        inversion, target, seeded_rng(seed, f"modes/{mode}/diagnosis"), per_class=PER_CLASS, reference=data
    )
    classes = {f"class_{label}": value for label, value in enumerate(found.accuracy_per_class)}
    return {
        "seed": seed,
        "mode": mode,
        "target_accuracy": right,
        "outcome": inversion.outcome,
        "accuracy": found.accuracy,
        "worst_class": min(found.accuracy_per_class),
        **classes,
        "confidence": found.confidence,
        "feature_cosine": found.feature_cosine,
        "spread": found.spread,
        "distinct": found.distinct,
        "steps": settings.steps,
        "seconds": round(seconds, 1),
    }


def run(seeds: list[int], out: Path, device: torch.device) -> list[dict[str, Any]]:
    """Measure what is not recorded yet; return all rows."""
    settings = {
        "arch": ARCH,
        "train": TRAIN,
        "training": TRAINING.model_dump(mode="json"),
        "inversion": InversionSettings().model_dump(mode="json", exclude={"mode"}),
        "inversions_per_class": PER_CLASS,
    }
    known = read_json(out) if out.is_file() else {"settings": settings, "rows": []}
    if known["settings"] != settings:
        raise RunFolderError(f"{out} was made with other settings; remove it or choose another --out")
    rows: list[dict[str, Any]] = known["rows"]
    about = {"threads": torch.get_num_threads(), "device": str(device)}
    about["precision"] = str(resolve_precision("auto", device))
    for seed in seeds:
        missing = [mode for mode in MODES if not any((row["seed"], row["mode"]) == (seed, mode) for row in rows)]
        if not missing:
            continue
        data, test = load(TRAIN), load(TEST)
        target = trained(seed, data, device)
        right = accuracy(collect(target, test, keep_maps=False).logits.argmax(1), test.labels)
        for mode in missing:
            row = measured(seed, mode, target, data, right)
            rows.append(row)
            write_json(out, {"settings": settings, "rows": rows, "environment": describe_environment(**about)})
            write_text(out.with_suffix(".csv"), table(rows))
            print(f"seed {seed} {mode}: worst class {row['worst_class']:.1%}, {row['seconds']} s", file=sys.stderr)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()})
    return text.getvalue()


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "inversion_modes.json")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    chosen = parser.parse_args()
    try:
        with limit_threads(chosen.threads):
            rows = run(chosen.seeds, chosen.out, resolve_device(chosen.device))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps({"rows": rows}, sort_keys=True) if chosen.json else table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
