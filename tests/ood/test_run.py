"""What the commands `ood fit` and `ood score` do, from Python."""

import csv

import pytest
import torch

from invaudit.data import load
from invaudit.models import TrainingSettings
from invaudit.ood import FitSettings, GuardedClassifier, ImageScore, Recipe, run_fit, score_images
from invaudit.records import write_rows
from invaudit.runtime import ShapeError
from invaudit.runtime.files import read_json

pytestmark = pytest.mark.slow

SETTINGS = FitSettings(arch="invaudit:small-cnn", recipe=Recipe(training=TrainingSettings(epochs=1)), device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_fit("digits@0:900", SETTINGS, tmp_path_factory.mktemp("runs") / "guard")


@pytest.fixture(scope="module")
def images():
    return load("digits@0:30")


def test_the_folder_holds_the_guard_and_says_what_it_was_fitted_to(run, images):
    loaded = GuardedClassifier.load(run.folder)
    assert torch.equal(loaded.score(images), run.guarded.score(images))
    assert loaded.target.arch == "invaudit:small-cnn"
    assert read_json(run.folder / "environment.json")["data"] == "digits@0:900"
    assert not (run.folder / "work.pt").exists()


def test_rows_agree_with_the_guard(run, images):
    scores = score_images(run.guarded, images, alpha=0.2)
    assert [row.score for row in scores.rows] == run.guarded.score(images).tolist()
    assert [row.accepted for row in scores.rows] == run.guarded.accept(images, 0.2).tolist()
    assert [row.predicted for row in scores.rows] == run.guarded.predict(images).tolist()
    assert [row.label for row in scores.rows] == images.labels.tolist()
    assert scores.rejected == sum(not row.accepted for row in scores.rows) / len(images)
    assert scores.summary()["n"] == len(images)


def test_a_data_text_gives_the_same_rows(run, images):
    assert score_images(run.guarded, "digits@0:30") == score_images(run.guarded, images)


def test_rows_are_written_without_loss(run, images, tmp_path):
    rows = score_images(run.guarded, images).rows
    write_rows(tmp_path / "scores.csv", ImageScore, rows)
    with (tmp_path / "scores.csv").open(newline="") as file:
        assert [float(row["score"]) for row in csv.DictReader(file)] == [row.score for row in rows]


def test_images_of_another_shape_are_refused_by_name(run, images):
    wide = images.images.repeat(1, 3, 1, 1)
    with pytest.raises(ShapeError, match=r"colours holds images of shape \(3, 8, 8\).*\(1, 8, 8\)"):
        score_images(run.guarded, type(images)("colours", wide, images.labels))
