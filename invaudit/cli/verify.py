"""``invaudit verify``: are the numbers of a run folder those that its own scores give?"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from invaudit.cli.options import print_json
from invaudit.runtime import console

if TYPE_CHECKING:
    from invaudit.verify import Verification

MOST_LINES = 20
"""Differences that are printed; --json has all."""


def verify(
    folder: Path,
    /,
    *,
    json: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Recompute the numbers of a run from what its folder holds, and compare: tables, verdicts, figures, page.

    Needs neither models nor images; hashes of data that are at hand are checked. What cannot be checked is named. Ends
    with 1 where anything differs.

    Args:
        folder: The folder of a benchmark, of an audit, of scored reconstructions or of an attack control, or what is
            recorded of a benchmark.
        json: Print one JSON object on stdout and nothing else.
        quiet: No progress and no notices.
    """
    console.configure(quiet=quiet or json)
    from invaudit.verify import verify as verify_folder

    result = verify_folder(folder)
    _print(result, as_json=json)
    result.refuse_differences()
    return 0


def _print(result: "Verification", *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "folder": str(result.folder),
                "kind": result.kind,
                "agrees": result.agrees,
                "checked": list(result.checked),
                "differences": [asdict(difference) for difference in result.differences],
                "not_checked": list(result.unchecked),
            }
        )
        return
    print(f"{result.folder}: {result.kind}")
    for words in result.checked:
        print(f"  agrees       {words}")
    for words in result.unchecked:
        print(f"  not checked  {words}")
    for difference in result.differences[:MOST_LINES]:
        print(f"  differs      {difference.sentence}")
    if len(result.differences) > MOST_LINES:
        print(f"  ... and {len(result.differences) - MOST_LINES} more; --json has all")
    if result.agrees:
        print("All that could be recomputed agrees.")
