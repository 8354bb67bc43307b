"""Figures of an OOD run, as matplotlib Figures without global state."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from invaudit.records.names import AGGREGATES, COMPARED_GROUPS, OURS
from invaudit.records.ood import OodSummaryRow, ResistanceRow
from invaudit.records.ood_run import AttackImages, OodRun
from invaudit.report.drawing import BLUE, GREEN, GREY, INK, ORANGE, WIDTH, Mark, dot, mosaic, ruled, styled
from invaudit.report.ood.tables import Key, by_detector, key_of, measured, ranked_baselines
from invaudit.runtime.errors import ShapeError

OURS_MARK: Mark = (BLUE, "o")
MARKS: dict[str, Mark] = {"near": (ORANGE, "s"), "far": (GREEN, "D")}
MAX_CYCLES, MAX_CLASSES = 8, 20


class _SetLine(NamedTuple):
    """The line of one OOD set or mean in the headline figure."""

    y: float
    group: str


@styled
def headline(run: OodRun) -> Figure:
    """Draw AUROC of the reference and of the best baseline of each group on its sets, and their difference.

    Left: AUROC with sd over seeds, the other baselines as ticks, the weakest perhaps off the axis.
    Right: difference to the reference with 95 % interval. A set without a result keeps an empty line.

    Args:
        run: The run, with a row that all others are compared with.
    """
    if run.reference is None:
        raise LookupError("the run has no row that all others are compared with")
    reference = run.reference
    lines = _lines(run)
    ranked: dict[str, list[Key]] = {}
    for group in COMPARED_GROUPS:
        ranked[group] = list(map(key_of, ranked_baselines(run, group)))
    figure = Figure(figsize=(WIDTH, 1.5 + 0.36 * len(lines)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    lowest = 100.0
    results = measured(run.summary)
    for name, (y, group) in lines.items():
        rows = by_detector(results, name)
        ticks = []
        for key in ranked[group][1:]:
            if key in rows:
                ticks.append(100 * (rows[key].auroc or 0))
        left.plot(ticks, [y] * len(ticks), "|", color=GREY, markersize=9, markeredgewidth=0.8, zorder=1)
        if reference.row in rows:
            lowest = min(lowest, _level_dot(left, rows[reference.row], y - 0.1, OURS_MARK))
        for key in ranked[group][:1]:
            if key in rows:
                lowest = min(lowest, _level_dot(left, rows[key], y + 0.1, MARKS[group]))
                _difference_dot(right, rows[key], y, MARKS[group])
    start, end = left.get_xlim()
    start = max(start, 2 * lowest - 101)
    left.set_xlim(start, max(min(end, 100 + 0.04 * (100 - start)), start + 0.1))
    _label_headline(left, right, lines, {row.ood_set for row in run.summary if row.trivial})
    right.set_xlabel(f"difference to {reference.name} (points), bar: 95 % interval")
    _add_legend(figure, left, ranked, reference.name)
    return figure


def _lines(run: OodRun) -> dict[str, _SetLine]:
    """Return each set's line: per group its mean, then its sets."""
    lines: dict[str, _SetLine] = {}
    y = 0.0
    for group in COMPARED_GROUPS:
        sets: dict[str, None] = {}
        for row in run.summary:
            if row.group == group and row.ood_set not in AGGREGATES:
                sets[row.ood_set] = None
        if sets:
            for name in (f"mean-{group}", *sets):
                lines[name] = _SetLine(y, group)
                y += 1.0
        y += 0.5
    return lines


def _level_dot(axes: Axes, row: OodSummaryRow, y: float, mark: Mark) -> float:
    """Draw the AUROC of a row with its spread and return the lower end."""
    mean, spread = 100 * (row.auroc or 0), 100 * (row.auroc_sd or 0)
    dot(axes, mean, (mean - spread, mean + spread), y, mark)
    return mean - spread


def _difference_dot(axes: Axes, row: OodSummaryRow, y: float, mark: Mark) -> None:
    value, low, high = row.difference, row.difference_low, row.difference_high
    if value is not None:
        interval = (value, value) if low is None or high is None else (low, high)
        dot(axes, 100 * value, (100 * interval[0], 100 * interval[1]), y, mark)


def _label_headline(left: Axes, right: Axes, lines: dict[str, _SetLine], trivial: set[str]) -> None:
    heights, labels = [], []
    for name, line in lines.items():
        heights.append(line.y)
        labels.append(_line_label(name, line.group, is_trivial=name in trivial))
    left.set_yticks(heights, labels)
    for tick, name in zip(left.get_yticklabels(), lines, strict=True):
        tick.set_fontweight("bold" if name in AGGREGATES else "normal")
    for axes in (left, right):
        ruled(axes)
        for name, line in lines.items():
            if name in AGGREGATES:
                axes.axhspan(line.y - 0.5, line.y + 0.5, color="#F2F5F8", zorder=0)
    left.invert_yaxis()
    left.set_xlabel("AUROC (%), bar: ± sd over seeds")
    right.axvline(0, color=OURS_MARK[0], linewidth=1.4)


def _line_label(name: str, group: str, *, is_trivial: bool) -> str:
    if name in AGGREGATES:
        return f"{group}, mean"
    return f"{name} (trivial)" if is_trivial else name


