"""``invaudit audit`` from outside: words of the command in, exit code and one message out."""

import inspect
import json
from dataclasses import fields

import pytest
import yaml

from invaudit.cli.audit import audit
from invaudit.cli.options import Common, Model
from invaudit.data import seeded_rng
from invaudit.leakage import TargetRecipe, train_target
from invaudit.models import save_target
from invaudit.runtime.errors import InputError
from tests.audit.image_files import save_digits

RECIPE = {"arch": "mlp-40", "steps": 300, "least_accuracy": 0.5}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    parts = {"members": slice(40), "controls": slice(40, 400), "reference": slice(400, 600)}
    data = save_digits(folder, "audit command", parts)
    target = train_target(TargetRecipe(**RECIPE), data.floats(slice(40)), data.labels[:40], 10, seeded_rng(0, "target"))
    save_target(target, folder / "target.safetensors")
    return folder


def words(given):
    quick = ["methods={kkt: {kind: kkt, settings: {images: 20, restarts: 1, steps: 20}}}", "metrics={ssim: null}"]
    known = f"known_leak={json.dumps(RECIPE)}"
    settings = [part for text in (*quick, known, "draws=199") for part in ("--set", text)]
    data = ["--members", given / "members.npz", "--controls", given / "controls.npz"]
    return ["audit", given / "target.safetensors", *data, *settings, "--device", "cpu", "--out", "run"]


@pytest.mark.slow
def test_without_a_leak_or_a_control_that_works_nothing_is_concluded(called, given):
    done = called(*words(given), "--json", "--fail-on", "inconclusive")
    report = json.loads(done.stdout)
    assert (done.returncode, report["reconstruction"]["verdict"]) == (3, "inconclusive")
    assert "attack-failed" in report["reconstruction"]["reasons"]
    assert {row["ood_set"] for row in report["readiness"]} >= {"id-test", "uniform"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--members", "nowhere.npz"], "nowhere.npz"),
        (["--ood"], "--ood"),
        (["--set", "known_members=3"], "known_members"),
    ],
)
def test_bad_input_ends_with_2_and_one_message(called, given, tmp_path, more, said):
    base = words(given)
    if "--members" in more:
        place = base.index("--members")
        base = base[:place] + base[place + 2 :]
    done = called(*base, *more)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--probabilities", "a.csv", "b.csv"], "a.csv is not there"),
        (
            ["--probabilities", "a.csv", "b.csv", "--members", "digits"],
            "--members changes nothing with --probabilities",
        ),
        (["--card", "--json"], "--card changes nothing with --json"),
        ([], "--members and --controls are needed"),
        (["--budget", "soon"], "expected a time such as 90s"),
    ],
)
def test_what_does_not_go_together_is_refused(called, tmp_path, words, said):
    done = called("audit", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "runs").exists()


OF_IMAGES = {
    "model": "m.pth", "members": "digits", "controls": "digits", "reference": "digits", "ood": "digits",
    "reference-model": "m.pth", "train-references": "2", "train-references-on": "digits", "budget": "20m",
    "images": "none", "drop-duplicates": None, "no-drop-duplicates": None, "download": None, "arch": "resnet20",
    "input": "1x8x8", "mean": "0.5", "std": "0.5", "resize": "8", "crop": "8", "interpolation": "bilinear",
    "squash": None, "match": "order", "output": "logits", "device": "cpu", "precision": "float32", "workers": "2",
}  # fmt: skip
"""Options of an audit of images, or of no audit, with a value of each."""
OF_ANSWERS = {"reference-probabilities": ["r.csv"], "drawn-at-random": [], "no-drawn-at-random": []}
OF_BOTH = {"card", "fail-on", "config", "out", "seeds", "resume", "json", "quiet", "set"}


def test_every_option_is_known_to_the_tests_below():
    options = {*inspect.signature(audit).parameters} - {"network", "common", "probabilities"}
    for group in (Model, Common):
        options |= {field.name for field in fields(group)}
    tried = {name.removeprefix("no-") for name in (*OF_IMAGES, *OF_ANSWERS)} | OF_BOTH
    assert {name.replace("_", "-") for name in options} == tried


@pytest.mark.parametrize("option", OF_IMAGES)
def test_what_changes_nothing_with_probabilities_is_refused_by_name(called, option):
    value = OF_IMAGES[option]
    done = called("audit", "--probabilities", "a.csv", "b.csv", f"--{option}", *([] if value is None else [value]))
    assert done.returncode == 2
    assert f"--{option.removeprefix('no-')} changes nothing" in done.stderr


def test_a_model_beside_probabilities_is_refused(called):
    done = called("audit", "m.pth", "--probabilities", "a.csv", "b.csv")
    assert done.returncode == 2
    assert "--model changes nothing with --probabilities" in done.stderr


@pytest.mark.parametrize("option", OF_ANSWERS)
def test_what_changes_nothing_without_probabilities_is_refused_by_name(called, option):
    done = called("audit", "m.pth", "--members", "a", "--controls", "b", f"--{option}", *OF_ANSWERS[option])
    assert done.returncode == 2
    assert f"--{option.removeprefix('no-')} changes nothing without --probabilities" in done.stderr


def test_a_config_alone_starts_an_audit(called, given, tmp_path, monkeypatch):
    """The audit itself is tested elsewhere: here it is seen what it is asked for."""
    asked = []

    def stopped(target, settings, out, **_):
        asked.append((target.hash, settings, out))
        raise InputError("stopped here")

    monkeypatch.setattr("invaudit.audit.audit_model", stopped)
    config = {"model": str(given / "target.safetensors"), "draws": 999, "device": "cpu"}
    config |= {name: str(given / f"{name}.npz") for name in ("members", "controls")}
    (tmp_path / "audit.yaml").write_text(yaml.safe_dump(config))
    for words in (["--config", "audit.yaml"], [given / "target.safetensors", "--config", "audit.yaml"]):
        assert "stopped here" in called("audit", *words).stderr
    (first, settings, out), (second, same, _) = asked
    assert (first, settings) == (second, same)
    assert (settings.model, settings.members, settings.draws) == ("target.safetensors", config["members"], 999)
    assert str(out) == "runs/audit-target"
    (tmp_path / "audit.yaml").write_text(yaml.safe_dump({"members": "digits"}))
    done = called("audit", given / "target.safetensors", "--config", "audit.yaml")
    assert done.returncode == 2
    assert "controls is missing" in done.stderr
