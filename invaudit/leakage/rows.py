"""The rows of a leakage table: what an audit found, adjusted over the declared family and turned into verdicts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from invaudit.stats import ALPHA, decide, holm

TABLE = (
    "target", "method", "metric", "design", "seed", "n_members", "n_control", "n_reconstructions", "similarity_member",
    "similarity_control", "distinct_hits", "p_value", "p_adjusted", "verdict", "verdict_reason", "scoring_limit",
    "blind_auroc", "blind_p", "seconds", "status", "reason",
)  # fmt: skip
"""Columns of ``table.csv``."""

MEMBERSHIP = (
    "target", "score", "design", "seed", "n_members", "n_control", "auroc", "auroc_low", "auroc_high",
    "tpr_at_fpr_1pct", "p_value", "epsilon_lower", "status", "reason",
)  # fmt: skip
"""Columns of ``membership.csv``."""

PAPERS_COUNT = (
    "target", "method", "seed", "members", "n_members", "controls", "n_control", "status", "reason",
)  # fmt: skip
"""Columns of ``papers_count.csv``."""

COUNTS = ("n_reconstructions", "distinct_hits", "scoring_limit")
"""Columns of ``table.csv`` that are whole numbers, or missing."""

Tests = Mapping[str, Mapping[str, Mapping[str, Any]]]
Key = tuple[str, str]


def as_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *counts: str) -> pd.DataFrame:
    """Return rows as a table with these columns; ``counts`` are whole numbers, or missing."""
    return pd.DataFrame(rows, columns=list(columns)).astype(dict.fromkeys(counts, "Int64"))


def holm_by_test(tests: Tests, methods: Sequence[str], metrics: Sequence[str]) -> dict[Key, float]:
    """Return Holm's p-values of one target by method and metric.

    The family is every declared method with every declared metric; a test that gave no p-value counts as p = 1, so
    that a row that failed does not make the others easier.
    """
    keys = [(method, metric) for method in methods for metric in metrics]
    found = [tests.get(method, {}).get(metric, {}).get("p_value") for method, metric in keys]
    values = holm(np.array([1.0 if p is None else p for p in found]))
    return {key: float(value) for key, p, value in zip(keys, found, values, strict=True) if p is not None}


def judge_rows(
    record: Mapping[str, Any],
    pool: Mapping[str, Any],
    methods: Sequence[str],
    metrics: Sequence[str],
    *,
    design: str,
    alpha: float = ALPHA,
    negatives: Mapping[Key, float] | None = None,
    called: Mapping[str, bool] | None = None,
    exploratory: bool = False,
) -> list[dict[str, Any]]:
    """Return one row for every declared method and metric of one target.

    Args:
        record: From an ``Audit``.
        pool: From ``describe_pool``.
        methods: The declared methods.
        metrics: The declared metrics.
        design: Name of the design.
        alpha: Level of the family.
        negatives: Smallest p-value of the negative controls by method and metric, adjusted for their number.
        called: Method -> whether its attack control was called ``leak``.
        exploratory: Whether something used members of the target.
    """
    tests, family = record["tests"], len(methods) * len(metrics)
    ps = holm_by_test(tests, methods, metrics)
    rows = []
    for method in methods:
        count = record["methods"][method]["n"]
        for metric in metrics:
            test, p = tests[method][metric], ps.get((method, metric))
            verdict = reason = None
            if p is not None:
                verdict, reason = decide(
                    p,
                    test["attainable_p"],
                    design=design,
                    alpha=alpha,
                    family=family,
                    blind_auroc=pool["blind"].get("auroc"),
                    negative_control_p=(negatives or {}).get((method, metric)),
                    attack_control_called=(called or {}).get(method),
                    exploratory=exploratory,
                )
            limit = pool["limits"].get(f"{metric}/{count}", {})
            described = {
                "method": method,
                "metric": metric,
                "design": design,
                "n_reconstructions": count,
                "p_adjusted": p,
                "verdict": verdict,
                "verdict_reason": reason,
                "scoring_limit": limit.get("members"),
                "blind_auroc": pool["blind"].get("auroc"),
                "blind_p": pool["blind"].get("p_value"),
            }
            if p is not None and not test["reason"] and limit.get("members") is None:
                described["reason"] = _no_limit(limit)
            rows.append({**test, **described})
    return rows


def _no_limit(limit: Mapping[str, Any]) -> str:
    if not limit:
        return "no scoring limit: no reference images"
    if limit["status"] != "ok":
        return f"no scoring limit: {limit['reason']}"
    return f"no scoring limit: all members reconstructed would be called with probability {limit['power']:.2f} only"
