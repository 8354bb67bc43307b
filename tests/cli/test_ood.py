"""The commands of a guard's daily use, on a small one."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from invaudit.data import load, pictures, seeded_rng
from invaudit.models import InputSpec, Target, TrainingSettings, build, save_target, train
from invaudit.ood import FitSettings, GarbageSettings, Recipe, run_fit
from invaudit.runtime.settings import load_config
from tests.ood.toys import patterns

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cli")]

RECIPE = Recipe(training=TrainingSettings(epochs=3, precision="float32"), garbage=GarbageSettings())
NAMES = ("eight", "one", "zero")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three digits as picture files in class folders: `fit` holds 40 of each, `new` 20."""
    folder = tmp_path_factory.mktemp("photos")
    images = load("digits")
    for name, label in zip(NAMES, (8, 1, 0), strict=True):
        some = images.images[images.labels == label]
        for index, image in enumerate(some[:60]):
            place = folder / ("fit" if index < 40 else "new") / name
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0].numpy()).save(place / f"{index}.png")
    # Digits of all kinds: another site, whose images have no labels.
    for name, some in (("site", images.subset(slice(0, 300))), ("later", images.subset(slice(300, 600)))):
        np.savez(folder / f"{name}.npz", images=some.images[:, 0].numpy(), labels=np.full(300, -1))
    return folder


@pytest.fixture(scope="module")
def guard(photos):
    settings = FitSettings(arch="tiny-cnn", recipe=RECIPE, device="cpu")
    return run_fit(f"{photos}/fit/", settings, photos / "guard").folder


def ok(result):
    assert result.returncode == 0, result.stderr
    return result.stdout


def refused(result, *parts):
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    for part in parts:
        assert part in result.stderr


def test_lines_of_json_name_files_and_classes(called, guard, photos):
    lines = ok(called("ood", "score", guard, f"{photos}/new/", "--json-lines")).splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["index"] for row in rows] == list(range(60))
    assert all(row["label_name"] in row["file"] for row in rows)
    assert all(row["predicted_name"] == NAMES[row["predicted"]] for row in rows)
    table = photos / "scores.csv"
    ok(called("ood", "score", guard, f"{photos}/new/", "--out", table))
    with table.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["file"] for row in written] == [row["file"] for row in rows]
    assert [float(row["score"]) for row in written] == [row["score"] for row in rows]
    table.unlink()
    found = json.loads(ok(called("ood", "score", guard, f"{photos}/new/", "--json")))
    assert found["images"] == rows
    refused(called("ood", "score", guard, f"{photos}/new/", "--json-lines", "--json"), "--json-lines")


@pytest.mark.parametrize(("mean", "advised"), [(0.2, True), (0.5, False)])
def test_advice_on_the_preprocessing_is_kept_and_said_again_at_the_end(called, tmp_path, mean, advised):
    torch.manual_seed(0)
    right, images = InputSpec(1, 8, 8, (0.5,), (0.5,)), patterns(120, "before")
    network = build("tiny-cnn", right, 3)
    settings = TrainingSettings(epochs=5, batch_size=32, precision="float32")
    train(Target(network, right, 3), images, settings, seeded_rng(0, "start"))
    target = Target(network, InputSpec(1, 8, 8, (mean,), (0.5,)), 3, arch="invaudit:tiny-cnn").eval()
    save_target(target, tmp_path / "net.safetensors")
    np.savez(tmp_path / "images.npz", images=images.images[:, 0].numpy(), labels=images.labels.numpy())
    words = ("ood", "fit", "images.npz", "--model", "net.safetensors", "--as-it-is", "--device", "cpu")
    result = called(*words, "--out", "guard")
    found = json.loads((tmp_path / "guard" / "guard.json").read_text())["suitability"]
    assert (found["n"], found["accuracy"] > 0.8) == (120, not advised)
    assert found["accuracy_low"] < found["accuracy"] < found["accuracy_high"]
    assert ("CHECK THE PREPROCESSING" in ok(result)) == advised
    if advised:
        assert "values from -1 to 1 would fit better" in found["advice"]
        assert found["advice"] in result.stdout
        assert found["advice"] in result.stderr
    else:
        assert found["advice"] is None
    assert json.loads(ok(called(*words, "--out", "other", "--json")))["suitability"] == found


def test_workers_read_the_pictures(called, guard, photos, monkeypatch):
    started = []
    pool = pictures.ThreadPoolExecutor
    monkeypatch.setattr(pictures, "ThreadPoolExecutor", lambda n, *rest: started.append(n) or pool(n, *rest))
    network = guard / "network.safetensors"
    for words in (("ood", "score", guard), ("ood", "check", guard), ("ood", "fit")):
        called(*words, f"{photos}/new/", "--workers", "3")
        assert set(started) == {3}, words
        started.clear()
    called("invert", network, "--data", f"{photos}/new/zero/", "--workers", "5", "--images", "1", "--set", "steps=1")
    assert set(started) == {5}
    called("ood", "score", guard, f"{photos}/new/")
    assert 5 not in started[-2:]
    refused(called("ood", "score", guard, f"{photos}/new/", "--workers", "0"), "--workers 0", "at least 1")
    refused(called("invert", network, "--workers", "2"), "--workers changes nothing without --data")


