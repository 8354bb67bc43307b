"""The open-set tables: on each network ours beside the best detectors of that network, paired over draws of classes."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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


class Judged(NamedTuple):
    """AUROC on one network by draw: of ours, and by detector of single detectors and of fusions."""

    network: str
    ours: pd.Series
    singles: pd.DataFrame
    fusions: pd.DataFrame


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
    judged = [_judged(table, network) for network in table.loc[table["is_baseline"], "network"].unique()]
    yield markdown_table(HEAD, map(_of_network, judged))
    yield "AUROC of ours and of the best single detector of that network for each draw:"
    yield markdown_table(
        ("network", *(f"draw {seed}" for seed in sorted(table["seed"].unique()))),
        map(_each_draw, judged),
    )
    pixels = _by_detector(table[table["network"] == PIXELS])
    is_turned = pixels.mean() < 0.5
    pixels.loc[:, is_turned] = 1 - pixels.loc[:, is_turned]
    best = pixels.mean().idxmax()
    yield f"The best score without a network, in either direction, is `{best}`: {mean_and_sd(pixels[best])}."


def _judged(table: pd.DataFrame, network: str) -> Judged:
    rows = table[table["network"] == network]
    ours = rows[rows["detector"] == OURS[1]].set_index("seed")["auroc"]
    others = _by_detector(rows[rows["is_baseline"]])
    is_fusion = others.columns.str.startswith(FUSION_PREFIX)
    return Judged(network, ours, others.loc[:, ~is_fusion], others.loc[:, is_fusion])


def _of_network(judged: Judged) -> Cells:
    ours = judged.ours
    means = pd.concat([judged.singles.mean(), judged.fusions.mean()])
    return (
        code(judged.network),
        mean_and_sd(ours),
        _best(judged.singles, ours),
        _best(judged.fusions, ours),
        f"{(means > ours.mean()).sum()} of {len(means)}",
    )


def _best(others: pd.DataFrame, ours: pd.Series) -> str:
    if others.empty:
        return DASH
    best = others.mean().idxmax()
    difference = points_with_interval(*paired_difference(others[best], ours))
    return f"{mean_and_sd(others[best])} {best}: {difference}"


def _each_draw(judged: Judged) -> Cells:
    cells = []
    for seed, auroc in judged.ours.sort_index().items():
        of_draw = judged.singles.loc[seed]
        cells.append(f"{percent(auroc)}; {percent(of_draw.max())} {of_draw.idxmax()}")
    return code(judged.network), *cells


def _by_detector(rows: pd.DataFrame) -> pd.DataFrame:
    """Return AUROC by draw and detector, of those that ran in all draws."""
    return rows.pivot_table(index="seed", columns="detector", values="auroc").dropna(axis=1)
