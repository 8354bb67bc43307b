"""Scoring: every image passes through a network once, and every batch of the pass goes to every detector."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from invaudit.data import ImageSet
from invaudit.models import Activations, Target
from invaudit.models.reading import passes
from invaudit.ood import Detector
from invaudit.ood.detector import InParts
from invaudit.ood.scores import require_finite
from invaudit.records import DetectorInfo, DetectorOutcome, scores_key
from invaudit.records.names import part_name
from invaudit.runtime.boundary import is_interruption
from invaudit.runtime.errors import NotApplicableError, ShapeError

logger = logging.getLogger(__name__)


class Outcomes:
    """How each detector fares on one network, by name: its time, and why it has no scores."""

    def __init__(self) -> None:
        self.by_name: dict[str, DetectorOutcome] = {}

    @contextmanager
    def of(self, info: DetectorInfo) -> Iterator[None]:
        """Time what a detector does inside and note whether it worked; a failure is a row, not the end."""
        outcome = self.by_name.get(info.name) or DetectorOutcome(**info.model_dump())
        status, reason = outcome.status, outcome.reason
        start = time.perf_counter()
        try:
            yield
        except NotApplicableError as error:
            status, reason = "not-applicable", str(error)
        except (Exception, SystemExit) as error:  # a user's code may call sys.exit; it does not end the run
            if is_interruption(error):
                raise
            status, reason = "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            logger.warning("%s failed", info.name, exc_info=True)
        seconds = outcome.seconds + time.perf_counter() - start
        change = {"status": status, "reason": reason, "seconds": seconds}
        self.by_name[info.name] = outcome.model_copy(update=change)

    def works(self, name: str) -> bool:
        """Return whether a detector has not failed so far."""
        return name not in self.by_name or self.by_name[name].status == "ok"

    def with_parts(self, detector: str, parts: Mapping[str, float]) -> None:
        """Note that the parts of a detector, each a row of its own, fared as the whole."""
        whole = self.by_name[detector]
        for part in parts:
            name = part_name(detector, part)
            self.by_name[name] = whole.model_copy(update={"name": name})


class SetScores(NamedTuple):
    """What one pass over several sets gives.

    Attributes:
        logits: Name of the set -> logits (N, outputs).
        scores: Detector and set, as `scores_key` joins them -> scores (N,) float64; of those that worked on all sets.
    """

    logits: dict[str, Tensor]
    scores: dict[str, np.ndarray]


def score_sets(
    target: Target,
    detectors: Mapping[str, Detector],
    sets: Mapping[str, ImageSet | Tensor],
    outcomes: Outcomes,
    few_images: int | None,
) -> SetScores:
    """Pass every image of the sets through the target once and every batch to every detector that works.

    Args:
        target: The network.
        detectors: Name -> fitted detector.
        sets: Name -> images.
        outcomes: How the detectors have fared so far; it is brought up to date.
        few_images: Evenly spaced images of each set that detectors of high cost see; None: all.
    """
    infos = {name: detector.info for name, detector in detectors.items()}
    logits: dict[str, Tensor] = {}
    batches: dict[str, dict[str, list[Tensor]]] = {name: defaultdict(list) for name in detectors}
    for set_name, images in sets.items():
        of_batches = []
        few = torch.zeros(len(images), dtype=torch.bool)
        few[evenly(len(images), min(few_images or len(images), len(images)))] = True
        start = 0
        for batch in passes(target, images):
            of_batches.append(batch.logits)
            of_few = few[start : start + len(batch)]
            start += len(batch)
            for name in filter(outcomes.works, detectors):
                activations = batch.select(of_few) if infos[name].cost == "high" else batch
                if not len(activations):
                    continue
                with outcomes.of(infos[name]):
                    for row, scores in score_rows(name, detectors[name], activations).items():
                        batches[name][scores_key(row, set_name)].append(scores)
        logits[set_name] = torch.cat(of_batches)
    scores_of_sets: dict[str, np.ndarray] = {}
    for name in filter(outcomes.works, detectors):
        for key, scores in batches[name].items():
            scores_of_sets[key] = torch.cat(scores).numpy()
    return SetScores(logits, scores_of_sets)


def score_rows(name: str, detector: Detector, activations: Activations) -> dict[str, Tensor]:
    """Return the scores (N,) of a detector under its name, and of its parts, where it has some, under theirs.

    Raises:
        ShapeError: Not one score for each image.
        SettingError: A score is not finite.
    """
    if isinstance(detector, InParts):
        of_parts = detector.score_parts(activations)
        rows = {name: detector.combine(of_parts)}
        for part, scores in of_parts.items():
            rows[part_name(name, part)] = scores
    else:
        rows = {name: detector.score(activations)}
    checked = {}
    for row, scores in rows.items():
        if scores.shape != (len(activations),):
            raise ShapeError(f"{row} gives scores of shape {tuple(scores.shape)}, expected ({len(activations)},)")
        checked[row] = require_finite(scores, row)
    return checked


def evenly(n: int, k: int) -> np.ndarray:
    """Return k of n positions, evenly spaced: those of the images that detectors of high cost see."""
    return np.linspace(0, n - 1, k).round().astype(int)
