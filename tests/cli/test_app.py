import json
import os
import subprocess
import sys
import time
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import invaudit
from invaudit.cli import app
from invaudit.cli.ood import score
from invaudit.models import InputSpec, Target, build, checkpoints, save_target
from invaudit.ood.guarded import FALSE_ALARM_RATE
from invaudit.runtime.errors import Interrupted
from invaudit.runtime.settings import find_config

ROOT = Path(invaudit.__file__).parents[1]


def invoke(*words, cwd=None, env=None, module="invaudit"):
    """Run a command as users do, in a process of its own."""
    command = [sys.executable, "-m", module, *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False, timeout=240)


def refused(result, *parts, cwd=None):
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    message = " ".join(line.strip(" │╭╮╰╯─") for line in result.stderr.splitlines())
    for part in parts:
        assert part in message
    if cwd is not None:
        assert not (cwd / "runs").exists()


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("ood",),
        ("ood", "fit"),
        ("ood", "score"),
        ("explain",),
        ("invert",),
        ("benchmark", "leakage"),
        ("benchmark", "init"),
        ("leakage", "score"),
    ],
)
def test_help_answers_without_what_is_slow_to_import(words):
    code = (
        "import sys; sys.argv = ['invaudit', *sys.argv[1:], '--help']\n"
        "from invaudit.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'matplotlib', 'pandas', 'sklearn', 'pytorch_ood', 'scipy', 'numpy', 'pydantic', 'yaml'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    result = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "Usage" in result.stdout


def test_the_runner_has_help():
    assert "--seeds" in invoke("--help", module="invaudit.benchmarks.ood").stdout


def test_version():
    assert invoke("--version").stdout.strip() == invaudit.__version__


BENCHMARK = [
    (("--set", "trainin.epochs=3"), ("'trainin'", "did you mean 'training'")),
    (("--set", "training.epoch=3"), ("'training.epoch'", "did you mean 'epochs'")),
    (("--config", "nowhere.yaml"), ("nowhere.yaml", "ood/digits")),
    (("--seeds", "0", "0"), ("seeds", "twice")),
    (("--quiet", "--out", "a", "--out", "b"), ("--out", "expected once")),
    (("--seeds", "0", "--seeds", "1"), ("--seeds", "expected once")),
    (("--device", "tpu"), ("tpu", "cpu")),
    (("--device", "cuda:99"), ("cuda:99", "--device cpu")),
    (("--precision", "float8"), ("float8", "bfloat16")),
    (("--workers", "0"), ("--workers", "at least 1")),
    (("--resume",), ("--resume", "--out")),
    (("--detector", "nothing.like:This"), ("nothing.like:This",)),
    (("--confg", "x"), ("--confg", "--config")),
]


@pytest.mark.parametrize(
    ("words", "parts"), BENCHMARK, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_bad_options_of_the_benchmark(called, tmp_path, words, parts):
    refused(called("benchmark", "ood", *words), *parts, cwd=tmp_path)


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("demo", "--workers"),
        ("ood fit digits --as-it-is --model a.pth", "--precision"),
        ("explain", "--workers"),
        ("invert", "--workers"),
        ("leakage reconstruct", "--workers"),
        ("leakage score a.npz b.npz c.npz", "--precision"),
        ("benchmark leakage", "--precision"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(called, tmp_path, command, option):
    value = "1" if option == "--workers" else "float32"
    refused(called(*command.split(), option, value), option, "leave it out", cwd=tmp_path)


def test_what_a_model_takes_needs_the_model(called, tmp_path):
    refused(
        called("ood", "fit", "digits", "--mean", "0.5"), "--mean and --std say how --model normalises", cwd=tmp_path
    )
    refused(called("ood", "fit", "digits", "--resize", "9"), "give --input too", cwd=tmp_path)
    refused(called("ood", "fit", "digits", "--input", "1x9x9"), "(1, 8, 8)", "--input says (1, 9, 9)", cwd=tmp_path)


def test_a_model_is_the_first_argument_or_an_option_and_given_once(called, tmp_path):
    refused(called("invert", "nowhere.pth"), "nowhere.pth does not exist", cwd=tmp_path)
    refused(called("leakage", "reconstruct", "nowhere.pth"), "nowhere.pth does not exist", cwd=tmp_path)
    refused(called("invert", "a.pth", "--model", "b.pth"), "given twice", "b.pth", cwd=tmp_path)


@pytest.mark.parametrize(("option", "expected"), [((), True), (("--download",), True), (("--no-download",), False)])
def test_a_flag_overrides_a_config_and_its_absence_does_not(called, tmp_path, monkeypatch, option, expected):
    from invaudit.benchmarks.leakage import runner

    downloads = []

    def stop(settings, *_, **__):
        downloads.append(settings.download)
        raise Interrupted(tmp_path / "a b")

    (tmp_path / "own.yaml").write_text(find_config("leakage/digits").read_text() + "\ndownload: true\n")
    monkeypatch.setattr(runner, "run", stop)
    monkeypatch.setattr(app, "_exit_now", sys.exit)
    stopped = called("benchmark", "leakage", "--config", "own.yaml", *option)
    assert stopped.returncode == 130
    words = " ".join(("benchmark", "leakage", "--config", "own.yaml", *option))
    assert f"To go on: invaudit {words} --out '{tmp_path}/a b' --resume\n" in stopped.stderr
    assert downloads == [expected]


def test_an_architecture_may_be_a_module_of_the_current_folder(called, tmp_path):
    (tmp_path / "own_networks.py").write_text("def seven():\n    return 7\n")
    save_file({"weight": torch.zeros(3, 4), "bias": torch.zeros(3)}, tmp_path / "weights.safetensors")
    words = ("--model", "weights.safetensors", "--arch", "own_networks:seven", "--input", "1x2x2")
    refused(called("invert", *words), "own_networks:seven", "gave int", cwd=tmp_path)
    assert str(tmp_path) not in sys.path


@pytest.mark.slow
def test_a_bad_option_from_outside(tmp_path):
    refused(invoke("--seeds", "0", "0", module="invaudit.benchmarks.ood", cwd=tmp_path), "twice", cwd=tmp_path)


def test_an_output_folder_that_holds_something_else(called, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    refused(called("benchmark", "ood", "--out", tmp_path / "mine"), "not empty", "--out")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.fixture
def images(tmp_path):
    """A folder of files that commands refuse."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "corrupt").mkdir()
    (tmp_path / "corrupt" / "a.png").write_bytes(b"not a picture")
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "rgb" / label).mkdir(parents=True)
        for index in range(160):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "rgb" / label / f"{index}.png")
    return tmp_path


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ("nowhere.npz", ("nowhere.npz",)),
        ("empty/", ("empty",)),
        ("corrupt/", ("a.png",)),
        ("digits@0:5000", ("5000", "1797")),
        ("digitz", ("did you mean", "digits")),
    ],
)
def test_bad_data(called, images, data, parts):
    refused(called("ood", "fit", data, "--out", "guard", cwd=images), *parts)
    assert not (images / "guard").exists()


@pytest.fixture(scope="session")
def guard(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guards")
    words = (
        "--set",
        "recipe.training.epochs=3",
        "--set",
        "recipe.inversion.steps=3",
        "--set",
        "recipe.garbage.per_cycle=20",
    )
    result = invoke("ood", "fit", "digits", "--arch", "small-cnn", "--out", "guard", "--json", *words, cwd=folder)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["held_out"]["n"] > 100
    assert (folder / "guard" / "network.safetensors").is_file()
    assert not (folder / "guard" / "work.pt").exists()
    return folder / "guard"


pytestmark = pytest.mark.xdist_group("cli")


@pytest.mark.slow
def test_score_prints_json_and_writes_csv(called, guard, tmp_path):
    result = invoke("ood", "score", guard, "digits@0:20", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert len(found["images"]) == found["n"] == 20
    assert all(row["accepted"] == (row["score"] <= found["threshold"]) for row in found["images"])
    again = called("ood", "score", guard, "digits@0:20", "--delta", "0.1", "--out", tmp_path / "scores.csv")
    assert "with probability 0.9 over calibration sets" in again.stdout
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 21
    refused(called("ood", "score", guard, "digits@0:20", "--out", tmp_path / "scores.csv"), "exists already")


def test_score_decides_by_default_as_the_library_does():
    # Written twice, since commands give their help without torch.
    assert signature(score).parameters["alpha"].default == FALSE_ALARM_RATE


@pytest.mark.slow
def test_score_refuses_what_does_not_fit(called, guard, images):
    np.savez(images / "colours.npz", images=np.zeros((5, 8, 8, 3), np.uint8), labels=np.zeros(5, int))
    refused(called("ood", "score", guard, images / "colours.npz"), "(3, 8, 8)", "(1, 8, 8)")
    refused(called("ood", "score", guard, "digits@0:20", "--alpha", "0.0001"), "alpha")
    refused(called("ood", "score", guard, "digits@0:20", "--delta", "1.5"), "delta")
    refused(called("ood", "score", images, "digits@0:20"), "guard.json", "invaudit ood fit")


@pytest.mark.slow
def test_a_trained_network_is_taken_as_it_is_or_tuned(called, guard, tmp_path):
    model = ("--model", guard / "network.safetensors")
    result = called("ood", "fit", "digits", *model, "--as-it-is", "--out", tmp_path / "same", "--json")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "same" / "network.safetensors").read_bytes() == (guard / "network.safetensors").read_bytes()
    words = ("--set", "recipe.training.epochs=1")
    result = called("ood", "fit", "digits", *model, *words, "--out", tmp_path / "tuned", "--json")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "tuned" / "network.safetensors").read_bytes() != (guard / "network.safetensors").read_bytes()
    refused(called("ood", "fit", "digits", "--as-it-is"), "--model")


@pytest.mark.slow
def test_a_fit_that_was_stopped_goes_on_to_the_same_bytes(called, guard, tmp_path, monkeypatch, killed_after):
    values = ("training.epochs=2", "garbage.per_cycle=20", "inversion.steps=3")
    recipe = [word for value in values for word in ("--set", f"recipe.{value}")]
    words = ("ood", "fit", "digits", "--model", guard / "network.safetensors", *recipe)
    assert called(*words, "--out", "whole").returncode == 0
    killed_after(checkpoints, 1)
    monkeypatch.setattr(app, "_exit_now", sys.exit)
    assert called(*words, "--out", "again").returncode == 130
    assert not (tmp_path / "again" / "guard.json").exists()
    assert called(*words, "--out", "again", "--resume").returncode == 0
    for name in ("network.safetensors", "guard.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
def test_a_network_for_other_images_is_refused(called, guard, images):
    model = ("--model", guard / "network.safetensors")
    refused(called("ood", "fit", "rgb/", *model, "--out", "x", cwd=images), "classes")


@pytest.mark.slow
def test_invert_writes_a_gallery(called, guard, tmp_path):
    model = ("--model", guard / "network.safetensors")
    result = called("invert", *model, "--out", tmp_path / "out", "--set", "steps=5", "--images", "3", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert len(found["accuracy_per_class"]) == 10
    with Image.open(tmp_path / "out" / "figures" / "gallery.png") as picture:
        assert min(picture.size) > 100
    refused(called("invert", "--out", tmp_path / "other"), "--model")
    torch.save({"1.weight": torch.zeros(3, 16), "1.bias": torch.zeros(3)}, tmp_path / "tiny.pth")
    (tmp_path / "tiny_net.py").write_text(
        "from torch import nn\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))\n"
    )
    model = ("--model", "tiny.pth", "--arch", "tiny_net:net", "--input", "1x4x4")
    refused(called("invert", *model, "--out", tmp_path / "other"), "from 8 up")
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_an_inversion_that_was_stopped_goes_on_to_the_same_bytes(called, guard, tmp_path, monkeypatch, killed_after):
    words = ("invert", "--model", guard / "network.safetensors", "--set", "steps=6", "--set", "eval_every=2")
    assert called(*words, "--out", "whole").returncode == 0
    killed_after(checkpoints, 1)
    monkeypatch.setattr(app, "_exit_now", sys.exit)
    assert called(*words, "--out", "again").returncode == 130
    assert called(*words, "--out", "again", "--resume").returncode == 0
    for name in ("diagnosis.json", "figures/gallery.png"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
def test_a_torchvision_that_does_not_fit_torch_is_one_clear_message(tmp_path):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    result = invoke("--out", tmp_path / "run", "--quiet", module="invaudit.benchmarks.ood", env=env)
    refused(result, "torchvision", "torch")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_killed_run_resumes(tmp_path):
    small = [f"--set=networks.{name}.baselines=false" for name in ("plain", "noise", "full")]
    small += [
        "--set=networks.plain.tuned=false",
        "--set=training.epochs=2",
        *(f"--set=attacks.{name}.steps=2" for name in ("other-kind-sure", "same-kind")),
        "--set=inversion.steps=2",
    ]
    words = ["--seeds", "0", "--workers", "1", "--set=draws=50", "--out", str(tmp_path / "run"), *small]
    command = [sys.executable, "-m", "invaudit.benchmarks.ood", *words]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    record = tmp_path / "run" / "records"
    start = time.monotonic()
    while not list(record.glob("seed-*.json")) and process.poll() is None and time.monotonic() - start < 120:
        os.sched_yield()
    process.kill()
    process.communicate()
    done = {path: path.read_bytes() for path in record.glob("seed-*.json")}
    assert done
    assert not (tmp_path / "run" / "table.csv").exists()
    result = invoke(*words, "--resume", module="invaudit.benchmarks.ood")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "run" / "report.html").is_file()
    # They hold times: a job that was done anew would have others.
    assert {path: path.read_bytes() for path in done} == done


@pytest.mark.parametrize("option", [("--allow-code", "own_code:X"), ("--detector", "own_code:X")])
def test_code_of_a_config_runs_where_the_command_names_it_too(called, tmp_path, monkeypatch, option):
    from invaudit.benchmarks.ood import runner

    seen = []

    def stop(settings, *_, **__):
        seen.append(settings.detectors)
        raise KeyboardInterrupt

    config = find_config("ood/digits").read_text() + "\ndetectors: ['own_code:X']\n"
    (tmp_path / "own.yaml").write_text(config)
    monkeypatch.setattr(runner, "run", stop)
    monkeypatch.setattr(app, "_exit_now", sys.exit)
    refused(called("benchmark", "ood", "--config", "own.yaml"), "own_code:X", "--allow-code", cwd=tmp_path)
    assert called("benchmark", "ood", "--config", "own.yaml", *option).returncode == 130
    assert seen == [("own_code:X",)]


def test_an_explanation_that_cannot_be_is_refused(called, tmp_path):
    spec = InputSpec(1, 8, 8)
    save_target(Target(build("small-cnn", spec, 10), spec, arch="invaudit:small-cnn"), tmp_path / "net.safetensors")
    command = ("explain", "net.safetensors", "--out", "run")
    refused(called(*command, "--classes", "1"), "expected 2 to 10", cwd=tmp_path)
    refused(called(*command, "--classes", "cat", "dog"), "'cat'", cwd=tmp_path)
    refused(called(*command, "--set", "inversion.step=3"), "steps", cwd=tmp_path)
    refused(called(*command, "--second-model", "net.safetensors"), "is the model itself", cwd=tmp_path)
    both = ("--second-model", "a.pth", "--train-second-on", "digits")
    refused(called(*command, *both), "one second network", cwd=tmp_path)
    refused(called(*command, "--image", "nowhere.png"), "nowhere.png", cwd=tmp_path)
    assert not (tmp_path / "run").exists()
