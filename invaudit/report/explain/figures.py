"""The pictures of what a network has learned, narrow enough to be read on a telephone as they are."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from invaudit.report.audit.figures import NARROW
from invaudit.report.drawing import BLUE, GREEN, GREY, INK, LONGEST_CLASS, ORANGE, PURPLE, styled
from invaudit.runtime.errors import ShapeError
from invaudit.runtime.text import printable

LINE = 58
"""Letters of a line of a caption in a figure of this width."""
LINE_HEIGHT, TITLE_HEIGHT, GAP = 0.145, 0.2, 0.12
"""Of captions and titles, and between rows, in inches."""
MOST_NUMBERS = 10
"""Classes up to which a matrix has room for a number in each cell."""
SHORT_CLASS = 10
"""Letters of the name of a class beside a matrix."""
MOST_THIRDS = 3
"""Classes beside the two of a border that get a colour of their own on a map."""
NEAR = LinearSegmentedColormap.from_list("near", ["#F4F7FA", BLUE])
OFTEN = LinearSegmentedColormap.from_list("often", ["#FBF6F2", ORANGE])


class BorderPicture(NamedTuple):
    """A border image with what is said of it.

    ``images`` are start, border and goal, (3, C, H, W) uint8, or (2, C, H, W) without goal. ``pair`` names the classes.
    """

    pair: tuple[str, str]
    images: np.ndarray
    caption: str


def border_caption(
    pair: tuple[str, str],
    probabilities: tuple[float, float],
    distance: float,
    *,
    attack_distance: float | None = None,
    second_model: tuple[str, float] | None = None,
    undecided_under: float = 0.8,
) -> str:
    """Return in plain English what is known of a border image that was reached.

    Args:
        pair: Names of the two classes.
        probabilities: What the network gives them.
        distance: From the start.
        attack_distance: How far a minimal-norm attack goes from the same start.
        second_model: The class that a second model gives the image, with its probability.
        undecided_under: Probability up to which a model counts as undecided.
    """
    a, b = (printable(name, LONGEST_CLASS) for name in pair)
    first, second = probabilities
    text = f"{100 * first:.0f} % {a}, {100 * second:.0f} % {b}. Change from the start: {distance:.3g}"
    text += "." if attack_distance is None else f"; the smallest that fools the network: {attack_distance:.3g}."
    if second_model is not None:
        name, sure = printable(second_model[0], LONGEST_CLASS), second_model[1]
        if sure <= undecided_under:
            text += f" A second model is undecided, too ({100 * sure:.0f} % {name})."
        else:
            text += f" A second model is sure that it is {name} ({100 * sure:.0f} %)."
    return text


@styled
def border_gallery(pictures: Sequence[BorderPicture]) -> Figure:
    """Draw border images in rows: start, border, goal, and what is said of them below.

    Raises:
        ShapeError: No pictures, or of another shape or type.
    """
    for picture in pictures:
        shape = picture.images.shape
        if len(shape) != 4 or shape[0] not in (2, 3) or shape[1] not in (1, 3) or picture.images.dtype != np.uint8:
            raise ShapeError(
                f"images is {picture.images.dtype} of shape {shape}, expected uint8 (2 or 3, 1 or 3, H, W)"
            )
    if not pictures:
        raise ShapeError("expected at least one border image")
    captions = [textwrap.wrap(picture.caption, LINE) for picture in pictures]
    side = (NARROW - 2 * GAP) / 3
    heights = [TITLE_HEIGHT + side + LINE_HEIGHT * (len(lines) + 0.5) + GAP for lines in captions]
    figure = Figure(figsize=(NARROW, sum(heights)))
    top = sum(heights)
    for picture, lines, height in zip(pictures, captions, heights, strict=True):
        a, b = (printable(name, LONGEST_CLASS) for name in picture.pair)
        for column, (image, title) in enumerate(zip(picture.images, (a, "border", b), strict=False)):
            bottom = top - TITLE_HEIGHT - side
            place = (column * (side + GAP) / NARROW, bottom / sum(heights), side / NARROW, side / sum(heights))
            _picture(figure.add_axes(place), image, title)
        figure.text(0, (top - TITLE_HEIGHT - side - 0.05) / sum(heights), "\n".join(lines), va="top", fontsize=7.5)
        top -= height
    return figure


class PlaneMap(NamedTuple):
    """The class map of a plane: coordinates (G,), probabilities (G, G, K), points (3, 2) of start, border and goal."""

    across: np.ndarray
    up: np.ndarray
    probabilities: np.ndarray
    points: np.ndarray


@styled
def plane_map(plane: PlaneMap, pair: tuple[int, int], names: Sequence[str]) -> Figure:
    """Draw which class a network gives the points of a plane; the paler, the less sure.

    Args:
        plane: The map.
        pair: The two classes of the border.
        names: A name for each of the K outputs.

    Raises:
        ShapeError: Shapes that do not fit each other.
    """
    grid, outputs = len(plane.across), len(names)
    if plane.probabilities.shape != (len(plane.up), grid, outputs) or plane.points.shape != (3, 2):
        raise ShapeError(
            f"probabilities has shape {plane.probabilities.shape}, points {plane.points.shape}; "
            f"expected {(len(plane.up), grid, outputs)} and (3, 2)"
        )
    classes, sure = plane.probabilities.argmax(2), plane.probabilities.max(2)
    colours = _map_colours(classes, pair)
    of_class = np.array([to_rgb(colours.get(label, GREY)) for label in range(outputs)])
    # Of K classes the most likely one has 1 / K at least; half of the colour is left there.
    strength = 0.25 + 0.75 * (sure - 1 / outputs) / (1 - 1 / outputs)
    shades = 1 - strength[..., None] * (1 - of_class[classes])
    figure = Figure(figsize=(NARROW, 3.2), layout="constrained")
    axes = figure.subplots()
    edges = [_ends(plane.across), _ends(plane.up)]
    axes.imshow(shades, origin="lower", extent=(*edges[0], *edges[1]), aspect="auto", interpolation="nearest")
    for (x, y), name, marker in zip(plane.points, ("start", "border", "goal"), "oDs", strict=True):
        axes.plot([x], [y], marker, color="white", markeredgecolor=INK, markersize=7, zorder=3)
        above = y < sum(edges[1]) / 2
        axes.annotate(
            name, (x, y), (0, 7 if above else -7), textcoords="offset points", ha="center", fontsize=8,
            va="bottom" if above else "top", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.8},
        )  # fmt: skip
    axes.set_xlabel("distance from start towards goal", fontsize=8)
    axes.set_ylabel("distance towards the border image", fontsize=8)
    axes.tick_params(labelsize=8)
    shown = set(np.unique(classes).tolist())
    handles = [Patch(color=colour, label=printable(names[label], LONGEST_CLASS)) for label, colour in colours.items()]
    if shown - set(colours):
        handles.append(Patch(color=GREY, label="other classes"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, handlelength=1.2)
    return figure


@styled
def atlas(
    names: Sequence[str], tried: np.ndarray, touches: np.ndarray, distance: np.ndarray, confusion: np.ndarray | None
) -> Figure:
    """Draw which classes touch and how far apart they are, and below it which are confused.

    Args:
        names: A name for each of n classes.
        tried: (n, n), images searched for between two classes; 0 where none was.
        touches: (n, n) bool, whether the two were level in one with every other class below.
        distance: (n, n) median distance from the start of the border images; NaN where none was reached.
        confusion: (n, n) share of the images of either class that are given the other one; None without data.

    Raises:
        ShapeError: A matrix of another shape.
    """
    n = len(names)
    matrices = [tried, touches, distance] if confusion is None else [tried, touches, distance, confusion]
    for matrix in matrices:
        if matrix.shape != (n, n):
            raise ShapeError(f"got a matrix of shape {matrix.shape}, expected {(n, n)}: one row for each class")
    charts = 1 if confusion is None else 2
    figure = Figure(figsize=(NARROW, 3.5 * charts), layout="constrained")
    upper = figure.subplots(charts, squeeze=False)[:, 0]
    marks = np.where(tried > 0, np.where(touches, "≈", "no"), "")
    numbers = [[f"{value:.2g}" if np.isfinite(value) else str(mark) for value, mark in zip(*row, strict=True)]
               for row in zip(distance, marks, strict=True)]  # fmt: skip
    # Near is dark, so that the pairs that matter stand out.
    _matrix(upper[0], -distance, numbers, names, NEAR)
    upper[0].set_title("How far to the border (≈ touch only beside\na third class, no: none found)", fontsize=8)
    if confusion is not None:
        per_cent = [
            [f"{100 * value:.2g}" if np.isfinite(value) and value > 0 else "" for value in row] for row in confusion
        ]
        _matrix(upper[1], confusion, per_cent, names, OFTEN)
        upper[1].set_title("Images taken for the other class (%)", fontsize=8)
    return figure


def _matrix(
    axes: Axes, values: np.ndarray, cells: list[list[str]], names: Sequence[str], colours: LinearSegmentedColormap
) -> None:
    """Draw a matrix as shades, with the text of each cell where there is room."""
    n = len(names)
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    # Where all are equal, all are pale.
    high = high if high > low else low + 1
    axes.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    axes.set_facecolor("white")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    shown = [printable(name, SHORT_CLASS) for name in names]
    size = 7.5 if n <= MOST_NUMBERS else max(3.5, 75 / n)
    axes.set_xticks(range(n), shown, rotation=90, fontsize=size)
    axes.set_yticks(range(n), shown, fontsize=size)
    if n > MOST_NUMBERS:
        return
    for row in range(n):
        for column in range(n):
            dark = np.isfinite(values[row, column]) and (values[row, column] - low) / (high - low) > 0.6
            colour = "white" if dark else INK
            axes.text(column, row, cells[row][column], ha="center", va="center", fontsize=6.5, color=colour)


def _map_colours(classes: np.ndarray, pair: tuple[int, int]) -> dict[int, str]:
    """Return the colour of each class of a map that has one of its own: the two, then the largest of the others."""
    labels, counts = np.unique(classes, return_counts=True)
    order = sorted(zip(-counts, labels, strict=True))
    thirds = [int(label) for _, label in order if label not in pair][:MOST_THIRDS]
    return dict(zip([*pair, *thirds], [BLUE, ORANGE, GREEN, PURPLE, "#E69F00"], strict=False))


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Return where cells around evenly spaced points begin and end."""
    half = (values[1] - values[0]) / 2
    return float(values[0] - half), float(values[-1] + half)


def _picture(axes: Axes, image: np.ndarray, title: str) -> None:
    """Draw an image (C, H, W) uint8."""
    axes.imshow(image.repeat(3 // len(image), axis=0).transpose(1, 2, 0), interpolation="nearest")
    axes.set_title(title, fontsize=8, pad=2)
    axes.set_axis_off()
