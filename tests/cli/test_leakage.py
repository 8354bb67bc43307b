import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import invaudit
from invaudit.cli import app
from invaudit.data import seeded_rng
from invaudit.leakage import TargetRecipe, degraded_copies, train_target
from invaudit.models import checkpoints, save_target
from tests.audit.image_files import save, save_digits

pytestmark = [pytest.mark.xdist_group("leakage-cli"), pytest.mark.slow]
ROOT = Path(invaudit.__file__).parents[1]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    parts = {"members": slice(60), "controls": slice(60, 120), "reference": slice(120, 400)}
    data = save_digits(folder, "cli", parts)
    copies = degraded_copies(data.floats(slice(30)), seeded_rng(0, "copies"), blur=0.3, noise=0.02)
    save(folder / "copies.npz", copies, data.labels[:30])
    members = data.floats(parts["members"]), data.labels[parts["members"]]
    target = train_target(TargetRecipe(arch="mlp-40", steps=300), *members, 10, seeded_rng(0, "target"))
    save_target(target, folder / "target.safetensors")
    return folder


def words(folder, **changes):
    names = {"reconstructions": "copies", "members": "members", "controls": "controls"} | changes
    files = [folder / f"{name}.npz" for name in names.values()]
    return ["leakage", "score", *files, "--metric", "ssim", "--reference", folder / "reference.npz", "--out", "run"]


def test_a_leak_is_told_in_json_and_by_the_exit_code(given, called, tmp_path):
    result = called(*words(given), "--json", "--fail-on", "leak")
    assert result.returncode == 3
    report = json.loads(result.stdout)
    assert (report["verdict"], report["reasons"], report["advice"]) == ("leak", [], None)
    (row,) = report["rows"]
    assert (row["verdict"], row["metric"], row["n_members"]) == ("leak", "ssim", row["n_control"])
    assert json.loads((tmp_path / "run" / "audit.json").read_text())["targets"][0]["verdict"] == "leak"
    again = called(*words(given))
    assert again.returncode == 2
    assert "--resume" in again.stderr
    assert called(*words(given), "--resume", "--quiet").returncode == 0


def test_reconstructions_of_a_model_can_be_scored(given, called, tmp_path):
    options = ["--set", "images=10", "--set", "restarts=1", "--set", "steps=20", "--out", "made"]
    model = ["--model", given / "target.safetensors", "--reference", given / "reference.npz"]
    result = called("leakage", "reconstruct", *model, *options)
    assert result.returncode == 0, result.stderr
    with np.load(tmp_path / "made" / "reconstructions.npz") as file:
        assert file["images"].shape == (10, 1, 8, 8)
    assert (tmp_path / "made" / "figures" / "gallery.png").stat().st_size > 1000
    scored = words(given)
    scored[2] = tmp_path / "made" / "reconstructions.npz"
    assert called(*scored).returncode == 0
    assert pd.read_csv(tmp_path / "run" / "table.csv")["n_reconstructions"].tolist() == [10]


def test_an_attack_control_is_made_and_taken(given, called, tmp_path):
    recipe = ("--set", "recipe={arch: mlp-40, steps: 400}", "--set", "members=20")
    attack = ("--method", "kkt", "--set", "settings={images: 10, restarts: 1, steps: 20}")
    made = called("leakage", "attack-control", *attack, *recipe, "--out", "control")
    assert made.returncode == 0, made.stderr
    assert "10 reconstructions" in made.stdout
    result = called(*words(given, reconstructions="reference"), "--attack-control", "control")
    assert result.returncode == 0, result.stderr
    assert "invaudit leakage attack-control" not in result.stdout
    assert pd.read_csv(tmp_path / "run" / "controls.csv")["kind"].tolist() == ["attack"]
    scope = json.loads((tmp_path / "run" / "audit.json").read_text())["scope"]
    attack = "kkt with images=10, restarts=1, steps=20, without reference images"
    assert scope["attack control"].startswith(f"{attack} of mlp-40 with 20 members, on digits, made by invaudit")


def test_without_an_attack_control_the_command_that_makes_one_is_named(given, called):
    result = called(*words(given, reconstructions="reference"), "--fail-on", "inconclusive")
    assert result.returncode == 3
    assert "invaudit leakage attack-control --method METHOD --out FOLDER" in result.stdout
    report = json.loads(called(*words(given, reconstructions="reference"), "--resume", "--json").stdout)
    assert (report["verdict"], report["reasons"]) == ("inconclusive", ["no-control"])
    assert report["advice"] in result.stdout


