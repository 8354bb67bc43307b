"""The short table of an OOD run: ours, the ablations, the best baselines."""

from collections.abc import Iterable
from functools import partial

import pandas as pd
from rich.table import Table
from rich.text import Text

from invaudit.report.printing import DASH, MINUS, level, plain_table
from invaudit.report.records import Row, as_rows, names_of

Key = tuple[str, str]
OURS: Key = ("full", "joint")
CONTROL_NETWORKS = ("none", "random")
GROUPS = ("near", "far")
LEVELS = ("mean-near", "worst-near", "mean-far", "worst")
NEAR_ONLY = ("fpr95", "difference", "difference_low", "difference_high")
# The networks that every run has; ablations come after ours.
NETWORK_ORDER = {"full": 0, "inversion": 2, "noise": 3, "plain": 4, "random": 5}
SHORT_PARTS = {"ours": "ours", "ablation": "abl.", "best near": "near", "best far": "far"}
NAMES = ("part", "network", "detector")
N_BEST = 3
exact_level = partial(level, decimals=2)
"""AUROC near 100 differ in the second decimal."""


def short_table(summary: pd.DataFrame, *, n_best: int = N_BEST) -> pd.DataFrame:
    """Return ours, the ablations and the best baselines of each group, as fractions.

    Args:
        summary: ``summary.csv`` of one run.
        n_best: Baselines per group on other networks, and as many on ours; one that is among the best in both groups
            has a row in each.

    Returns:
        One row per line of the table: ``part`` (``ours``, ``ablation``, ``best near``, ``best far``), ``network``,
        ``detector``; AUROC ``mean-near``, ``worst-near``, ``mean-far``, ``worst``, each with ``_sd``; and of
        ``mean-near`` also ``fpr95``, ``difference``, ``difference_low``, ``difference_high``. Unknown is NaN.
    """
    rows = measured(as_rows(summary))
    levels = {name: by_detector(rows, name) for name in LEVELS}
    networks = dict.fromkeys(row["network"] for row in rows)
    networks = sorted(networks, key=lambda name: NETWORK_ORDER.get(name, 1))
    own = [(network, detector) for network in networks for detector in ("joint", "garbage-logit")]
    lines = [("ours" if key == OURS else "ablation", key) for key in own]
    for group in GROUPS:
        ranked = ranked_baselines(rows, group)
        kept = [*of_networks(ranked, own=False)[:n_best], *of_networks(ranked, own=True)[:n_best]]
        lines += [(f"best {group}", key_of(row)) for row in ranked if row in kept]
    lines = [(part, key) for part, key in lines if any(key in found for found in levels.values())]
    values = [[part, *key, *_values(levels, key)] for part, key in lines]
    columns = [text for name in LEVELS for text in (name, f"{name}_sd")]
    return pd.DataFrame(values, columns=[*NAMES, *columns, *NEAR_ONLY])


def over_seeds(table: pd.DataFrame | None, *by: str) -> pd.DataFrame | None:
    """Return the means over seeds of what a table measures, one row for each value of the columns ``by``."""
    if table is None:
        return None
    measures = table.select_dtypes(["number", "bool"]).columns.difference(["seed", *by], sort=False)
    return means_of_all(table, by, measures).round(4).reset_index()


def means_of_all(table: pd.DataFrame, by: Iterable[str], measures: Iterable[str]) -> pd.DataFrame:
    """Return the means of some columns for each value of the columns ``by``, which are the index.

    Where a row has no figure, neither has the mean: that of the others would be of fewer than it seems.
    """
    grouped = table.groupby(list(by), sort=False)[list(measures)]
    return pd.DataFrame(grouped.agg(lambda values: values.mean(skipna=False)))


def _values(levels: dict[str, dict[Key, Row]], key: Key) -> list[float | None]:
    found = [levels[name].get(key, {}).get(column) for name in LEVELS for column in ("auroc", "auroc_sd")]
    return [*found, *(levels["mean-near"].get(key, {}).get(column) for column in NEAR_ONLY)]


