"""Reads the tables of a recorded OOD run, and tells what kind of run it is."""

from pathlib import Path

import pandas as pd

from benchmarks.publish.reading import read_recorded
from invaudit.benchmarks.ood.open_set import UNKNOWN
from invaudit.records import OOD_RUN, CalibrationRow, OodSummaryRow, Row, schema_of
from invaudit.records.names import CONTROL_NETWORKS
from invaudit.records.ood_run import read_detectors
from invaudit.stats.comparison import is_baseline


def is_ablation(folder: Path) -> bool:
    """Tell whether a run compares networks with inversions and without them, instead of detectors."""
    return "refilled" in set(read_recorded(folder, "calibration.csv", CalibrationRow)["network"])


def is_open_set(folder: Path) -> bool:
    """Tell whether the OOD images of a run are those of classes that its networks do not know."""
    return UNKNOWN in set(read_recorded(folder, "summary.csv", OodSummaryRow)["ood_set"])


def by_seed_table(folder: Path) -> str:
    """Return which table by seed the page is made from; a record keeps no other."""
    return "table.csv" if is_ablation(folder) or is_open_set(folder) else "attacks.csv"


def read_with_baselines(folder: Path, name: str, kind: type[Row]) -> pd.DataFrame:
    """Read a table with networks and detectors.

    Returns:
        The table of `read_recorded`, and ``is_baseline``: whether a row is somebody else's detector on a trained
        network.
    """
    table = read_recorded(folder, name, kind)
    detectors = read_detectors(folder, table["detector"].unique(), schema_of(folder, OOD_RUN))
    flags = []
    for network, detector in zip(table["network"], table["detector"], strict=True):
        role = detectors[detector].role
        flags.append(is_baseline(role, on_trained_network=network not in CONTROL_NETWORKS))
    return table.assign(is_baseline=flags)


def means_of_all(table: pd.DataFrame, by: list[str], measures: list[str]) -> pd.DataFrame:
    """Return the means of some columns for each value of the columns ``by``, which are the index.

    Where a row has no figure, neither has the mean: that of the others would be of fewer than it seems.
    """
    grouped = table.groupby(by, sort=False)[measures]
    return pd.DataFrame(grouped.agg(lambda values: values.mean(skipna=False)))
