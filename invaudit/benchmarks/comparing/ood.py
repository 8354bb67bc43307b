"""Two OOD runs: what each detector gives on each set, over the same resamples of the same images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from invaudit.benchmarks.comparing.one_sided import in_both, one_sided, unpaired
from invaudit.benchmarks.ood import OODBenchmark
from invaudit.benchmarks.ood.differences import FIGURES, Figure, OverSets, PairedDifferences, difference_of
from invaudit.benchmarks.ood.stored import StoredJob, read_jobs
from invaudit.records.comparison import ComparisonRow
from invaudit.records.names import AGGREGATES, CONFIG
from invaudit.records.ood import ImageSetRecord, OodRow
from invaudit.records.ood_run import OodRun, read_ood_run
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.settings import load_config
from invaudit.stats import combine

DRAWS = 1_000
"""Resamples of an interval: its ends then move by about a twentieth of its width with the draws."""


@dataclass(frozen=True)
class _Side:
    """One of the two runs.

    Attributes:
        run: Its tables.
        settings: Its settings.
        jobs: Its scores.
    """

    run: OodRun
    settings: OODBenchmark
    jobs: list[StoredJob]

    @classmethod
    def read(cls, folder: Path) -> "_Side":
        run = read_ood_run(folder)
        settings = load_config(OODBenchmark, str(folder / CONFIG), ())
        return cls(run, settings, read_jobs(folder, settings))

    def rows(self, seeds: Sequence[int]) -> dict[tuple[str, str, str], list[OodRow]]:
        """Return the rows of some seeds by network, detector and OOD set, without the controls."""
        rows: dict[tuple[str, str, str], list[OodRow]] = {}
        for row in self.run.table:
            if row.seed in seeds and row.group != "control":
                rows.setdefault((row.network, row.detector, row.ood_set), []).append(row)
        return rows

    def images(self, seed: int) -> tuple[ImageSetRecord, dict[str, ImageSetRecord]]:
        """Return the ID test images and the OOD sets of a seed."""
        sets = next(job.record.sets for job in self.jobs if job.seed == seed)
        return sets.splits["test"], sets.ood

    def draws(self, seeds: Sequence[int]) -> PairedDifferences:
        """Return the resamples of some seeds; those of the same images and seeds are the same in both runs."""
        jobs = [job for job in self.jobs if job.seed in seeds]
        return PairedDifferences(jobs, self.settings.model_copy(update={"seeds": tuple(seeds), "draws": DRAWS}))


class _Sets(NamedTuple):
    """OOD sets of two runs: with the same images in both, and those that are no pair with the reason."""

    paired: list[str]
    others: list[ComparisonRow]


def compare_ood(before: Path, after: Path) -> tuple[list[ComparisonRow], list[ComparisonRow]]:
    """Return the rows of a comparison of two OOD runs, and those that a short table shows.

    The short table shows the row that all others of the second run are compared with, on every set; all rows where
    there is none.

    Raises:
        RunFolderError: A folder is damaged or of an earlier version, or the ID images of the two differ.
    """
    sides = _Side.read(before), _Side.read(after)
    seeds = [seed for seed in sides[0].settings.seeds if seed in sides[1].settings.seeds]
    if not seeds:
        raise RunFolderError(
            f"{before} has seeds {list(sides[0].settings.seeds)} and {after} {list(sides[1].settings.seeds)}, expected "
            "one in common; run one of them with --seeds of the other"
        )
    sets = _same_sets(sides, seeds)
    tables = tuple(side.rows(seeds) for side in sides)
    detectors = tuple({(network, detector): None for network, detector, _ in table} for table in tables)
    draws = tuple(side.draws(seeds) for side in sides)
    rows = one_sided("ood", "seed", *(side.settings.seeds for side in sides)) + sets.others
    shared = [row for row in detectors[0] if row in detectors[1]]
    for table, drawn in zip(tables, draws, strict=True):
        measured = [some[0] for key, some in table.items() if key[:2] in shared and key[2] in sets.paired]
        drawn.resample(measured, tuple(FIGURES))
    for network, detector in shared:
        rows += _detector_rows(network, detector, sets.paired, tables, draws)
    rows += _lone_detectors(*detectors)
    reference = sides[1].run.reference
    shown = [row for row in rows if reference is not None and (row.target, row.name) == reference.row]
    return rows, shown or rows


def _same_sets(sides: tuple[_Side, _Side], seeds: Sequence[int]) -> _Sets:
    """Return which OOD sets hold the same images in both runs for all seeds.

    Raises:
        RunFolderError: The ID test images differ.
    """
    paired: dict[str, bool] = {}
    rows = []
    for seed in seeds:
        (own, sets), (other, other_sets) = (side.images(seed) for side in sides)
        if own.hash != other.hash:
            raise RunFolderError(
                f"{sides[0].run.path} and {sides[1].run.path} were tested on different ID images (seed {seed}: "
                f"{own.count} of hash {own.hash[:12]}, {other.count} of {other.hash[:12]}): no difference between them "
                "is one between networks; run both on the same data, with the same seeds and splits"
            )
        if seed == seeds[0]:
            rows += one_sided("ood", "ood_set", sets, other_sets)
        for name in in_both(sets, other_sets):
            paired[name] = paired.get(name, True) and sets[name].hash == other_sets[name].hash
    for name, same in paired.items():
        if not same:
            fields = unpaired("ood", "the set holds other images in the second run")
            rows.append(ComparisonRow.model_validate(fields | {"ood_set": name}))
    return _Sets([name for name, same in paired.items() if same], rows)


def _detector_rows(
    network: str,
    detector: str,
    names: Sequence[str],
    tables: tuple[dict[tuple[str, str, str], list[OodRow]], ...],
    draws: tuple[PairedDifferences, ...],
) -> Iterator[ComparisonRow]:
    """Yield every figure of one detector on one network: on each set, and on the aggregates over them."""
    own = [of for table in tables for key, of in table.items() if key[:2] == (network, detector)]
    groups = {rows[0].ood_set: rows[0].group for rows in own}
    measured = []
    for name in groups:
        reason = _why_unpaired(name, names, [table.get((network, detector, name), []) for table in tables])
        if reason is None:
            measured.append(name)
            for figure in FIGURES:
                yield _row(network, detector, name, [name], "mean", figure, draws)
        elif name in names:
            yield _unpaired_row(network, detector, name, reason)
    for aggregate, (how, of) in AGGREGATES.items():
        members = [name for name, group in groups.items() if group in of]
        if members and not set(members) <= set(measured):
            yield _unpaired_row(network, detector, aggregate, "not all of its sets are paired")
        elif members:
            # The worst FPR95 is the largest; `combine` gives the smallest, as the worst AUROC is.
            for figure in FIGURES if how == "mean" else ("auroc",):
                yield _row(network, detector, aggregate, members, how, figure, draws)


def _why_unpaired(name: str, paired: Sequence[str], rows: Sequence[list[OodRow]]) -> str | None:
    """Return why a detector has no difference on a set, if it has none, from its rows in both runs."""
    failed = [row for of_run in rows for row in of_run if row.status != "ok"]
    if failed:
        return f"{failed[0].status}: {failed[0].reason}"
    return None if name in paired and all(rows) else "not the same images in both runs"


def _unpaired_row(network: str, detector: str, ood_set: str, reason: str) -> ComparisonRow:
    named = {"target": network, "name": detector, "ood_set": ood_set}
    return ComparisonRow.model_validate(unpaired("ood", reason) | named)


def _row(
    network: str,
    detector: str,
    ood_set: str,
    members: Sequence[str],
    how: OverSets,
    figure: Figure,
    draws: tuple[PairedDifferences, ...],
) -> ComparisonRow:
    """Return one figure of both runs with its paired difference; the detector has scores of these sets in both."""
    first, second = (drawn.over_sets(network, detector, members, figure) for drawn in draws)
    assert first is not None and second is not None  # noqa: S101, PT018 - their rows say so
    seed_draws = draws[0].seed_draws
    difference = difference_of(second, first, how, seed_draws)
    return ComparisonRow(
        part="ood",
        target=network,
        name=detector,
        ood_set=ood_set,
        figure=figure,
        better=OodRow.columns()[figure].better,
        before=float(combine(first.observed[..., None], over_sets=how)[0]),
        after=float(combine(second.observed[..., None], over_sets=how)[0]),
        difference=difference.value,
        difference_low=difference.low,
        difference_high=difference.high,
        compared="paired",
        reason=f"interval over {seed_draws.over}",
    )


def _lone_detectors(before: dict[tuple[str, str], None], after: dict[tuple[str, str], None]) -> Iterator[ComparisonRow]:
    """Yield a row for each network, and each detector of a shared network, that only one of the runs has."""
    networks = [{network for network, _ in rows} for rows in (before, after)]
    yield from one_sided("ood", "target", *map(sorted, networks))
    for network in sorted(networks[0] & networks[1]):
        own, other = ([detector for of, detector in rows if of == network] for rows in (before, after))
        for row in one_sided("ood", "name", own, other):
            yield row.model_copy(update={"target": network})
