import json
import shutil
from pathlib import Path

import pytest

from tests.verify.changing import set_cell

RECORDED = Path(__file__).parents[2] / "benchmarks" / "results" / "leakage-released"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(RECORDED, tmp_path / "run")


def test_what_agrees_ends_with_0(called, folder):
    done = called("verify", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "All that could be recomputed agrees." in done.stdout
    assert "not checked  p-values" in done.stdout


def test_what_differs_is_named_and_ends_with_1(called, folder):
    stored = set_cell(folder / "summary.csv", 2, "auroc", "0.987")
    done = called("verify", folder)
    assert done.returncode == 1
    assert "summary.csv, line 2 (target " in done.stderr
    assert "auroc: stored '0.987', recomputed '0." in done.stderr
    assert "cannot be trusted" in done.stderr
    assert "agrees." not in done.stdout
    done = called("verify", folder, "--json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["agrees"]) == (1, False)
    (one,) = said["differences"]
    assert (one["file"], one["column"], one["stored"]) == ("summary.csv", "auroc", "0.987")
    assert float(one["recomputed"]) == pytest.approx(float(stored), abs=1e-4)
    assert said["checked"]
    assert said["not_checked"]


def test_a_folder_without_a_run_ends_with_2(called, tmp_path):
    done = called("verify", tmp_path)
    assert done.returncode == 2
    assert "error: " in done.stderr
