"""The audit of one target on one pool: every method, metric and membership score, each with how it ended."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invaudit.data import seeded_rng
from invaudit.leakage.attribution import attribute
from invaudit.leakage.blind import BlindBaseline, blind_baseline
from invaudit.leakage.matches import best_similarity, papers_count, score_reconstructions, sign_of
from invaudit.leakage.membership_signals import SIGNALS
from invaudit.leakage.planted import degraded_copies, unrelated
from invaudit.leakage.reconstruction import Reconstructions
from invaudit.models import Target
from invaudit.runtime.errors import InputError, MissingDataError, ModelError
from invaudit.runtime.seeds import child_seed
from invaudit.similarity import Metric, make_metric
from invaudit.stats import Design, Pairs, membership, scoring_limit

logger = logging.getLogger(__name__)
BLOCK = 512
Row = dict[str, Any]
Metrics = Mapping[str, Metric | Row]
"""Metrics by name; in place of one that cannot be had, the row that says why."""


@contextmanager
def row_status(row: Row, name: str) -> Iterator[None]:
    """Time what happens inside and note how it ended; a failure is a row, not the end."""
    start = time.perf_counter()
    row |= {"status": "ok", "reason": ""}
    try:
        yield
    except MissingDataError as error:
        row |= {"status": "skipped", "reason": str(error)}
    except ModelError as error:
        row |= {"status": "not-applicable", "reason": str(error)}
    except InputError as error:
        row |= {"status": "failed", "reason": str(error)}
    except Exception as error:
        row |= {"status": "failed", "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        logger.warning("%s failed", name, exc_info=True)
    row["seconds"] = time.perf_counter() - start


def make_metrics(
    resizes: Mapping[str, int | None], reference: Tensor | None, device: torch.device, *, download: bool
) -> dict[str, Metric | Row]:
    """Return metrics by name, or in the place of one that cannot be had the row that says why.

    Args:
        resizes: Name of a metric -> side in pixels that images are resized to first, or None.
        reference: (M, C, H, W) in [0, 1], images like the members, for the metrics that need some.
        device: Where to compute.
        download: Whether weights may be fetched.
    """
    made: dict[str, Metric | Row] = {}
    for name, resize in resizes.items():
        row: Row = {}
        with row_status(row, name):
            made[name] = make_metric(name, resize=resize, reference=reference, device=device, download=download)
        made.setdefault(name, row)
    return made


def not_audited(methods: Iterable[str], metrics: Iterable[str], row: Row, *, attribution: bool = True) -> Row:
    """Return the record of an audit that could not be begun: the same row, which says why, throughout."""
    methods, metrics = list(methods), list(metrics)
    scores = (["attribution"] if attribution else []) + list(SIGNALS)
    scores += [f"{method}:{metric}" for method in methods for metric in metrics]
    return {
        "methods": {method: {"n": None, **row} for method in methods},
        "tests": {method: dict.fromkeys(metrics, row) for method in methods},
        "membership": dict.fromkeys(scores, row),
        "papers_count": dict.fromkeys(methods, row),
    }


class Audit:
    """Gathers what an audit of one target on one pool finds.

    Args:
        images: (N, C, H, W) in [0, 1], the pool.
        labels: (N,) int64.
        design: Who is a member.
        metrics: From ``make_metrics``.
        seed: Seed of the audit.
        stage: Name of the audit; with the seed, the source of all draws.
        draws: Relabellings of each test.

    Attributes:
        record: ``methods``, ``tests`` (by method and metric), ``membership`` (by score) and ``papers_count`` (by
            method): rows of plain values.
        scores: Membership scores of the pool, (N,), by name.
        nearest: By method: ``labels`` and ``restart`` of its reconstructions, ``METRIC-index`` and ``METRIC-value``.
        images_of: By method: its reconstructions.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        design: Design,
        metrics: Metrics,
        *,
        seed: int,
        stage: str,
        draws: int,
    ) -> None:
        self.images, self.labels, self.design, self.metrics = images, labels, design, metrics
        self.seed, self.stage, self.draws = seed, stage, draws
        self.record: dict[str, dict[str, Any]] = {"methods": {}, "tests": {}, "membership": {}, "papers_count": {}}
        self.scores: dict[str, NDArray[np.float64]] = {}
        self.nearest: dict[str, dict[str, np.ndarray]] = {}
        self.images_of: dict[str, Tensor] = {}

    def membership(self, name: str, score: Callable[[], Tensor]) -> None:
        """Measure a membership score of the pool."""
        row: Row = {}
        with row_status(row, name):
            values = score().double().cpu().numpy()
            found = membership(values, self.design, self._rng(f"membership/{name}"), draws=self.draws)
            row |= asdict(found)
            gaps = ["no TPR at 1 % FPR: under 1,000 controls"] if found.tpr_at_fpr_1pct is None else []
            gaps += ["no epsilon: it needs the pairs design"] if found.epsilon_lower is None else []
            row["reason"] = "; ".join(gaps)
            self.scores[name] = values
        self.record["membership"][name] = row

    def signals(self, target: Target, *, attribution: bool = True) -> None:
        """Measure what needs no reconstruction: attribution, and the usual membership scores."""
        if attribution:
            self.membership("attribution", lambda: attribute(target, self.images, self.labels))
        for name, signal in SIGNALS.items():
            self.membership(name, lambda signal=signal: signal(target, self.images, self.labels))

    def method(self, name: str, make: Callable[[], Reconstructions]) -> None:
        """Reconstruct by one method, test what it gave by every metric, and measure membership by it."""
        about: Row = {"n": 0, "outcome": None, "message": ""}
        made: list[Reconstructions] = []
        with row_status(about, name):
            found = make()
            about |= {"n": len(found), "outcome": found.outcome, "message": found.message}
            if not len(found):
                raise InputError(f"{found.outcome}: {found.message}")
            made.append(found)
            self.images_of[name] = found.images
            self.nearest[name] = {"labels": found.labels.numpy(), "restart": found.restart.numpy()}
        self.record["methods"][name], self.record["tests"][name] = about, {}
        for one in made:
            count: Row = {}
            with row_status(count, f"papers' count of {name}"):
                counted = papers_count(one.images, self.images).numpy()
                sides = {"members": self.design.member, "controls": ~self.design.member}
                count |= {side: int(counted[who].sum()) for side, who in sides.items()}
            self.record["papers_count"][name] = count
        for metric, measure in self.metrics.items():
            for one in made:
                self.record["tests"][name][metric] = self._test(name, metric, measure, one, about)
                self._by_similarity(name, metric, measure, one)
            if not made:
                row = {"status": about["status"], "reason": about["reason"], "seconds": about["seconds"]}
                self.record["tests"][name][metric] = self.record["membership"][f"{name}:{metric}"] = row

    def _test(self, name: str, metric: str, measure: Metric | Row, found: Reconstructions, about: Row) -> Row:
        if isinstance(measure, dict):
            return measure
        row: Row = {}
        with row_status(row, f"{name}:{metric}"):
            scored = score_reconstructions(found.images, self.images, measure, together=self._together())
            test = scored.test(self.design, self._rng(f"verdict/{name}:{metric}"), draws=self.draws)
            self.nearest[name] |= {f"{metric}-index": scored.index, f"{metric}-value": scored.value}
            row |= {
                "p_value": test.p_value,
                "attainable_p": test.attainable_p,
                "distinct_hits": test.distinct_hits,
                "similarity_member": scored.sign * float(test.similarity_member.mean()),
                "similarity_control": scored.sign * float(test.similarity_control.mean()),
            }
        row["seconds"] += about["seconds"]
        if row["status"] == "ok" and about["outcome"] == "collapsed":
            row["reason"] = f"collapsed: {about['message']}"
        return row

    def _by_similarity(self, name: str, metric: str, measure: Metric | Row, found: Reconstructions) -> None:
        key = f"{name}:{metric}"
        if isinstance(measure, dict):
            self.record["membership"][key] = measure
            return
        given = (found.images, found.labels, found.restart, self.images, self.labels, measure)
        self.membership(key, lambda: best_similarity(*given))

    def _together(self) -> int:
        """Return the largest number of images of one group; images of a pair never share a label, so 1 is enough."""
        groups = None if isinstance(self.design, Pairs) else self.design.group
        return 1 if groups is None else int(np.unique(groups, return_counts=True)[1].max())

    def _rng(self, what: str) -> np.random.Generator:
        return np.random.default_rng(child_seed(self.seed, f"{self.stage}/{what}"))


