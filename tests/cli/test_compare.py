"""``invaudit compare`` from outside."""

import csv
import json

import numpy as np
import pytest

from tests.benchmarks.comparing.folders import MEMBER, save_audit


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    loss = rng.normal(size=60) + 2 * MEMBER
    save_audit(tmp_path / "before", {"loss": loss})
    save_audit(tmp_path / "after", {"loss": rng.normal(size=60)}, methods=("kkt", "tldr"))


@pytest.mark.usefixtures("folders")
def test_prints_a_table_and_keeps_every_row(called, tmp_path):
    done = called("compare", "before", "after", "--out", "both")
    assert done.returncode == 0, done.stderr
    assert "target target, seed 0" in done.stdout
    assert "loss" in done.stdout
    assert "Not compared, only in the second run: target 0 tldr:ssim." in done.stdout
    with (tmp_path / "both/comparison.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert f"{len(rows)} rows in all: both/comparison.csv" in done.stdout
    assert [row["name"] for row in rows if row["compared"] == "paired"] == ["loss"]


@pytest.mark.usefixtures("folders")
def test_json_is_one_object_with_every_row(called):
    report = json.loads(called("compare", "before", "after", "--json").stdout)
    assert report["kind"] == "leakage"
    loss = next(row for row in report["rows"] if row["name"] == "loss")
    assert loss["difference_low"] < loss["difference"] < loss["difference_high"] < 0


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["before", "nowhere"], "nowhere is no run folder"),
        (["before", "after", "--out", "before"], "choose another --out"),
    ],
)
def test_bad_input_ends_with_2_and_one_message(called, words, said):
    done = called("compare", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""
