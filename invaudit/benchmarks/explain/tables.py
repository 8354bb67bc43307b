"""Tables of a benchmark of explanations, made from the records of its jobs alone."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev

from invaudit.benchmarks.explain.jobs import inversion_jobs, measure_names
from invaudit.benchmarks.explain.networks import network_jobs
from invaudit.benchmarks.explain.settings import ExplainBenchmark
from invaudit.records import write_rows
from invaudit.records.explain_table import (
    JOBS,
    NETWORKS,
    VARIANTS,
    WORST,
    ExplainJobRecord,
    ExplainJobRow,
    ExplainNetworkRow,
    ExplainRow,
    ExplainSummaryRow,
    ExplainVariantRow,
    MeasureRecord,
    class_measure,
)
from invaudit.records.folder import read_record
from invaudit.records.names import SUMMARY, TABLE


def write_tables(folder: Path, settings: ExplainBenchmark) -> None:
    """Write the tables of a run whose jobs are done.

    Raises:
        RunFolderError: A record is missing or damaged.
    """
    records = [read_record(folder, job.name, ExplainJobRecord) for job in inversion_jobs(settings)]
    networks = [read_record(folder, job.name, ExplainNetworkRow) for job in network_jobs(settings)]
    variants = {record.variant.variant: record.variant for record in records}
    table: list[ExplainRow] = []
    for record in records:
        table += job_rows(record, measure_names(settings, record.variant.variant))
    write_rows(folder / TABLE, ExplainRow, table)
    write_rows(folder / SUMMARY, ExplainSummaryRow, summary_rows(table))
    write_rows(folder / JOBS, ExplainJobRow, [record.job for record in records])
    write_rows(folder / NETWORKS, ExplainNetworkRow, networks)
    write_rows(folder / VARIANTS, ExplainVariantRow, variants.values())


def job_rows(record: ExplainJobRecord, names: Sequence[str]) -> list[ExplainRow]:
    """Return the rows of one job; of a job without a result, a row with its reason for each name of a measure."""
    measures = list(record.measures)
    if record.job.status != "ok":
        reason = record.job.reason or ""
        measures = [MeasureRecord(measure=name, status=record.job.status, reason=reason) for name in names]
    rows = []
    for measure in (*measures, *_worst(measures)):
        name = measure.measure if measure.label is None else class_measure(measure.measure, measure.label)
        rows.append(_row(record, measure, name))
    return rows


def _worst(measures: Iterable[MeasureRecord]) -> Iterator[MeasureRecord]:
    """Yield the lowest value of all classes; chosen for being low, it has no interval."""
    lowest: dict[str, MeasureRecord] = {}
    for measure in measures:
        if measure.label is None or measure.value is None:
            continue
        before = lowest.get(measure.measure)
        if before is None or before.value is None or measure.value < before.value:
            lowest[measure.measure] = measure
    for name, measure in lowest.items():
        yield MeasureRecord(measure=class_measure(name, WORST), value=measure.value, n=measure.n)


def _row(record: ExplainJobRecord, measure: MeasureRecord, name: str) -> ExplainRow:
    return ExplainRow(
        target=record.job.target,
        engine=record.variant.engine,
        mode=record.variant.mode,
        variant=record.variant.variant,
        seed=record.job.seed,
        measure=name,
        value=measure.value,
        low=measure.low,
        high=measure.high,
        n=measure.n,
        status=measure.status,
        reason=measure.reason or None,
    )


def summary_rows(table: Iterable[ExplainRow]) -> list[ExplainSummaryRow]:
    """Return mean and standard deviation over seeds, for each target, variant and measure in the order of the table."""
    groups: dict[tuple[str, str, str], list[ExplainRow]] = {}
    for row in table:
        groups.setdefault((row.target, row.variant, row.measure), []).append(row)
    return [_over_seeds(rows) for rows in groups.values()]


def _over_seeds(rows: list[ExplainRow]) -> ExplainSummaryRow:
    measured = [row for row in rows if row.value is not None]
    values = [row.value for row in measured if row.value is not None]
    only = measured[0] if len(measured) == 1 else None
    ended = next((row for row in rows if row.value is None), rows[0])
    return ExplainSummaryRow(
        target=rows[0].target,
        engine=rows[0].engine,
        mode=rows[0].mode,
        variant=rows[0].variant,
        measure=rows[0].measure,
        seeds=len(values),
        mean=mean(values) if values else None,
        sd=stdev(values) if len(values) > 1 else None,
        low=only.low if only else None,
        high=only.high if only else None,
        status=ended.status,
        reason=ended.reason,
    )
