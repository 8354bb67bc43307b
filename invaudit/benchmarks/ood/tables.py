"""The two tables of a run, made from its stored scores and records alone: every measurement, and all over seeds."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict
from itertools import chain
from operator import attrgetter
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from invaudit.benchmarks.ood.differences import Difference, PairedDifferences
from invaudit.benchmarks.ood.settings import OODBenchmark
from invaudit.benchmarks.ood.stored import StoredJob, detectors_of
from invaudit.records.names import AGGREGATES, CONTROL_NETWORKS, PIXEL_NEIGHBOURS, PIXELS, whole_of
from invaudit.records.ood import OodRow, OodSummaryRow
from invaudit.stats import (
    ComparedRow,
    adjusted_p_values,
    auroc_interval,
    holm_family,
    is_baseline,
    ranking,
)

TRIVIAL = 0.98
"""AUROC of a score without a network or a stored image, in either direction, from which on a set is trivial."""
METRICS = ("auroc", "aupr_in", "aupr_out", "fpr95", "fpr95_id")
"""What the summary gives means of."""


def make_table(jobs: list[StoredJob], id_set: str) -> list[OodRow]:
    """Return one row for each seed, network, detector and OOD set.

    Args:
        jobs: All jobs of a run.
        id_set: Name of the ID set.
    """
    trivial = _trivial_sets(jobs)
    rows = []
    for job in jobs:
        for detector in job.record.detectors:
            for ood_set in job.groups():
                is_trivial = (job.seed, ood_set) in trivial
                rows.append(_row(job, id_set, detector, ood_set, is_trivial=is_trivial))
    return rows


def _trivial_sets(jobs: list[StoredJob]) -> set[tuple[int, str]]:
    """Return seed and name of every OOD set that a score without a network or a stored image separates."""
    trivial = set()
    for job in jobs:
        if job.network != PIXELS:
            continue
        for ood_set in job.groups():
            if _is_trivial(job, ood_set):
                trivial.add((job.seed, ood_set))
    return trivial


def _row(job: StoredJob, id_set: str, detector: str, ood_set: str, *, is_trivial: bool) -> OodRow:
    outcome, pair = job.record.detectors[detector], job.pair(detector, ood_set)
    missing = job.record.sets.missing.get(ood_set)
    status, reason = outcome.status, outcome.reason or None
    if missing:
        status, reason = "skipped", missing
    row = OodRow(
        id_set=id_set,
        seed=job.seed,
        network=job.network,
        detector=detector,
        ood_set=ood_set,
        group=job.groups()[ood_set],
        trivial=is_trivial,
        status=status,
        reason=reason,
    )
    if missing or pair is None:
        return row
    interval, correct = auroc_interval(*pair), job.correct()
    measured = asdict(ranking(*pair)) | {
        "n_id": len(pair.id_scores),
        "n_ood": len(pair.ood_scores),
        "auroc_low": interval.low,
        "auroc_high": interval.high,
        "id_accuracy": None if correct is None else float(np.mean(correct)),
        "seconds": outcome.seconds,
        "status": "ok",
        "reason": None,
    }
    return row.model_copy(update=measured)


def _is_trivial(job: StoredJob, ood_set: str) -> bool:
    """Return whether one of the pixel statistics that store no image separates a set from the ID set."""
    for detector in job.record.detectors:
        pair = job.pair(detector, ood_set)
        if detector in PIXEL_NEIGHBOURS or pair is None:
            continue
        auroc = ranking(*pair).auroc
        if max(auroc, 1 - auroc) >= TRIVIAL:
            return True
    return False


class SummaryLine(NamedTuple):
    """A row of the summary, and the p-value of its difference before the correction."""

    row: OodSummaryRow
    p_value: float | None


def make_summary(jobs: list[StoredJob], table: list[OodRow], settings: OODBenchmark) -> list[OodSummaryRow]:
    """Return one row for each network, detector and OOD set or aggregate over the seeds.

    Args:
        jobs: All jobs of a run.
        table: Its table.
        settings: Its settings.
    """
    differences = PairedDifferences(jobs, settings)
    differences.resample(table)
    lines = summary_lines(table, differences)
    roles = {info.name: info.role for info in detectors_of(jobs)}
    reference = settings.compare_with
    reference_role = roles.get(reference.detector, "ours") if reference else "ours"
    return _with_adjusted_p_values(lines, roles, reference_role)


def summary_lines(table: Iterable[OodRow], differences: PairedDifferences | None) -> list[SummaryLine]:
    """Return the rows of the summary before the correction.

    Args:
        table: Rows of the table.
        differences: What gives the difference of a row to the reference; None: no row has one.
    """
    lines: list[SummaryLine] = []
    for detector_rows in _grouped(table, "network", "detector"):
        for set_rows in _grouped(detector_rows, "ood_set"):
            lines.append(_set_line(differences, set_rows))
        for name in AGGREGATES:
            line = _aggregate_line(differences, detector_rows, name)
            if line is not None:
                lines.append(line)
    return lines


def _with_adjusted_p_values(
    lines: list[SummaryLine], roles: dict[str, str], reference_role: str
) -> list[OodSummaryRow]:
    """Return the rows of the summary, their p-values adjusted over the families that the roles of detectors give."""
    adjusted = adjusted_p_values([_compared(line, roles[line.row.detector], reference_role) for line in lines])
    rows = []
    for line, p_adjusted in zip(lines, adjusted, strict=True):
        rows.append(line.row.model_copy(update={"p_adjusted": p_adjusted}))
    return rows


def _compared(line: SummaryLine, role: str, reference_role: str) -> ComparedRow:
    row = line.row
    baseline = is_baseline(
        role,
        on_trained_network=row.network not in CONTROL_NETWORKS,
        is_part=whole_of(row.detector) != row.detector,
        reference_role=reference_role,
    )
    return ComparedRow(baseline, holm_family(row.ood_set, row.group, aggregates=AGGREGATES), line.p_value)


def _grouped(rows: Iterable[OodRow], *columns: str) -> list[list[OodRow]]:
    """Return the rows by their values in some columns, in the order of their first appearance."""
    key_of = attrgetter(*columns)
    groups: dict[Hashable, list[OodRow]] = {}
    for row in rows:
        groups.setdefault(key_of(row), []).append(row)
    return list(groups.values())


def _set_line(differences: PairedDifferences | None, rows: list[OodRow]) -> SummaryLine:
    """Return what a detector gives on one set."""
    first = rows[0]
    good = _good(rows)
    row = _summary_row(rows, ood_set=first.ood_set, group=first.group, n_sets=1, n_seeds=len(good))
    row = row.model_copy(update={"trivial": any(set_row.trivial for set_row in rows)})
    if not good:
        return SummaryLine(row, None)
    values = {metric: np.array(_values(good, metric)) for metric in METRICS}
    compared = [] if first.group == "control" else [first.ood_set]
    return _measured(row, values, differences, compared, "mean")


def _aggregate_line(
    differences: PairedDifferences | None, detector_rows: list[OodRow], name: str
) -> SummaryLine | None:
    """Return what a detector gives on an aggregate of sets, or None where the run holds none of them."""
    how, groups = AGGREGATES[name]
    rows = [row for row in detector_rows if row.group in groups and row.status != "skipped"]
    if not rows:
        return None
    ood_sets = list(dict.fromkeys(row.ood_set for row in rows))
    # A seed counts only with all its sets: a mean over fewer sets would be another quantity.
    whole = [seed_rows for seed_rows in _grouped(_good(rows), "seed") if len(seed_rows) == len(ood_sets)]
    group = groups[0] if len(groups) == 1 else "near and far"
    row = _summary_row(rows, ood_set=name, group=group, n_sets=len(ood_sets), n_seeds=len(whole))
    if not whole:
        return SummaryLine(row, None)
    return _measured(row, _over_sets(whole, how), differences, ood_sets, how)


def _good(rows: list[OodRow]) -> list[OodRow]:
    return [row for row in rows if row.status == "ok"]


def _values(rows: list[OodRow], metric: str) -> list[float]:
    return [getattr(row, metric) for row in rows]


def _summary_row(rows: list[OodRow], *, ood_set: str, group: str, n_sets: int, n_seeds: int) -> OodSummaryRow:
    """Return a row without figures; its status is that of the first row without a result, if there is one."""
    first = rows[0]
    status, reason = "ok", None
    for row in rows:
        if row.status != "ok":
            status, reason = row.status, row.reason
            break
    return OodSummaryRow(
        id_set=first.id_set,
        network=first.network,
        detector=first.detector,
        ood_set=ood_set,
        group=group,
        trivial=False,
        n_sets=n_sets,
        seeds=n_seeds,
        status=status,
        reason=reason,
    )


def _over_sets(rows_by_seed: Sequence[list[OodRow]], how: Literal["mean", "worst"]) -> dict[str, np.ndarray]:
    """Return each metric's mean or worst value over sets for each seed, in the order of the seeds."""
    rows = list(chain.from_iterable(rows_by_seed))
    seeds = np.array([row.seed for row in rows])
    meanings = OodSummaryRow.columns()
    values = {}
    for metric in METRICS:
        # By pandas, whose sums are compensated: those of numpy differ in the last digit.
        by_seed = pd.Series(_values(rows, metric)).groupby(seeds)
        if how == "mean":
            over_sets = by_seed.mean()
        elif meanings[metric].better == "higher":
            over_sets = by_seed.min()
        else:
            over_sets = by_seed.max()
        values[metric] = np.asarray(over_sets)
    return values


def _measured(
    row: OodSummaryRow,
    values: dict[str, np.ndarray],
    differences: PairedDifferences | None,
    ood_sets: list[str],
    how: Literal["mean", "worst"],
) -> SummaryLine:
    """Return a row with its means over seeds, its spread and its difference to the reference on some sets."""
    aurocs = values["auroc"]
    figures: dict[str, float | None] = {}
    for metric in METRICS:
        figures[metric] = float(np.mean(values[metric]))
    figures["auroc_sd"] = float(np.std(aurocs, ddof=1)) if len(aurocs) > 1 else None
    difference: Difference | None = None
    if ood_sets and differences is not None:
        difference = differences.difference(row.network, row.detector, ood_sets, how)
    if difference is None:
        return SummaryLine(row.model_copy(update=figures), None)
    figures |= {"difference": difference.value, "difference_low": difference.low, "difference_high": difference.high}
    return SummaryLine(row.model_copy(update=figures), difference.p_value)