def describe_pool(
    images: Tensor,
    design: Design,
    reference: Tensor | None,
    metrics: Metrics,
    counts: Iterable[int],
    *,
    seed: int,
    stage: str,
    alpha: float,
    family: int,
    blur: float,
    noise: float,
    blind: BlindBaseline | None = None,
) -> Row:
    """Measure what needs no target: the blind baseline, and the scoring limit by metric and number of reconstructions.

    Args:
        images: (N, C, H, W) in [0, 1], the pool that is tested.
        design: Who is a member.
        reference: Images that are in no pool, which stand in for unrelated reconstructions; None: no scoring limit.
        metrics: From ``make_metrics``.
        counts: Numbers of reconstructions.
        seed: Seed of the audit.
        stage: Name of the pool; with the seed, the source of all draws.
        alpha: Level of the whole family.
        family: Number of tests declared.
        blur: Of the simulated copies, the standard deviation in pixels.
        noise: On them, the standard deviation.
        blind: The blind baseline where it is already known.

    Returns:
        ``blind``, and ``limits`` by ``METRIC/COUNT``: rows of plain values.
    """

    def rng(what: str) -> np.random.Generator:
        return np.random.default_rng(child_seed(seed, f"{stage}/{what}"))

    record: Row = {"blind": {}, "limits": {}}
    with row_status(record["blind"], "blind baseline"):
        found = blind or blind_baseline(images, design, rng("blind"))
        record["blind"] |= {"auroc": found.auroc, "p_value": found.p_value}
    copies = degraded_copies(images, seeded_rng(seed, f"{stage}/copies"), blur=blur, noise=noise)
    for name, metric in metrics.items():
        if isinstance(metric, dict) or reference is None:
            continue
        copied = None
        for count in sorted(counts):
            row: Row = {}
            with row_status(row, f"scoring limit of {name}"):
                copied = _similarity(copies, images, metric) if copied is None else copied
                others = unrelated(reference, count, seeded_rng(seed, f"{stage}/unrelated/{count}"))
                limit = scoring_limit(
                    _similarity(others, images, metric),
                    copied,
                    design,
                    rng(f"limit/{name}/{count}"),
                    alpha=alpha,
                    family=family,
                )
                row |= {
                    "members": limit.members,
                    "power": limit.power,
                    "similarity": sign_of(metric) * limit.similarity,
                }
            record["limits"][f"{name}/{count}"] = row
    return record


@torch.no_grad()
def _similarity(queries: Tensor, pool: Tensor, metric: Metric) -> NDArray[np.float64]:
    """Return the (Q, N) similarities of all pairs as the search screens them: rough, and good enough to simulate."""
    compare = metric.screen(metric.embed(queries))
    parts = [compare(metric.embed(part))[0].double().cpu() for part in pool.split(BLOCK)]
    return sign_of(metric) * torch.cat(parts, 1).numpy()
