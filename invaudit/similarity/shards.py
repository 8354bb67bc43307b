"""Exact nearest images among a gallery in shards, each searched by a job of its own: on many cores or machines."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from invaudit.data import ImageSet
from invaudit.models import limit_threads
from invaudit.runtime.console import progress
from invaudit.runtime.errors import SettingError
from invaudit.runtime.jobs import Executor, Job
from invaudit.similarity.protocol import Metric, sign_of
from invaudit.similarity.search import BestSoFar, Neighbours, nearest

SHARD_IMAGES = 50_000
"""Images of a shard where nobody says otherwise: a job of minutes, and of 300 MB with 28 x 28 pixels."""
BATCH = 1_024
"""Images of a shard that are floats at once."""
PRELOAD = ("invaudit.similarity.shards",)
"""What workers need."""


@dataclass(frozen=True, eq=False)
class Shard:
    """Some images of a gallery, one after the other.

    Attributes:
        first: Position of the first of them in the gallery.
        images: The images.
    """

    first: int
    images: ImageSet

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Send these images alone: a slice of a tensor would take the whole of it along."""
        return Shard, (self.first, self.images.subset(torch.arange(len(self.images))))


def shards_of(images: ImageSet, size: int = SHARD_IMAGES) -> list[Shard]:
    """Return a gallery in shards of ``size`` images, the last one perhaps smaller; nothing is copied.

    Raises:
        SettingError: ``size`` is under 1.
    """
    if size < 1:
        raise SettingError(f"size is {size}, expected at least 1")
    return [Shard(first, images.subset(slice(first, first + size))) for first in range(0, len(images), size)]


def nearest_in_shards(
    queries: Tensor,
    shards: Sequence[Shard],
    metric: Metric,
    k: int = 1,
    *,
    executor: Executor,
    records: Path | None = None,
) -> Neighbours:
    """Return the k most similar images of every query among all shards: what ``nearest`` returns, in any sharding.

    Every shard gives its own k best, exact in float64, each from its pair alone; of equally similar ones the first in
    the gallery counts. So neither the sharding, nor the order of the shards, nor what searches them changes a value.

    Args:
        queries: (Q, C, H, W) floats in [0, 1].
        shards: The gallery, in any order.
        metric: From ``make_metric``; it computes where it was made for.
        k: Neighbours of each query, from 1 to the number of all images.
        executor: What searches the shards.
        records: Folder where each shard keeps its state, so that a search that was stopped goes on. All machines see
            it.

    Raises:
        SettingError: ``k`` is out of range.
        ShapeError, DataError, RunFolderError: As ``nearest`` raises them.
    """
    total = sum(len(shard.images) for shard in shards)
    if not 1 <= k <= total:
        raise SettingError(f"k is {k}, expected 1 to the {total} images of the gallery")
    # Side by side, more threads would wait for each other; alone, a search takes all cores.
    threads = 1 if min(executor.workers, len(shards)) > 1 else torch.get_num_threads()
    jobs = []
    for shard in shards:
        key = f"shard-{shard.first}"
        kept = records and records / key
        jobs.append(Job(key, search_shard, (queries, shard, metric, min(k, len(shard.images)), kept, threads)))
    best = BestSoFar(len(queries), k)
    with closing(executor.run(jobs)) as results:
        for _, found in progress(results, total=len(jobs), label=metric.label):
            best.merge(sign_of(metric.better) * found.value, found.index)
    return Neighbours(best.index, sign_of(metric.better) * best.similarity)


def search_shard(
    queries: Tensor,
    shard: Shard,
    metric: Metric,
    k: int,
    records: Path | None,
    threads: int,
    *,
    device: str,  # noqa: ARG001 - a metric has its own
) -> Neighbours:
    """Search one shard; the positions are those in the gallery."""
    with limit_threads(threads):
        found = nearest(queries, shard.images.batches(BATCH), metric, k, records=records)
    return Neighbours(found.index + shard.first, found.value)
