"""Looks up rows of ``summary.csv``, and says how they differ from ours."""

import pandas as pd

from benchmarks.publish.pages.markdown import percent, points_with_interval
from invaudit.records.names import OURS
from invaudit.report.printing import DASH, p_text

OWN_SCORES = ("joint", "garbage-logit")


RELEASED = "released"
"""A network that others trained: it stands for ours in a run that trains none."""
PLAIN = "plain"
"""The network without garbage: it stands for ours in a run that trains none with our recipe."""


def our_network(table: pd.DataFrame) -> str:
    """Return the network that ours of a record runs on: of those in the column ``network``."""
    networks = set(table["network"])
    return next(name for name in (RELEASED, OURS[0], PLAIN) if name in networks)


def our_row(summary: pd.DataFrame, ood_set: str) -> pd.Series | None:
    """Return our row for an OOD set or an aggregate, or None if it has no figure."""
    is_ours = (summary["network"] == our_network(summary)) & (summary["detector"] == OURS[1])
    rows = summary[is_ours & (summary["ood_set"] == ood_set)]
    return None if rows.empty or rows["auroc"].isna().all() else rows.iloc[0]


def best_baseline(summary: pd.DataFrame, ood_set: str, *networks: str) -> pd.Series | None:
    """Return the baseline with the highest AUROC on some networks, or None if none was measured."""
    rows = summary[(summary["ood_set"] == ood_set) & summary["network"].isin(networks)]
    rows = rows[rows["is_baseline"] & rows["difference"].notna()]
    return None if rows.empty else rows.loc[rows["auroc"].idxmax()]


def best_text(summary: pd.DataFrame, ood_set: str, *networks: str) -> str:
    """Return the best baseline of some networks in words, with its difference to ours."""
    row = best_baseline(summary, ood_set, *networks)
    return DASH if row is None else f"{percent(row['auroc'])} {named_difference(row)}"


def named_difference(row: pd.Series) -> str:
    """Return detector and network of a row, its difference to ours and the corrected p-value."""
    p_adjusted = "" if pd.isna(row["p_adjusted"]) else f", Holm p {p_text(row['p_adjusted'])}"
    return f"{row['detector']}, `{row['network']}`: {difference_to_ours(row)}{p_adjusted}"


def difference_to_ours(row: pd.Series) -> str:
    """Return the difference of a row to ours in points, with its interval; a dash for ours itself."""
    return points_with_interval(row["difference"], row["difference_low"], row["difference_high"])
