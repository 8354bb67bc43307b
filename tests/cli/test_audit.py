"""``invaudit audit`` from outside: words of the command in, exit code and one message out."""

import json

import pytest

from invaudit.data import seeded_rng
from invaudit.leakage import TargetRecipe, train_target
from invaudit.models import save_target
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
