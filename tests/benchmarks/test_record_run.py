import subprocess
import sys
from pathlib import Path

import pandas as pd

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "record_run.py"


def test_a_record_holds_the_tables_with_five_digits(finished, tmp_path):
    subprocess.run([sys.executable, SCRIPT, finished, tmp_path / "record", "--table"], check=True)
    names = {path.name for path in finished.glob("*.csv")}
    assert {path.name for path in (tmp_path / "record").iterdir()} == names | {"config.yaml", "environment.json"}
    for name in names - {"table.csv"}:
        whole, kept = (pd.read_csv(folder / name) for folder in (finished, tmp_path / "record"))
        pd.testing.assert_frame_equal(whole, kept, rtol=1e-4, check_dtype=False)
    kept = pd.read_csv(tmp_path / "record" / "table.csv")
    table = pd.read_csv(finished / "table.csv")
    assert len(kept) == (table["group"] != "control").sum()
    assert all(value == float(f"{value:.5g}") for value in kept["auroc"].dropna())
