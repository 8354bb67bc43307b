"""Figures of borders and of the atlas: equal bytes, width of a telephone, what a caption says, what is refused."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from invaudit.report import png
from invaudit.report.explain.figures import (
    BorderPicture,
    PlaneMap,
    atlas,
    border_caption,
    border_gallery,
    plane_map,
)
from invaudit.report.sections import DPI, PER_INCH
from invaudit.runtime.errors import ShapeError

HOSTILE = "$\\frac{\x1b[31m<script>" * 4
NAMES = [HOSTILE, *(f"class {k}" for k in range(1, 10))]


def _pictures() -> list[BorderPicture]:
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (3, 3, 8, 8), dtype=np.uint8)
    caption = border_caption((HOSTILE, "dog"), (0.49, 0.5), 0.25, attack_distance=0.2, second_model=("cat", 0.9))
    return [BorderPicture((HOSTILE, "dog"), colour, caption), BorderPicture(("a", "b"), colour[:2, :1], "short")]


def _plane() -> PlaneMap:
    across, up = np.linspace(-1, 5, 9), np.linspace(-0.2, 1, 9)
    logits = np.random.default_rng(1).normal(0, 3, (9, 9, 10))
    probabilities = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    return PlaneMap(across, up, probabilities, np.array([[0, 0], [2, 0.8], [4, 0]]))


def _atlas(*, data: bool, classes: int = 10) -> Figure:
    rng = np.random.default_rng(2)
    distance = rng.uniform(0.1, 2, (classes, classes))
    distance = distance + distance.T
    distance[np.eye(classes, dtype=bool)] = np.nan
    distance[0, 1] = distance[1, 0] = np.nan
    tried = np.isfinite(distance).astype(int)
    tried[0, 1] = tried[1, 0] = 1
    confusion = np.where(np.isfinite(distance), 0.01 / distance, np.nan)
    names = [*NAMES, *map(str, range(10, classes))][:classes]
    return atlas(names, tried, np.isfinite(distance), distance, confusion if data else None)


FIGURES: dict[str, Callable[[], Figure]] = {
    "gallery": lambda: border_gallery(_pictures()),
    "plane": lambda: plane_map(_plane(), (3, 4), NAMES),
    "atlas": lambda: _atlas(data=True),
    "atlas without data": lambda: _atlas(data=False),
    "atlas of many classes": lambda: _atlas(data=True, classes=30),
}


@pytest.mark.parametrize("name", FIGURES)
def test_same_bytes_twice_and_no_wider_than_a_telephone(name: str) -> None:
    first, second = png(FIGURES[name]()), png(FIGURES[name]())
    assert first == second
    assert Image.open(io.BytesIO(first)).width * PER_INCH / DPI <= 390 - 2 * 16


def test_a_pair_without_a_border_and_one_untried_are_marked_apart() -> None:
    unknown = np.full((3, 3), np.nan)
    tried, touches = np.array([[0, 1, 1], [1, 0, 0], [1, 0, 0]]), np.zeros((3, 3), bool)
    touches[0, 2] = touches[2, 0] = True
    drawn = atlas(["a", "b", "c"], tried, touches, unknown, None).axes[0].texts
    assert [text.get_text() for text in drawn] == ["", "no", "≈", "no", "", "", "≈", "", ""]


def test_what_a_caption_says() -> None:
    sure = border_caption(("cat", "dog"), (0.488, 0.492), 0.1234, attack_distance=0.1, second_model=("dog", 0.93))
    assert sure == (
        "49 % cat, 49 % dog. Change from the start: 0.123; the smallest that fools the network: 0.1. "
        "A second model is sure that it is dog (93 %)."
    )
    undecided = border_caption(("cat", "dog"), (0.5, 0.5), 1.0, second_model=("cat", 0.8))
    assert undecided == ("50 % cat, 50 % dog. Change from the start: 1. A second model is undecided, too (80 % cat).")


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="at least one border image"):
        border_gallery([])
    with pytest.raises(ShapeError, match="expected uint8"):
        border_gallery([BorderPicture(("a", "b"), np.zeros((3, 1, 4, 4)), "")])
    with pytest.raises(ShapeError, match="one row for each class"):
        atlas(["a", "b"], np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 3)), None)
    with pytest.raises(ShapeError, match="expected"):
        plane_map(_plane(), (0, 1), ["a"])
