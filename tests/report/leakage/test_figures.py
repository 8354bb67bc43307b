"""Figures of a leakage run, and the lists behind them, against brute force."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from invaudit.records import read_leakage_run
from invaudit.records.columns import Better
from invaudit.report import png
from invaudit.report.leakage.figures import Similarities, Triplets, membership, quantiles, triplets
from invaudit.report.leakage.nearest import Nearest, chosen_rows, nearest_of

RNG = np.random.default_rng(3)
PICTURES = RNG.integers(0, 255, (6, 1, 8, 8), dtype=np.uint8)
SHIFTED = Similarities(RNG.uniform(0.5, 0.9, 40), RNG.uniform(0.1, 0.5, 40))


def _triplets() -> Triplets:
    near = Nearest(np.array([1, 2]), np.array([0.5, 0.25])), Nearest(np.array([3, -1]), np.array([0.1, 0.2]))
    return Triplets(PICTURES[:2], ["class 4", "class 7"], ["margin", "random"], PICTURES, *near)


FIGURES: dict[str, Callable[[Path], Figure]] = {
    "quantiles": lambda _: quantiles(
        {f"t{i}": {"m": SHIFTED, "$\\frac{": SHIFTED} for i in range(5)}, "ssim", better="higher"
    ),
    "membership": lambda folder: membership(
        [row for row in read_leakage_run(folder).membership if row.auroc is not None]
    ),
    "triplets": lambda _: triplets(_triplets()),
}


@pytest.mark.parametrize("name", FIGURES)
def test_same_bytes_twice_and_nothing_but_pixels(name: str, leakage_folder: Path) -> None:
    first, second = png(FIGURES[name](leakage_folder)), png(FIGURES[name](leakage_folder))
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert b"Software" not in first


def _lists(seed: int, n: int = 12, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    similarity = rng.integers(0, 9, (n, 2 * k)) / 8
    index = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return index, np.take_along_axis(similarity, index, axis=1)


@given(seed=st.integers(0, 10_000), share=st.floats(0, 1))
def test_nearest_by_brute_force(seed: int, share: float) -> None:
    index, value = _lists(seed)
    wanted = np.random.default_rng(seed).random(10) < share
    near = nearest_of(index, value, wanted)
    for row, positions in enumerate(index):
        hits = [column for column, at in enumerate(positions) if wanted[at]]
        assert near.position[row] == (positions[hits[0]] if hits else -1)
        assert near.value[row] == value[row, hits[0] if hits else -1]


@given(seed=st.integers(0, 10_000), n_margin=st.integers(0, 14), n_random=st.integers(0, 14))
def test_chosen_rows_by_brute_force(seed: int, n_margin: int, n_random: int) -> None:
    index, value = _lists(seed)
    by_margin, at_random = chosen_rows(index, value, np.random.default_rng(seed), n_margin=n_margin, n_random=n_random)
    left = sorted(range(len(index)), key=lambda row: (value[row, 1] - value[row, 0], row))
    seen: dict[int, int] = {}
    for row in left:
        seen.setdefault(int(index[row, 0]), row)
    order = [*seen.values(), *(row for row in left if row not in seen.values())]
    assert by_margin.tolist() == order[:n_margin]
    assert len(at_random) == min(n_random, len(order[n_margin:]))
    assert len({*by_margin, *at_random}) == len(by_margin) + len(at_random)
    _, distances = chosen_rows(index, 1 - value, np.random.default_rng(seed), n_margin=n_margin, n_random=n_random)
    assert distances.tolist() == at_random.tolist()


@pytest.mark.parametrize(("metric", "better"), [("ssim", "higher"), ("dists", "lower"), ("lpips-likeness", "higher")])
def test_above_the_diagonal_means_nearer_to_members(metric: str, better: Better) -> None:
    sign = 1 if better == "higher" else -1
    pair = Similarities(*(sign * values for values in SHIFTED))
    axes = quantiles({"t": {"m": pair}}, metric, better=better).axes[0]
    points = axes.transData.transform(
        np.stack([line.get_data() for line in axes.lines if len(line.get_xdata()) > 2])[0].T
    )
    diagonal = axes.transData.transform(np.stack(axes.lines[0].get_data()).T)
    assert diagonal[0, 0] < diagonal[1, 0]
    assert (points[:, 1] - diagonal[0, 1] > points[:, 0] - diagonal[0, 0]).all()


def test_long_names_do_not_overlap() -> None:
    figure = quantiles({f"{i} {'long name ' * 6}": {"m": SHIFTED} for i in range(3)}, "ssim", better="higher")
    assert png(figure)
    extents = [axes.title.get_window_extent() for axes in figure.axes]
    assert all(left.x1 < right.x0 for left, right in pairwise(extents))


def test_equal_similarities_draw() -> None:
    flat = Similarities(np.ones(3), np.ones(3))
    assert png(quantiles({"t": {"m": flat}}, "ssim", better="higher"))


def test_triplets_show_the_pixels_and_what_is_not_listed() -> None:
    figure = triplets(_triplets())
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["margin", "random", "0.500", "0.250", "0.100", "not listed"]
    cell, step = 96, 96 + 8
    for column, position in enumerate((1, 2)):
        pixels = sheet[96 + 30 : 96 + 30 + cell : 12, column * step : column * step + cell : 12, 0]
        np.testing.assert_array_equal(pixels, PICTURES[position, 0])
    assert (sheet[2 * (96 + 30) :, step:] == 255).all()
