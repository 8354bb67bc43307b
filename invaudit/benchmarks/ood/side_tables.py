"""The side tables of a run: cost, calibration, weights, decisions, and what fresh generators could make."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from invaudit.benchmarks.ood.scoring import evenly
from invaudit.benchmarks.ood.stored import StoredJob
from invaudit.ood.guarded import FALSE_ALARM_RATE
from invaudit.records.columns import Row
from invaudit.records.names import ATTACK_PREFIX, CALIBRATE, FOOLED, GARBAGE_LOGIT, ID_TEST, OURS, scores_key
from invaudit.records.ood import (
    SIDE_TABLES,
    AttackRow,
    CalibrationRow,
    CostRow,
    DecisionRow,
    ResistanceRow,
    WeightRow,
)
from invaudit.stats import conformal_threshold, ranking

Place = dict[str, Any]
"""The columns that every side table begins with: ``id_set``, ``seed`` and ``network``."""


def make_side_tables(jobs: list[StoredJob], id_set: str) -> dict[str, list[Row]]:
    """Return the rows of all side tables by name, see `SIDE_TABLES`.

    Args:
        jobs: All jobs of a run.
        id_set: Name of the ID set.
    """
    tables: dict[str, list[Row]] = {name: [] for name in SIDE_TABLES}
    for job in jobs:
        place = {"id_set": id_set, "seed": job.seed, "network": job.network}
        for name in SIDE_TABLES:
            tables[name] += ROWS_OF[name](job, place)
    return tables


def _cost_rows(job: StoredJob, place: Place) -> Iterator[CostRow]:
    if job.record.cost is not None:
        yield CostRow(**place, **job.record.cost.model_dump())


def _calibration_rows(job: StoredJob, place: Place) -> Iterator[CalibrationRow]:
    correct = job.correct()
    if job.record.calibration is not None and correct is not None:
        calibration = job.record.calibration.model_dump()
        yield CalibrationRow(**place, **calibration, n=len(correct), id_accuracy=float(correct.mean()))


def _weight_rows(job: StoredJob, place: Place) -> Iterator[WeightRow]:
    for part, weight in job.record.weights.items():
        yield WeightRow(**place, part=part, weight=weight)


def _decision_rows(job: StoredJob, place: Place) -> Iterator[DecisionRow]:
    for ood_set in (ID_TEST, *job.record.sets.groups):
        logits = job.scores(GARBAGE_LOGIT, ood_set)
        if logits is not None:
            # The papers' hard decision: the garbage class has the largest output.
            yield DecisionRow(**place, ood_set=ood_set, n=len(logits), garbage=float((logits > 0).mean()))


def _resistance_rows(job: StoredJob, place: Place) -> Iterator[ResistanceRow]:
    for attack, outcome in job.record.attacks.items():
        fooled = _fooled(job, attack)
        if fooled is None:
            yield ResistanceRow(**place, attack=attack, n=0, outcome=outcome)
            continue
        accepted = passed = None
        if OURS[1] in job.record.detectors:
            ours = _attack_row(job, place, attack, OURS[1], fooled)
            accepted, passed = ours.accepted, ours.passed
        yield ResistanceRow(
            **place,
            attack=attack,
            n=len(fooled),
            resistance=1 - float(fooled.mean()),
            accepted=accepted,
            passed=passed,
            outcome=outcome,
        )


def _attack_rows(job: StoredJob, place: Place) -> Iterator[AttackRow]:
    for attack in job.record.attacks:
        fooled = _fooled(job, attack)
        if fooled is not None:
            for detector in job.record.detectors:
                yield _attack_row(job, place, attack, detector, fooled)


def _fooled(job: StoredJob, attack: str) -> np.ndarray | None:
    """Return which images of an attack the network takes for a class, or None where it made no images."""
    return job.arrays.get(scores_key(FOOLED, ATTACK_PREFIX + attack))


def _attack_row(job: StoredJob, place: Place, attack: str, detector: str, fooled: np.ndarray) -> AttackRow:
    """Return the share of attack images that a detector accepts (``passed``: that fool the network too)."""
    outcome, pair = job.record.detectors[detector], job.pair(detector, ATTACK_PREFIX + attack)
    reason = outcome.reason or None
    row = AttackRow(**place, attack=attack, detector=detector, status=outcome.status, reason=reason)
    calibration = job.scores(detector, CALIBRATE)
    if calibration is None or pair is None:
        return row
    accepted = pair.ood_scores <= conformal_threshold(calibration, FALSE_ALARM_RATE)
    # A detector with high cost has seen some of the images only.
    fooled_of_these = fooled[evenly(len(fooled), len(accepted))]
    measured = {
        "n": float(len(accepted)),
        "accepted": float(accepted.mean()),
        "passed": float((accepted & fooled_of_these).mean()),
        "auroc": ranking(*pair).auroc,
        "status": "ok",
        "reason": None,
    }
    return row.model_copy(update=measured)


ROWS_OF: dict[str, Callable[[StoredJob, Place], Iterator[Row]]] = {
    "cost": _cost_rows,
    "calibration": _calibration_rows,
    "weights": _weight_rows,
    "decisions": _decision_rows,
    "resistance": _resistance_rows,
    "attacks": _attack_rows,
}
"""Name of a side table, each of ``SIDE_TABLES`` -> what gives its rows of one job."""
