"""Puts the page of an OOD benchmark together: a comparison with the detectors of pytorch-ood, or an ablation."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmarks.publish.pages.markdown import Cells, code, markdown_table, percent, points_with_interval
from benchmarks.publish.pages.ood.aims import COMPARED, HEAD, aims_of_being_ahead, further_aims
from benchmarks.publish.pages.ood.attacks import attacker_section, worst_images_section
from benchmarks.publish.pages.ood.by_draw import by_draw_section
from benchmarks.publish.pages.ood.networks import (
    inversion_section,
    known_effects,
    near_by_seed,
    networks_section,
    released_section,
    resistance_section,
    trained_elsewhere,
)
from benchmarks.publish.pages.ood.record import is_ablation, is_open_set, read_with_baselines
from benchmarks.publish.pages.ood.summary_rows import (
    OWN_SCORES,
    RELEASED,
    best_baseline,
    best_text,
    difference_to_ours,
    our_row,
)
from benchmarks.publish.pages.provenance import provenance
from benchmarks.publish.pages.seeds import paired_difference
from invaudit.records import OodSummaryRow
from invaudit.records.names import AGGREGATES

PACKAGES = ("invaudit", "torch", "pytorch-ood")
SHOWN_NETWORKS = ("plain", "noise", "full", RELEASED)
TRAINING_TIME = ("logit-norm", "vos", "outlier-exposure", "energy")
"""Training-time baselines without outside data."""
OPEN_SET_NOTE = (
    "The jobs ran as part of the whole config at 420189418ba8 and 3e90faa6fbbe, which train these networks alike. It "
    "was stopped before `full`, and their stored scores were taken over into this run of two networks."
)
NOTES = {
    "ood-open-set-fashion-mnist": OPEN_SET_NOTE,
    "ood-open-set-mnist": OPEN_SET_NOTE,
    "ood-ablation-fashion-mnist": "Training times were taken beside other work: read them as rough.",
    "ood-ways-fashion-mnist": "Training times were taken beside other work: read them as rough.",
}
"""By record."""


def page(folder: Path) -> str:
    """Return the page of a recorded OOD run in Markdown."""
    summary = read_with_baselines(folder, "summary.csv", OodSummaryRow)
    parts = [
        f"# OOD detection: {folder.name.removeprefix('ood-')}",
        "How to read the tables: [words of the OOD pages](README.md#how-to-read-the-ood-pages).",
        provenance(folder, "invaudit.benchmarks.ood", PACKAGES),
    ]
    if folder.name in NOTES:
        parts.append(NOTES[folder.name])
    parts += ablation(folder, summary) if is_ablation(folder) else comparison(folder, summary)
    return "\n\n".join(parts) + "\n"


def headline(folder: Path) -> str:
    """Return what a recorded OOD run shows, in one line."""
    summary = read_with_baselines(folder, "summary.csv", OodSummaryRow)
    near = our_row(summary, "mean-near")
    text = f"mean-near: ours {percent(float('nan') if near is None else near['auroc'])}"
    networks = TRAINING_TIME if is_ablation(folder) else SHOWN_NETWORKS
    best = best_baseline(summary, "mean-near", *networks)
    if best is not None:
        return f"{text}; best of the others {percent(best['auroc'])}, {difference_to_ours(best)}"
    by_seed = near_by_seed(folder, "joint")
    differences = []
    for first, second in known_effects(folder):
        difference = paired_difference(by_seed[first], by_seed[second])
        differences.append(f"`{first}` less `{second}` {points_with_interval(*difference)}")
    return "; ".join([text, *differences])


def comparison(folder: Path, summary: pd.DataFrame) -> Iterator[str]:
    """Give the parts of a benchmark in which the detectors of pytorch-ood run."""
    networks = [name for name in SHOWN_NETWORKS if name in set(summary["network"])]
    yield "## Aims"
    yield "What holds and what does not:"
    yield markdown_table(HEAD, [*aims_of_being_ahead(summary, *COMPARED), *further_aims(folder, summary)])
    yield "## Against every detector of pytorch-ood"
    yield "The best of each network by AUROC, with its difference to ours:"
    yield markdown_table(("", "ours", *(f"best on `{name}`" for name in networks)), _aggregates(summary, networks))
    skipped = set(summary.loc[summary["status"] == "skipped", "ood_set"]) - set(AGGREGATES)
    if skipped:
        yield f"Not measured, and in no mean: {', '.join(sorted(skipped))}."
    yield markdown_table(
        ("OOD set", "group", "ours", "FPR95", "FPR95 ID", "best of pytorch-ood"), _single_sets(summary, networks)
    )
    if is_open_set(folder):
        yield from by_draw_section(folder)
    yield "## What the score and what the network adds"
    yield "Mean-near, with the difference to ours:"
    yield markdown_table(("network", "score", "mean-near", "difference"), _own_scores(summary))
    if trained_elsewhere(folder):
        yield from released_section(folder)
        return
    yield from networks_section(folder)
    if is_open_set(folder):
        return
    yield from resistance_section(folder)
    yield from attacker_section(folder)
    yield from worst_images_section(folder)


def _aggregates(summary: pd.DataFrame, networks: list[str]) -> Iterator[Cells]:
    for name in AGGREGATES:
        row = our_row(summary, name)
        if row is not None:
            yield name, percent(row["auroc"]), *(best_text(summary, name, network) for network in networks)


def _single_sets(summary: pd.DataFrame, networks: list[str]) -> Iterator[Cells]:
    rows = summary[~summary["ood_set"].isin(AGGREGATES) & (summary["group"] != "control")]
    for ood_set in rows[["ood_set", "group", "trivial"]].drop_duplicates("ood_set").itertuples(index=False):
        row = our_row(summary, ood_set.ood_set)
        if row is not None:
            name = f"{ood_set.ood_set} †" if ood_set.trivial else ood_set.ood_set
            figures = (percent(row[column]) for column in ("auroc", "fpr95", "fpr95_id"))
            yield name, ood_set.group, *figures, best_text(summary, ood_set.ood_set, *networks)


def _own_scores(summary: pd.DataFrame) -> Iterator[Cells]:
    rows = summary[summary["detector"].isin(OWN_SCORES) & (summary["ood_set"] == "mean-near")]
    for _, row in rows.sort_values("auroc", ascending=False).iterrows():
        yield code(row["network"]), row["detector"], percent(row["auroc"]), difference_to_ours(row)


def ablation(folder: Path, summary: pd.DataFrame) -> Iterator[str]:
    """Give the parts of a benchmark that compares networks."""
    aims = list(aims_of_being_ahead(summary, TRAINING_TIME))
    if aims:
        yield "## Aims"
        yield (
            "What holds and what does not, against training-time baselines without outside data, each judged by scores "
            "of pytorch-ood:"
        )
        yield markdown_table(HEAD, aims)
    yield "## AUROC by network and score"
    yield (
        "With the difference to ours in mean-near. Training-time baselines of pytorch-ood are judged by its own scores "
        "too; `outlier-exposure-real` has seen real outliers and is an upper reference."
    )
    yield markdown_table(
        ("network", "score", "mean-near", "worst-near", "mean-far", "difference"), _scores_of_networks(summary)
    )
    yield from networks_section(folder)
    yield from resistance_section(folder)
    yield from inversion_section(folder)


def _scores_of_networks(summary: pd.DataFrame) -> Iterator[Cells]:
    shown = summary[summary["detector"].isin(OWN_SCORES) | summary["is_baseline"]]
    for (network, detector), rows in shown.groupby(["network", "detector"], sort=False):
        by_set = rows.set_index("ood_set")
        levels = (by_set["auroc"].get(name, float("nan")) for name in ("mean-near", "worst-near", "mean-far"))
        difference = difference_to_ours(by_set.loc["mean-near"])
        yield code(str(network)), str(detector), *(percent(level) for level in levels), difference
