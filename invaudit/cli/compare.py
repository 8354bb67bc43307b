"""``invaudit compare``: two runs, before and after a repair."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from invaudit.cli.options import print_json, refuse_existing
from invaudit.cli.printing import print_table
from invaudit.runtime import console


def compare(
    run_a: Path,
    run_b: Path,
    *,
    out: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Compare two runs on the same images, before and after a repair: what has changed, with paired intervals.

    Both are OOD benchmarks, or both are audits. Nothing is measured anew; networks and images are not needed.

    Args:
        run_a: Folder of the first run.
        run_b: Folder of the second.
        out: Folder for comparison.csv, which holds every row.
        json: Print one JSON object on stdout and nothing else.
    """
    console.configure(quiet=json)
    if out is not None:
        refuse_existing(out, "--out")
    from invaudit.benchmarks.comparing import compare as compare_runs
    from invaudit.records import ComparisonRow, write_rows
    from invaudit.records.names import COMPARISON
    from invaudit.report.comparison import comparison_table

    found = compare_runs(run_a, run_b)
    if out is not None:
        write_rows(out / COMPARISON, ComparisonRow, found.rows)
    if json:
        print_json({"kind": found.kind, "rows": [row.model_dump() for row in found.rows]})
        return 0
    place = f": {out / COMPARISON}" if out else "; --out FOLDER keeps them"
    table = comparison_table(f"{run_a} and {run_b}", found.shown)
    print_table(table, f"{len(found.rows)} rows in all{place}")
    return 0