def _add_legend(figure: Figure, axes: Axes, ranked: Mapping[str, list[Key]], reference: str) -> None:
    marks = [(OURS_MARK, reference)]
    for group, keys in ranked.items():
        if keys:
            network, detector = keys[0]
            marks.append((MARKS[group], f"best baseline, {group}: {detector} on {network}"))
    marks.append(((GREY, "|"), "other baselines"))
    for (colour, marker), label in marks:
        axes.plot([], [], marker, color=colour, markersize=7, label=label)
    figure.legend(loc="outside upper left", ncols=2, handletextpad=0.2)


@styled
def histograms(id_scores: np.ndarray, ood_scores: Mapping[str, np.ndarray], *, bins: int = 40) -> Figure:
    """Draw the scores of each OOD set over those of the ID test set.

    The axis shows where ID lies and what is near it; the outermost bins hold all that lies beyond. The line leaves
    95 % of ID to its left.

    Args:
        id_scores: (N,) float64.
        ood_scores: Scores (M,) by title of the panel.
        bins: Number of bins.
    """
    everything = np.concatenate([id_scores, *ood_scores.values()])
    low, high = np.quantile(id_scores, [0.005, 0.995])
    low, high = max(everything.min(), 1.5 * low - 0.5 * high), min(everything.max(), 2.5 * high - 1.5 * low)
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    rows = math.ceil(len(ood_scores) / 4)
    columns = math.ceil(len(ood_scores) / rows)
    figure = Figure(figsize=(WIDTH, 0.7 + 1.6 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for axes, (title, scores) in zip(panels.flat, ood_scores.items(), strict=False):
        for values, colour, label in ((id_scores, GREY, "ID test"), (scores, OURS_MARK[0], "OOD")):
            clipped, weights = np.clip(values, edges[0], edges[-1]), np.full(len(values), 1 / len(values))
            axes.hist(clipped, edges, weights=weights, color=colour, alpha=0.6, label=label)
        axes.axvline(float(np.quantile(id_scores, 0.95)), color=INK, linewidth=0.9, linestyle=(0, (3, 2)))
        axes.set_title(title)
        axes.set_yticks([])
        axes.tick_params(labelbottom=True)
        axes.spines["left"].set_visible(False)
    for axes in panels.flat[len(ood_scores) :]:
        axes.set_axis_off()
    figure.supxlabel("score (higher = more OOD); height: share of images", fontsize=9)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


@styled
def inversions(images: np.ndarray, epochs: np.ndarray) -> Figure:
    """Draw what the network takes for each class, over the cycles of its training.

    At most eight cycles, evenly spread, and the first twenty classes.

    Args:
        images: (cycles, classes, k, C, H, W) uint8, C 1 or 3; the first of each k is drawn.
        epochs: (cycles,) epoch of each cycle.

    Raises:
        ShapeError: Another shape or type.
    """
    if images.ndim != 6 or len(epochs) != len(images):
        raise ShapeError(
            f"images has shape {images.shape} with {len(epochs)} epochs, "
            "expected (cycles, classes, k, C, H, W) and one epoch per cycle"
        )
    cycles = np.unique(np.linspace(0, len(images) - 1, min(MAX_CYCLES, len(images))).round().astype(int))
    titles = [f"epoch {epoch}" for epoch in epochs[cycles]]
    chosen = images[cycles, :MAX_CLASSES, 0]
    return mosaic(chosen, titles, _class_titles(chosen.shape[1]))


@styled
def attack_images(attacks: Mapping[str, AttackImages]) -> Figure:
    """Draw what fresh generators made for each class, and below each image whether a detector accepts it.

    Args:
        attacks: Images by attack; of each the first twenty are drawn.

    Raises:
        ShapeError: Another shape or type.
    """
    images, captions = [], []
    for attack in attacks.values():
        images.append(attack.images[:MAX_CLASSES])
        captions.append(_decisions(attack.accepted, len(images[-1])))
    return mosaic(np.stack(images), list(attacks), _class_titles(len(images[0])), captions)


def _class_titles(n: int) -> list[str]:
    return [f"class {label}" for label in range(n)]


def _decisions(accepted: np.ndarray | None, n: int) -> list[str]:
    """Return what is said below each of n images, nothing where it is not known."""
    if accepted is None:
        return [""] * n
    return ["accepted" if is_accepted else "rejected" for is_accepted in accepted[:n]]


@styled
def resistance(rows: Sequence[ResistanceRow]) -> Figure:
    """Draw the resistance of each network to each attack: bar = mean over seeds, dots = seeds.

    Args:
        rows: ``resistance.csv`` of one run.
    """
    bars: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        bar = bars.setdefault((row.network, row.attack), [])
        if row.resistance is not None:
            bar.append(100 * row.resistance)
    figure = Figure(figsize=(WIDTH, 0.8 + 0.32 * len(bars)), layout="constrained")
    axes = figure.subplots()
    for y, ((network, _), values) in enumerate(bars.items()):
        colour = OURS_MARK[0] if network == OURS[0] else GREY
        if values:
            axes.barh(y, sum(values) / len(values), height=0.6, color=colour, alpha=0.75)
            axes.plot(values, [y] * len(values), "o", color=INK, markersize=3, clip_on=False)
    axes.set_yticks(range(len(bars)), [f"{network}, {attack}" for network, attack in bars])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("resistance (%)")
    return figure
