"""How much faster the exact search compares images than other packages do, one thread each, and what memory it needs.

One repeat measures the search (embeddings, maps and the final float64 values included) and every other package on some
of the same pairs, one after the other, so that whatever else the machine does falls on all of them. Seconds are those
of the processor. With INVAUDIT_DATA the images are MNIST's and CIFAR-10's, else drawn; LPIPS uses the trunks of
INVAUDIT_WEIGHTS, else random ones. Memory and the long search run in processes of their own.

    python benchmarks/speed/similarity.py [--json] [--queries 1000] [--gallery 10000] [--repeats 3] [--long 60000]
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import lpips
import torch
from safetensors.torch import save_file
from torch import Tensor

from invaudit.data import load, seeded_rng
from invaudit.runtime.environment import describe_environment
from invaudit.similarity import Metric, make_metric, nearest

DATA, WEIGHTS = "INVAUDIT_DATA", "INVAUDIT_WEIGHTS"

K = 10
CASES = (
    ("ssim", 1, 28), ("ssim", 3, 32), ("ssim", 3, 64),
    ("lpips-alex", 3, 32), ("lpips-alex", 3, 64), ("lpips-squeeze", 3, 32), ("lpips-squeeze", 3, 64),
)  # fmt: skip
MUSTS = {
    ("lpips-alex", 3, 32): {"lpips, pair by pair": 1000.0, "lpips, batched": 300.0},
    ("ssim", 1, 28): {"scikit-image": 100.0, "pytorch-msssim, batched": 30.0},
    ("ssim", 3, 32): {"scikit-image": 100.0, "pytorch-msssim, batched": 30.0},
}
"""Case -> package -> smallest ratio that is asked for."""
MOST_SECONDS, MOST_BYTES, MOST_GROWTH = 360.0, 2e9, 1.1
GROWING = ("ssim", "lpips-alex")
PEERS = ("scikit-image", "torchmetrics", "pytorch-msssim")
BATCHES = (64, 256)
LARGE_SIDE, LARGE_GALLERY = 64, 1_000


def images(n: int, channels: int, side: int, split: str) -> Tensor:
    """Return n images: MNIST or CIFAR-10, enlarged where the side asks for it, or drawn from coarse patterns."""
    if os.environ.get(DATA):
        found = load(f"{'mnist' if channels == 1 else 'cifar10'}:{split}@0:{n}").floats()
    else:
        rng = seeded_rng(0, f"similarity/{split}", channels)
        coarse = torch.rand(n, channels, 4, 4, generator=rng)
        found = torch.nn.functional.interpolate(coarse, (28, 28) if channels == 1 else (32, 32), mode="bilinear")
        found = (found + 0.1 * torch.randn(found.shape, generator=rng)).clamp(0, 1)
    if found.shape[2] != side:
        found = torch.nn.functional.interpolate(found, (side, side), mode="bilinear").clamp(0, 1)
    return found


def trunks(folder: Path) -> Path:
    """Return the folder with the trunk weights; random ones are written where there are none."""
    if os.environ.get(WEIGHTS):
        return Path(os.environ[WEIGHTS])
    for net in ("alex", "squeeze"):
        weights = package(net).net.state_dict().items()
        named = {f"features.{name.split('.', 1)[1]}": value.contiguous() for name, value in weights}
        save_file(named, folder / f"lpips_{net}_trunk.safetensors")
    return folder


def package(net: str) -> lpips.LPIPS:
    """Return the package's module with a random trunk: values do not change its time."""
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        return lpips.LPIPS(net=net, pnet_rand=True, verbose=False)


def peers(name: str, x: Tensor, y: Tensor) -> dict[str, Callable[[], int]]:
    """Return package -> function that compares some pairs of images and returns how many."""

    def batched(compare: Callable[[Tensor, Tensor], object], size: int) -> Callable[[], int]:
        def run() -> int:
            compare(x[:size], y[:size])
            return size

        return run

    def one_by_one(compare: Callable[[Any, Any], object], first: Any, second: Any, pairs: int) -> Callable[[], int]:
        def run() -> int:
            for i in range(pairs):
                compare(first[i], second[i])
            return pairs

        return run

    if name.startswith("lpips"):
        module = package(name.partition("-")[2])

        def distance(a: Tensor, b: Tensor) -> Tensor:
            return module(a, b, normalize=True)

        loop = one_by_one(distance, x.split(1), y.split(1), 20)
        return {"lpips, pair by pair": loop, **{f"lpips, batched/{n}": batched(distance, n) for n in BATCHES}}

    from pytorch_msssim import ssim
    from skimage.metrics import structural_similarity
    from torchmetrics.functional.image import structural_similarity_index_measure

    def scikit_image(a: Any, b: Any) -> object:
        return structural_similarity(
            a, b, channel_axis=0, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )

    def torchmetrics(a: Tensor, b: Tensor) -> object:
        return structural_similarity_index_measure(a, b, data_range=1.0, sigma=1.5, reduction="none")

    def msssim(a: Tensor, b: Tensor) -> object:
        return ssim(a, b, data_range=1.0, size_average=False)

    return {
        "scikit-image": one_by_one(scikit_image, x.numpy(), y.numpy(), 100),
        **{f"torchmetrics, batched/{n}": batched(torchmetrics, n) for n in BATCHES},
        **{f"pytorch-msssim, batched/{n}": batched(msssim, n) for n in BATCHES},
    }


def timed(work: Callable[[], int]) -> float:
    """Return the processor's microseconds for each pair."""
    start = time.process_time()
    pairs = work()
    return (time.process_time() - start) / pairs * 1e6


