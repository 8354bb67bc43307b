"""What an exact search in shards costs beside one of the whole gallery: seconds on the clock, memory of each process.

The images are drawn, the metric is SSIM, every process has one thread. All searches have to give the same neighbours.

    python benchmarks/speed/shards.py [--json] [--queries 2000] [--gallery 200000] [--shards 7] [--executor ray]
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from invaudit.data import ImageSet, seeded_rng
from invaudit.models import limit_threads
from invaudit.models.workers import start_executor
from invaudit.runtime.environment import describe_environment
from invaudit.runtime.executor import ExecutorChoice
from invaudit.runtime.jobs import Executor, Job
from invaudit.similarity import Neighbours, make_metric, nearest_in_shards, shards_of
from invaudit.similarity.shards import PRELOAD

SIDE = 28
K = 10


def drawn(n: int, stage: str) -> Tensor:
    """Return n grey images (N, 1, 28, 28) uint8: coarse patterns and noise."""
    rng = seeded_rng(0, f"shards/{stage}")
    parts = []
    for start in range(0, n, 10_000):
        coarse = torch.rand(min(10_000, n - start), 1, 4, 4, generator=rng)
        smooth = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")
        noisy = smooth + 0.1 * torch.randn(smooth.shape, generator=rng)
        parts.append((255 * noisy.clamp(0, 1)).byte())
    return torch.cat(parts)


def peak(number: int, *, device: str) -> int:  # noqa: ARG001 - what a job is called with
    """Return the peak memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def started(text: str, workers: int) -> Iterator[Executor]:
    """Start an executor in a folder that goes away."""
    with (
        tempfile.TemporaryDirectory() as folder,
        start_executor(ExecutorChoice.parse(text, workers), "cpu", PRELOAD, Path(folder)) as executor,
    ):
        yield executor


def searched(queries: Tensor, gallery: ImageSet, shards: int, text: str, workers: int) -> tuple[Neighbours, Any]:
    """Return the neighbours, and what the search cost."""
    with started(text, workers) as executor:
        start = time.perf_counter()
        size = -(-len(gallery) // shards)
        found = nearest_in_shards(queries, shards_of(gallery, size), make_metric("ssim"), K, executor=executor)
        seconds = time.perf_counter() - start
        peaks = [value for _, value in executor.run([Job(str(k), peak, (k,)) for k in range(4 * workers)])]
    cost = {"shards": shards, "executor": text, "workers": workers, "seconds": seconds, "peak_bytes": max(peaks)}
    return found, cost


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--gallery", type=int, default=200_000)
    parser.add_argument("--shards", type=int, default=7)
    parser.add_argument("--executor", default="ray")
    options = parser.parse_args()
    queries = drawn(options.queries, "queries").float() / 255
    pixels = drawn(options.gallery, "gallery")
    gallery = ImageSet("drawn", pixels, torch.zeros(len(pixels), dtype=torch.int64))
    with limit_threads(1):
        whole, alone = searched(queries, gallery, 1, "serial", 1)
        parts, side_by_side = searched(queries, gallery, options.shards, options.executor, 2)
    same = torch.equal(whole.index, parts.index) and torch.equal(whole.value, parts.value)
    about = {"queries": options.queries, "gallery": options.gallery, "k": K, "metric": "ssim", "side": SIDE}
    result = describe_environment(**about, searches=[alone, side_by_side], same=same)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for row in result["searches"]:
        print(
            f"{row['shards']} shards, {row['executor']}, {row['workers']} workers: {row['seconds']:.0f} s, "
            f"{row['peak_bytes'] / 1e6:.0f} MB"
        )
    print("the same neighbours" if same else "DIFFERENT neighbours")


if __name__ == "__main__":
    main()
