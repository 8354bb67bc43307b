"""What all figures share: style, PNG without global state, pictures on a grid; equal input gives equal bytes."""

import io
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from invaudit.report.sections import DPI
from invaudit.runtime.errors import ShapeError
from invaudit.runtime.files import write_bytes

P = ParamSpec("P")

Mark = tuple[str, str]
# Okabe and Ito's palette: told apart by colour-blind readers, and in grey by their markers.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY, INK = "#9AA3AD", "#222B36"
WIDTH = 10.8
LONGEST_CLASS = 16
"""Letters of the name of a class beside or above a picture."""
CELL_PIXELS, GAP_PIXELS, CAPTION_PIXELS = 96, 8, 30
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    # Names come from outside: a dollar sign is no mathematics.
    "text.parse_math": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Return the drawing function with the style of all figures."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


def png(figure: Figure) -> bytes:
    """Return a figure as PNG, without date or software in it."""
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, atomically."""
    write_bytes(path, png(figure))


def dot(axes: Axes, value: float, interval: tuple[float, float], y: float, mark: Mark) -> None:
    """Draw a value with its interval on a horizontal line."""
    colour, marker = mark
    axes.plot(interval, [y, y], color=colour, linewidth=1.6, zorder=2)
    white = {"markeredgecolor": "white", "markeredgewidth": 0.6}
    axes.plot([value], [y], marker, color=colour, markersize=6, zorder=3, clip_on=False, **white)


def ruled(axes: Axes) -> None:
    """Give the axes vertical rules instead of a left spine, for lines with a name each."""
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color="#E6E9ED", linewidth=0.8)
    axes.set_axisbelow(True)


@styled
def gallery(images: np.ndarray, titles: Sequence[str]) -> Figure:
    """Draw k images of each class, one row per class.

    Args:
        images: (classes, k, C, H, W) uint8, C 1 or 3.
        titles: One title per class.

    Raises:
        ShapeError: Another shape or type, or not one title per class.
    """
    return mosaic(images, titles)


def mosaic(
    images: np.ndarray, titles: Sequence[str], columns: Sequence[str] = (), captions: Sequence[Sequence[str]] = ()
) -> Figure:
    """Draw images (rows, columns, C, H, W) on a grid, with titles of the rows, perhaps of the columns, and captions.

    Raises:
        ShapeError: Another shape or type, or not one title per row.
    """
    if images.ndim != 5 or images.dtype != np.uint8 or images.shape[2] not in (1, 3) or 0 in images.shape:
        raise ShapeError(
            f"images is {images.dtype} of shape {images.shape}, expected uint8 (rows, columns, C, H, W) with C 1 or 3"
        )
    if len(titles) != len(images):
        raise ShapeError(f"got {len(titles)} titles for {len(images)} rows, expected one per row")
    n_rows, n_columns, channels, height, width = images.shape
    # Whole pixels are repeated, so that small images stay sharp and square.
    zoom = max(1, CELL_PIXELS // max(height, width))
    below = CAPTION_PIXELS if captions else GAP_PIXELS
    large = np.repeat(images, 3 // channels, axis=2).repeat(zoom, axis=3).repeat(zoom, axis=4)
    side_y, side_x = zoom * height, zoom * width
    pad = ((0, 0), (0, 0), (0, 0), (0, below), (0, GAP_PIXELS))
    sheet = np.pad(large, pad, constant_values=255).transpose(0, 3, 1, 4, 2)
    sheet = sheet.reshape(n_rows * (side_y + below), n_columns * (side_x + GAP_PIXELS), 3)
    sheet = sheet[: None if captions else -below, :-GAP_PIXELS]
    figure = Figure(figsize=(1.1 + sheet.shape[1] / DPI, 0.6 + sheet.shape[0] / DPI), layout="constrained")
    axes = figure.subplots()
    axes.imshow(sheet, interpolation="nearest")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    left, top = np.arange(n_columns) * (side_x + GAP_PIXELS), np.arange(n_rows) * (side_y + below)
    axes.set_xticks(left[: len(columns)] + side_x / 2, columns)
    axes.set_yticks(top + side_y / 2, titles)
    for y, texts in zip(top + side_y, captions, strict=False):
        for x, text in zip(left + side_x / 2, texts, strict=True):
            axes.text(x, y + 3, text, ha="center", va="top", fontsize=7.5)
    return figure
