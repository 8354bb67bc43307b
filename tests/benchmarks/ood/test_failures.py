"""A user's own detectors, from outside: one that reads maps and images, one that fails somewhere, one everywhere."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import invaudit
from invaudit.benchmarks.ood.runner import Failure, describe_failures
from invaudit.records import OodJobRecord
from tests.conftest import SMALL

pytestmark = [pytest.mark.xdist_group("benchmark"), pytest.mark.slow]
ROOT = Path(str(invaudit.__file__)).parents[1]
MODULE = """
import torch


class patchwork:
    consumes = "maps+images"
    paper = "own work"

    def fit(self, activations, labels):
        assert len(activations.images) == len(activations.maps[-1]) == len(labels) == 100
        self.bank = activations.images.flatten(1)
        return self

    def score(self, activations):
        assert len(activations.images) == len(activations.maps[-1])
        return torch.cdist(activations.images.flatten(1), self.bank).min(1).values


class Moody(patchwork):
    times = 0

    def fit(self, activations, labels):
        Moody.times += 1
        if Moody.times == 2:
            raise ValueError("no luck")
        return super().fit(activations, labels)


class Blunt:
    def fit(self, activations, labels):
        return self

    def score(self, activations):
        return -activations.logits.max(1).values


class Broken(Blunt):
    def fit(self, activations, labels):
        raise ValueError("never")


class Shy(Blunt):
    def score(self, activations):
        if len(activations) == 7:
            raise ValueError("these are of an attack")
        return super().score(activations)
"""
GARBAGE = {"noise": 0.5, "derived": 0.5}
CONFIG = SMALL | {
    "training": {"epochs": 1, "batch_size": 64, "precision": "float32"},
    "attacks": {"sure": {"steps": 2, "batch_size": 16, "hot": True}},
    "attack_images": 7,
    "map_images": 100,
    "networks": {"full": {"garbage": GARBAGE, "baselines": ["MaxSoftmax"]}, "plain": {"baselines": ["MaxSoftmax"]}},
    "seeds": [0],
    "draws": 20,
    "device": "cpu",
}


DETECTORS = ("patchwork", "Broken", "Blunt", "Shy")


def told(done):
    """Return what a command wrote to stderr as one line, without the box around it."""
    return " ".join(" ".join(line.strip(" │╭╮╰╯─") for line in done.stderr.splitlines()).split())


@pytest.fixture
def benchmark(tmp_path):
    """Run the command in a folder that holds the detectors' module."""
    (tmp_path / "mine.py").write_text(MODULE)

    def run(config, *detectors, options=()):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "invaudit.benchmarks.ood", "--config", "config.yaml", "--out", "run"]
        for name in detectors:
            command += ["--detector", f"mine:{name}"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [*command, "--workers", "1", *options],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            check=False,
            timeout=240,
        )

    return run


def test_a_detector_of_ones_own_is_scored_and_a_failure_is_the_last_line(benchmark, tmp_path):
    done = benchmark(CONFIG, "patchwork", "Moody")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "Failed: mine:Moody on plain (ValueError: no luck)"
    table = pd.read_csv(tmp_path / "run" / "table.csv")
    assert set(table.loc[table["detector"] == "mine:patchwork", "status"]) == {"ok"}
    for network in ("full", "plain"):
        text = (tmp_path / "run" / "records" / f"seed-0-{network}.json").read_text()
        record = OodJobRecord.model_validate_json(text)
        ours, theirs, mine = (record.detectors[name] for name in ("joint", "MaxSoftmax", "mine:patchwork"))
        assert (ours.role, theirs.role, mine.role) == ("ours", "library", "user")
        assert (mine.consumes, mine.paper, mine.cost, mine.status) == ("maps+images", "own work", "low", "ok")
        assert record.detectors["mine:Moody"].status == ("ok" if network == "full" else "failed")
        with np.load(tmp_path / "run" / "scores" / "seed-0" / f"{network}.npz") as arrays:
            assert np.isfinite(arrays["mine:patchwork::letters"]).all()
    summary = pd.read_csv(tmp_path / "run" / "summary.csv")
    near = summary[(summary["ood_set"] == "mean-near") & (summary["network"] == "plain")].set_index("detector")
    assert near["p_adjusted"].notna().to_dict() == {
        "MaxSoftmax": True, "joint": False, "max-probability": False, "mine:Moody": False, "mine:patchwork": True,
        "uncertainty": False, **{name: False for name in near.index if name.startswith("joint/")},
    }  # fmt: skip


def test_detectors_without_any_result_end_the_command_with_2_after_its_tables(benchmark, tmp_path):
    # No network of blocks: what reads maps is not applicable; the one that fails there besides is named as well.
    networks = {"full": {**CONFIG["networks"]["full"]}, "plain": {}}
    config = CONFIG | {"arch": "mlp", "networks": networks}
    done = benchmark(config, *DETECTORS)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    message = told(done)
    assert "no result on any network: --detector mine:patchwork (not applicable: needs maps of blocks" in message
    assert "mine:Broken (ValueError: never)" in message
    assert "run again with another --out" in message
    assert "Failed: mine:Shy on full (ValueError: these are of an attack)" in message
    assert "mine:Blunt" not in message
    table = pd.read_csv(tmp_path / "run" / "table.csv").set_index("detector")
    assert set(table.loc["mine:Broken", "reason"]) == {"ValueError: never"}
    assert set(table.loc["mine:patchwork", "status"]) == {"not-applicable"}
    for name in ("joint", "mine:Blunt", "mine:Shy"):
        assert (table.loc[name, "status"] == "ok").all()
    (tmp_path / "mine.py").write_text(MODULE.replace("never", "hardly ever"))
    again = benchmark(config, *DETECTORS, options=["--resume"])
    assert again.returncode == 2
    assert "was made with other settings or inputs" in told(again)


def test_failures_are_told_in_one_line():
    assert describe_failures(()) == ""
    failures = (
        Failure("KNN", "plain", 0, "ValueError: too few"),
        Failure("KNN", "plain", 1, "ValueError: too few"),
        Failure("KNN", "full", 0, "ValueError: other"),
        Failure("joint", "full", 0, "SettingError: bad"),
    )
    assert describe_failures(failures) == (
        "Failed: KNN on plain, full (ValueError: too few); joint on full (SettingError: bad)"
    )
