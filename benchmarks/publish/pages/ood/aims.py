"""Which aims a benchmark reaches. They were set before the runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.publish.pages.markdown import Cells, percent, points, points_with_interval
from benchmarks.publish.pages.ood.record import means_of_all
from benchmarks.publish.pages.ood.summary_rows import RELEASED, named_difference, our_network, our_row
from benchmarks.publish.pages.seeds import paired_difference
from benchmarks.publish.reading import read_recorded
from invaudit.records import CalibrationRow, ResistanceRow
from invaudit.records.names import AGGREGATES

HEAD = ("aim", "figures", "holds")
COMPARED = (("plain", "noise"), ("full",), (RELEASED,))
"""Groups of networks on which ours should be ahead of every detector: plain ones, our own, one that others trained."""
LARGEST_UPPER_BOUND = 0.001
"""Of the difference between any other detector and ours."""


@dataclass(frozen=True)
class Aims:
    """What a benchmark should show beside being ahead.

    Attributes:
        accuracy: Lower bound of our ID accuracy less that of ``plain``.
        apart: Near sets with FPR95 and FPR95 ID of at most 1 %.
        resists: Whether resistance should be 50 points over ``plain`` and ``noise``.
    """

    accuracy: float
    apart: tuple[str, ...]
    resists: bool


AIMS = {
    "mnist": Aims(-0.005, ("fashion-mnist", "notmnist"), resists=True),
    "fashion-mnist": Aims(-0.01, ("mnist", "notmnist"), resists=False),
}
"""By ID set; the others state their figures without an aim."""


def holds(reached: bool, *figures: float) -> str:
    """Return as a word whether an aim is reached; unknown where one of its figures is."""
    if any(pd.isna(figure) for figure in figures):
        return "unknown"
    return "yes" if reached else "**no**"


def aims_of_being_ahead(summary: pd.DataFrame, *groups: tuple[str, ...]) -> Iterator[Cells]:
    """Give the aims of being ahead of every detector, two rows for each group of networks that was measured."""
    baselines = summary[summary["is_baseline"]]
    for networks in groups:
        rows = baselines[baselines["network"].isin(networks) & baselines["ood_set"].isin(AGGREGATES)]
        compared = rows[rows["difference"].notna()]
        if compared.empty:
            continue
        names = " and ".join(f"`{name}`" for name in networks if name in set(compared["network"]))
        yield _ahead_by_the_mean(rows, compared, names)
        yield _upper_bounds(compared, names)


def _ahead_by_the_mean(rows: pd.DataFrame, compared: pd.DataFrame, names: str) -> Cells:
    near = compared[compared["ood_set"].isin(["mean-near", "worst-near"])]
    best = near.loc[near.groupby("ood_set")["difference"].idxmax()]
    best_texts = [f"{row['ood_set']}: {named_difference(row)}" for _, row in best.iterrows()]
    detectors = rows.drop_duplicates(["network", "detector"])
    outcomes = detectors["status"].value_counts().rename({"ok": "ran"})
    outcome_texts = [f"{count} {status}" for status, count in outcomes.items()]
    return (
        f"by the mean, ours ahead of every detector that ran on {names}, in mean-near and worst-near",
        f"{'; '.join(best_texts)}; of {len(detectors)} rows (detector on a network) {', '.join(outcome_texts)}",
        holds(best["difference"].max() < 0, best["difference"].max()),
    )


def _upper_bounds(compared: pd.DataFrame, names: str) -> Cells:
    largest = compared.sort_values(["difference_high", "difference"], na_position="first").iloc[-1]
    figures = f"largest bound: {largest['ood_set']}, {named_difference(largest)}"
    too_high = compared.loc[compared["difference_high"] > LARGEST_UPPER_BOUND, "difference"]
    if len(too_high):
        figures += (
            f"; {len(too_high)} of {len(compared)} bounds are over it, "
            f"the largest mean of these is {points(too_high.max())}"
        )
    return (
        f"upper bound of the difference at most 0.1 for every detector on {names}, in {', '.join(AGGREGATES)}",
        figures,
        holds(too_high.empty, *compared["difference_high"]),
    )


def further_aims(folder: Path, summary: pd.DataFrame) -> Iterator[Cells]:
    """Give the aims beside being ahead: false alarms for every ID set, the others where the ID set has some."""
    calibration = read_recorded(folder, "calibration.csv", CalibrationRow)
    yield "false alarms on held-out images inside the 99.9 % band", *false_alarms_in_band(calibration)
    aims = AIMS.get(calibration["id_set"].iloc[0])
    if aims is None:
        return
    far = our_row(summary, "mean-far")
    auroc = float("nan") if far is None else far["auroc"]
    yield "mean-far at least 99.9 %", percent(auroc), holds(auroc >= 0.999, auroc)
    for ood_set in aims.apart:
        yield _told_apart(summary, ood_set)
    yield _keeps_accuracy(calibration, aims.accuracy)
    resistance = read_recorded(folder, "resistance.csv", ResistanceRow)
    for attack, rows in resistance.groupby("attack", sort=False):
        # A diverged attack leaves the mean unknown: one over the other seeds would be another quantity.
        means = means_of_all(rows, ["network"], ["resistance", "accepted"])
        if aims.resists:
            yield _resists(means["resistance"], str(attack))
        share = means.loc["full", "accepted"]
        yield f"ours accepts at most 2 % of the images of `{attack}`", percent(share), holds(share <= 0.02, share)


def _told_apart(summary: pd.DataFrame, ood_set: str) -> Cells:
    row = our_row(summary, ood_set)
    rates = (float("nan"),) if row is None else (row["fpr95"], row["fpr95_id"])
    text = " and ".join(percent(rate) for rate in rates)
    return f"FPR95 and FPR95 ID at most 1 % on {ood_set}", text, holds(max(rates) <= 0.01, *rates)


def _keeps_accuracy(calibration: pd.DataFrame, bound: float) -> Cells:
    accuracy = calibration.set_index(["network", "seed"])["id_accuracy"]
    difference = paired_difference(accuracy["full"], accuracy["plain"])
    return (
        f"lower bound of our ID accuracy less that of `plain` over {points(bound)} points",
        points_with_interval(*difference),
        holds(difference.low > bound, difference.low),
    )


def _resists(resistance: pd.Series, attack: str) -> Cells:
    lead = resistance["full"] - resistance.reindex(["plain", "noise"]).max(skipna=False)
    return f"resistance to `{attack}` 50 points over `plain` and `noise`", points(lead), holds(lead >= 0.5, lead)


def false_alarms_in_band(calibration: pd.DataFrame) -> tuple[str, str]:
    """Return in how many seeds our false alarms lie inside their band, and whether they do in all."""
    ours = calibration[calibration["network"] == our_network(calibration)]
    inside = ours["false_alarms_held_out"].between(ours["band_low"], ours["band_high"])
    return f"{inside.sum()} of {len(ours)} seeds", holds(bool(inside.all()), *ours["false_alarms_held_out"])
