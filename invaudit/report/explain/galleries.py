"""Rows of pictures, narrow enough to be read on a telephone as they are."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from invaudit.report.audit.figures import NARROW
from invaudit.report.drawing import DPI, styled
from invaudit.runtime.errors import ShapeError

IN_A_ROW = 5
"""Pictures side by side: each is 60 pixels wide on a page, so that a picture of 32 pixels can be seen."""
GAP, TITLE = 0.05, 0.2
"""Between pictures, and the height of a title, in inches."""
SHARPER = 2
"""Pixels of a picture are shown as squares if it is at least so many times smaller than its place."""


@styled
def strips(rows: Sequence[tuple[str, np.ndarray]], in_a_row: int = IN_A_ROW) -> Figure:
    """Draw rows of pictures, each with its title above it.

    Args:
        rows: Title, and pictures (n, C, H, W) uint8 with C 1 or 3; those beyond ``in_a_row`` are left out.
        in_a_row: Places in a row.

    Raises:
        ShapeError: No rows, or pictures of another shape or type.
    """
    if not rows:
        raise ShapeError("expected at least one row of pictures")
    side = (NARROW - GAP * (in_a_row - 1)) / in_a_row
    tallest = max(pictures.shape[2] / pictures.shape[3] for _, pictures in rows) * side
    height = len(rows) * (TITLE + tallest + GAP)
    figure = Figure(figsize=(NARROW, height))
    top = height
    for title, pictures in rows:
        if pictures.ndim != 4 or pictures.dtype != np.uint8 or pictures.shape[1] not in (1, 3):
            got = f"{pictures.dtype} of shape {pictures.shape}"
            raise ShapeError(f"pictures of {title!r} are {got}, expected uint8 (n, 1 or 3, H, W)")
        figure.text(0, (top - 0.03) / height, title, va="top", fontsize=8)
        for column, picture in enumerate(pictures[:in_a_row]):
            left, bottom = column * (side + GAP) / NARROW, (top - TITLE - tallest) / height
            axes = figure.add_axes((left, bottom, side / NARROW, tallest / height))
            shown = picture.repeat(3 // len(picture), axis=0).transpose(1, 2, 0)
            is_small = shown.shape[1] * SHARPER <= side * DPI
            axes.imshow(shown, interpolation="nearest" if is_small else "antialiased")
            axes.set_axis_off()
        top -= TITLE + tallest + GAP
    return figure
