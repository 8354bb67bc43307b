"""How far a detector is from the one that all are compared with, over the same resamples of images and seeds."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from invaudit.benchmarks.ood.scoring import evenly
from invaudit.benchmarks.ood.settings import OODBenchmark
from invaudit.benchmarks.ood.stored import StoredJob
from invaudit.records.names import ID_TEST
from invaudit.records.ood import OodRow
from invaudit.runtime.console import progress
from invaudit.runtime.seeds import child_seed
from invaudit.stats import (
    SeedDraws,
    auroc,
    bootstrap_auroc,
    bootstrap_fpr95,
    combine,
    fpr95,
    percentile_interval,
    resample_images,
    resample_seeds,
    two_sided_p,
)

OverSets = Literal["mean", "worst"]
Figure = Literal["auroc", "fpr95"]
FIGURES: dict[Figure, tuple[Callable[..., float], Callable[..., np.ndarray]]] = {
    "auroc": (auroc, bootstrap_auroc),
    "fpr95": (fpr95, bootstrap_fpr95),
}
"""What is compared -> how it comes from ID and OOD scores, and from weights of their images."""


class FigureDraws(NamedTuple):
    """AUROC, or another figure, of one detector, as observed and resampled."""

    observed: np.ndarray
    """(S,) of each seed; (S, K) for several sets."""
    resampled: np.ndarray
    """(S, B) of each seed and resample; (S, K, B) for several sets."""


class Difference(NamedTuple):
    """A figure of a row minus that of the reference."""

    value: float
    """As observed, mean over seeds."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of it."""
    p_value: float
    """p-value of "no difference", before any correction."""


class PairedDifferences:
    """Differences to the reference of a run, over the same resamples of images for all detectors.

    ID images are shared by all sets, and what several seeds share, by these seeds: images that are the same for all of
    them do not become more by being scored by more networks. Sets that share only some images count as different ones.

    Args:
        jobs: All jobs of a run.
        settings: Its settings.
    """

    def __init__(self, jobs: list[StoredJob], settings: OODBenchmark) -> None:
        self.jobs = {(job.seed, job.network): job for job in jobs}
        self.seeds = settings.seeds
        self.reference = settings.compare_with
        drawn: dict[str, np.ndarray] = {}
        self.counts: dict[tuple[int, str], np.ndarray] = {}
        sets_of_seed = {job.seed: job.record.sets for job in jobs}
        for seed, sets in sets_of_seed.items():
            for name, images in ((ID_TEST, sets.splits["test"]), *sets.ood.items()):
                if images.hash not in drawn:
                    rng = np.random.default_rng(child_seed(0, f"bootstrap/{images.hash}"))
                    drawn[images.hash] = resample_images(images.count, rng, n_draws=settings.draws)
                self.counts[seed, name] = drawn[images.hash]
        rng = np.random.default_rng(child_seed(settings.seeds[0], "bootstrap/seeds"))
        self.seed_draws: SeedDraws = resample_seeds(len(settings.seeds), rng, n_draws=settings.draws)
        self.cache: dict[tuple[str, str, str, Figure], FigureDraws | None] = {}

    def resample(self, table: Iterable[OodRow], figures: Sequence[Figure] = ("auroc",)) -> None:
        """Fill the cache for every row that is compared, in threads: numpy works outside the interpreter's lock."""
        compared: dict[tuple[str, str, str, Figure], None] = {}  # A set that keeps its order.
        for row in table:
            if row.group != "control":
                for figure in figures:
                    compared[row.network, row.detector, row.ood_set, figure] = None
        with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
            finished = pool.map(lambda key: self.figures(*key), compared)
            for _ in progress(finished, total=len(compared), label="comparisons"):
                pass

    def figures(self, network: str, detector: str, ood_set: str, figure: Figure = "auroc") -> FigureDraws | None:
        """Return a figure on one set, observed (S,) and resampled (S, B), or None where a seed has none."""
        key = (network, detector, ood_set, figure)
        if key not in self.cache:
            self.cache[key] = self._figures(*key)
        return self.cache[key]

    def _figures(self, network: str, detector: str, ood_set: str, figure: Figure) -> FigureDraws | None:
        measure, resample = FIGURES[figure]
        observed, resampled = [], []
        for seed in self.seeds:
            pair = self.jobs[seed, network].pair(detector, ood_set)
            if pair is None:
                return None
            observed.append(measure(*pair))
            id_counts = _counts_of(self.counts[seed, ID_TEST], pair.id_scores)
            ood_counts = _counts_of(self.counts[seed, ood_set], pair.ood_scores)
            resampled.append(resample(*pair, id_counts, ood_counts))
        return FigureDraws(np.array(observed), np.stack(resampled))

    def over_sets(
        self, network: str, detector: str, ood_sets: Sequence[str], figure: Figure = "auroc"
    ) -> FigureDraws | None:
        """Return a figure on several sets, or None where one is missing."""
        observed, resampled = [], []
        for name in ood_sets:
            draws = self.figures(network, detector, name, figure)
            if draws is None:
                return None
            observed.append(draws.observed)
            resampled.append(draws.resampled)
        return FigureDraws(np.stack(observed, axis=1), np.stack(resampled, axis=1))

    def difference(self, network: str, detector: str, ood_sets: list[str], how: OverSets) -> Difference | None:
        """Return the difference to the reference over the mean or the worst of some sets.

        Args:
            network: Network of the row.
            detector: Detector of the row.
            ood_sets: Names of the sets.
            how: Mean over the sets, or the smallest value.

        Returns:
            The difference; None for the reference itself, where there is none, or where a seed has no score.
        """
        if self.reference is None or (network, detector) == self.reference.row:
            return None
        theirs, reference = self.over_sets(network, detector, ood_sets), self.over_sets(*self.reference.row, ood_sets)
        if theirs is None or reference is None:
            return None
        return difference_of(theirs, reference, how, self.seed_draws)


def difference_of(theirs: FigureDraws, reference: FigureDraws, how: OverSets, seed_draws: SeedDraws) -> Difference:
    """Return a figure minus that of the reference, over the mean or the worst of sets, with its paired interval.

    Args:
        theirs: The figure on several sets, for each seed and resample.
        reference: The same of the reference, over the same resamples.
        how: Mean over the sets, or the smallest value.
        seed_draws: How much each resample weighs each seed.
    """
    observed = combine(theirs.observed[..., None], over_sets=how) - combine(
        reference.observed[..., None], over_sets=how
    )
    resampled = combine(theirs.resampled, over_sets=how, seeds=seed_draws) - combine(
        reference.resampled, over_sets=how, seeds=seed_draws
    )
    value = float(np.mean(observed))
    interval = percentile_interval(resampled, value=value, n=0, over=seed_draws.over)
    return Difference(value, interval.low, interval.high, two_sided_p(resampled))


def _counts_of(counts: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the counts of the images that a detector has seen, all or evenly spaced ones."""
    n = len(counts)
    return counts if len(scores) == n else counts[evenly(n, len(scores))]
