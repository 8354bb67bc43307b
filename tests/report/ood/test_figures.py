"""Figures: same bytes twice, no global state, bad shapes refused."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from invaudit.records import OodRun, OodSummaryRow, ResistanceRow, read_ood_run
from invaudit.records.ood_run import AttackImages
from invaudit.report import attack_images, gallery, headline, histograms, inversions, png, resistance
from invaudit.runtime import ShapeError

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 4, 2, 3, 9, 11), dtype=np.uint8)
SCORES = np.random.default_rng(1).normal(size=200)


def _changed(run: OodRun, **figures: float | None) -> OodRun:
    """Return a run with some figures of every row of its summary replaced."""
    return replace(run, summary=[row.model_copy(update=figures) for row in run.summary])


def _only(run: OodRun, keep: Callable[[OodSummaryRow], bool]) -> OodRun:
    return replace(run, summary=[row for row in run.summary if keep(row)])


FIGURES: dict[str, Callable[[Path], Figure]] = {
    "headline": lambda folder: headline(read_ood_run(folder)),
    "histograms": lambda _: histograms(SCORES, {"letters": SCORES + 2, "photos": SCORES * 1e6}),
    "inversions": lambda _: inversions(IMAGES, np.arange(3)),
    "attack_images": lambda _: attack_images({"sure": AttackImages(IMAGES[0, :, 0], np.arange(len(IMAGES[0])) < 2)}),
    "gallery": lambda _: gallery(IMAGES[0][:, :, :1], ["a", "b", "c", "d"]),
    "resistance": lambda folder: resistance(read_ood_run(folder).rows(ResistanceRow)),
}


@pytest.mark.parametrize("name", FIGURES)
def test_same_bytes_twice_and_nothing_but_pixels(name: str, run_folder: Path) -> None:
    first, second = png(FIGURES[name](run_folder)), png(FIGURES[name](run_folder))
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert b"Software" not in first
    assert b"tIME" not in first


def test_no_pyplot_and_no_torch() -> None:
    code = (
        "import sys; import invaudit.report as r; heavy = {'pandas', 'matplotlib', 'jinja2'} & set(sys.modules); "
        "assert not heavy, heavy; [getattr(r, name) for name in r.__all__]; "
        "assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_gallery_shows_the_pixels() -> None:
    images = np.zeros((2, 3, 3, 8, 8), dtype=np.uint8)
    images[1, 2, 0] = 200
    sheet = np.asarray(gallery(images, ["a", "b"]).axes[0].images[0].get_array())
    assert sheet[-1, -1].tolist() == [200, 0, 0]
    assert sheet[0, 0].tolist() == [0, 0, 0]
    assert (sheet == 255).all(axis=2).any()


def test_grey_images_are_grey() -> None:
    sheet = np.asarray(gallery(IMAGES[0][:, :, :1], list("abcd")).axes[0].images[0].get_array())
    assert (sheet == sheet[..., :1]).all()


def test_many_cycles_are_thinned_with_both_ends_kept() -> None:
    images = np.zeros((30, 2, 1, 1, 8, 8), dtype=np.uint8)
    labels = [label.get_text() for label in inversions(images, np.arange(30)).axes[0].get_yticklabels()]
    assert len(labels) == 8
    assert (labels[0], labels[-1]) == ("epoch 0", "epoch 29")


def test_attack_images_say_which_are_accepted(run_folder: Path) -> None:
    attacks = read_ood_run(run_folder).attack_images(0, "full")
    texts = [text.get_text() for text in attack_images(attacks).axes[0].texts]
    assert texts == ["accepted"] * 3 + ["rejected"] * 4 + [""] * 7


def test_headline_intervals_are_those_of_the_summary(run_folder: Path) -> None:
    run = read_ood_run(run_folder)
    right = headline(run).axes[1]
    drawn = {tuple(np.round(line.get_xdata(), 6)) for line in right.lines if len(line.get_xdata()) == 2}
    (row,) = (row for row in run.summary if (row.network, row.detector, row.ood_set) == ("full", "KNN", "mean-near"))
    assert row.difference_low is not None
    assert row.difference_high is not None
    assert (round(100 * row.difference_low, 6), round(100 * row.difference_high, 6)) in drawn


def test_headline_without_tests_or_baselines(run_folder: Path) -> None:
    run = read_ood_run(run_folder)
    assert png(headline(_changed(run, difference=None, difference_low=None, difference_high=None, auroc_sd=None)))
    assert png(headline(_only(run, lambda row: row.detector == "joint")))
    left, right = headline(_only(run, lambda row: row.status == "failed")).axes[0].get_xlim()
    assert left < right


def test_no_tick_of_the_headline_lies_beyond_what_is_possible(run_folder: Path) -> None:
    axes = headline(_changed(read_ood_run(run_folder), auroc=0.999, auroc_sd=0.004)).axes[0]
    left, right = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if left <= tick <= right]
    assert max(ticks) == 100


def test_constant_scores_and_foreign_characters_draw() -> None:
    assert png(histograms(np.ones(5), {"$\\frac{": np.ones(3), "a_b^c$": np.zeros(1)}))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: gallery(IMAGES[0].astype(np.float32), list("abcd")),
        lambda: gallery(IMAGES[0][0], list("abcd")),
        lambda: gallery(IMAGES[0], ["a"]),
        lambda: gallery(IMAGES[0][:, :0], list("abcd")),
        lambda: inversions(IMAGES[0], np.arange(4)),
        lambda: inversions(IMAGES, np.arange(2)),
    ],
)
def test_bad_shapes_are_refused(draw: Callable[[], Figure]) -> None:
    with pytest.raises(ShapeError, match="expected"):
        draw()
