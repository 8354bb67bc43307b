"""The open-set tables: on each network ours beside the best detectors of that network, paired over draws of classes."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmarks.publish.pages.markdown import Cells, code, markdown_table, mean_and_sd, percent, points_with_interval
from benchmarks.publish.pages.ood.record import read_with_baselines
from benchmarks.publish.pages.seeds import paired_difference
from invaudit.benchmarks.ood.fusing import FUSION_PREFIX
from invaudit.benchmarks.ood.open_set import UNKNOWN
from invaudit.records import OodRow
from invaudit.records.names import OURS, PIXELS
from invaudit.report.printing import DASH

HEAD = ("network", "ours", "best of pytorch-ood, less ours", "best fusion, less ours", "ahead by the mean")


def by_draw_section(folder: Path) -> Iterator[str]:
    """Give ours, the best detector and the best fusion of each network, and what pixels alone say."""
    table = read_with_baselines(folder, "table.csv", OodRow)
    table = table[(table["ood_set"] == UNKNOWN) & (table["status"] == "ok")]
    draws = table["seed"].nunique()
    yield "## On each network, by draw of the classes"
    yield (
        f"AUROC in %, mean ± sd over {draws} draws of the known classes. Each network is judged by its own detectors: "
        "the best is that with the highest mean. Differences are paired over the draws. Last column: detectors and "
        "fusions whose mean is over that of ours, of those that ran in all draws."
    )
    networks = list(table.loc[table["is_baseline"], "network"].unique())
    yield markdown_table(HEAD, [_of_network(table, network) for network in networks])
    yield "AUROC of ours and of the best single detector of that network for each draw:"
    yield markdown_table(
        ("network", *(f"draw {seed}" for seed in sorted(table["seed"].unique()))),
        [_each_draw(table, network) for network in networks],
    )
    pixels = _by_detector(table[table["network"] == PIXELS])
    is_turned = pixels.mean() < 0.5
    pixels.loc[:, is_turned] = 1 - pixels.loc[:, is_turned]
    best = pixels.mean().idxmax()
    yield f"The best score without a network, in either direction, is `{best}`: {mean_and_sd(pixels[best])}."


def _of_network(table: pd.DataFrame, network: str) -> Cells:
    rows = table[table["network"] == network]
    ours = _ours(rows)
    others = _by_detector(rows[rows["is_baseline"]])
    is_fusion = others.columns.str.startswith(FUSION_PREFIX)
    n_ahead = int((others.mean() > ours.mean()).sum())
    return (
        code(network),
        mean_and_sd(ours),
        _best(others.loc[:, ~is_fusion], ours),
        _best(others.loc[:, is_fusion], ours),
        f"{n_ahead} of {others.shape[1]}",
    )


def _best(others: pd.DataFrame, ours: pd.Series) -> str:
    if others.empty:
        return DASH
    best = others.mean().idxmax()
    difference = points_with_interval(*paired_difference(others[best], ours))
    return f"{mean_and_sd(others[best])} {best}: {difference}"


def _each_draw(table: pd.DataFrame, network: str) -> Cells:
    rows = table[table["network"] == network]
    ours = _ours(rows)
    others = _by_detector(rows[rows["is_baseline"]])
    others = others.loc[:, ~others.columns.str.startswith(FUSION_PREFIX)]
    cells = []
    for seed, auroc in ours.sort_index().items():
        of_draw = others.loc[seed]
        cells.append(f"{percent(auroc)}; {percent(of_draw.max())} {of_draw.idxmax()}")
    return code(network), *cells


def _ours(rows: pd.DataFrame) -> pd.Series:
    return rows[rows["detector"] == OURS[1]].set_index("seed")["auroc"]


def _by_detector(rows: pd.DataFrame) -> pd.DataFrame:
    """Return AUROC by draw and detector, of those that ran in all draws."""
    return rows.pivot_table(index="seed", columns="detector", values="auroc").dropna(axis=1)
