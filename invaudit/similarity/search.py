"""Exact nearest images: every pair is screened fast, those that may belong to the answer are computed in float64."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import length_hint
from pathlib import Path

import torch
from torch import Tensor

from invaudit.runtime.console import progress
from invaudit.runtime.errors import DataError, RunFolderError, SettingError
from invaudit.runtime.files import content_hash
from invaudit.similarity.checks import same_shape
from invaudit.similarity.embedded import Embedded, embedding
from invaudit.similarity.protocol import Metric, all_values, exact_values, full_precision, sign_of
from invaudit.similarity.registry import make_metric
from invaudit.similarity.search_state import Record, State

LARGEST_CHUNK = 2048
CHUNK_NUMBERS = 2**25
"""Numbers (128 MB) that the embedded images of a block may take, which makes its size where none is given."""


@dataclass(frozen=True)
class Neighbours:
    """The most similar gallery images of each query.

    Attributes:
        index: (Q, k) int64, positions in the gallery, most similar first; of equally similar ones the first.
        value: (Q, k) float64, in the units of the metric.
    """

    index: Tensor
    value: Tensor


class BestSoFar:
    """The k most similar images of every query among those that were merged.

    Attributes:
        similarity: (Q, k) float64, highest first; -inf where there are fewer images.
        index: (Q, k) int64, their positions; -1 where there are fewer.
    """

    def __init__(self, queries: int, k: int, device: torch.device | str = "cpu") -> None:
        self.similarity = torch.full((queries, k), -torch.inf, dtype=torch.float64, device=device)
        self.index = torch.full((queries, k), -1, dtype=torch.int64, device=device)

    def merge(self, similarity: Tensor, index: Tensor) -> None:
        """Take other images of every query, (Q, M) each; -inf and -1 where there is none.

        Of equal similarities the first position comes first, in whatever order images are merged.
        """
        device, k = self.index.device, self.index.shape[1]
        similarities = torch.cat([self.similarity, similarity.to(device)], 1)
        indices = torch.cat([self.index, index.to(device)], 1)
        # By index, then by a sort that keeps that order.
        indices, order = indices.sort(dim=1)
        similarities, order = similarities.gather(1, order).sort(dim=1, descending=True, stable=True)
        self.similarity, self.index = similarities[:, :k], indices.gather(1, order[:, :k])


@torch.no_grad()
@full_precision()
def nearest(
    queries: Tensor | Embedded,
    gallery: Tensor | Embedded | Iterable[Tensor],
    metric: Metric | str = "ssim",
    k: int = 1,
    *,
    chunk: int | None = None,
    records: Path | None = None,
) -> Neighbours:
    """Return the k most similar gallery images of every query.

    Exact: no pair is skipped. Rough values with a bound on their error name the candidates, whose values are then
    computed in float64, each from its pair alone; so neither batches nor order of the gallery change a value.

    Args:
        queries: (Q, C, H, W) floats in [0, 1], or what ``embed_once`` made of them.
        gallery: (N, C, H, W), what ``embed_once`` made of it, or an iterable of batches (B, C, H, W) of any sizes, with
            which memory does not grow with N.
        metric: From ``make_metric``, or its name where it needs no settings.
        k: Neighbours of each query, from 1 to N.
        chunk: Gallery images compared at once; by default as many as fit well, at most 2048.
        records: Folder where the state is kept, so that a search that was stopped goes on.

    Raises:
        SettingError: ``k`` or ``chunk`` is out of range, images are embedded by another metric, or a search of embedded
            images should keep its state.
        ShapeError: Queries and gallery have different shapes, or sides too small for the metric.
        DataError: Values that are not floats in [0, 1].
        RunFolderError: ``records`` holds another search, or cannot be written.

    Example:
        >>> import invaudit
        >>> digits = invaudit.load("digits").floats()
        >>> invaudit.nearest(digits[:3], digits, "ssim", k=2).index[:, 0].tolist()
        [0, 1, 2]
    """
    metric = make_metric(metric) if isinstance(metric, str) else metric
    if k < 1 or (chunk is not None and chunk < 1):
        raise SettingError(f"k is {k} and chunk is {chunk}, expected both to be at least 1")
    if records and (isinstance(queries, Embedded) or isinstance(gallery, Embedded)):
        raise SettingError(
            "a search that keeps its state compares images by their bytes; give images, not embedded ones"
        )
    search = _NearestSearch(queries, metric, k, records)
    size = chunk or max(1, min(LARGEST_CHUNK, CHUNK_NUMBERS // search.queries[0].numel()))
    shape = _image_shape(queries)
    if isinstance(gallery, Embedded):
        same_shape(gallery.shape, shape, "gallery", "the queries")
        for part in gallery.split(size):
            search.add(part)
    else:
        for block in _blocks(_shown(gallery, size, metric.label), size, shape):
            search.add(block)
    return search.result()


@torch.no_grad()
@full_precision()
def pairwise(queries: Tensor, gallery: Tensor, metric: Metric) -> Tensor:
    """Return the values (Q, N) float64 of all pairs of queries and gallery images, (Q or N, C, H, W), in [0, 1].

    Every value is computed in float64: for small pools.

    Raises:
        ShapeError: Queries and gallery have different shapes, or sides too small for the metric.
        DataError: Values that are not floats in [0, 1].
    """
    same_shape(gallery.shape[1:], queries.shape[1:], "gallery", "the queries")
    return all_values(metric, metric.embed(queries), metric.embed(gallery)).cpu()


def _image_shape(images: Tensor | Embedded) -> torch.Size:
    return images.shape if isinstance(images, Embedded) else images.shape[1:]


def _shown(gallery: Tensor | Iterable[Tensor], size: int, label: str) -> Iterator[Tensor]:
    """Yield the batches of a gallery, with progress where their number is known."""
    batches: Iterable[Tensor] = gallery.split(size) if isinstance(gallery, Tensor) else gallery
    total = length_hint(batches)
    return progress(batches, total=total, label=label) if total else iter(batches)


def _identity(queries: Tensor | Embedded, metric: Metric, k: int) -> str:
    assert isinstance(queries, Tensor)  # noqa: S101 - `nearest` has refused anything else
    return content_hash(metric.key, str(k), str(tuple(queries.shape)), _bytes(queries))


def _bytes(images: Tensor) -> bytes:
    return images.cpu().contiguous().numpy().tobytes()


def _blocks(batches: Iterable[Tensor], size: int, shape: torch.Size) -> Iterator[Tensor]:
    """Yield the images of the batches in blocks of one size, the last one perhaps smaller."""
    waiting: list[Tensor] = []
    count = 0
    for batch in batches:
        if not isinstance(batch, Tensor):
            raise DataError(
                f"the gallery gave a {type(batch).__name__}, expected tensors (N, C, H, W); give images alone"
            )
        same_shape(batch.shape[1:], shape, "gallery", "the queries")
        for part in batch.split(size):
            waiting.append(part)
            count += len(part)
            if count >= size:
                whole = torch.cat(waiting)
                yield whole[:size]
                waiting = [whole[size:]] if count > size else []
                count -= size
    if count:
        yield torch.cat(waiting)


class _NearestSearch:
    """The k best of the gallery images seen so far, exact after every block."""

    def __init__(self, queries: Tensor | Embedded, metric: Metric, k: int, records: Path | None) -> None:
        self.metric, self.k = metric, k
        self.queries = embedding(queries, metric)
        self.screen = metric.screen(self.queries)
        self.sign = sign_of(metric.better)
        self.record = Record(records, _identity(queries, metric, k) if records else "")
        self.known = self.record.read()
        self.seen = 0
        self.best = BestSoFar(len(queries), k, self.queries.device)

    def add(self, block: Tensor | Embedded) -> None:
        """Take the next gallery images, those that the record knows already by their hash alone."""
        if self.known is not None and isinstance(block, Tensor):
            known = block[: self.known.seen - self.seen]
            self._skip(known, self.known)
            block = block[len(known) :]
        if len(block):
            self._compare(block)
            if self.record.path is not None and isinstance(block, Tensor):
                best = self.best
                self.record.write(State(best.similarity, best.index, self.seen, self.record.hashed(block)))

    def _skip(self, block: Tensor, known: State) -> None:
        self.seen += len(block)
        digest = self.record.hashed(block)
        if self.seen == known.seen:
            if digest != known.digest:
                raise RunFolderError(f"{self.record.path} was made with another gallery; remove it or search that one")
            self.best.merge(known.similarity, known.index)
            self.known = None

    def _compare(self, block: Tensor | Embedded) -> None:
        gallery = embedding(block, self.metric)
        rough, bound = self.screen(gallery)
        highest = self.sign * rough + bound
        # First those that look best: their values raise what all others must reach. NaN reaches nothing: done already.
        first = highest.topk(min(self.k, len(gallery)), 1)
        self._take(gallery, first.indices, first.values)
        self._take(gallery, None, highest.scatter_(1, first.indices, torch.nan))
        self.seen += len(gallery)

    def _take(self, gallery: Tensor, columns: Tensor | None, highest: Tensor) -> None:
        """Compute and merge pairs of every query with gallery images (columns), those that may be among its k best."""
        rows, places = (highest >= self.best.similarity[:, -1:]).nonzero(as_tuple=True)
        positions = places if columns is None else columns[rows, places]
        similarity = self.sign * exact_values(self.metric, self.queries, gallery, rows, positions)
        counts = rows.bincount(minlength=len(highest))
        places = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
        shape = len(counts), int(counts.max())
        similarities, indices = similarity.new_full(shape, -torch.inf), positions.new_full(shape, -1)
        similarities[rows, places], indices[rows, places] = similarity, self.seen + positions
        self.best.merge(similarities, indices)

    def result(self) -> Neighbours:
        """Return the neighbours."""
        if self.known is not None:
            raise RunFolderError(f"{self.record.path} was made with a larger gallery; remove it or search that one")
        if self.k > self.seen:
            raise SettingError(f"k is {self.k}, expected at most the {self.seen} images of the gallery")
        return Neighbours(self.best.index.cpu(), (self.sign * self.best.similarity).cpu())
