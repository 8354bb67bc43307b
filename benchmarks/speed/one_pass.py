"""How much more than one forward pass it costs to score images with every detector that stored activations can feed.

A ResNet-20 at 32 x 32 pixels. One repeat measures the plain forward pass and the shared pass, in which every batch goes
through the network once and then to every detector, right after each other, so that whatever else the machine does
falls on both. Fitting is not counted.

    python benchmarks/speed/one_pass.py [--json] [--images 2000] [--repeats 5] [--threads 2]
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch

from invaudit.data import ImageSet, seeded_rng
from invaudit.models import InputSpec, Target, TrainingSettings, build, collect, frozen_eval, train
from invaudit.models.reading import passes
from invaudit.ood import FitInputs
from invaudit.ood.baselines import BASELINES, FittedBaseline
from invaudit.runtime.environment import describe_environment
from invaudit.runtime.errors import NotApplicableError

LIMIT = 1.5
BESIDE = ("KNN", "KNN@k=5", "NNGuide", "OpenMax", "RankFeat", "Gram", "MultiMahalanobis")
"""Rows that do more than a few products with the activations; listed apart."""

CLASSES, SIDE, BATCH = 10, 32, 128
TRAIN, WITH_MAPS, HELD_OUT = 5_000, 1_000, 200


def pictures(n: int, stage: str) -> ImageSet:
    """Return n noisy copies of ten coarse patterns, one for each class."""
    rng = seeded_rng(0, stage)
    patterns = torch.rand(CLASSES, 3, 4, 4, generator=seeded_rng(0, "one-pass/patterns"))
    labels = torch.arange(n) % CLASSES
    images = torch.nn.functional.interpolate(patterns, size=(SIDE, SIDE))[labels]
    images = (images + 0.2 * torch.randn(images.shape, generator=rng)).clamp(0, 1)
    return ImageSet(stage, (images * 255).round().byte(), labels)


def trained() -> Target:
    """Return a ResNet-20 that knows the patterns."""
    spec = InputSpec(3, SIDE, SIDE, (0.5,), (0.25,))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        target = Target(build("resnet20", spec, CLASSES), spec, CLASSES)
    settings = TrainingSettings(epochs=3, batch_size=32, precision="float32")
    train(target, pictures(WITH_MAPS, "one-pass/training"), settings, seeded_rng(0, "one-pass/weights"))
    return target.eval()


def detectors(target: Target) -> dict[str, FittedBaseline]:
    """Return the fitted detectors that stored activations can feed."""
    images = pictures(TRAIN, "one-pass/train")
    first, held_out = images.subset(slice(WITH_MAPS)), pictures(HELD_OUT, "one-pass/fit")
    fitting = FitInputs(
        target=target,
        train=collect(target, images, keep_maps=False),
        train_labels=images.labels,
        maps=collect(target, first),
        maps_labels=first.labels,
        fit=collect(target, held_out),
        fit_labels=held_out.labels,
        rng=seeded_rng(0, "one-pass/draws"),
    )
    made = {}
    for name, row in BASELINES.items():
        if row.consumes != "images":
            try:
                made[name] = row.detector(fitting)
            except NotApplicableError as error:
                print(f"{name}: {error}", file=sys.stderr)
    return made


def timed(work: Callable[[], object]) -> float:
    """Return the wall time of one call, in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(n: int, repeats: int) -> dict[str, list[float]]:
    """Return the seconds of every repeat: ``forward``, ``shared`` (pass and scores together) and each detector."""
    target = trained()
    fitted = detectors(target)
    images = pictures(n, "one-pass/test").floats()

    def forward() -> None:
        with frozen_eval(target), torch.no_grad():
            for batch in images.split(BATCH):
                target(batch)

    def shared() -> dict[str, float]:
        seconds = dict.fromkeys(fitted, 0.0)
        for part in passes(target, images, batch_size=BATCH):
            for name, detector in fitted.items():
                seconds[name] += timed(lambda detector=detector, part=part: detector.score(part))
        return seconds

    seconds: dict[str, list[float]] = {"forward": [], "shared": [], **{name: [] for name in fitted}}
    forward()
    shared()
    for _ in range(repeats):
        seconds["forward"].append(timed(forward))
        start = time.perf_counter()
        each = shared()
        seconds["shared"].append(time.perf_counter() - start)
        for name, value in each.items():
            seconds[name].append(value)
    return seconds


def summarise(seconds: dict[str, list[float]]) -> dict[str, float | dict[str, float]]:
    """Return medians in multiples of the forward pass; ``ratio`` leaves out the detectors listed beside."""
    forward = statistics.median(seconds["forward"])
    beside = [sum(values) for values in zip(*(seconds[name] for name in BESIDE), strict=True)]
    quick = [whole - other for whole, other in zip(seconds["shared"], beside, strict=True)]
    return {
        "forward_seconds": forward,
        "ratio": statistics.median(quick) / forward,
        "ratio_with_all": statistics.median(seconds["shared"]) / forward,
        "detectors": {
            name: statistics.median(values) / forward
            for name, values in seconds.items()
            if name not in ("forward", "shared")
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = summarise(measure(options.images, options.repeats))
    sizes = {"images": options.images, "batch": BATCH, "train": TRAIN, "train_with_maps": WITH_MAPS}
    about = {"limit": LIMIT, "beside": BESIDE, "repeats": options.repeats, "threads": options.threads, "sizes": sizes}
    if options.json:
        print(json.dumps(describe_environment(**about, **result), indent=2))
        return
    ratios = result.pop("detectors")
    assert isinstance(ratios, dict)
    for name, value in {**result, **dict(sorted(ratios.items(), key=lambda item: -item[1]))}.items():
        print(f"{name:28s}{value:8.4f}{'  beside' if name in BESIDE else ''}")


if __name__ == "__main__":
    main()
