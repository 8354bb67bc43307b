import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "record_run.py"
BESIDE = {"config.yaml", "environment.json", "controls.json"}


def record(run: Path, to: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, run, to, *options], capture_output=True, text=True, check=False)


def test_a_record_holds_the_tables_with_five_digits(finished, tmp_path):
    assert record(finished, tmp_path / "record", "--table").returncode == 0
    names = {path.name for path in finished.glob("*.csv")}
    assert {path.name for path in (tmp_path / "record").iterdir()} == names | BESIDE
    for name in names:
        whole, kept = (pd.read_csv(folder / name) for folder in (finished, tmp_path / "record"))
        if "group" in whole:
            whole = whole[whole["group"] != "control"].reset_index(drop=True)
        pd.testing.assert_frame_equal(whole[kept.columns], kept, rtol=1e-4, check_dtype=False)
    kept = pd.read_csv(tmp_path / "record" / "table.csv")
    assert all(value == float(f"{value:.5g}") for value in kept["auroc"].dropna())
    of_before = [tmp_path / "record" / name for name in ("table.csv", "worst-letters.json", "without.json")]
    for path in of_before:
        path.touch()
    assert record(finished, tmp_path / "record").returncode == 0
    assert not any(path.exists() for path in of_before)


@pytest.mark.parametrize("failing", ["controls", "size"])
def test_nothing_is_recorded_of_a_bad_run_or_where_a_file_is_too_large(finished, tmp_path, failing):
    run = tmp_path / "run"
    shutil.copytree(finished, run, ignore=shutil.ignore_patterns("scores", "figures", "report.html"))
    if failing == "controls":
        (run / "records" / "controls.json").unlink()
    else:
        summary = pd.read_csv(run / "summary.csv")
        pd.concat([summary] * (2 + 600_000 // len(summary.to_csv()))).to_csv(run / "summary.csv", index=False)
    done = record(run, tmp_path / "record")
    assert done.returncode == 1
    assert {"controls": "not finished", "size": "over 300000 bytes"}[failing] in done.stderr
    assert not (tmp_path / "record").exists()