@pytest.mark.parametrize("method", ["kkt", "generator", "tldr"])
def test_a_reconstruction_that_was_stopped_goes_on_to_the_same_bytes(
    given, called, tmp_path, monkeypatch, killed_after, method
):
    every = "record_every" if method == "kkt" else "eval_every"
    options = [word for value in ("restarts=2", "steps=6", f"{every}=2") for word in ("--set", value)]
    words = ("leakage", "reconstruct", "--model", given / "target.safetensors", "--method", method, *options)
    assert called(*words, "--out", "whole").returncode == 0
    written = killed_after(checkpoints, 4)
    monkeypatch.setattr(app, "_exit_now", sys.exit)
    assert called(*words, "--out", "again").returncode == 130
    assert not (tmp_path / "again" / "reconstructions.npz").exists()
    assert called(*words, "--out", "again", "--resume").returncode == 0
    assert len(written) == 6
    names = ("reconstructions.npz", "reconstructions.json", "figures/gallery.png")
    assert all((tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes() for name in names)
    assert not (tmp_path / "again" / "work").exists()


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"controls": "members"}, (), "both member and control"),
        ({"controls": "nowhere"}, (), "nowhere.npz"),
        ({}, ("--pairs", "coins.csv"), "coins.csv"),
        ({}, ("--attack-control", "nowhere"), "invaudit leakage attack-control"),
        ({}, ("--metric", "ssmi"), "ssmi"),
        ({}, ("--metric", "lpips-alex:0"), "NAME:SIDE"),
        ({}, ("--set", "drawz=5"), "did you mean 'draws'"),
        ({}, ("--seeds", "0", "1"), "seeds"),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(given, called, tmp_path, changes, options, message):
    result = called(*words(given, **changes), *options)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_reconstructions_of_another_size_and_corrupt_files_are_refused(given, called, tmp_path):
    np.savez(tmp_path / "large.npz", images=np.zeros((3, 1, 9, 9), np.uint8))
    (tmp_path / "broken.npz").write_bytes(b"no zip at all")
    for name, message in (("large", "members (1, 8, 8)"), ("broken", "broken.npz")):
        changed = words(given)
        changed[2] = tmp_path / f"{name}.npz"
        result = called(*changed)
        assert result.returncode == 2
        assert message in result.stderr
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--model is missing"),
        (("--model", "TARGET", "--method", "ktk"), "ktk"),
        (("--model", "TARGET", "--set", "stepps=3"), "did you mean 'steps'"),
        (("--model", "TARGET", "--precision", "float32"), "--precision changes nothing with --method kkt"),
    ],
)
def test_reconstruct_refuses_what_it_cannot_do(given, called, tmp_path, options, message):
    options = [given / "target.safetensors" if word == "TARGET" else word for word in options]
    result = called("leakage", "reconstruct", *options, "--out", "made")
    assert result.returncode == 2
    assert message in result.stderr
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "ktk"), "ktk"),
        (("--data", "nowhere"), "nowhere"),
        (("--set", "members=2000"), "beside the"),
        (("--set", "settings.steps=5"), "without a method"),
        (("--reference",), "without a method"),
    ],
)
def test_attack_control_refuses_what_it_cannot_do(called, tmp_path, options, message):
    result = called("leakage", "attack-control", *options, "--out", "control")
    assert result.returncode == 2
    assert message in result.stderr
    assert not (tmp_path / "control").exists()


def test_a_reference_of_another_shape_is_refused_and_the_folder_stays_free(given, called, tmp_path):
    np.savez(tmp_path / "small.npz", images=np.zeros((9, 4, 4), np.uint8), labels=np.arange(9))
    words = ("leakage", "reconstruct", "--model", given / "target.safetensors", "--set", "steps=1", "--out", "made")
    result = called(*words, "--reference", "small.npz")
    assert result.returncode == 2
    assert "small.npz has images of (1, 4, 4), the model takes (1, 8, 8)" in result.stderr
    assert not (tmp_path / "made").exists()


def test_the_benchmark_from_outside(tmp_path):
    config = tmp_path / "small.yaml"
    config.write_text(
        "name: small\n"
        "targets: {mlp: {recipe: {arch: mlp-40, steps: 300}, members: 20}}\n"
        "attack_control: {recipe: {arch: mlp-40, steps: 300}, members: 20}\n"
        "methods: {kkt: {kind: kkt, settings: {images: 10, restarts: 1, steps: 20}}}\n"
        "metrics: {ssim: {}, lpips-alex: {resize: 32}}\n"
        "seeds: [0]\n"
    )
    command = [sys.executable, "-m", "invaudit.benchmarks.leakage", "--config", str(config), "--out", "run", "--json"]
    hidden = {"PYTHONPATH": str(ROOT), "INVAUDIT_WEIGHTS": str(tmp_path), "TORCH_HOME": str(tmp_path)}
    environment = {**os.environ, **hidden}
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False, timeout=240
    )
    assert result.returncode == 0, result.stderr
    rows = {row["metric"]: row for row in json.loads(result.stdout)["rows"]}
    assert rows["ssim"]["status"] == "ok"
    assert rows["lpips-alex"]["status"] == "skipped"
    assert "--download" in rows["lpips-alex"]["reason"]
    assert (tmp_path / "run" / "report.html").is_file()
