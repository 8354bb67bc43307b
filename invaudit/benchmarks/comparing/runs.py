"""The comparison of two run folders, of whatever kind they are."""

from dataclasses import dataclass
from pathlib import Path

from invaudit.benchmarks.comparing.leakage import compare_leakage, shown_rows
from invaudit.benchmarks.comparing.ood import compare_ood
from invaudit.records.comparison import ComparisonRow
from invaudit.records.folder import LEAKAGE_RUN, kind_of
from invaudit.runtime.errors import RunFolderError


@dataclass(frozen=True)
class Comparison:
    """What two runs say of the same figures.

    Attributes:
        before: Folder of the first run.
        after: Folder of the second.
        kind: ``ood`` or ``leakage``.
        rows: One for each figure; what only one of them has is a row with the reason.
        shown: Those of the short table.
    """

    before: Path
    after: Path
    kind: str
    rows: list[ComparisonRow]
    shown: list[ComparisonRow]


def compare(before: Path, after: Path) -> Comparison:
    """Compare two finished runs of one kind that measured the same images.

    Args:
        before: Folder of a run, for example of the audit of a model.
        after: Folder of a run with the same images, for example of the repaired model.

    Raises:
        RunFolderError: A folder is no run that can be compared, the two are of different kinds, or their images differ.
    """
    kind, other = kind_of(before), kind_of(after)
    if kind != other:
        raise RunFolderError(
            f"{before} is a run of kind {kind.name!r} and {after} one of kind {other.name!r}, expected two of one "
            "kind; give two audits, or two OOD benchmarks"
        )
    if kind == LEAKAGE_RUN:
        rows = compare_leakage(before, after)
        return Comparison(before, after, "leakage", rows, shown_rows(rows))
    rows, shown = compare_ood(before, after)
    return Comparison(before, after, "ood", rows, shown)
