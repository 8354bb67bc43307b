"""The charts of the audit of a model, narrow enough to be read on a telephone as they are."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from invaudit.records.leakage import MembershipRow
from invaudit.report.drawing import BLUE, GREY, INK, ORANGE, dot, ruled, styled
from invaudit.report.leakage.figures import KINDS, kind_of
from invaudit.runtime.text import printable

NARROW = 3.3
"""Width in inches: 317 pixels on a page, so that no telephone has to make it smaller."""
LONGEST_NAME = 18
TENTHS = 10
FALSE_ALARMS = 0.05
"""Share of the model's own kind that the threshold rejects."""
DASHED = (0, (3, 2))


@styled
def standing(shares: np.ndarray) -> Figure:
    """Draw where members stand among controls.

    Args:
        shares: (10,) share of the members in each tenth of the controls, lowest scores first.
    """
    figure = Figure(figsize=(NARROW, 1.7), layout="constrained")
    axes = figure.subplots()
    left = np.arange(TENTHS) * TENTHS
    axes.bar(left + 5, 100 * shares, width=9, color=ORANGE, zorder=2)
    axes.axhline(10, color=INK, linewidth=1, linestyle=DASHED, zorder=3)
    axes.set_ylim(0, max(25.0, 110 * float(shares.max())))
    axes.set_title("dashed: nothing given away", fontsize=8)
    axes.set_xlim(0, 100)
    axes.set_xticks([0, 25, 50, 75, 100])
    axes.set_xlabel("controls that score lower (%)")
    axes.set_ylabel("members (%)")
    return figure


class NearestShare(NamedTuple):
    """Of the reconstructions of a method, the share whose nearest pool image is a member, and what chance gives."""

    share: float
    expected: float


@styled
def nearest_shares(shares: Mapping[str, NearestShare]) -> Figure:
    """Draw the share of reconstructions whose nearest pool image is a member, and that by chance, by method."""
    figure = Figure(figsize=(NARROW, 0.65 + 0.27 * len(shares)), layout="constrained")
    axes = figure.subplots()
    ruled(axes)
    _bars(axes, [(name, one.share, BLUE, "") for name, one in shares.items()])
    for y, one in enumerate(shares.values()):
        axes.plot([100 * one.expected] * 2, [y - 0.45, y + 0.45], color=INK, linewidth=2, zorder=3)
    axes.set_xlabel("nearest image is a member (%)")
    return figure


@styled
def rejected(sets: Sequence[tuple[str, float, bool]]) -> Figure:
    """Draw the share of each set that is rejected.

    Args:
        sets: Name, share, and whether it is of the model's own kind.
    """
    figure = Figure(figsize=(NARROW, 0.65 + 0.27 * len(sets)), layout="constrained")
    axes = figure.subplots()
    ruled(axes)
    lines = []
    for name, share, is_own in sets:
        lines.append(("its own kind" if is_own else name, share, GREY if is_own else BLUE, "////" if is_own else ""))
    _bars(axes, lines)
    axes.axvline(100 * FALSE_ALARMS, color=INK, linewidth=1.2, linestyle=DASHED, zorder=3)
    axes.set_xlabel("rejected (%)")
    return figure


def _bars(axes, lines: Sequence[tuple[str, float, str, str]]) -> None:
    """Draw a bar with its figure for each name."""
    for y, (_, share, colour, hatch) in enumerate(lines):
        axes.barh(y, 100 * share, height=0.62, color=colour, hatch=hatch, edgecolor="white", linewidth=0, zorder=2)
        # Beside the axes, where neither a bar nor the dashed line crosses it.
        axes.text(103, y, f"{100 * share:.0f}", va="center", ha="left", clip_on=False)
    axes.set_yticks(range(len(lines)), [printable(name, LONGEST_NAME) for name, *_ in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlim(0, 100)


@styled
def aurocs(rows: Sequence[MembershipRow]) -> Figure:
    """Draw the AUROC of each membership score with its 95 % interval.

    Args:
        rows: Rows of ``membership.csv`` that have an AUROC.
    """
    ordered = sorted(rows, key=lambda row: (list(KINDS).index(kind_of(row.score)), -(row.auroc or 0)))
    figure = Figure(figsize=(NARROW + 0.2, 0.9 + 0.24 * len(ordered)), layout="constrained")
    axes = figure.subplots()
    ruled(axes)
    axes.axvline(50, color=INK, linewidth=1, linestyle=DASHED, zorder=1)
    for y, row in enumerate(ordered):
        value = row.auroc or 0.0
        low = value if row.auroc_low is None else row.auroc_low
        high = value if row.auroc_high is None else row.auroc_high
        dot(axes, 100 * value, (100 * low, 100 * high), y, KINDS[kind_of(row.score)])
    axes.set_yticks(range(len(ordered)), [printable(row.score, 2 * LONGEST_NAME) for row in ordered], fontsize=8)
    axes.set_ylim(len(ordered) - 0.5, -0.5)
    axes.set_xlabel("AUROC (%), bar: 95 % interval", fontsize=8)
    return figure
