"""The table of neighbours against the lists of nearest pool images that the test was made from.

The lists hold the images that were tested, the table the nearest of all that were given. So the one in the table is at
least as similar as the first of the list, and has the value of the list where it is in it.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from invaudit.audit import ScoreSettings
from invaudit.audit.reconstructions import NEIGHBOURS
from invaudit.records import AuditRecord, NeighbourRow, read_rows
from invaudit.records.folder import read_record
from invaudit.records.names import GIVEN
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.paths import is_file
from invaudit.similarity.protocol import sign_of
from invaudit.verify.audits import StoredAudit
from invaudit.verify.comparing import Tolerance
from invaudit.verify.findings import Difference, Findings

SEARCHED = Tolerance(1e-9, 1e-9)
"""Of two searches of the same images, whose batches differ."""


class _List(NamedTuple):
    """The tested images of one side that are nearest to one reconstruction: position among those given -> value."""

    values: dict[int, float]
    best: float | None


def check_neighbours(findings: Findings, settings: ScoreSettings) -> None:
    """Check the table of neighbours, as far as the stored lists go."""
    path = findings.folder / NEIGHBOURS
    if not is_file(path, RunFolderError):
        findings.differences.append(Difference(NEIGHBOURS, words="this file is missing"))
        return
    rows = read_rows(path, NeighbourRow)
    seed = settings.seeds[0]
    record = read_record(findings.folder, f"seed-{seed}-{settings.name}", AuditRecord)
    stored = StoredAudit(findings.folder, seed, settings.name)
    arrays = stored.arrays(GIVEN)
    expected = [
        (name, number) for name in settings.metrics if name in record.metrics for number in range(len(arrays["labels"]))
    ]
    if [(row.metric, row.reconstruction) for row in rows] != expected:
        words = (
            f"{len(rows)} rows, expected one for each of {len(expected)} metrics and reconstructions, in their order"
        )
        findings.differences.append(Difference(NEIGHBOURS, words=words))
        return
    before = len(findings.differences)
    for line, row in enumerate(rows, start=2):
        sign = sign_of(record.metrics[row.metric].better)
        for difference in _differences(row, stored.pool, arrays, sign):
            place = f"line {line} (metric {row.metric}, reconstruction {row.reconstruction})"
            findings.differences.append(Difference(NEIGHBOURS, place, *difference))
    if len(findings.differences) == before:
        findings.checked.append(f"{NEIGHBOURS}: {len(rows)} rows agree with the lists of the images that were tested")
    findings.unchecked.append(f"{NEIGHBOURS}: images beyond those that were tested, and their files, need the images")


def _differences(
    row: NeighbourRow, pool: dict[str, np.ndarray], arrays: dict[str, np.ndarray], sign: float
) -> Iterator[tuple[str, str, str]]:
    """Yield the columns of a row that do not fit, with what they say and what they should."""
    sides = (
        ("member", True, row.member, row.similarity_member),
        ("control", False, row.control, row.similarity_control),
    )
    for name, is_member, position, value in sides:
        tested = _list_of(row, pool, arrays, sign, is_member=is_member)
        if tested.best is None:
            continue
        if value is None:
            yield f"similarity_{name}", "", str(sign * tested.best)
        elif position in tested.values and not SEARCHED.allows(value, tested.values[position]):
            yield f"similarity_{name}", str(value), str(tested.values[position])
        elif sign * value < tested.best and not SEARCHED.allows(value, sign * tested.best):
            yield f"similarity_{name}", str(value), f"{sign * tested.best} or more similar"


def _list_of(
    row: NeighbourRow, pool: dict[str, np.ndarray], arrays: dict[str, np.ndarray], sign: float, *, is_member: bool
) -> _List:
    index, value = (arrays[f"{row.metric}-{kind}"][row.reconstruction] for kind in ("index", "value"))
    of_side = pool["member"][index] == is_member
    positions = pool["source"][index[of_side]].tolist()
    values = value[of_side].tolist()
    return _List(dict(zip(positions, values, strict=True)), sign * values[0] if values else None)
