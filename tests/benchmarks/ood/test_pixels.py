"""Scores without a network: against plain loops and scikit-learn, what they mark, and where they are fitted."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from invaudit.benchmarks.ood import OODBenchmark
from invaudit.benchmarks.ood.controls import check_controls
from invaudit.benchmarks.ood.job import run_job
from invaudit.benchmarks.ood.pixels import PIXEL_SCORES
from invaudit.benchmarks.ood.sets import load_sets, sets_file, write_sets
from invaudit.benchmarks.ood.stored import StoredJob
from invaudit.benchmarks.ood.tables import make_table
from invaudit.data import STATISTICS, seeded_rng
from invaudit.records import DetectorOutcome, OodJobRecord, SetsRecord
from invaudit.records.names import scores_key

SIZES = [(1, 8, 8), (3, 9, 12), (1, 28, 28)]
STRIPS = {(1, 8, 8): 1, (3, 9, 12): 1, (1, 28, 28): 4}


def drawn(n: int, size: tuple[int, ...], name: str) -> Tensor:
    images = torch.randint(256, (n, *size), dtype=torch.uint8, generator=seeded_rng(0, name))
    images[:, :, :2] //= 7
    return images


def inputs(size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return training images and others: a copy of one, one that is nearly another, and a black one among them."""
    train, images = drawn(300, size, "train").clamp(9, 240), drawn(9, size, "images")
    images[0], images[1] = train[7], train[8]
    images[1, 0, 0, 0] ^= 1
    images[2] = train[11] // 3
    train[20] = images[3] = 0
    return train, images


def border_content(_train: Tensor, images: Tensor) -> list[float]:
    strip = STRIPS[tuple(images.shape[1:])]
    found = []
    for image in images.tolist():
        outer = []
        for rows in image:
            for i, row in enumerate(rows):
                for j, value in enumerate(row):
                    if min(i, j, len(rows) - 1 - i, len(row) - 1 - j) < strip:
                        outer.append(value)
        found.append(sum(outer) / len(outer))
    return found


def position_range(train: Tensor, images: Tensor) -> list[float]:
    ordered = np.sort(train.flatten(1).numpy().astype(np.float64), axis=0)
    place = 0.001 * (len(train) - 1)
    low = ordered[0] + place * (ordered[1] - ordered[0])
    high = ordered[-1] - place * (ordered[-1] - ordered[-2])
    found = []
    for values in images.flatten(1).numpy().astype(np.float64):
        found.append(float(np.mean(np.maximum(low - values, 0) + np.maximum(values - high, 0))))
    return found


def nearest_by(metric: str, train: Tensor, images: Tensor) -> NDArray[np.float64]:
    search = NearestNeighbors(n_neighbors=1, algorithm="brute", metric=metric).fit(train.flatten(1).double().numpy())
    return search.kneighbors(images.flatten(1).double().numpy())[0][:, 0]


REFERENCE = {
    "pixel-border-content": border_content,
    "pixel-position-range": position_range,
    "pixel-neighbour-distance": lambda train, images: nearest_by("euclidean", train, images),
    "pixel-neighbour": lambda train, images: nearest_by("cosine", train, images),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", REFERENCE)
def test_scores_are_those_of_the_reference(name: str, size: tuple[int, ...]) -> None:
    train, images = inputs(size)
    scores = PIXEL_SCORES[name](train)(images)
    assert scores == pytest.approx(REFERENCE[name](train, images), rel=1e-9, abs=1e-12)
    assert len(set(scores.tolist())) > 5


def test_neighbours_tell_a_copy_from_what_is_nearly_one() -> None:
    train, images = inputs((1, 28, 28))
    distance = PIXEL_SCORES["pixel-neighbour-distance"](train)(images)
    cosine = PIXEL_SCORES["pixel-neighbour"](train)(images)
    assert distance[:2].tolist() == [0, 1]
    assert abs(cosine[0]) < 1e-12 < 1e-9 < cosine[1]
    # A black image has no direction: it is like none, also where a black image was trained on.
    assert (distance[3], cosine[3]) == (0, 1)


@pytest.mark.parametrize("name", PIXEL_SCORES)
def test_a_score_depends_on_its_image_alone(name: str) -> None:
    train, images = inputs((3, 9, 12))
    before = train.clone(), images.clone()
    score = PIXEL_SCORES[name](train)
    scores = score(images)
    assert scores.shape == (len(images),)
    assert scores.dtype == np.float64
    assert np.array_equal(scores, np.concatenate([score(images[:4]), score(images[4:])]))
    assert np.array_equal(scores[::-1], score(images.flip(0)))
    assert torch.equal(train, before[0])
    assert torch.equal(images, before[1])


def test_statistics_of_the_blind_baseline_are_unchanged_and_come_first() -> None:
    names = ["mean", "variance", "total-variation", "grey-levels", "compressed-size"]
    assert list(STATISTICS) == names
    assert list(PIXEL_SCORES) == [*(f"pixel-{name}" for name in names), *REFERENCE]


@pytest.mark.parametrize("name", PIXEL_SCORES)
@pytest.mark.parametrize("flipped", [False, True])
def test_what_stores_training_images_marks_no_set(name: str, flipped: bool) -> None:
    arrays = {"half": np.arange(40) % 2 == 0, scores_key(name, "id-test"): np.arange(40.0)}
    arrays[scores_key(name, "letters")] = np.arange(40.0) + (-100 if flipped else 100)
    arrays[scores_key(name, "photos")] = np.arange(40.0) + 5
    outcome = DetectorOutcome(name=name, role="statistic", consumes="images")
    sets = SetsRecord(splits={}, ood={}, groups={"letters": "near", "photos": "far"}, missing={})
    job = StoredJob(0, "none", OodJobRecord(sets=sets, detectors={name: outcome}), arrays)
    trivial = [row.ood_set for row in make_table([job], "digits") if row.trivial]
    assert trivial == ([] if name.startswith("pixel-neighbour") else ["letters"])


def test_they_are_fitted_on_training_images_and_pass_the_controls(settings: OODBenchmark, tmp_path: Path) -> None:
    sets = load_sets(settings, 3)
    write_sets(sets, sets_file(tmp_path, 3))
    scores = run_job(settings, 3, "none", tmp_path, device="cpu")
    job = StoredJob(3, "none", scores.record, scores.arrays)
    assert {outcome.status for outcome in scores.record.detectors.values()} == {"ok"}
    assert check_controls([job], make_table([job], "digits"))
    train, test = sets.splits.train.images, sets.splits.test.images
    for name, reference in REFERENCE.items():
        assert scores.arrays[scores_key(name, "id-test")] == pytest.approx(reference(train, test), rel=1e-9, abs=1e-12)
