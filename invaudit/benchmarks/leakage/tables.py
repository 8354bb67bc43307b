"""Tables of a leakage run, made from the records of its jobs alone."""

from pathlib import Path
from statistics import mean, stdev
from typing import Any, get_args

import numpy as np
import pandas as pd

from invaudit.benchmarks.leakage.jobs import Job, target_jobs
from invaudit.benchmarks.leakage.settings import ATTACK_CONTROL, LeakageBenchmark
from invaudit.leakage import MEMBERSHIP, PAPERS_COUNT, TABLE, holm_by_test, judge_rows
from invaudit.leakage.rows import COUNTS, as_table
from invaudit.runtime.files import read_json
from invaudit.stats import Verdict, decide, holm
from invaudit.stats.verdicts import Word

TARGETS = (
    "target", "design", "seed", "n_members", "n_control", "train_accuracy", "control_accuracy", "description", "hash",
)  # fmt: skip
SUMMARY = (
    "target", "score", "design", "seeds", "auroc", "auroc_sd", "similarity_member", "similarity_control",
    "distinct_hits", "low_p", "leak", "no_evidence", "inconclusive", "status", "reason",
)  # fmt: skip
CONTROLS = ("kind", "target", "method", "metric", "seed", "p_value", "verdict", "verdict_reason", "status", "reason")
Record = dict[str, Any]


class StoredRun:
    """The records of a run."""

    def __init__(self, folder: Path, settings: LeakageBenchmark) -> None:
        self.settings = settings
        self.targets = {job: read_json(folder / "records" / f"{job.name}.json") for job in target_jobs(settings)}
        pools = {job.pool_name for job in self.targets if job.target != ATTACK_CONTROL}
        self.pools = {name: read_json(folder / "records" / f"{name}.json") for name in pools}

    @property
    def audited(self) -> dict[Job, Record]:
        """Records of all targets but the attack control."""
        return {job: record for job, record in self.targets.items() if job.target != ATTACK_CONTROL}

    @property
    def attack(self) -> tuple[Job, Record]:
        """The attack control."""
        return next((job, record) for job, record in self.targets.items() if job.target == ATTACK_CONTROL)


def make_tables(stored: StoredRun) -> dict[str, pd.DataFrame]:
    """Return ``table``, ``membership``, ``summary`` (over seeds), ``targets``, ``controls`` and ``papers_count``."""
    attack = _attack_verdicts(stored)
    called = {
        method: any(found.verdict == "leak" for (name, _), found in attack.items() if name == method)
        for method in stored.settings.methods
    }
    negatives = _negative_p(stored)
    rows = [
        row
        for job, record in stored.audited.items()
        for row in _target_rows(stored, job, record, called, {} if _negative(stored, job) else negatives)
    ]
    scores = _membership_rows(stored)
    return {
        "table": as_table(rows, TABLE, *COUNTS),
        "membership": as_table(scores, MEMBERSHIP),
        "summary": as_table(
            _summary_rows(rows, scores, stored.settings.alpha), SUMMARY, "low_p", "leak", "no_evidence", "inconclusive"
        ),
        "targets": as_table(_describing_rows(stored), TARGETS),
        "controls": as_table(_control_rows(stored, attack, rows), CONTROLS),
        "papers_count": as_table(_counting_rows(stored), PAPERS_COUNT, "members", "controls"),
    }


def _summary_rows(rows: list[Record], scores: list[Record], alpha: float) -> list[Record]:
    """Return the means over seeds by target and score, and the number of seeds with each outcome of the test.

    ``low_p`` counts the p-values up to alpha before they were adjusted for the family.
    """
    groups: dict[tuple[str, str], list[Record]] = {}
    for row in scores:
        groups.setdefault((row["target"], row["score"]), []).append(row)
    return [_over_seeds(rows, target, score, found, alpha) for (target, score), found in groups.items()]