def measure(metric: Metric, queries: Tensor, gallery: Tensor, repeats: int) -> dict[str, Any]:
    """Return microseconds for each pair, and how many times ours the others take: medians over repeats."""

    def ours() -> int:
        nearest(queries, gallery, metric, K)
        return len(queries) * len(gallery)

    some = torch.arange(max(BATCHES))
    others = peers(metric.name, queries[some % len(queries)], gallery[some % len(gallery)])
    for work in others.values():
        work()
    seconds: dict[str, list[float]] = {"ours": [], **{name: [] for name in others}}
    for _ in range(repeats):
        for name, work in {"ours": ours, **others}.items():
            seconds[name].append(timed(work))
    ratios: dict[str, float] = {}
    for name, values in seconds.items():
        ratio = statistics.median(value / mine for value, mine in zip(values, seconds["ours"], strict=True))
        # Of the batch sizes that one that serves the other package best.
        ratios[name.partition("/")[0]] = min(ratio, ratios.get(name.partition("/")[0], ratio))
    del ratios["ours"]
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {"microseconds_per_pair": medians, "ratios": ratios}


def stream(n: int, channels: int, side: int) -> Iterator[Tensor]:
    """Yield n gallery images in batches, none of them kept."""
    if channels == 1 and os.environ.get(DATA):
        data = load("mnist:train")
        for start in range(0, n, 500):
            yield data.floats(torch.arange(start, min(start + 500, n)) % len(data))
    else:
        for number, start in enumerate(range(0, n, 500)):
            rng = seeded_rng(0, "similarity/stream", number)
            yield torch.rand(min(500, n - start), channels, side, side, generator=rng)


def searched(name: str, queries: int, gallery: int, threads: int) -> dict[str, Any]:
    """Return seconds on the clock and peak memory of one search, in a process of its own."""
    words = [name, str(queries), str(gallery), str(threads)]
    command = [sys.executable, __file__, "--search", *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return {"metric": name, "gallery": gallery, "threads": threads, **json.loads(done.stdout)}


def search(name: str, queries: int, gallery: int, threads: int) -> dict[str, float]:
    """Do what ``searched`` asks for, over a gallery that is streamed."""
    torch.set_num_threads(threads)
    channels, side = (1, 28) if name == "ssim" else (3, 32)
    with tempfile.TemporaryDirectory() as folder:
        metric = make_metric(name, weights=trunks(Path(folder)))
    start = time.perf_counter()
    nearest(images(queries, channels, side, "test"), stream(gallery, channels, side), metric, K)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def compared(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return one row for each case."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        where = trunks(Path(folder))
        for name, channels, side in CASES:
            n = min(options.gallery, LARGE_GALLERY) if (name, side) == ("ssim", LARGE_SIDE) else options.gallery
            queries, gallery = images(options.queries, channels, side, "test"), images(n, channels, side, "train")
            found = measure(make_metric(name, weights=where), queries, gallery, options.repeats)
            rows.append({"metric": name, "channels": channels, "side": side, "gallery": n, **found})
            print(f"{name} {channels} x {side} x {side}: {found['ratios']}", file=sys.stderr)
    return rows


def must(what: str, found: float, *, least: float | None = None, most: float | None = None) -> dict[str, Any]:
    """Return what was asked for, what was found, and whether that is enough."""
    met = found >= least if least is not None else found <= (most or 0)
    return {"must": what, "limit": least if least is not None else most, "found": found, "met": met}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--gallery", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--long", type=int, default=60_000, help="gallery of the long search by SSIM")
    parser.add_argument("--search", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.search:
        name, *numbers = options.search
        print(json.dumps(search(name, *map(int, numbers))))
        return
    torch.set_num_threads(1)
    # The searches first: a process inherits the peak of the one that started it, which the other packages make large.
    small = options.long // 30
    searches = [searched("ssim", options.queries, n, 2) for n in (options.long, 2 * options.long)]
    searches += [searched(name, options.queries, n, 1) for name in GROWING for n in (small, 10 * small)]
    rows = compared(options)
    musts = [
        must(f"{row['metric']} {row['channels']} x {row['side']} x {row['side']}: ratio to {peer}", ratio, least=least)
        for row in rows
        for peer, least in MUSTS.get((row["metric"], row["channels"], row["side"]), {}).items()
        for ratio in [row["ratios"][peer]]
    ]
    first, second = searches[:2]
    musts += [
        must("ssim, long search: seconds", first["seconds"], most=MOST_SECONDS),
        must("ssim, long search: bytes", second["peak_bytes"], most=MOST_BYTES),
        must(
            "ssim, gallery twice as large: share of bytes", second["peak_bytes"] / first["peak_bytes"], most=MOST_GROWTH
        ),
    ]
    if options.json:
        about = {
            "k": K,
            "queries": options.queries,
            "repeats": options.repeats,
            "images": "drawn" if not os.environ.get(DATA) else "mnist, cifar10",
        }
        versions = {name: metadata.version(name) for name in PEERS}
        result = {"peers": versions, "cases": rows, "searches": searches, "musts": musts}
        print(json.dumps(describe_environment(**about, **result), indent=2))
        return
    for row in rows:
        print(f"{row['metric']} {row['channels']} x {row['side']} x {row['side']}")
        for name, value in row["microseconds_per_pair"].items():
            print(f"  {name:28s}{value:12.2f} us each pair")
        for name, value in row["ratios"].items():
            print(f"  {name:28s}{value:12.0f} times ours")
    for row in searches:
        print(f"{row['metric']}, gallery of {row['gallery']}: {row['seconds']:.0f} s, {row['peak_bytes'] / 1e6:.0f} MB")
    for row in musts:
        print(f"{'met   ' if row['met'] else 'MISSED'} {row['must']}: {row['found']:.4g}, asked for {row['limit']:g}")


if __name__ == "__main__":
    main()
