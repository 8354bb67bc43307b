"""The GitHub Action: its metadata against the documented keys, its shell part from outside."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from invaudit.data import seeded_rng
from invaudit.leakage import TargetRecipe, train_target
from invaudit.models import save_target
from tests.audit.image_files import save_digits

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = ACTION["runs"]["steps"]
GUIDE = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
STAND_IN = """#!/usr/bin/env bash
printf '%s\\n' "$@" >"$STAND_IN_WORDS"
echo "target  kkt  inconclusive (attack-failed)"
exit "$STAND_IN_CODE"
"""
"""A program that notes its words, speaks like an audit that could conclude nothing, and ends with a given code."""

QUOTED = ["audit", "my model.pth", "--set", "a={b: c}", "$(touch", "x)", "--out", "results"]


@pytest.fixture
def action(tmp_path):
    """Run a step of the action with stand-ins for programs; gives its end, their words, and what was written."""
    (tmp_path / "bin").mkdir()
    for name in ("invaudit", "python"):
        program = tmp_path / "bin" / name
        program.write_text(STAND_IN, encoding="utf-8")
        program.chmod(0o755)

    def run(step="run", code=0, path=tmp_path / "bin", **inputs):
        given = {"command": "audit", "arguments": "m.pth --members m.npz", "fail_on": "", "out": "results"}
        given |= {"packages": "", "torch_index": ""} | inputs
        environment = {f"INVAUDIT_{name.upper()}": text for name, text in given.items()}
        environment |= {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}", "STAND_IN_CODE": str(code)}
        for name in ("STAND_IN_WORDS", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"):
            environment[name] = str(tmp_path / name)
            (tmp_path / name).write_text("", encoding="utf-8")
        command = ["bash", str(ROOT / ".ci/action.sh"), step]
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | environment, capture_output=True, text=True, check=False
        )
        words, summary, outputs = (
            (tmp_path / name).read_text(encoding="utf-8")
            for name in ("STAND_IN_WORDS", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")
        )
        return done, words.splitlines(), summary, outputs

    return run


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (0, "Nothing was found that fails this job (`fail-on: inconclusive`)"),
        (1, "**No result**: a fault, or a control that failed"),
        (2, "**No result**: the command refused"),
        (3, "**This job fails**: a leak, or a question that could not be answered (`fail-on: inconclusive`)"),
        (130, "**No result**: interrupted"),
        (137, "**No result**: the command ended with exit code 137"),
    ],
)
def test_every_exit_code_is_handed_on_and_said_in_words(action, tmp_path, code, said):
    done, _, summary, outputs = action(code=code)
    assert done.returncode == code, done.stderr
    assert said in summary
    assert "    target  kkt  inconclusive (attack-failed)" in summary
    assert not re.search(r"\bpass", summary)
    assert (tmp_path / "results/summary.md").read_text(encoding="utf-8") == summary
    assert outputs.splitlines() == [f"exit-code={code}", "folder=results"]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, ["audit", "m.pth", "--members", "m.npz", "--out", "results", "--fail-on", "inconclusive"]),
        ({"fail_on": "leak"}, ["audit", "m.pth", "--members", "m.npz", "--out", "results", "--fail-on", "leak"]),
        ({"fail_on": "none"}, ["audit", "m.pth", "--members", "m.npz", "--out", "results"]),
        (
            {"command": "guard-check", "arguments": "guard new/\n"},
            ["ood", "check", "guard", "new/", "--fail-on", "too-many"],
        ),
        ({"arguments": "'my model.pth' --set \"a={b: c}\"\n $(touch x)", "fail_on": "none"}, QUOTED),
        ({"arguments": "* `y` ; $HOME", "fail_on": "none"}, ["audit", "*", "`y`", ";", "$HOME", "--out", "results"]),
    ],
)
def test_words_reach_the_command_as_they_are(action, inputs, words):
    done, given, *_ = action(**inputs)
    assert done.returncode == 0, done.stderr
    assert given == words


@pytest.mark.parametrize(
    ("inputs", "said"),
    [({"arguments": "m.pth 'open"}, "cannot be split"), ({"command": "fit"}, "expected audit or guard-check")],
)
def test_input_that_cannot_be_used_runs_nothing(action, inputs, said):
    done, words, *_ = action(**inputs)
    assert done.returncode == 2
    assert said in done.stderr
    assert words == []


def test_installs_this_checkout_and_what_is_asked_for_beside_it(action):
    done, words, *_ = action("install", packages="timm 'onnx>=1.17'")
    assert done.returncode == 0, done.stderr
    assert words[:3] == ["-m", "pip", "install"]
    assert Path(words[3]).resolve() == ROOT
    assert words[4:] == ["timm", "onnx>=1.17"]


def test_a_failed_install_ends_the_step(action):
    done, words, *_ = action("install", code=1, torch_index="https://index.invalid/cpu")
    assert done.returncode == 1
    assert words == ["-m", "pip", "install", "--index-url", "https://index.invalid/cpu", "torch", "torchvision"]


@pytest.mark.slow
def test_of_the_real_command_nothing_is_called_passed_that_is_inconclusive(action, tmp_path):
    data = save_digits(tmp_path, "action", {"members": slice(20), "controls": slice(20, 120)})
    recipe = TargetRecipe(arch="mlp-40", steps=200, least_accuracy=0.5)
    target = train_target(recipe, data.floats(slice(20)), data.labels[:20], 10, seeded_rng(0, "target"))
    save_target(target, tmp_path / "model.safetensors")
    arguments = """
      model.safetensors --members members.npz --controls controls.npz --device cpu
      --set "methods={kkt: {kind: kkt, settings: {images: 10, restarts: 1, steps: 5}}}" --set "metrics={ssim: null}"
      --set "known_leak={arch: mlp-40, steps: 200, least_accuracy: 0.5}" --set known_members=10 --set draws=99
    """
    done, _, summary, outputs = action(path=Path(sys.executable).parent, arguments=arguments)
    assert done.returncode == 3, done.stderr
    assert "exit-code=3" in outputs
    assert "? inconclusive" in summary
    assert not re.search(r"\bpass", summary)
    for name in ("report.html", "audit.json", "summary.md"):
        assert (tmp_path / "results" / name).is_file()


# The keys of https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax


def test_the_metadata_has_the_documented_keys():
    assert {"name", "description", "runs"} <= set(ACTION)
    assert set(ACTION) <= {"name", "author", "description", "inputs", "outputs", "runs", "branding"}
    for name, described in ACTION["inputs"].items():
        assert re.fullmatch("[a-z_][a-z0-9_-]*", name)
        assert "description" in described
        assert set(described) <= {"description", "required", "default", "deprecationMessage"}
        assert isinstance(described.get("default", ""), str)
        assert isinstance(described.get("required", True), bool)
    for described in ACTION["outputs"].values():
        assert set(described) == {"description", "value"}
    assert set(ACTION["runs"]) == {"using", "steps"}
    assert ACTION["runs"]["using"] == "composite"


@pytest.mark.parametrize("step", STEPS, ids=[step["name"] for step in STEPS])
def test_every_step_has_the_documented_keys(step):
    if "run" in step:
        assert set(step) <= {"run", "shell", "if", "name", "id", "env", "working-directory", "continue-on-error"}
        assert step["shell"] == "bash"
        # An expression in the text of a script is code that whoever gives the input writes.
        assert "${{" not in step["run"]
        assert "$GITHUB_ACTION_PATH/.ci/action.sh" in step["run"]
    else:
        assert set(step) <= {"uses", "with", "if", "name", "id", "env", "continue-on-error"}
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])


def test_every_name_in_an_expression_is_there():
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"inputs\.([a-z-]+)", text)) == set(ACTION["inputs"])
    ids = {step.get("id") for step in STEPS}
    assert set(re.findall(r"steps\.([a-z-]+)\.outputs", text)) <= ids
    script = (ROOT / ".ci/action.sh").read_text(encoding="utf-8")
    given = {name for step in STEPS for name in step.get("env", {})}
    assert set(re.findall(r"INVAUDIT_[A-Z_]+", script)) == given
    written = set(re.findall(r'"([a-z-]+)=\$', script))
    assert set(re.findall(r"outputs\.([a-z-]+)", text)) == written


def test_the_page_is_kept_whatever_the_command_says():
    last = STEPS[-1]
    assert last["if"] == "${{ always() }}"
    for name in ("report.html", "audit.json", "summary.md"):
        assert f"${{{{ inputs.out }}}}/{name}" in last["with"]["path"]


def test_the_workflows_of_the_guide_give_inputs_that_there_are():
    blocks = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)]
    used = []
    for workflow in (block for block in blocks if "jobs" in block):
        for job in workflow["jobs"].values():
            used += [step for step in job["steps"] if "invaudit" in step.get("uses", "")]
    assert len(used) == 2
    for step in used:
        assert set(step["with"]) <= set(ACTION["inputs"])
        assert "arguments" in step["with"]