def _over_seeds(rows: list[Record], target: str, score: str, scores: list[Record], alpha: float) -> Record:
    about = {"target": target, "score": score, "design": scores[0]["design"]}
    ran = [one for one in scores if one["status"] == "ok"]
    if not ran:
        return about | {"seeds": 0, "status": scores[0]["status"], "reason": scores[0]["reason"]}
    aurocs = [one["auroc"] for one in ran]
    about |= {"seeds": len(ran), "auroc": mean(aurocs), "auroc_sd": stdev(aurocs) if len(aurocs) > 1 else None}
    about |= {"status": "ok", "reason": "" if len(ran) == len(scores) else f"{len(scores) - len(ran)} seed(s) failed"}
    method, _, metric = score.partition(":")
    tested = [
        one
        for one in rows
        if (one["target"], one["method"], one["metric"]) == (target, method, metric) and one.get("p_value") is not None
    ]
    if tested:
        for name in ("similarity_member", "similarity_control", "distinct_hits"):
            about[name] = mean(one[name] for one in tested)
        about["low_p"] = sum(one["p_value"] <= alpha for one in tested)
        for word in get_args(Word):
            about[word.replace("-", "_")] = sum(one["verdict"] == word for one in tested)
    return about


def _negative(stored: StoredRun, job: Job) -> bool:
    return job.target in stored.settings.targets and stored.settings.targets[job.target].negative


def _attack_verdicts(stored: StoredRun) -> dict[tuple[str, str], Verdict]:
    """Return by method and metric whether the leak that is known to be there is found, by the rule of all targets."""
    settings, tests = stored.settings, stored.attack[1]["tests"]
    found = holm_by_test(tests, list(settings.methods), list(settings.metrics))
    rule = {"design": "pairs", "alpha": settings.alpha, "family": settings.family, "attack_control_called": True}
    return {
        (method, metric): decide(p, tests[method][metric]["attainable_p"], **rule)
        for (method, metric), p in found.items()
    }


def _negative_p(stored: StoredRun) -> dict[tuple[str, str], float]:
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
    stored: StoredRun, job: Job, record: Record, called: dict[str, bool], negatives: dict[tuple[str, str], float]
) -> list[Record]:
    settings = stored.settings
    rows = judge_rows(
        record,
        stored.pools[job.pool_name],
        list(settings.methods),
        list(settings.metrics),
        design=record["target"]["design"],
        alpha=settings.alpha,
        negatives=negatives,
        called=called,
    )
    return [{**row, **_who(job, record)} for row in rows]


def _who(job: Job, record: Record) -> Record:
    about = record["target"]
    return {"target": job.target, "seed": job.seed} | {
        name: about[name] for name in ("design", "n_members", "n_control")
    }


def _membership_rows(stored: StoredRun) -> list[Record]:
    return [
        {**row, **_who(job, record), "score": score}
        for job, record in stored.audited.items()
        for score, row in record["membership"].items()
    ]


def _counting_rows(stored: StoredRun) -> list[Record]:
    return [
        {**_who(job, record), **row, "method": method}
        for job, record in stored.audited.items()
        for method, row in record["papers_count"].items()
    ]


def _describing_rows(stored: StoredRun) -> list[Record]:
    return [{**record["target"], "target": job.target, "seed": job.seed} for job, record in stored.targets.items()]


def _control_rows(stored: StoredRun, verdicts: dict[tuple[str, str], Verdict], rows: list[Record]) -> list[Record]:
    job, record = stored.attack
    no_verdict = (None, None)
    attack = [
        {
            "kind": "attack",
            "target": job.target,
            "method": method,
            "metric": metric,
            "seed": job.seed,
            "p_value": test.get("p_value"),
            **dict(zip(("verdict", "verdict_reason"), verdicts.get((method, metric), no_verdict), strict=True)),
            "status": test["status"],
            "reason": test["reason"],
        }
        for method, tests in record["tests"].items()
        for metric, test in tests.items()
    ]
    negative = {name for name, choice in stored.settings.targets.items() if choice.negative}
    silent = [{"kind": "negative", **row} for row in rows if row["target"] in negative]
    return attack + silent
