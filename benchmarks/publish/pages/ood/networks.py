"""What the pages say of the networks: accuracy, cost, weights of `joint`, hard decisions, resistance, inversion."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmarks.publish.pages.markdown import code, markdown_table, mean_and_sd, percent, points_with_interval
from benchmarks.publish.pages.ood.aims import false_alarms_in_band
from benchmarks.publish.pages.ood.record import means_of_all
from benchmarks.publish.pages.ood.summary_rows import OWN_SCORES, our_network
from benchmarks.publish.pages.seeds import paired_difference
from benchmarks.publish.reading import read_if_recorded, read_recorded
from invaudit.ood import PARTS
from invaudit.ood.parts import FORMER_PARTS
from invaudit.records import CalibrationRow, CostRow, DecisionRow, OodRow, ResistanceRow, WeightRow

PUBLISHED = {
    "mnist": {"fashion-mnist": 0.895, "cifar10": 0.994},
    "fashion-mnist": {"mnist": 0.852, "cifar10": 0.957},
    "cifar10": {"mnist": 0.978, "fashion-mnist": 0.957},
}
"""Share of OOD test images in the garbage class, by ID set: arXiv 2505.23448 version 2, table 1; of whole test sets."""
EFFECTS = {
    ("full", "refilled"): "half sharpened: `full` less `refilled`, which has noise and derived images instead",
    ("unsharpened", "derived"): "none sharpened: `unsharpened` less `derived`, which has noise instead",
    ("border", "refilled"): "`border` less `refilled`",
    ("more", "refilled"): "`more` less `refilled`",
    ("longer", "refilled"): "`longer` less `refilled`",
}
"""Networks with inversions and without, and how they differ (`docs/decisions/007-what-inversion-earns.md`)."""


def networks_section(folder: Path) -> Iterator[str]:
    """Give accuracy, calibration, cost, weights, hard decisions and false alarms of the networks."""
    calibration = read_recorded(folder, "calibration.csv", CalibrationRow)
    yield "## The networks"
    yield "ID accuracy (garbage counts as an error), calibration error, cost of training on one core:"
    yield _accuracy_and_cost(calibration, read_recorded(folder, "cost.csv", CostRow))
    yield from _weights(folder)
    yield from _hard_decisions(read_recorded(folder, "decisions.csv", DecisionRow))
    ours = calibration[calibration["network"] == our_network(calibration)]
    yield (
        f"False alarms of ours at 5 %: on held-out images {mean_and_sd(ours['false_alarms_held_out'])} ("
        f"{false_alarms_in_band(calibration)[0]} inside the 99.9 % band); on the test images, which other people may "
        f"have made, {mean_and_sd(ours['false_alarms'])}."
    )


def trained_elsewhere(folder: Path) -> bool:
    """Return whether a run has trained no network."""
    return read_if_recorded(folder, "cost.csv", CostRow).empty


def released_section(folder: Path) -> Iterator[str]:
    """Give accuracy, calibration, false alarms and weights of networks that were trained elsewhere."""
    rows = []
    for network, found in read_recorded(folder, "calibration.csv", CalibrationRow).groupby("network", sort=False):
        shares = (mean_and_sd(found[name]) for name in ("id_accuracy", "false_alarms_held_out", "false_alarms"))
        rows.append((code(str(network)), *shares, percent(found["ece"].mean())))
    yield "## The networks"
    yield "Trained elsewhere, and left as they are. False alarms are those of ours at 5 %:"
    yield markdown_table(
        ("network", "ID accuracy", "false alarms, held-out images", "false alarms, test images", "ECE"), rows
    )
    yield from _weights(folder)


def _weights(folder: Path) -> Iterator[str]:
    weights = read_if_recorded(folder, "weights.csv", WeightRow)
    if not weights.empty:
        yield "Weights of the parts of `joint`, which synthetic outliers give:"
        yield _part_weights(weights)


def _accuracy_and_cost(calibration: pd.DataFrame, cost: pd.DataFrame) -> str:
    accuracy = calibration.set_index(["network", "seed"])["id_accuracy"]
    error = calibration.groupby("network")["ece"].mean()
    seconds = cost.groupby("network")["seconds"].mean()
    rows = []
    for network in calibration["network"].unique():
        if network not in seconds:
            continue
        difference = paired_difference(accuracy[network], accuracy["plain"])
        rows.append(
            (
                code(network),
                mean_and_sd(accuracy[network]),
                "" if network == "plain" else points_with_interval(*difference),
                percent(error[network]),
                f"{seconds[network]:.0f}",
                f"{seconds[network] / seconds['plain']:.2f} x",
            )
        )
    return markdown_table(("network", "ID accuracy", "difference to `plain`", "ECE", "seconds", "of `plain`"), rows)


def _part_weights(weights: pd.DataFrame) -> str:
    means = weights.pivot_table(index="network", columns="part", values="weight", sort=False)
    parts = FORMER_PARTS if set(means) <= FORMER_PARTS.keys() else PARTS
    means = means[[part for part in parts if part in means]]
    rows = []
    for network, row in means.iterrows():
        cells = ("" if pd.isna(weight) else f"{weight:.1f}" for weight in row)
        rows.append((code(str(network)), *cells))
    return markdown_table(("network", *means.columns), rows)


def _hard_decisions(decisions: pd.DataFrame) -> Iterator[str]:
    sets = list(decisions["ood_set"].unique())
    shares = decisions.groupby(["network", "ood_set"], sort=False)["garbage"].mean()
    rows = []
    for network in decisions["network"].unique():
        rows.append((code(network), *(percent(shares[network, ood_set]) for ood_set in sets)))
    published = PUBLISHED.get(decisions["id_set"].iloc[0])
    source = ""
    if published:
        rows.append(("published", *(percent(published.get(ood_set, float("nan"))) for ood_set in sets)))
        source = " (published: arXiv 2505.23448, table 1)"
    yield f"Images whose largest output is the garbage class, the papers' hard decision{source}:"
    yield markdown_table(("network", *sets), rows)


def resistance_section(folder: Path) -> Iterator[str]:
    """Give how the networks resist new generators, and how many of the generators' images ours accepts."""
    resistance = read_recorded(folder, "resistance.csv", ResistanceRow)
    attacks = list(resistance["attack"].unique())
    rows = []
    for network, of_network in resistance.groupby("network", sort=False):
        cells = (resistance_text(of_network[of_network["attack"] == attack]) for attack in attacks)
        rows.append((code(str(network)), *cells))
    yield "## Resistance"
    yield "Resistance to each attack / its images that ours on that network accepts, and how many attacks collapsed:"
    yield markdown_table(("network", *map(code, attacks)), rows)


