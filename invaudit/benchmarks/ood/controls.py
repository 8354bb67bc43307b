"""Controls: checks on the finished run that fail it loudly, since its numbers could not be trusted."""

import numpy as np
import pandas as pd

from invaudit.benchmarks.ood.tables import StoredJob, pick
from invaudit.records.names import CONTROL_SAME, CONTROL_SPLIT, ID_TEST
from invaudit.runtime.errors import ControlError
from invaudit.stats import control_half_width


def check_controls(jobs: list[StoredJob], table: pd.DataFrame) -> list[str]:
    """Check control-same and control-split on every row of a run.

    Returns:
        What passed, in words, for the report.

    Raises:
        ControlError: Names the control, network, detector and seed.
    """
    return [_same(jobs), _split(table)]


def _same(jobs: list[StoredJob]) -> str:
    checked = 0
    for job in jobs:
        for name in job.record["detectors"]:
            own, same = (job.arrays.get(f"{name}::{where}") for where in (ID_TEST, CONTROL_SAME))
            if own is None or same is None:
                continue
            checked += 1
            if own.tobytes() != same.tobytes():
                worst = float(np.abs(own - same).max())
                raise ControlError(
                    f"control-same failed: {name} on network {job.network}, seed {job.seed}, scores the same images "
                    f"differently as ID and as OOD (largest difference {worst:g})"
                )
    return f"control-same: {checked} detectors score the same images alike as ID and as OOD, bit for bit"


def _split(table: pd.DataFrame) -> str:
    rows = pick(table, (table["ood_set"] == CONTROL_SPLIT) & (table["status"] == "ok")).to_dict("records")
    widths = []
    for row in rows:
        widths.append(control_half_width(int(row["n_id"]), int(row["n_ood"]), len(rows)))
        if abs(row["auroc"] - 0.5) > widths[-1]:
            raise ControlError(
                f"control-split failed: {row['detector']} on network {row['network']}, seed {row['seed']}, tells two "
                f"random halves of the ID test images apart (AUROC {row['auroc']:.3f}, allowed 0.5 +- {widths[-1]:.3f})"
            )
    largest = max(widths, default=0.0)
    return f"control-split: AUROC of two random halves of ID test within 0.5 +- {largest:.3f} on all {len(rows)} rows"
