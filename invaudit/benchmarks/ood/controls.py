"""Controls: checks on the finished run that fail it loudly, since its numbers could not be trusted."""

import numpy as np

from invaudit.benchmarks.ood.stored import StoredJob
from invaudit.records.names import CONTROL_SAME, CONTROL_SPLIT, ID_TEST
from invaudit.records.ood import OodRow
from invaudit.runtime.errors import ControlError
from invaudit.stats import control_half_width


def check_controls(jobs: list[StoredJob], table: list[OodRow]) -> list[str]:
    """Check control-same and control-split on every row of a run.

    Args:
        jobs: All jobs of the run.
        table: Its table.

    Returns:
        What passed, in words, for the report.

    Raises:
        ControlError: Names the control, network, detector and seed.
    """
    return [_same(jobs), _split(table)]


def _same(jobs: list[StoredJob]) -> str:
    checked = 0
    for job in jobs:
        for detector in job.record.detectors:
            as_id, as_ood = job.scores(detector, ID_TEST), job.scores(detector, CONTROL_SAME)
            if as_id is None or as_ood is None:
                continue
            checked += 1
            if as_id.tobytes() != as_ood.tobytes():
                largest = float(np.abs(as_id - as_ood).max())
                raise ControlError(
                    f"{CONTROL_SAME} failed: {detector} on network {job.network}, seed {job.seed}, scores the same "
                    f"images differently as ID and as OOD (largest difference {largest:g})"
                )
    return f"{CONTROL_SAME}: {checked} detectors score the same images alike as ID and as OOD, bit for bit"


def _split(table: list[OodRow]) -> str:
    rows = [row for row in table if row.ood_set == CONTROL_SPLIT and row.status == "ok"]
    largest = 0.0
    for row in rows:
        # A row that is ok has all three; one that had not would fail here.
        n_id, n_ood, auroc = row.n_id or 0, row.n_ood or 0, row.auroc or 0.0
        allowed = control_half_width(n_id, n_ood, len(rows))
        largest = max(largest, allowed)
        if abs(auroc - 0.5) > allowed:
            raise ControlError(
                f"{CONTROL_SPLIT} failed: {row.detector} on network {row.network}, seed {row.seed}, tells two "
                f"random halves of the ID test images apart (AUROC {auroc:.3f}, allowed 0.5 +- {allowed:.3f})"
            )
    return f"{CONTROL_SPLIT}: AUROC of two random halves of ID test within 0.5 +- {largest:.3f} on all {len(rows)} rows"
