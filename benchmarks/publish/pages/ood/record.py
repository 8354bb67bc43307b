"""What kind of OOD run a record holds, and which table by seed belongs to it."""

from pathlib import Path

from benchmarks.publish.reading import read_recorded
from invaudit.records import CalibrationRow


def is_ablation(folder: Path) -> bool:
    """Tell whether a run compares networks with inversions and without them, instead of detectors."""
    return "refilled" in set(read_recorded(folder, "calibration.csv", CalibrationRow)["network"])


def by_seed_table(folder: Path) -> str:
    """Return which table by seed the page is made from; a record keeps no other."""
    return "table.csv" if is_ablation(folder) else "attacks.csv"
