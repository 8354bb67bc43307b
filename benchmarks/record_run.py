"""Copy the tables of a finished OOD run into the repository: five digits, no rows of controls, no file over 300 KB.

The table by seed (`table.csv`) is large: it is kept only if it is asked for, and of it the columns that say how well
the OOD sets are told apart. Tables of an earlier record, and what was found from its run, are removed.

    python benchmarks/record_run.py runs/mnist benchmarks/results/ood-mnist [--table]
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from invaudit.records.names import CONTROLS_RECORD
from invaudit.runtime.files import write_bytes

CONTROLS = Path(CONTROLS_RECORD)
LIMIT = 300_000
AS_THEY_ARE = ("config.yaml", "environment.json")
OF_A_RUN = ("*.csv", "worst-*.json", "without.json")
OF_THE_TABLE = ["seed", "network", "detector", "ood_set", "group", "auroc", "fpr95", "status", "reason"]


def recorded(run: Path, *, table: bool) -> dict[str, bytes]:
    """Return the files of a record by name.

    Args:
        run: The folder of a run whose controls passed.
        table: Whether the table by seed is part of it.
    """
    files = {name: (run / name).read_bytes() for name in AS_THEY_ARE}
    files[CONTROLS.name] = (run / CONTROLS).read_bytes()
    for path in sorted(run.glob("*.csv")):
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
        if path.name == "table.csv" and not table:
            continue
        if path.name == "table.csv":
            frame = frame[OF_THE_TABLE]
        if "group" in frame:
            frame = frame[frame["group"] != "control"]
        files[path.name] = frame.to_csv(index=False, float_format="%.5g").encode()
    return files


def main() -> None:
    """Write the record, or nothing where the run is not good or a file would be too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("record", type=Path)
    parser.add_argument("--table", action="store_true", help="with the table by seed")
    options = parser.parse_args()
    if not (options.run / CONTROLS).is_file():
        sys.exit(f"{options.run / CONTROLS} is not there: the run is not finished, or one of its controls failed")
    files = recorded(options.run, table=options.table)
    if large := {name: len(content) for name, content in files.items() if len(content) > LIMIT}:
        sys.exit(f"over {LIMIT} bytes: {large}; run fewer networks, detectors or sets in one benchmark")
    if (options.record / CONTROLS.name).is_file():
        for old in (path for pattern in OF_A_RUN for path in options.record.glob(pattern)):
            old.unlink()
    for name, content in files.items():
        write_bytes(options.record / name, content)


if __name__ == "__main__":
    main()