def resistance_text(rows: pd.DataFrame) -> str:
    """Return resistance and accepted share of one network and attack, and how many seeds' attacks did not go well."""
    shares = [percent(rows[name].mean(skipna=False)) for name in ("resistance", "accepted")]
    outcomes = rows["outcome"].value_counts()
    remarks = [f"{outcomes[word]} of {len(rows)} {word}" for word in ("collapsed", "diverged") if word in outcomes]
    return " / ".join(shares) + (f" ({', '.join(remarks)})" if remarks else "")


def known_effects(folder: Path) -> dict[tuple[str, str], str]:
    """Return the pairs of networks, with inversions and without, that a record holds."""
    networks = set(read_recorded(folder, "calibration.csv", CalibrationRow)["network"])
    return {pair: text for pair, text in EFFECTS.items() if networks.issuperset(pair)}


def near_by_seed(folder: Path, score: str) -> pd.Series:
    """Return the mean AUROC over the near sets of one of our scores, by network and seed."""
    table = read_recorded(folder, "table.csv", OodRow)
    near = table[(table["group"] == "near") & (table["status"] != "skipped") & (table["detector"] == score)]
    return means_of_all(near, ["network", "seed"], ["auroc"])["auroc"]


def inversion_section(folder: Path) -> Iterator[str]:
    """Give what inversions add, each figure paired over the seeds."""
    values = {f"near, {score}": near_by_seed(folder, score) for score in OWN_SCORES}
    resistance = read_recorded(folder, "resistance.csv", ResistanceRow)
    for words, column in (("resistance to", "resistance"), ("accepted of", "accepted")):
        for attack, rows in resistance.groupby("attack", sort=False):
            values[f"{words} `{attack}`"] = rows.set_index(["network", "seed"])[column]
    values["ID accuracy"] = read_recorded(folder, "calibration.csv", CalibrationRow).set_index(["network", "seed"])[
        "id_accuracy"
    ]
    effects = known_effects(folder)
    rows = []
    for name, by_network in values.items():
        differences = (paired_difference(by_network[first], by_network[second]) for first, second in effects)
        rows.append((name, *(points_with_interval(*difference) for difference in differences)))
    yield "## Effect of inversion"
    yield "In points, each row paired over the seeds:"
    yield markdown_table(("", *effects.values()), rows)
