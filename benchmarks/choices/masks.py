"""How masks are searched for: two constants, chosen on a network of our own and on images that it was trained without.

    INVAUDIT_DATA=... python benchmarks/choices/masks.py

A ResNet-20 is trained on the images of ``cifar10:train``, masks are searched for on images of ``cifar10-rest:train``.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch

from invaudit.data import ImageSet, load, seeded_rng
from invaudit.explain import masks
from invaudit.explain.masks import MaskSettings, curves, find_masks
from invaudit.models import Target, TrainingSettings, collect, load_model, save_target, train
from invaudit.models.devices import resolve_precision
from invaudit.ood import untrained_target
from invaudit.runtime import describe_environment, write_json

TRAIN, SHOWN = "cifar10:train", "cifar10-rest:train@0:2000"
TRAINING = TrainingSettings(epochs=12, shift=4, flip=True, weight_decay=0.05)
IMAGES = 64
RESTS = (0.0, 0.1, 0.3, 1.0)
ORDERS = (0.0, 0.01, 0.1)
RECORD = Path("benchmarks/results/mask_choices.json")
COMMAND = "python benchmarks/choices/masks.py"


def trained(network: Path) -> Target:
    """Return the network, trained now or before."""
    if network.exists():
        return load_model(network)
    data = load(TRAIN)
    target = untrained_target("resnet20", data, data.classes, seeded_rng(0, "masks/weights"), garbage=False)
    precision = resolve_precision(TRAINING.precision, target.device)
    train(target, data, TRAINING, seeded_rng(0, "masks/training"), precision=precision)
    save_target(target, network)
    return target


def rightly_answered(target: Target, images: ImageSet) -> torch.Tensor:
    """Return the first images that the network gives their class."""
    predicted = collect(target, images, keep_maps=False).logits.argmax(1)
    return images.floats((predicted == images.labels).nonzero()[:IMAGES, 0])


def measured(target: Target, images: torch.Tensor, rest: float, order: float) -> dict[str, Any]:
    """Search for masks with two constants, and say how small they are and how much the order of pixels is worth."""
    masks.ORDER = order
    start = time.process_time()
    found = find_masks(target, images, MaskSettings(rest=rest))
    seconds = time.process_time() - start
    told = curves(target, images, found.importance)
    return {
        "rest": rest,
        "order": order,
        "area": round(float(found.area.mean()), 4),
        "deletion_area": round(float(told.deletion_area.mean()), 4),
        "insertion_area": round(float(told.insertion_area.mean()), 4),
        "cpu_seconds": round(seconds),
    }


def main() -> int:
    """Try all pairs of constants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", type=Path, default=Path("runs/masks-resnet20.safetensors"))
    parser.add_argument("--out", type=Path, default=RECORD)
    options = parser.parse_args()
    target = trained(options.network)
    images = rightly_answered(target, load(SHOWN))
    rows = []
    for order in ORDERS:
        for rest in RESTS:
            rows.append(measured(target, images, rest, order))
            print(rows[-1], flush=True)
    write_json(
        options.out,
        {
            "command": COMMAND,
            "environment": describe_environment(threads=torch.get_num_threads()),
            "images": len(images),
            "rows": rows,
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
