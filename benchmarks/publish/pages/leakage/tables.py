"""The tables on the page of a leakage benchmark."""

from collections import Counter
from collections.abc import Iterator

import pandas as pd

from benchmarks.publish.pages.leakage.record import LeakageRecord
from benchmarks.publish.pages.markdown import Cells, code, mean_and_sd, percent
from invaudit.report.printing import DASH, p_text, span

VERDICTS = ("leak", "no-evidence", "inconclusive")
TARGETS_HEAD = ("target", "trained", "design", "members", "controls", "seeds", "accuracy on members", "on controls")
SIMILARITY_HEAD = (
    "target", "method", "metric", "to the nearest member", "to the nearest control", "distinct images hit",
    "smallest Holm p", "scoring limit",
)  # fmt: skip
PAPERS_HEAD = ("target", "method", "seeds", "members counted", "of", "controls counted", "of")
BLIND_HEAD = ("target", "seeds", "AUROC", "smallest p")
NEGATIVE_HEAD = ("target", "seeds", "tests", "that say *leak*", "smallest p", "smallest Holm p")


def target_rows(record: LeakageRecord) -> Iterator[Cells]:
    """Give how each target was trained, and how well it knows members and controls."""
    for name, rows in record.targets.groupby("target", sort=False):
        yield (
            code(str(name)),
            " / ".join(rows["description"].unique()),
            rows["design"].iloc[0],
            span(rows["n_members"], "{:.0f}".format),
            span(rows["n_control"], "{:.0f}".format),
            str(rows["seed"].nunique()),
            percent(rows["train_accuracy"].mean(), decimals=1),
            percent(rows["control_accuracy"].mean(), decimals=1),
        )


def verdict_head(record: LeakageRecord) -> Cells:
    """Return the head of the table of verdicts."""
    return ("target", "method", "seeds with a leak", *record.metrics, "why inconclusive or not tested")


def verdict_rows(record: LeakageRecord) -> Iterator[Cells]:
    """Give in how many seeds a method finds a leak, and the verdicts by metric."""
    for (target, method), rows in record.table.groupby(["target", "method"], sort=False):
        counts = [_verdicts(rows[rows["metric"] == metric]) for metric in record.metrics]
        leaks = f"{record.seeds_with_a_leak(str(target), str(method))} of {rows['seed'].nunique()}"
        yield code(str(target)), code(str(method)), leaks, *counts, _why_not(rows)


def _verdicts(rows: pd.DataFrame) -> str:
    if rows["verdict"].isna().all():
        return DASH
    return " / ".join(str(int((rows["verdict"] == verdict).sum())) for verdict in VERDICTS)


def _why_not(rows: pd.DataFrame) -> str:
    unclear = Counter(rows.loc[rows["verdict"] == "inconclusive", "verdict_reason"])
    untested = Counter(rows.loc[rows["status"] != "ok", "status"])
    return ", ".join(f"{count} {reason}" for reason, count in [*unclear.items(), *untested.items()])


def similarity_rows(record: LeakageRecord) -> Iterator[Cells]:
    """Give how near the reconstructions come, how many images they hit and what the tests would have noticed."""
    for (target, method, metric), rows in record.tested.groupby(["target", "method", "metric"], sort=False):
        yield (
            code(str(target)),
            code(str(method)),
            str(metric),
            f"{rows['similarity_member'].mean():.3f}",
            f"{rows['similarity_control'].mean():.3f}",
            f"{rows['distinct_hits'].mean():.1f}",
            p_text(rows["p_adjusted"].min()),
            _limits(rows["scoring_limit"]),
        )


def _limits(limits: pd.Series) -> str:
    known = limits.dropna()
    missing = len(limits) - len(known)
    if known.empty:
        return "none"
    text = span(known, "{:.0f}".format)
    return f"{text} ({missing} of {len(limits)} seeds: none)" if missing else text


def membership_rows(record: LeakageRecord) -> Iterator[Cells]:
    """Give the AUROC of each membership score for each target."""
    for score in record.summary["score"].unique():
        yield code(score), *(_membership_cell(record, target, score) for target in record.names)


def _membership_cell(record: LeakageRecord, target: str, score: str) -> str:
    rows = record.membership
    rows = rows[(rows["target"] == target) & (rows["score"] == score) & (rows["status"] == "ok")]
    if rows.empty:
        return DASH
    auroc = mean_and_sd(rows["auroc"], decimals=1)
    if len(rows) == 1:
        row = rows.iloc[0]
        low, high = (percent(row[name], decimals=1) for name in ("auroc_low", "auroc_high"))
        return f"{auroc} [{low}; {high}], p {p_text(row['p_value'])}"
    low_p = int((rows["p_value"] <= record.alpha).sum())
    return f"{auroc} ({low_p} of {len(rows)})"


def papers_count_rows(record: LeakageRecord) -> Iterator[Cells]:
    """Give the count of the KKT papers for members and for controls, means over seeds."""
    counts = record.papers_count
    for (target, method), rows in counts[counts["status"] == "ok"].groupby(["target", "method"], sort=False):
        means = [f"{rows[name].mean():.1f}" for name in ("members", "controls")]
        pool = [span(rows[name], "{:.0f}".format) for name in ("n_members", "n_control")]
        yield code(str(target)), code(str(method)), str(len(rows)), means[0], pool[0], means[1], pool[1]


def attack_control_rows(record: LeakageRecord) -> Iterator[Cells]:
    """Give whether each method finds the leak of the attack control, with the p-value by metric."""
    controls = record.controls[record.controls["kind"] == "attack"]
    for method, rows in controls.groupby("method", sort=False):
        p_values = rows.set_index("metric")["p_value"].reindex(record.metrics)
        found = "yes" if (rows["verdict"] == "leak").any() else "**no**"
        yield code(str(method)), found, *(DASH if pd.isna(p) else p_text(p) for p in p_values)


def blind_baseline_rows(record: LeakageRecord) -> Iterator[Cells]:
    """Give how well a classifier that never sees the target tells members from controls."""
    for target, rows in record.table.groupby("target", sort=False):
        by_seed = rows.drop_duplicates("seed")
        p_value = by_seed["blind_p"].min()
        yield (
            code(str(target)),
            str(len(by_seed)),
            mean_and_sd(by_seed["blind_auroc"], decimals=1),
            DASH if pd.isna(p_value) else p_text(p_value),
        )


def negative_control_rows(record: LeakageRecord) -> Iterator[Cells]:
    """Give how often the tests say *leak* of a target where nothing can leak."""
    for target in record.names:
        if target in record.negatives:
            rows = record.tested[record.tested["target"] == target]
            yield (
                code(target),
                str(rows["seed"].nunique()),
                str(len(rows)),
                str(int((rows["verdict"] == "leak").sum())),
                p_text(rows["p_value"].min()),
                p_text(rows["p_adjusted"].min()),
            )
