"""Copy the tables of a finished run, of any benchmark, into the repository, from where its page is made.

Figures get five digits, and rows of controls of an OOD run stay out. Tables by seed that the page is made from are
compressed, as is every table over 300 KB; no file may be larger than that. Tables of an earlier record, and what was
found from its run, are removed.

    python -m benchmarks.publish.record_run runs/mnist benchmarks/results/ood-mnist
    python -m benchmarks.publish.record_run runs/digits benchmarks/results/leakage-digits
    python -m benchmarks.publish.record_run runs/explain-digits benchmarks/results/explain-digits
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.publish.pages.leakage.record import BY_SEED as LEAKAGE_BY_SEED
from benchmarks.publish.pages.ood.record import by_seed_table
from benchmarks.publish.reading import compress
from invaudit.records.explain_table import JOBS
from invaudit.records.names import CONTROLS_RECORD, RUN_RECORD, SUMMARY, TABLE
from invaudit.runtime import InputError, write_bytes

LIMIT = 300_000
UNCHANGED = ("config.yaml", "environment.json", RUN_RECORD)
OF_EARLIER_RECORDS = ("*.csv", "*.csv.gz", "worst-*.json", "without.json")
OOD_BY_SEED = ("table.csv", "attacks.csv")
OOD_TABLE_COLUMNS = [
    "id_set", "seed", "network", "detector", "ood_set", "group", "trivial", "auroc", "fpr95", "status", "reason",
]  # fmt: skip
"""Of `table.csv`, the columns that say how well OOD sets are told apart."""


def recorded_ood(run: Path) -> dict[str, bytes]:
    """Return the files of a recorded OOD run by name.

    Raises:
        InputError: The run is not finished, or one of its controls failed.
    """
    controls = run / CONTROLS_RECORD
    if not controls.is_file():
        raise InputError(f"{controls} is not there: the run is not finished, or one of its controls failed")
    files = unchanged_files(run)
    files[controls.name] = controls.read_bytes()
    by_seed = by_seed_table(run)
    for path in sorted(run.glob("*.csv")):
        if path.name in OOD_BY_SEED and path.name != by_seed:
            continue
        table = _read_any(path)
        if path.name == "table.csv":
            table = table[OOD_TABLE_COLUMNS]
        if "group" in table:
            table = table[table["group"] != "control"]
        files |= _table_file(path.name, table, compressed=path.name == by_seed)
    return files


def recorded_leakage(run: Path) -> dict[str, bytes]:
    """Return the files of a recorded leakage run by name.

    Raises:
        InputError: The run is not finished.
    """
    if not (run / "audit.json").is_file():
        raise InputError(f"{run / 'audit.json'} is not there: the run is not finished")
    files = unchanged_files(run)
    for path in sorted(run.glob("*.csv")):
        files |= _table_file(path.name, _read_any(path), compressed=path.name in LEAKAGE_BY_SEED)
    return files


def recorded_explain(run: Path) -> dict[str, bytes]:
    """Return the files of a recorded benchmark of explanations by name.

    Raises:
        InputError: The run is not finished.
    """
    if not (run / SUMMARY).is_file():
        raise InputError(f"{run / SUMMARY} is not there: the run is not finished")
    files = unchanged_files(run)
    for path in sorted(run.glob("*.csv")):
        files |= _table_file(path.name, _read_any(path), compressed=path.name == TABLE)
    return files


def unchanged_files(run: Path) -> dict[str, bytes]:
    """Return the files that are recorded as they are; a run of schema 1 may hold no ``run.json``."""
    files = {}
    for name in UNCHANGED:
        if (run / name).is_file():
            files[Path(name).name] = (run / name).read_bytes()
    return files


def _read_any(path: Path) -> pd.DataFrame:
    """Read a table of any kind; only an empty cell is a missing value."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def _table_file(name: str, table: pd.DataFrame, *, compressed: bool) -> dict[str, bytes]:
    content = table.to_csv(index=False, float_format="%.5g", lineterminator="\n").encode()
    if compressed or len(content) > LIMIT:
        return {f"{name}.gz": compress(content)}
    return {name: content}


def recorded(run: Path) -> dict[str, bytes]:
    """Return the files of a record by name; which benchmark a run is of is told by its tables.

    Args:
        run: The folder of a finished run.

    Raises:
        InputError: The folder holds no run that is finished and good, or a file would be too large.
    """
    if (run / "targets.csv").is_file():
        files = recorded_leakage(run)
    elif (run / JOBS).is_file():
        files = recorded_explain(run)
    else:
        files = recorded_ood(run)
    too_large = {name: len(content) for name, content in files.items() if len(content) > LIMIT}
    if too_large:
        raise InputError(f"over {LIMIT} bytes: {too_large}; run fewer networks, detectors or sets in one benchmark")
    return files


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the record, or nothing where the run is not good."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("record", type=Path)
    options = parser.parse_args(arguments)
    try:
        files = recorded(options.run)
    except InputError as error:
        sys.exit(str(error))
    if (options.record / "config.yaml").is_file():
        for pattern in OF_EARLIER_RECORDS:
            for old in options.record.glob(pattern):
                old.unlink()
    for name, content in files.items():
        write_bytes(options.record / name, content)


if __name__ == "__main__":
    main()
