"""Tables of a leakage run, made from the records of its jobs alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from invaudit.benchmarks.leakage.jobs import Job, pool_jobs, target_jobs
from invaudit.benchmarks.leakage.settings import ATTACK_CONTROL, LeakageBenchmark
from invaudit.leakage import MEMBERSHIP, TABLE, adjusted, judged
from invaudit.runtime.files import read_json
from invaudit.stats import holm

TARGETS = ("target", "seed", "n_members", "train_accuracy", "control_accuracy", "description", "hash")
CONTROLS = ("kind", "target", "method", "metric", "seed", "p_value", "verdict", "verdict_reason", "status", "reason")
Record = dict[str, Any]


class Stored:
    """The records of a run."""

    def __init__(self, folder: Path, settings: LeakageBenchmark) -> None:
        self.settings = settings
        self.targets = {job: _read(folder, job) for job in target_jobs(settings)}
        self.pools = {(job.seed, job.members): _read(folder, job) for job in pool_jobs(settings)}

    @property
    def audited(self) -> dict[Job, Record]:
        """Records of all targets but the attack control."""
        return {job: record for job, record in self.targets.items() if job.target != ATTACK_CONTROL}

    @property
    def attack(self) -> tuple[Job, Record]:
        """The attack control."""
        return next((job, record) for job, record in self.targets.items() if job.target == ATTACK_CONTROL)


def _read(folder: Path, job: Job) -> Record:
    return read_json(folder / "records" / f"{job.name}.json")


def make_tables(stored: Stored) -> dict[str, pd.DataFrame]:
    """Return ``table``, ``membership``, ``targets`` and ``controls``."""
    called = _attack_called(stored)
    negatives = _negative_p(stored)
    rows = [
        row
        for job, record in stored.audited.items()
        for row in _target_rows(stored, job, record, called, {} if _negative(stored, job) else negatives)
    ]
    return {
        "table": pd.DataFrame(rows, columns=list(TABLE)).astype(
            dict.fromkeys(("n_reconstructions", "distinct_hits", "scoring_limit"), "Int64")
        ),
        "membership": pd.DataFrame(_membership_rows(stored), columns=list(MEMBERSHIP)),
        "targets": pd.DataFrame(_describing_rows(stored), columns=list(TARGETS)),
        "controls": pd.DataFrame(_control_rows(stored, called, rows), columns=list(CONTROLS)),
    }


def _negative(stored: Stored, job: Job) -> bool:
    return stored.settings.targets[job.target].negative


def _attack_called(stored: Stored) -> dict[str, bool]:
    """Return which methods find the leak that is known to be there, by any metric."""
    settings = stored.settings
    found = adjusted(stored.attack[1]["tests"], list(settings.methods), list(settings.metrics))
    return {
        method: any(p <= settings.alpha for (name, _), p in found.items() if name == method)
        for method in settings.methods
    }


def _negative_p(stored: Stored) -> dict[tuple[str, str], float]:
    """Return the smallest p-value of the negative controls by method and metric, adjusted for all of them."""
    keys, values = [], []
    for job, record in stored.audited.items():
        if _negative(stored, job):
            for method, tests in record["tests"].items():
                for metric, test in tests.items():
                    if "p_value" in test:
                        keys.append((method, metric))
                        values.append(test["p_value"])
    smallest: dict[tuple[str, str], float] = {}
    for key, p in zip(keys, holm(np.array(values)) if values else [], strict=True):
        smallest[key] = min(float(p), smallest.get(key, 1.0))
    return smallest


def _target_rows(
    stored: Stored, job: Job, record: Record, called: dict[str, bool], negatives: dict[tuple[str, str], float]
) -> list[Record]:
    settings = stored.settings
    rows = judged(
        record,
        stored.pools[(job.seed, job.members)],
        list(settings.methods),
        list(settings.metrics),
        design="pairs",
        alpha=settings.alpha,
        negatives=negatives,
        called=called,
    )
    return [{**row, **_who(job)} for row in rows]


def _who(job: Job) -> Record:
    return {
        "target": job.target,
        "design": "pairs",
        "seed": job.seed,
        "n_members": job.members,
        "n_control": job.members,
    }


def _membership_rows(stored: Stored) -> list[Record]:
    return [
        {**row, **_who(job), "score": score}
        for job, record in stored.audited.items()
        for score, row in record["membership"].items()
    ]


def _describing_rows(stored: Stored) -> list[Record]:
    return [{**record["target"], "target": job.target, "seed": job.seed} for job, record in stored.targets.items()]


def _control_rows(stored: Stored, called: dict[str, bool], rows: list[Record]) -> list[Record]:
    job, record = stored.attack
    attack = [
        {
            "kind": "attack",
            "target": job.target,
            "method": method,
            "metric": metric,
            "seed": job.seed,
            "p_value": test.get("p_value"),
            "verdict": ("leak" if called[method] else "no-evidence") if "p_value" in test else None,
            "status": test["status"],
            "reason": test["reason"],
        }
        for method, tests in record["tests"].items()
        for metric, test in tests.items()
    ]
    negative = [{"kind": "negative", **row} for row in rows if stored.settings.targets[row["target"]].negative]
    return attack + negative