def key_of(row: Row) -> Key:
    """Return network and detector of a row."""
    return row["network"], row["detector"]


def by_detector(rows: list[Row], ood_set: str) -> dict[Key, Row]:
    """Return the rows of one set by network and detector."""
    return {key_of(row): row for row in rows if row["ood_set"] == ood_set}


def measured(rows: list[Row]) -> list[Row]:
    """Return the rows that hold a result."""
    return [row for row in rows if row["status"] == "ok" and row["auroc"] is not None]


def is_trivial(row: Row) -> bool:
    """Return whether the set of a row is marked as trivial."""
    return str(row["trivial"]).lower() == "true"


def ranked_baselines(rows: list[Row], group: str) -> list[Row]:
    """Return the ``mean-GROUP`` rows of all baselines that ran, the highest AUROC first."""
    found = [row for key, row in by_detector(measured(rows), f"mean-{group}").items() if is_baseline(*key)]
    return sorted(found, key=lambda row: (-row["auroc"], *key_of(row)))


def of_networks(rows: list[Row], *, own: bool) -> list[Row]:
    """Return the rows of our network, or of all others: what scores well on ours profits from its training."""
    return [row for row in rows if (row["network"] == OURS[0]) == own]


def is_baseline(network: str, detector: str) -> bool:
    """Return whether a row is somebody else's detector, a class name or ``package.module:Class``, on a trained network.

    Pixel statistics and the untrained network are controls. Our own detectors have names without a capital.
    """
    return network not in CONTROL_NETWORKS and (detector != detector.lower() or ":" in detector)


def format_table(short: pd.DataFrame) -> pd.DataFrame:
    """Return the short table as text, in per cent and points, with sd or interval."""
    lines = [
        {name: row[name] for name in NAMES}
        | {name: exact_level(row[name], row[f"{name}_sd"]) for name in LEVELS}
        | {"FPR95 near": exact_level(row["fpr95"]), "difference": DASH if row["part"] == "ours" else difference(row)}
        for row in as_rows(short)
    ]
    return pd.DataFrame(lines, columns=[*NAMES, *LEVELS, "FPR95 near", "difference"])


def difference(row: Row) -> str:
    """Return the difference of a row to ours in points with two decimals, with its interval where there is one."""
    value, low, high = row["difference"], row["difference_low"], row["difference_high"]
    if value is None:
        return DASH
    interval = "" if low is None or high is None else f" [{100 * low:+.2f}, {100 * high:+.2f}]"
    return f"{100 * value:+.2f}{interval}".replace("-", MINUS)


def terminal_table(summary: pd.DataFrame) -> Table:
    """Return the short table ready to print, about 110 characters wide; on a narrower console its cells fold.

    Args:
        summary: ``summary.csv`` of one run.
    """
    text = format_table(short_table(summary)).replace(" ± ", "±", regex=True)
    caption = (
        "AUROC in per cent, mean over seeds ± sd. FPR95 near: near OOD accepted when 95 % of ID is accepted.\n"
        "difference: row minus ours in mean-near, points, 95 % interval.\n"
        "First column: abl. = ablation; near, far = best baselines on these sets."
    )
    table = plain_table(f"OOD detection, ID set {names_of(as_rows(summary), 'id_set')}", caption)
    for name in text.columns:
        # Folded where the console is narrow: a figure that is cut off would read as another figure.
        is_name = name in NAMES
        header = "" if name == "part" else name.replace("-", "-\n").replace(" ", "\n")
        table.add_column(header, justify="left" if is_name else "right", no_wrap=is_name, overflow="fold")
    lines = text.to_numpy().tolist()
    for line, following in zip(lines, [*lines[1:], None], strict=True):
        last = following is None or following[0] != line[0]
        cells = [Text(text) for text in (SHORT_PARTS[line[0]], *line[1:])]
        table.add_row(*cells, style="bold" if line[0] == "ours" else None, end_section=last)
    return table
