"""Figures of a leakage run, as matplotlib Figures without global state."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from invaudit.records.columns import Better, distinct
from invaudit.records.leakage import MembershipRow
from invaudit.report.drawing import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LONGEST_CLASS,
    ORANGE,
    PURPLE,
    WIDTH,
    Mark,
    dot,
    mosaic,
    ruled,
    styled,
)
from invaudit.report.leakage.nearest import Nearest
from invaudit.runtime.text import printable

METHOD_MARKS: tuple[Mark, ...] = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "D"), (PURPLE, "^"), (INK, "v"), (GREY, "P"))
KINDS: dict[str, Mark] = {
    "reconstructions": (ORANGE, "s"),
    "attribution": (BLUE, "o"),
    "usual membership scores": (INK, "D"),
}
PANELS_PER_ROW, TITLE_WIDTH = 4, 30


class Similarities(NamedTuple):
    """Values (R,) of reconstructions to their nearest member and to their nearest control."""

    member: np.ndarray
    control: np.ndarray


class Triplets(NamedTuple):
    """Some reconstructions (n, C, H, W) uint8 with their classes, the pool, and where their nearest lie in it."""

    images: np.ndarray
    classes: Sequence[str]
    how: Sequence[str]
    pool: np.ndarray
    member: Nearest
    control: Nearest


@styled
def quantiles(panels: Mapping[str, Mapping[str, Similarities]], metric: str, *, better: Better) -> Figure:
    """Draw the quantiles of the similarity to the nearest member over those to the nearest control.

    Further right and up is always more similar; a point above the diagonal says that members are nearer.

    Args:
        panels: Per target, per method, the values of its reconstructions.
        metric: Name of the metric, for the axes.
        better: Whether a higher or a lower value of the metric means more similar.
    """
    n_rows = math.ceil(len(panels) / PANELS_PER_ROW)
    n_columns = min(len(panels), PANELS_PER_ROW)
    figure = Figure(figsize=(WIDTH * max(n_columns, 2) / PANELS_PER_ROW, 0.5 + 2.6 * n_rows), layout="constrained")
    axes_grid = figure.subplots(n_rows, n_columns, squeeze=False)
    marks: dict[str, Mark] = {}
    for by_method in panels.values():
        for method in by_method:
            marks.setdefault(method, METHOD_MARKS[len(marks) % len(METHOD_MARKS)])
    low, high = _extent(panels)
    edge = 0.05 * (high - low) or 0.05
    ends = (low - edge, high + edge) if better == "higher" else (high + edge, low - edge)
    for axes, (target, by_method) in zip(axes_grid.flat, panels.items(), strict=False):
        axes.plot(ends, ends, color=INK, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1)
        for method, pair in by_method.items():
            colour, marker = marks[method]
            style = {"color": colour, "markersize": 3.4, "alpha": 0.7, "markeredgewidth": 0}
            axes.plot(np.sort(pair.control), np.sort(pair.member), marker, linestyle="none", zorder=2, **style)
        axes.set_xlim(ends)
        axes.set_ylim(ends)
        axes.set_aspect("equal")
        axes.set_title(textwrap.fill(target, TITLE_WIDTH))
        axes.locator_params(nbins=5)
        axes.grid(color="#E6E9ED", linewidth=0.8)
        axes.set_axisbelow(True)
    for axes in axes_grid.flat[len(panels) :]:
        axes.set_axis_off()
    for method, (colour, marker) in marks.items():
        axes_grid[0, 0].plot([], [], marker, color=colour, markersize=6, linestyle="none", label=method)
    for axes in axes_grid[:, 0]:
        axes.set_ylabel(f"{metric} to the nearest member")
    for axes in axes_grid.flat[: len(panels)]:
        axes.set_xlabel(f"{metric} to the nearest control")
    figure.legend(loc="outside upper left", ncols=4, handletextpad=0.2)
    return figure


def _extent(panels: Mapping[str, Mapping[str, Similarities]]) -> tuple[float, float]:
    """Return the lowest and the highest value of all panels."""
    values = []
    for by_method in panels.values():
        for pair in by_method.values():
            values += pair
    everything = np.concatenate(values)
    return float(everything.min()), float(everything.max())


@styled
def membership(rows: Sequence[MembershipRow]) -> Figure:
    """Draw the AUROC of each membership score with its 95 % interval, one panel per target, one dot per seed.

    Args:
        rows: Rows of ``membership.csv`` that have an AUROC.
    """
    targets = distinct(row.target for row in rows)
    scores = sorted(dict.fromkeys(row.score for row in rows), key=lambda name: list(KINDS).index(kind_of(name)))
    seeds = sorted({row.seed or 0 for row in rows})
    n_columns = min(len(targets), PANELS_PER_ROW)
    n_rows = math.ceil(len(targets) / PANELS_PER_ROW)
    size = (WIDTH, n_rows * (0.5 + (0.16 + 0.1 * len(seeds)) * len(scores)) + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    axes_grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    offsets = dict(zip(seeds, np.linspace(-0.2, 0.2, len(seeds)) if len(seeds) > 1 else [0.0], strict=True))
    for axes, target in zip(axes_grid.flat, targets, strict=False):
        ruled(axes)
        for y in range(0, len(scores), 2):
            axes.axhspan(y - 0.5, y + 0.5, color="#F2F5F8", zorder=0)
        axes.axvline(50, color=INK, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1)
        for row in rows:
            if row.target != target or row.auroc is None:
                continue
            low = row.auroc if row.auroc_low is None else row.auroc_low
            high = row.auroc if row.auroc_high is None else row.auroc_high
            y = scores.index(row.score) + offsets[row.seed or 0]
            dot(axes, 100 * row.auroc, (100 * low, 100 * high), y, KINDS[kind_of(row.score)])
        axes.set_title(textwrap.fill(target, TITLE_WIDTH))
        axes.tick_params(labelbottom=True)
    axes_grid[0, 0].set_yticks(range(len(scores)), scores)
    axes_grid[0, 0].set_ylim(len(scores) - 0.5, -0.5)
    for axes in axes_grid.flat[len(targets) :]:
        axes.set_axis_off()
    for kind in dict.fromkeys(map(kind_of, scores)):
        colour, marker = KINDS[kind]
        axes_grid[0, 0].plot([], [], marker, color=colour, markersize=6, label=kind)
    figure.supxlabel("AUROC (%), members against controls, bar: 95 % interval", fontsize=9)
    figure.legend(loc="outside upper left", ncols=3, handletextpad=0.2)
    return figure


def kind_of(score: str) -> str:
    """Return of which kind a membership score is; those of reconstructions are named ``METHOD:METRIC``."""
    if ":" in score:
        return "reconstructions"
    return "attribution" if score == "attribution" else "usual membership scores"


@styled
def triplets(chosen: Triplets) -> Figure:
    """Draw reconstructions above their nearest member and their nearest control, with the value of the metric below."""
    rows = [chosen.images]
    captions = [list(chosen.how)]
    for near in (chosen.member, chosen.control):
        pictures = chosen.pool[np.maximum(near.position, 0)].copy()
        pictures[near.position < 0] = 255
        rows.append(pictures)
        captions.append(_captions(near))
    columns = [printable(title, LONGEST_CLASS) for title in chosen.classes]
    return mosaic(np.stack(rows), ["reconstruction", "nearest member", "nearest control"], columns, captions)


def _captions(near: Nearest) -> list[str]:
    """Return the value of each nearest image, or that the list holds none."""
    captions = []
    for position, value in zip(near.position, near.value, strict=True):
        captions.append("not listed" if position < 0 else f"{value:.3f}")
    return captions
