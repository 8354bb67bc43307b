"""How much memory a guard of many photos takes, and how fast they are read.

Makes JPEG files of mixed sizes, trains a small CNN on some of them, and runs `invaudit ood fit --as-it-is` and
`invaudit ood score` on all, once with half of them and once with all. Peak memory is that of the whole process.

    python benchmarks/speed/many_photos.py FOLDER [--photos 20000] [--json]
"""

import argparse
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from invaudit.data import load
from invaudit.data.pictures import PictureFile, Pictures
from invaudit.data.preparation import default_preparation
from invaudit.data.random import seeded_rng
from invaudit.models import InputSpec, Target, TrainingSettings, train
from invaudit.runtime.environment import describe_environment

SIDE = 224
SPEC = InputSpec(3, SIDE, SIDE, (0.5,), (0.25,), default_preparation(SIDE, SIDE))
CLASSES = ("blue", "green", "red")
TRAINED_ON = 600
TIMED = 1_000


def network() -> nn.Sequential:
    """Return a CNN that a CPU passes thousands of photos through."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 7, 4, 3), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, 2, 1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, len(CLASSES)),
    )  # fmt: skip


def write_photo(folder: Path, index: int) -> None:
    """Write one photo-like JPEG: coarse noise of mixed size, tinted by its class."""
    rng = np.random.default_rng(index)
    label = index % len(CLASSES)
    path = folder / CLASSES[label] / f"{index:06}.jpg"
    if path.exists():
        return
    width, height = (int(side) for side in rng.integers(240, 520, 2))
    coarse = rng.integers(0, 200, (24, 24, 3), dtype=np.uint8)
    coarse[..., 2 - label] += 55
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path, quality=85)


def save_network(folder: Path, photos: Path) -> None:
    """Train the CNN on some photos, and save its weights."""
    images = load(f"{photos}/@::{max(1, len(list(photos.rglob('*.jpg'))) // TRAINED_ON)}", wanted=SPEC.pictures)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        target = Target(network(), SPEC, len(CLASSES))
    train(target, images, TrainingSettings(epochs=4, batch_size=32), seeded_rng(0, "many-photos"))
    torch.save(target.module.state_dict(), folder / "network.pth")


def measured(words: list[str]) -> dict[str, float]:
    """Run a command of invaudit in a process of its own and return its peak memory and time."""
    start = time.monotonic()
    child = os.posix_spawn(sys.executable, [sys.executable, "-m", "invaudit", *words], os.environ)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{' '.join(words)} ended with {os.waitstatus_to_exitcode(status)}")
    return {"peak_gib": usage.ru_maxrss / 2**20, "seconds": time.monotonic() - start}


def reading(photos: Path, workers: int) -> float:
    """Return how many photos a second are decoded and prepared."""
    files = tuple(map(PictureFile, sorted(photos.rglob("*.jpg"))[:TIMED]))
    start = time.monotonic()
    for _ in Pictures(files, 3, SIDE, SIDE, default_preparation(SIDE, SIDE), workers).batches(64):
        pass
    return len(files) / (time.monotonic() - start)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    photos = options.folder / "photos"
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda index: write_photo(photos, index), range(options.photos)))
    save_network(options.folder, photos)
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    model = ["--model", str(options.folder / "network.pth"), "--arch", "many_photos:network", "--as-it-is"]
    model += ["--input", f"3x{SIDE}x{SIDE}", "--mean", "0.5", "--std", "0.25"]
    result: dict[str, object] = {"photos_per_second": {str(workers): reading(photos, workers) for workers in (1, 2)}}
    for count, part in ((options.photos // 2, "@::2"), (options.photos, "")):
        guard = options.folder / f"guard-{count}"
        fit = measured(["ood", "fit", f"{photos}/{part}", *model, "--out", str(guard)])
        scores = options.folder / f"scores-{count}.csv"
        score = measured(
            ["ood", "score", str(guard), f"{photos}/{part}", "--out", str(scores), "--arch", "many_photos:network"]
        )
        result[str(count)] = {"fit": fit, "score": score}
    print(json.dumps(describe_environment(**result), indent=2) if options.json else result)


if __name__ == "__main__":
    main()
