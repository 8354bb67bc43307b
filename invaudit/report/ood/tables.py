"""The short table of an OOD run: the reference, our other detectors, the best baselines, and what needs no network."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

from rich.table import Table
from rich.text import Text

from invaudit.records.names import (
    COMPARED_GROUPS,
    CONTROL_NETWORKS,
    GARBAGE_LOGIT,
    OURS,
    PIXEL_NEIGHBOUR,
    PIXELS,
    UNTRAINED,
    whole_of,
)
from invaudit.records.ood import OodRow, OodSummaryRow
from invaudit.records.ood_run import OodRun
from invaudit.report.printing import DASH, MINUS, level, plain_table
from invaudit.stats.comparison import is_baseline

Key = tuple[str, str]
"""Network and detector."""
R = TypeVar("R", OodRow, OodSummaryRow)
Part = Literal["ours", "reference", "ablation", "other ours", "best near", "best far", "pixels"]

LEVELS = ("mean-near", "worst-near", "mean-far", "worst")
NEAR_ONLY = ("fpr95", "difference", "difference_low", "difference_high")
NETWORK_ORDER = {OURS[0]: 0, "inversion": 2, "noise": 3, "plain": 4, UNTRAINED: 5}
"""Networks by the names that shipped configs give them; others come before the ablations."""
SHORT_PARTS: dict[Part, str] = {
    "ours": "ours",
    "reference": "ref.",
    "ablation": "abl.",
    "other ours": "ours",
    "best near": "near",
    "best far": "far",
    "pixels": "pix.",
}
REFERENCE_PARTS: tuple[Part, ...] = ("ours", "reference")
"""Parts that hold the row that all others are compared with."""
NAME_COLUMNS = ("network", "detector")
FIGURE_COLUMNS = (*LEVELS, "FPR95 near", "difference")
N_BEST = 3
exact_level = partial(level, decimals=2)
"""AUROC near 100 differ in the second decimal."""


@dataclass(frozen=True)
class ShortLine:
    """A line of the short table.

    Attributes:
        part: Why it is in the table.
        network: Name of the network.
        detector: Name of the detector.
        levels: Rows of the summary by aggregate; one without a result is missing.
    """

    part: Part
    network: str
    detector: str
    levels: Mapping[str, OodSummaryRow]

    @property
    def near(self) -> OodSummaryRow | None:
        """The mean over near OOD sets."""
        return self.levels.get("mean-near")

    def auroc(self, aggregate: str) -> float | None:
        """Return the AUROC of an aggregate, if it has a result."""
        return self._value(aggregate, "auroc")

    def _value(self, aggregate: str, column: str) -> float | None:
        """Return a figure of an aggregate, if it has a result."""
        row = self.levels.get(aggregate)
        return None if row is None else getattr(row, column)

    def record(self) -> dict[str, Any]:
        """Return the line as plain values, fractions as they are."""
        record: dict[str, Any] = {"part": self.part, "network": self.network, "detector": self.detector}
        for name in LEVELS:
            record[name] = self._value(name, "auroc")
            record[f"{name}_sd"] = self._value(name, "auroc_sd")
        for name in NEAR_ONLY:
            record[name] = self._value("mean-near", name)
        return record

    def cells(self) -> list[str]:
        """Return network, detector and the `FIGURE_COLUMNS` as text, in per cent and points, with sd or interval."""
        figures = []
        for name in LEVELS:
            figures.append(exact_level(self._value(name, "auroc"), self._value(name, "auroc_sd")))
        near = self.near
        figures.append(exact_level(self._value("mean-near", "fpr95")))
        figures.append(DASH if near is None else difference_text(near))
        return [self.network, self.detector, *figures]


def shown_columns(lines: Sequence[ShortLine]) -> dict[str, int]:
    """Return the columns in which any line says something, with their place in `ShortLine.cells`.

    A run without near sets has no figures of near sets.
    """
    names = (*NAME_COLUMNS, *FIGURE_COLUMNS)
    rows = [line.cells() for line in lines]
    return {name: place for place, name in enumerate(names) if any(row[place] != DASH for row in rows)}


def short_table(run: OodRun, *, n_best: int = N_BEST) -> list[ShortLine]:
    """Return the reference, our other detectors, the best baselines of each group, and what needs no network.

    Args:
        run: The run.
        n_best: Baselines per group on other networks, and as many on ours; one that is among the best in both groups
            has a line in each.
    """
    rows_by_set = {}
    for name in LEVELS:
        rows_by_set[name] = by_detector(measured(run.summary), name)
    lines = []
    for part, key in [*_our_lines(run), *_baseline_lines(run, n_best), *_pixel_lines()]:
        levels = {}
        for name, rows in rows_by_set.items():
            if key in rows:
                levels[name] = rows[key]
        if levels:
            lines.append(ShortLine(part, *key, levels))
    return lines


def _our_lines(run: OodRun) -> Iterator[tuple[Part, Key]]:
    """Yield the reference, then our detectors on all networks: where it is ours too, these are its ablations."""
    reference = run.reference
    others: Part = "ablation" if run.compares_with_ours else "other ours"
    if reference is not None:
        yield "ours" if reference.is_ours else "reference", reference.row
    networks = dict.fromkeys(row.network for row in measured(run.summary))
    for network in sorted(networks, key=lambda network: NETWORK_ORDER.get(network, 1)):
        for detector in (OURS[1], GARBAGE_LOGIT):
            key = (network, detector)
            if reference is None or key != reference.row:
                yield others, key


def _baseline_lines(run: OodRun, n_best: int) -> Iterator[tuple[Part, Key]]:
    """Yield the best baselines of each group, those on the network of the reference among the others."""
    for group in COMPARED_GROUPS:
        ranked = ranked_baselines(run, group)
        best = [*off_network(run, ranked)[:n_best], *on_network(run, ranked)[:n_best]]
        for row in ranked:
            if row in best:
                yield "best near" if group == "near" else "best far", key_of(row)


def _pixel_lines() -> Iterator[tuple[Part, Key]]:
    """Yield what needs no network; older runs have no such row."""
    yield "pixels", (PIXELS, PIXEL_NEIGHBOUR)


def key_of(row: OodSummaryRow) -> Key:
    """Return network and detector of a row."""
    return row.network, row.detector


def by_detector(rows: Iterable[OodSummaryRow], ood_set: str) -> dict[Key, OodSummaryRow]:
    """Return the rows of one set by network and detector."""
    of_set = {}
    for row in rows:
        if row.ood_set == ood_set:
            of_set[key_of(row)] = row
    return of_set


def measured(rows: Iterable[R]) -> list[R]:
    """Return the rows that hold a result."""
    return [row for row in rows if row.status == "ok" and row.auroc is not None]


def ranked_baselines(run: OodRun, group: str) -> list[OodSummaryRow]:
    """Return the ``mean-GROUP`` rows of all baselines that ran, the highest AUROC first."""
    reference = run.reference
    reference_role = reference.role if reference else None
    baselines = []
    for row in by_detector(measured(run.summary), f"mean-{group}").values():
        if reference is not None and key_of(row) == reference.row:
            continue
        baseline = is_baseline(
            run.detectors[row.detector].role,
            on_trained_network=row.network not in CONTROL_NETWORKS,
            is_part=whole_of(row.detector) != row.detector,
            reference_role=reference_role,
        )
        if baseline:
            baselines.append(row)
    return sorted(baselines, key=lambda row: (-(row.auroc or 0), *key_of(row)))


def on_network(run: OodRun, rows: Iterable[OodSummaryRow]) -> list[OodSummaryRow]:
    """Return the rows of the network of the reference: what scores well on ours profits from its training."""
    network = run.reference.network if run.reference else None
    return [row for row in rows if row.network == network]


def off_network(run: OodRun, rows: Iterable[OodSummaryRow]) -> list[OodSummaryRow]:
    """Return the rows of all other networks."""
    network = run.reference.network if run.reference else None
    return [row for row in rows if row.network != network]


def difference_text(row: OodSummaryRow) -> str:
    """Return the difference of a row to the reference in points, with its interval where there is one."""
    value, low, high = row.difference, row.difference_low, row.difference_high
    if value is None:
        return DASH
    interval = "" if low is None or high is None else f" [{100 * low:+.2f}, {100 * high:+.2f}]"
    return f"{100 * value:+.2f}{interval}".replace("-", MINUS)


def terminal_table(run: OodRun) -> Table:
    """Return the short table ready to print, about 110 characters wide; on a narrower console its cells fold."""
    parts = (
        "abl. = ablation; near, far = best baselines"
        if run.compares_with_ours
        else "ref. = what all are compared with; ours = detectors of ours; near, far = best others"
    )
    lines = short_table(run)
    columns = shown_columns(lines)
    caption = "AUROC in per cent, mean over seeds ± sd."
    if "FPR95 near" in columns:
        caption += " FPR95 near: near OOD accepted when 95 % of ID is accepted."
    if "difference" in columns and run.reference is not None:
        caption += f"\ndifference: row minus {run.reference.name} in mean-near, points, 95 % interval."
    caption += f"\nFirst column: {parts} on these sets."
    if any(line.part == "pixels" for line in lines):
        caption += " pix. = nearest training image in pixels, without a network."
    table = plain_table(f"OOD detection, ID set {run.id_set}", caption)
    table.add_column("", no_wrap=True, overflow="fold")
    for name in columns:
        if name in NAME_COLUMNS:
            table.add_column(name, no_wrap=True, overflow="fold")
        else:
            # Folded where the console is narrow: a figure that is cut off would read as another figure.
            table.add_column(name.replace("-", "-\n").replace(" ", "\n"), justify="right", overflow="fold")
    part_above = None
    for line in lines:
        if line.part != part_above:
            table.add_section()
        part_above = line.part
        own = line.cells()
        cells = [SHORT_PARTS[line.part], *(own[place].replace(" ± ", "±") for place in columns.values())]
        table.add_row(*map(Text, cells), style="bold" if line.part in REFERENCE_PARTS else None)
    return table
