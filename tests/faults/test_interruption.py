"""Ctrl-C as a terminal sends it, to all processes of a command: message, exit code, no process left, same bytes."""

import multiprocessing
import os
import shlex
import signal
import sys
import time
from multiprocessing import connection
from pathlib import Path

import pytest
import yaml

from invaudit.cli import main
from invaudit.data import load, seeded_rng
from invaudit.leakage import TargetRecipe, train_target
from invaudit.models import save_target
from tests.conftest import SMALL

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("interruption")]
PATIENCE_S = 200
"""After this the test has failed; nothing waits for it otherwise."""

OOD = SMALL | {
    "seeds": [0],
    "draws": 50,
    "networks": {
        "plain": {},
        "full": {"garbage": {"noise": 0.25, "derived": 0.5, "inversions": 0.25, "per_cycle": 35}},
    },
}
TARGET = {"recipe": {"arch": "mlp-40", "steps": 100}, "members": 10}
LEAKAGE = {
    "name": "small",
    "targets": {"one": TARGET, "two": TARGET},
    "attack_control": TARGET,
    "methods": {"kkt": {"kind": "kkt", "settings": {"images": 10, "restarts": 1, "steps": 40}}},
    "metrics": {"cosine": {}},
    "draws": 199,
    "alpha": 0.05,
    "seeds": [0],
}
FIT = "ood fit digits --set arch=mlp-8 --set recipe.training.epochs=15 --set recipe.inversion.steps=2"
RECONSTRUCT = "leakage reconstruct mlp.safetensors --set steps=200 --set record_every=5 --set images=6"
BENCHMARK = "benchmark {} --config {}.yaml --workers {}"
AUDIT = (
    "audit audited.safetensors --members digits@0:60 --controls digits@100:400 --budget none --set draws=199 "
    "--set 'methods={kkt: {kind: kkt, settings: {images: 20, restarts: 1, steps: 100}}}' --set 'metrics={ssim: null}' "
    "--set 'known_leak={arch: mlp-40, steps: 200, least_accuracy: 0.5}' --set known_members=20"
)
COMMANDS = {
    "fit": (FIT, "work.pt", "*.safetensors"),
    "reconstruct": (RECONSTRUCT, "work/search.pt", "reconstructions.npz"),
    "audit": (AUDIT, "records/stage-known-leak.json", "scores/**/*.npz"),
    "ood-1": (BENCHMARK.format("ood", "ood", 1), "records/seed-*.json", "scores/**/*.npz"),
    "ood-2": (BENCHMARK.format("ood", "ood", 2), "records/seed-*.json", "scores/**/*.npz"),
    "leakage-1": (BENCHMARK.format("leakage", "leakage", 1), "records/seed-*.json", "scores/**/*.npz"),
    "leakage-2": (BENCHMARK.format("leakage", "leakage", 2), "records/seed-*.json", "scores/**/*.npz"),
}
"""Name -> the command, the first file that says that it has got somewhere, and the files of its results."""


def command(words, folder, output):
    """Run a command as the first process of a terminal of its own."""
    os.setsid()
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Another test may have started the server that this process comes from, deaf to interruptions.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(written, stream)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    sys.argv = ["invaudit", *words]
    main()


@pytest.fixture(scope="module")
def started():
    """Start commands in processes that have imported torch already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "invaudit.benchmarks.ood", "invaudit.benchmarks.leakage"])

    def start(words, folder):
        process = context.Process(target=command, args=(words, folder, folder / "output.txt"))
        process.start()
        return process

    return start


def wait_for(found, process):
    """Wait until something is there; the process must not end before, nor must the test take for ever."""
    end = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < end
        if process is None:
            os.sched_yield()
        else:
            assert not connection.wait([process.sentinel], timeout=0.02)


def processes_of(group):
    """Return the processes of a terminal, without those that only wait to be forgotten."""
    alive = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, found, *_ = stat.read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if int(found) == group and state != "Z":
            alive.append(stat.parent.name)
    return alive


def results(folder, pattern):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob(pattern)}


@pytest.fixture(scope="module")
def whole(right, tmp_path_factory, started):
    """Results of commands that nobody interrupts; the number of workers changes none."""
    known = {}

    def of(name):
        kind = name.partition("-")[0]
        if kind not in known:
            words, _, pattern = COMMANDS[name]
            folder = tmp_path_factory.mktemp(kind)
            prepare(folder, right)
            process = started([*shlex.split(words), "--out", "run"], folder)
            process.join(PATIENCE_S)
            assert process.exitcode == 0, (folder / "output.txt").read_text()
            known[kind] = results(folder / "run", pattern)
        return known[kind]

    return of


def prepare(folder, right):
    (folder / "mlp.safetensors").write_bytes((right / "mlp.safetensors").read_bytes())
    digits = load("digits@0:60")
    recipe = TargetRecipe(arch="mlp-40", steps=300)
    audited = train_target(recipe, digits.floats(), digits.labels, 10, seeded_rng(0, "audited"))
    save_target(audited, folder / "audited.safetensors")
    for name, settings in (("ood", OOD), ("leakage", LEAKAGE)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("name", COMMANDS)
def test_an_interruption_says_how_to_go_on_and_leaves_no_process(name, right, whole, started, tmp_path):
    words, progress, pattern = COMMANDS[name]
    prepare(tmp_path, right)
    process = started([*shlex.split(words), "--out", "run"], tmp_path)
    wait_for(lambda: list((tmp_path / "run").glob(progress)), process)
    os.killpg(process.pid, signal.SIGINT)
    process.join(PATIENCE_S)
    wait_for(lambda: not processes_of(process.pid), None)
    said = (tmp_path / "output.txt").read_text()
    assert process.exitcode == 130, said
    assert "Traceback" not in said
    last = said.splitlines()[-1]
    begin, colon, again = last.partition(": invaudit ")
    assert begin == "interrupted; what is finished is kept. To go on"
    assert colon
    assert results(tmp_path / "run", pattern) != whole(name)

    process = started(shlex.split(again), tmp_path)
    process.join(PATIENCE_S)
    assert process.exitcode == 0, (tmp_path / "output.txt").read_text()
    assert results(tmp_path / "run", pattern) == whole(name)
    assert not list((tmp_path / "run").rglob(".partial-*"))
