"""Write docs/results.md from the recorded tables of the OOD benchmarks: no figure of ours is typed by hand.

python benchmarks/results_page.py [--results benchmarks/results] [--out docs/results.md]
"""

import argparse
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
from scipy.stats import t

from invaudit.benchmarks.ood.settings import OURS
from invaudit.benchmarks.ood.tables import AGGREGATES
from invaudit.report import is_baseline
from invaudit.report.printing import DASH
from invaudit.runtime.files import read_json, write_bytes

RECORDS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "results.md"
INTRODUCTION = """# Results

Made by `python benchmarks/results_page.py` from the tables in `benchmarks/results/`. AUROC, FPR and shares are in per
cent, means over seeds; brackets hold 95 % intervals (paired bootstrap over images and seeds, or Student's t over seeds
where it says so). *Ours* is the score `joint` on the network `full`. `FPR95` is the share of OOD images accepted where
95 % of ID images are; `FPR95 ID` the share of ID images refused where 95 % of OOD images are. Which choices were made,
and on what: `decisions/`."""

PUBLISHED = {
    "mnist": {"fashion-mnist": 0.895, "cifar10": 0.994},
    "fashion-mnist": {"mnist": 0.852, "cifar10": 0.957},
    "cifar10": {"mnist": 0.978, "fashion-mnist": 0.957},
}
"""Share of OOD test images in the garbage class, by ID set: arXiv 2505.23448, table 1."""
ACCURACY_AIM = {"mnist": -0.005}
"""How far the lower bound of our ID accuracy less that of ``plain`` may lie below 0; elsewhere one point."""


def page(results: Path) -> str:
    """Return the page in Markdown."""
    parts = [INTRODUCTION]
    for folder in sorted(results.glob("ood-*")):
        parts += ablation(folder) if (folder / "table.csv").is_file() else comparison(folder)
    return "\n\n".join(parts) + "\n"


def comparison(folder: Path) -> Iterator[str]:
    """Give the parts of a benchmark in which pytorch-ood's detectors run."""
    summary = pd.read_csv(folder / "summary.csv")
    yield from heading(folder)
    yield "What holds and what does not:"
    yield table(("aim", "found", "holds"), aims(folder, summary))
    yield "Against every detector of pytorch-ood (best of each network by AUROC; difference to ours in points):"
    networks = [name for name in ("plain", "noise", "full") if name in set(summary["network"])]
    yield table(
        ("", "ours", *(f"best on `{name}`" for name in networks)),
        (
            (name, percent(row["auroc"]), *(best_text(summary, name, network) for network in networks))
            for name in AGGREGATES
            if (row := ours(summary, name)) is not None
        ),
    )
    single = summary[~summary["ood_set"].isin(AGGREGATES) & (summary["group"] != "control")]
    sets = single[["ood_set", "group"]].drop_duplicates().itertuples(index=False)
    yield table(
        ("OOD set", "group", "ours", "FPR95", "FPR95 ID", "best of pytorch-ood"),
        (
            (one.ood_set, one.group, *(percent(row[name]) for name in ("auroc", "fpr95", "fpr95_id")),
             best_text(summary, one.ood_set, *networks))
            for one in sets
            if (row := ours(summary, one.ood_set)) is not None
        ),
    )  # fmt: skip
    yield from sides(folder)
    attacks = pd.read_csv(folder / "attacks.csv")
    kept = [best for _, own in attacks.groupby("network", sort=False) for best in strongest(own)]
    yield (
        "Inversion as attacker: share of attack images that fool the network *and* that a detector accepts at 5 % "
        "false alarms, over all attacks; the three detectors that accept fewest, and ours:"
    )
    yield table(("network", "detector", "accepted", "AUROC"), kept)


