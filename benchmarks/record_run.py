"""Copy the tables of a finished run into the repository: five digits, and no file over 300 KB.

The table by seed (`table.csv`) is large: it is kept only if it is asked for, and of it the OOD sets and the columns
that say how well they are told apart.

    python benchmarks/record_run.py runs/mnist benchmarks/results/ood-mnist [--table]
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from invaudit.runtime.files import write_bytes

LIMIT = 300_000
AS_THEY_ARE = ("config.yaml", "environment.json")
OF_THE_TABLE = ["seed", "network", "detector", "ood_set", "group", "auroc", "fpr95", "status", "reason"]


def recorded(run: Path, *, table: bool) -> dict[str, bytes]:
    """Return the files of a record by name.

    Args:
        run: The folder of a finished run.
        table: Whether the table by seed is part of it.
    """
    files = {name: (run / name).read_bytes() for name in AS_THEY_ARE}
    for path in sorted(run.glob("*.csv")):
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
        if path.name == "table.csv":
            if not table:
                continue
            frame = frame.loc[frame["group"] != "control", OF_THE_TABLE]
        files[path.name] = frame.to_csv(index=False, float_format="%.5g").encode()
    return files


def main() -> None:
    """Write the record, or nothing where a file would be too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("record", type=Path)
    parser.add_argument("--table", action="store_true", help="with the table by seed")
    options = parser.parse_args()
    files = recorded(options.run, table=options.table)
    if large := {name: len(content) for name, content in files.items() if len(content) > LIMIT}:
        sys.exit(f"over {LIMIT} bytes: {large}")
    for name, content in files.items():
        write_bytes(options.record / name, content)


if __name__ == "__main__":
    main()
