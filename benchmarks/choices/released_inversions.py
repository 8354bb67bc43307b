"""What inversions of a network that others released look like to a second network, by generator and by pixels.

The network is CIFAR-10's ResNet-20; the second one is of another architecture and trained by us on all 50,000 images:

    python benchmarks/choices/released_inversions.py second --out second.safetensors
    python benchmarks/choices/released_inversions.py measure --second second.safetensors [--seeds 0 1 2] [--student]
    python benchmarks/choices/released_inversions.py borders --second second.safetensors [--seeds 0 1 2]
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from invaudit.benchmarks.explain.borders import border_records
from invaudit.data import load, seeded_rng
from invaudit.explain.measures import measure_inversions
from invaudit.explain.second import SecondSettings
from invaudit.explain.student import train_student
from invaudit.inversion import invert, invert_pixels
from invaudit.models import InputSpec, Target, accuracy, build, collect, load_model, save_target, train
from invaudit.models.devices import resolve_precision, seed_torch
from invaudit.runtime import child_seed, describe_environment, write_json
from invaudit.runtime.files import read_json

RELEASED = "resnet20-12fca82f.th"
SPEC = InputSpec(3, 32, 32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
TRAINING = "cifar10:train+cifar10-rest:train"
HELD_OUT = "cifar10:test"
RECORD = Path("benchmarks/results/released_inversions.json")
COMMAND = "python benchmarks/choices/released_inversions.py measure --second second.safetensors"
PER_CLASS = 100


def train_second(out: Path) -> None:
    """Train the second network on all training images, and save it."""
    images, held_out = load(TRAINING), load(HELD_OUT)
    pixels = images.floats()
    spec = InputSpec(3, 32, 32, tuple(pixels.mean((0, 2, 3)).tolist()), tuple(pixels.std((0, 2, 3)).tolist()))
    rng = seeded_rng(0, "second")
    with seed_torch(rng):
        second = Target(build("vgg-small", spec, 10), spec, arch="invaudit:vgg-small")
    precision = resolve_precision("auto", second.device)
    train(second, images, SecondSettings().resolved(spec), rng, precision=precision, checkpoint=out.with_suffix(".pt"))
    save_target(second, out)
    right = accuracy(collect(second, held_out, keep_maps=False).logits.argmax(1), held_out.labels)
    print(f"{right:.2%} of {HELD_OUT} right")


def measure(by: str, seed: int, second: Target, *, student: bool) -> dict[str, Any]:
    """Invert the released network with the shipped settings, and measure what comes out."""
    target = load_model(RELEASED, arch="resnet20", spec=SPEC, match="order")
    real = load(HELD_OUT)
    start, start_cpu = time.perf_counter(), time.process_time()
    if by == "generator":
        inversion, per_class = invert(target, seed=seed, real=real), PER_CLASS
    else:
        inversion = invert_pixels(target, seed=seed, real=real)
        per_class = inversion.images.shape[1]
    found: dict[str, Any] = {
        "seconds": round(time.perf_counter() - start),
        "cpu_seconds": round(time.process_time() - start_cpu),
        "outcome": inversion.outcome,
        "message": inversion.message,
    }
    labels = torch.arange(target.classes).repeat_interleave(per_class)
    images = inversion.sample(labels, seeded_rng(seed, "measured"))
    rng = np.random.default_rng(child_seed(seed, "measures"))
    for one in measure_inversions(images, labels, target, rng, second=second, real=real):
        name = one.name if one.label is None else f"{one.name}[{one.label}]"
        value = one.estimate
        found[name] = one.reason if value is None else [round(x, 4) for x in (value.value, value.low, value.high)]
    if student:
        taught = train_student(inversion, target, real, seeded_rng(seed, "student"))
        found["student"] = [taught.accuracy.value, taught.accuracy.low, taught.accuracy.high]
        found["student_inversions"], found["student_seconds"] = taught.n_inversions, round(taught.seconds)
    return found


def borders(seed: int, second: Target) -> dict[str, Any]:
    """Search by pixels for the borders of all pairs of classes, from real images that the seed chooses."""
    target = load_model(RELEASED, arch="resnet20", spec=SPEC, match="order")
    found: dict[str, Any] = {}
    for one in border_records(target, None, load(HELD_OUT), seeded_rng(seed, "borders"), second=second):
        found[one.measure] = one.reason if one.value is None else one.value
    return found


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("second")
    training.add_argument("--out", type=Path, required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("--second", type=Path, required=True)
    measuring.add_argument("--by", nargs="+", default=["generator", "pixels"], choices=["generator", "pixels"])
    measuring.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    measuring.add_argument("--student", action="store_true")
    measuring.add_argument("--out", type=Path, default=RECORD)
    bordering = commands.add_parser("borders")
    bordering.add_argument("--second", type=Path, required=True)
    bordering.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    bordering.add_argument("--out", type=Path, default=RECORD)
    options = parser.parse_args()
    if options.command == "second":
        train_second(options.out)
        return 0
    second = load_model(options.second)
    if options.command == "borders":
        record = read_json(options.out)
        record["borders"] = {str(seed): borders(seed, second) for seed in options.seeds}
        write_json(options.out, record)
        return 0
    record: dict[str, Any] = read_json(options.out) if options.out.exists() else {"runs": {}}
    record |= {"command": COMMAND, "environment": describe_environment(threads=torch.get_num_threads())}
    held_out = load(HELD_OUT)
    predicted = collect(second, held_out, keep_maps=False).logits.argmax(1)
    record["second_accuracy_on_test"] = accuracy(predicted, held_out.labels)
    for by in options.by:
        for seed in options.seeds:
            key = f"{by}/{seed}"
            if key not in record["runs"]:
                record["runs"][key] = measure(by, seed, second, student=options.student and by == "generator")
                write_json(options.out, record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