def aims(folder: Path, summary: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Give each aim of the benchmark, what was found, and whether it holds."""
    others = summary[[is_baseline(*key) for key in zip(summary["network"], summary["detector"], strict=True)]]
    for networks in (("plain", "noise"), ("full",)):
        text = " and ".join(f"`{name}`" for name in networks)
        rows = others[others["network"].isin(networks) & others["difference"].notna()]
        if rows.empty:
            continue
        near = rows[rows["ood_set"].isin(["mean-near", "worst-near"])]
        best = near.loc[near.groupby("ood_set")["difference"].idxmax()]
        yield (
            f"ours ahead of every detector on {text}, mean-near and worst-near",
            "; ".join(difference_text(row) for _, row in best.iterrows()),
            yes(best["difference"].max() < 0),
        )
        worst = rows[rows["ood_set"].isin(AGGREGATES)].sort_values("difference_high").iloc[-1]
        yield (
            f"no detector on {text} more than 0.1 points better, by its upper bound, in any mean or worst set",
            difference_text(worst),
            yes(worst["difference_high"] <= 0.001),
        )
    if (far := ours(summary, "mean-far")) is not None:
        yield "mean-far at least 99.9", percent(far["auroc"]), yes(far["auroc"] >= 0.999)
    own = summary[(summary["network"] == OURS[0]) & (summary["detector"] == OURS[1])]
    near = own[(own["group"] == "near") & ~own["ood_set"].isin(AGGREGATES)]
    for row in near.itertuples():
        rates = (row.fpr95, row.fpr95_id)
        yield (
            f"FPR95 and FPR95 ID at most 1 on {row.ood_set}",
            " and ".join(map(percent, rates)),
            yes(max(rates) <= 0.01),
        )
    calibration = pd.read_csv(folder / "calibration.csv")
    accuracy = calibration.set_index(["network", "seed"])["id_accuracy"]
    limit = ACCURACY_AIM.get(calibration["id_set"].iloc[0], -0.01)
    value, low, high = paired(accuracy["full"], accuracy["plain"])
    yield (
        f"ID accuracy: lower bound of ours less `plain` over {points(limit)}",
        interval_text(value, low, high),
        yes(low > limit),
    )
    own = calibration[calibration["network"] == OURS[0]]
    inside = own["false_alarms_held_out"].between(own["band_low"], own["band_high"])
    yield (
        "false alarms on held-out images of the training file inside the 99.9 % band",
        f"{inside.sum()} of {len(own)} seeds",
        yes(bool(inside.all())),
    )
    resistance = pd.read_csv(folder / "resistance.csv")
    for attack, found in resistance.groupby("attack", sort=False):
        means = found.groupby("network")["resistance"].mean()
        lead = means["full"] - means.reindex(["plain", "noise"]).max()
        accepted = found.loc[found["network"] == "full", "accepted"].mean()
        yield f"resistance to {attack} 50 points over `plain` and `noise`", points(lead), yes(lead >= 0.5)
        yield f"of the images of {attack} ours accepts at most 2", percent(accepted), yes(accepted <= 0.02)


def ablation(folder: Path) -> Iterator[str]:
    """Give the parts of an ablation, whose table by seed is recorded."""
    rows = pd.read_csv(folder / "table.csv")
    near = rows[(rows["group"] == "near") & (rows["status"] == "ok")]
    means = near.groupby(["network", "detector", "seed"])["auroc"].mean()
    yield from heading(folder)
    yield "AUROC on near OOD, by network and score; a training-time baseline is judged by its own scores too:"
    yield table(
        ("network", "score", "near", "seeds"),
        (
            (f"`{network}`", detector, spread(values), len(values))
            for (network, detector), values in means.groupby(level=[0, 1], sort=False)
            if detector in ("joint", "garbage-logit") or is_baseline(network, detector)
        ),
    )
    yield from sides(folder)
    resistance = pd.read_csv(folder / "resistance.csv")
    kept = {f"near, {score}": (means["full", score], means["refilled", score]) for score in ("joint", "garbage-logit")}
    for attack, found in resistance.groupby("attack", sort=False):
        by_seed = found.set_index(["network", "seed"])["resistance"]
        kept[f"resistance to {attack}"] = (by_seed["full"], by_seed["refilled"])
    yield "Effect of inversion: `full` less `refilled`, where noise and derived images stand in for inversions (t):"
    yield table(("", "points"), ((name, interval_text(*paired(*pair))) for name, pair in kept.items()))


def heading(folder: Path) -> Iterator[str]:
    """Give the title of a run and where its figures come from."""
    about = read_json(folder / "environment.json")
    versions = ", ".join(f"{name} {about['versions'][name]}" for name in ("invaudit", "torch", "pytorch-ood"))
    yield f"## {folder.name.removeprefix('ood-')}"
    yield (
        f"`benchmarks/results/{folder.name}`: {about['date']}, commit {about['git']['commit'][:12]}, {versions}, "
        f"{about['hardware']['cores']} cores of {about['hardware']['processor']}; "
        f"`python -m invaudit.benchmarks.ood {shlex.join(about['command'][1:])}`"
    )


def sides(folder: Path) -> Iterator[str]:
    """Give accuracy, calibration, cost and resistance of the networks."""
    calibration, cost = pd.read_csv(folder / "calibration.csv"), pd.read_csv(folder / "cost.csv")
    accuracy = calibration.set_index(["network", "seed"])["id_accuracy"]
    seconds = cost.groupby("network")["seconds"].mean()
    trained = [name for name in calibration["network"].unique() if name in seconds]
    yield "ID accuracy (garbage counts as an error; difference to `plain` by t), calibration error, cost of training:"
    yield table(
        ("network", "ID accuracy", "difference", "ECE", "seconds", "of `plain`"),
        (
            (f"`{name}`", spread(accuracy[name]),
             "" if name == "plain" else interval_text(*paired(accuracy[name], accuracy["plain"])),
             percent(calibration.loc[calibration["network"] == name, "ece"].mean()),
             f"{seconds[name]:.0f}", f"{seconds[name] / seconds['plain']:.2f} x")
            for name in trained
        ),
    )  # fmt: skip
    decisions = pd.read_csv(folder / "decisions.csv")
    sets = list(decisions["ood_set"].unique())
    published = PUBLISHED.get(decisions["id_set"].iloc[0], {})
    shares = decisions.groupby(["network", "ood_set"], sort=False)["garbage"].mean()
    yield (
        "Share of images whose largest output is the garbage class, the papers' hard decision (published: "
        "arXiv 2505.23448, table 1):"
    )
    yield table(
        ("network", *sets),
        [
            *((f"`{name}`", *(percent(shares[name, one]) for one in sets)) for name in decisions["network"].unique()),
            *([("published", *(percent(published.get(one, float("nan"))) for one in sets))] if published else []),
        ],
    )
    own = calibration[calibration["network"] == "full"]
    inside = own["false_alarms_held_out"].between(own["band_low"], own["band_high"])
    yield (
        f"False alarms of ours at 5 %: on held-out images of the training file {spread(own['false_alarms_held_out'])}, "
        f"inside the 99.9 % band for {inside.sum()} of {len(own)} seeds; on the official test images "
        f"{spread(own['false_alarms'])}."
    )
    resistance = pd.read_csv(folder / "resistance.csv")
    yield "Resistance to fresh generators, and the share of attack images that fool the network and that ours accepts:"
    attacks = list(resistance["attack"].unique())
    yield table(
        ("network", *(f"{name}: resistance / accepted" for name in attacks)),
        (
            (f"`{network}`", *(
                f"{percent(one['resistance'].mean())} / {percent(one['accepted'].mean())}"
                for one in (found[found["attack"] == name] for name in attacks)
            ))
            for network, found in resistance.groupby("network", sort=False)
        ),
    )  # fmt: skip


def strongest(attacks: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Give the three detectors of others that accept the fewest attack images, and ours."""
    means = attacks.groupby(["network", "detector"], sort=False)[["accepted", "auroc"]].mean()
    others = means[[is_baseline(*key) for key in means.index]].sort_values(
        ["accepted", "auroc"], ascending=[True, False]
    )
    own = means[means.index.get_level_values("detector") == "joint"]
    for (network, detector), row in pd.concat([own, others.head(3)]).iterrows():
        yield f"`{network}`", detector, percent(row["accepted"]), percent(row["auroc"])


def ours(summary: pd.DataFrame, ood_set: str) -> pd.Series | None:
    """Return the row of ours for a set or an aggregate, if it has a figure."""
    own = (summary["network"] == OURS[0]) & (summary["detector"] == OURS[1])
    found = summary[own & (summary["ood_set"] == ood_set)]
    return None if found.empty or found["auroc"].isna().all() else found.iloc[0]


def best_text(summary: pd.DataFrame, ood_set: str, *networks: str) -> str:
    """Return the best baseline of some networks, with its difference to ours."""
    rows = summary[(summary["ood_set"] == ood_set) & summary["network"].isin(networks) & summary["auroc"].notna()]
    rows = rows[[is_baseline(*key) for key in zip(rows["network"], rows["detector"], strict=True)]]
    if rows.empty:
        return DASH
    row = rows.loc[rows["auroc"].idxmax()]
    return f"{percent(row['auroc'])} {difference_text(row)}"


def difference_text(row: pd.Series) -> str:
    """Return detector and network of a row, with its difference to ours in points."""
    values = (row[name] for name in ("difference", "difference_low", "difference_high"))
    return f"{row['detector']}, `{row['network']}`: {interval_text(*values)}"


def paired(one: pd.Series, other: pd.Series) -> tuple[float, float, float]:
    """Return the mean difference over seeds with Student's t interval; unknown is NaN."""
    gaps = (one - other).dropna()
    half = t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5 if len(gaps) > 1 else float("nan")
    return gaps.mean(), gaps.mean() - half, gaps.mean() + half


def interval_text(value: float, low: float, high: float) -> str:
    """Return a difference of fractions in points, with its interval where there is one."""
    return points(value) if pd.isna(low) else f"{points(value)} [{points(low)}; {points(high)}]"


def yes(holds: bool) -> str:
    """Return whether an aim holds, as a word."""
    return "yes" if holds else "**no**"


def spread(values: pd.Series) -> str:
    """Return mean and standard deviation over seeds in per cent."""
    return percent(values.mean()) + (f" ± {100 * values.std(ddof=1):.2f}" if len(values) > 1 else "")


def percent(value: float) -> str:
    """Return a fraction in per cent."""
    return DASH if pd.isna(value) else f"{100 * value:.2f}"


def points(value: float) -> str:
    """Return a difference of fractions in points, with its sign."""
    return DASH if pd.isna(value) else f"{100 * value:+.2f}"


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RECORDS)
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args()
    write_bytes(options.out, page(options.results).encode())


if __name__ == "__main__":
    main()