def test_score_loads_nothing_that_it_has_no_use_for(guard, photos):
    code = (
        "import sys; sys.argv = ['invaudit', 'ood', 'score', *sys.argv[1:]]\n"
        "from invaudit.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "unused = {'sklearn', 'pandas', 'scipy.stats', 'pytorch_ood', 'torchvision', 'matplotlib', 'torch._dynamo'}\n"
        "assert not unused & set(sys.modules), unused & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, guard, f"{photos}/new/one/"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "one/41.png" in result.stdout


def test_classes_of_other_folders_are_compared_by_name(called, guard, photos, tmp_path):
    for name in ("one", "other"):
        (tmp_path / "some" / name).mkdir(parents=True)
        (tmp_path / "some" / name / "a.png").write_bytes((photos / "new" / "one" / "41.png").read_bytes())
    lines = ok(called("ood", "score", guard, "some/", "--json-lines")).splitlines()
    assert [json.loads(line)["label"] for line in lines] == [1, -1]
    assert [json.loads(line)["label_name"] for line in lines] == ["one", "other"]
    refused(called("ood", "check", guard, "some/"), "other", "guard")


def test_check_says_whether_the_promise_holds(called, guard, photos):
    text = ok(called("ood", "check", guard, f"{photos}/new/"))
    assert "60 images, false alarms at 5.0%:" in text
    assert "Accuracy on the 60 labelled ones:" in text
    found = json.loads(ok(called("ood", "check", guard, photos / "later.npz", "--json")))
    assert found["promise"] == "too-many"
    assert found["false_alarms_low"] <= found["false_alarms"] <= found["false_alarms_high"]
    assert "invaudit ood calibrate" in ok(called("ood", "check", guard, photos / "later.npz"))
    assert called("ood", "check", guard, photos / "later.npz", "--fail-on", "too-many").returncode == 3


def test_calibrate_makes_a_guard_for_another_site_and_overwrites_nothing(called, guard, photos, tmp_path):
    before = (guard / "guard.json").read_bytes()
    text = ok(called("ood", "calibrate", guard, photos / "site.npz", "--out", "here"))
    assert "by 300 images; before:" in text
    found = json.loads(ok(called("ood", "check", tmp_path / "here", photos / "later.npz", "--json")))
    assert found["promise"] == "kept"
    refused(called("ood", "calibrate", guard, f"{photos}/new/", "--out", guard), "exists already")
    refused(called("ood", "calibrate", guard, f"{photos}/site.npz@0:44", "--out", "few"), "at least 45")
    assert not (tmp_path / "few").exists()
    assert (guard / "guard.json").read_bytes() == before


def test_fit_says_what_the_guard_is_worth_and_the_config_what_was_done(called, guard, photos, tmp_path):
    model = ("--model", guard / "network.safetensors")
    text = ok(called("ood", "fit", f"{photos}/fit/", *model, "--as-it-is", "--out", "same"))
    assert "accuracy" in text
    assert "false alarms at 5 %:" in text
    assert "Synthetic outliers rejected at the same threshold:" in text
    done = load_config(FitSettings, str(tmp_path / "same" / "config.yaml"))
    assert (done.recipe, done.arch) == (None, "invaudit:tiny-cnn")
    refused(called("ood", "fit", f"{photos}/fit/", "--config", "same/config.yaml", "--out", "new"), "no recipe")
    refused(called("ood", "fit", "digits", *model, "--as-it-is", "--set", "recipe.training.epochs=2"), "--set recipe")
    again = ("--config", "same/config.yaml", "--as-it-is", "--out", "again", "--json")
    found = json.loads(ok(called("ood", "fit", f"{photos}/fit/", *model, *again)))
    assert found["held_out"]["n"] == 10
    assert set(found["synthetic"]) == {"caught_at_5_percent", "mean", "weak"}
    words = ("--set", "recipe.training.epochs=1")
    tuned = json.loads(ok(called("ood", "fit", f"{photos}/fit/", *model, *words, "--out", "tuned", "--json")))
    assert tuned["held_out"]["id_accuracy_before"] is not None
    assert load_config(FitSettings, str(tmp_path / "tuned" / "config.yaml")).arch == "invaudit:tiny-cnn"


def test_a_weak_guard_is_called_one(called, guard, photos, monkeypatch):
    from invaudit.ood import trial

    monkeypatch.setattr(trial, "WEAK", 1.01)
    model = ("--model", guard / "network.safetensors")
    assert "WEAK GUARD" in ok(called("ood", "fit", f"{photos}/fit/", *model, "--as-it-is", "--out", "weak"))


def test_export_refuses_what_is_there_and_says_what_was_compared(called, guard, photos, tmp_path, monkeypatch):
    from invaudit.ood import GuardedClassifier
    from invaudit.ood.export import Comparison

    seen = []

    def exported(_guarded, path, *, alpha, delta, images):
        seen.append((path, alpha, delta, images.name))
        return Comparison(60, images.name, 2e-7)

    monkeypatch.setattr(GuardedClassifier, "export", exported)
    text = ok(called("ood", "export", guard, "guard.onnx", "--data", f"{photos}/new/", "--alpha", "0.1"))
    assert "2.0e-07 of their spread at most, on 60 images (new)" in text
    assert [(str(path), *rest) for path, *rest in seen] == [("guard.onnx", 0.1, None, "new")]
    (tmp_path / "there.onnx.json").write_text("")
    refused(called("ood", "export", guard, "there.onnx"), "there.onnx.json exists already")
