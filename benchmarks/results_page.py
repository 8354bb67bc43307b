"""Write docs/results.md from the recorded tables of the OOD benchmarks: no figure of ours is typed by hand.

python benchmarks/results_page.py [--results benchmarks/results] [--out docs/results.md]
"""

import argparse
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import t

from invaudit.benchmarks.ood.settings import AGGREGATES, OURS
from invaudit.ood import PARTS
from invaudit.records.names import CONTROL_NETWORKS
from invaudit.records.ood_run import detector_of_schema_1
from invaudit.report.printing import DASH, p_text
from invaudit.runtime.files import read_json, write_bytes
from invaudit.stats import comparison as comparisons
from invaudit.stats.bootstrap import MIN_SEEDS

RECORDS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "results.md"
INTRODUCTION = """# Results

Made by `python benchmarks/results_page.py` from the tables in `benchmarks/results/`. Figures are in per cent, means
over seeds. Which choices were made, and on what: `decisions/`.

- *Ours*: the score `joint` on the network `full`. Networks: `plain` has no garbage class; that of `noise` is fed with
  noise, that of `inversion` by the papers' recipe, that of `full` by ours; `random` is not trained.
- *Difference*: a row less ours in AUROC, in points. Brackets hold 95 % intervals: a paired bootstrap over images, and
  over seeds too where there are five or more; those of accuracy and of the effect of inversion are Student's t over
  seeds, shown from five seeds on. The best of many rows is picked by the same figures; its interval does not correct
  for that, the *Holm p* does, over all baselines on all networks. Where a detector varies much from seed to seed, its
  interval is wide, and its upper bound may lie over what is possible.
- Seeds share the resamples of the images that they share. On digits each seed has test images of its own, and in both
  ablations it drew 3,000 of 10,000; those that two seeds have in common count as different ones.
- Detectors of pytorch-ood that read whole feature maps, or train on images, are fitted on `map_images` training images
  of each `config.yaml`, and GradNorm and GradUncertainty, which need a gradient for each image, score `slow_images` of
  each set. KLMatching and TemperatureScaling are fitted on the held-out images that also scale `joint`. All others that
  fit anything, and `joint` (which keeps at most 20,000 vectors), are fitted on all training images.
- *FPR95*: OOD images accepted where 95 % of ID images are. *FPR95 ID*: ID images refused where 95 % of OOD images are.
- *Groups*: near and far OOD; the near sets are *development* sets, which were looked at while choices were made;
  *shift*: the same classes from another source, so that a high figure says that such images are refused too, which may
  or may not be wanted; *seen*: a kind that training has seen.
- † marks a set that a pixel statistic alone tells apart (AUROC of 98 or more).
- *ECE*: expected calibration error. *Attacks*: new generators, of another seed and partly of another kind than in
  training, that are trained against the finished network. *Resistance*: their images that the network takes for no
  class (p at most 0.5). *Accepted*: those that a detector accepts at 5 % false alarms. A *collapsed* attack makes
  copies for some class, so that its few distinct images pass or fail together.
- Attacks by name: `same-kind` has the generator of training, `other-kind-sure` one of another kind that is asked for
  sure images, `other-kind-sure-long` is the same with 500 steps; `unseen` is shown labels alone and asked for nothing
  but the class. The recipe of the real data was chosen with the first three in sight, not with `unseen`. Steps and
  settings: `config.yaml` of each record.
- Training times of `ablation-fashion-mnist` and `ways-fashion-mnist` were taken beside other work: read them as rough.
- Aims were set before the records: to be ahead, for every ID set; those of mean-far, FPR95, ID accuracy, resistance and
  accepted images for MNIST and FashionMNIST (of FPR95 on two near sets each, of resistance on MNIST). What has no aim
  stands in the tables below."""


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
UPPER = 0.001
"""Of the upper bound of the difference between any other detector and ours."""
PUBLISHED = {
    "mnist": {"fashion-mnist": 0.895, "cifar10": 0.994},
    "fashion-mnist": {"mnist": 0.852, "cifar10": 0.957},
    "cifar10": {"mnist": 0.978, "fashion-mnist": 0.957},
}
"""Share of OOD test images in the garbage class, by ID set: arXiv 2505.23448 version 2, table 1; of whole test sets."""
Row = tuple[str, ...]


def page(results: Path) -> str:
    """Return the page in Markdown."""
    parts = [INTRODUCTION]
    for folder in sorted(results.glob("ood-*")):
        parts += ablation(folder) if "refilled" in networks_of(folder) else comparison(folder)
    return "\n\n".join(parts) + "\n"


def networks_of(folder: Path) -> set[str]:
    """Return the names of the networks of a run."""
    return set(pd.read_csv(folder / "calibration.csv")["network"])


def comparison(folder: Path) -> Iterator[str]:
    """Give the parts of a benchmark in which pytorch-ood's detectors run."""
    summary = pd.read_csv(folder / "summary.csv")
    yield from heading(folder)
    yield "What holds and what does not:"
    yield table(("aim", "found", "holds"), [*ahead(summary, *COMPARED), *further_aims(folder, summary)])
    yield "Against every detector of pytorch-ood (the best of each network by AUROC, with its difference to ours):"
    networks = [name for name in ("plain", "noise", "full") if name in set(summary["network"])]
    yield table(
        ("", "ours", *(f"best on `{name}`" for name in networks)),
        (
            (name, percent(row["auroc"]), *(best_text(summary, name, network) for network in networks))
            for name in AGGREGATES
            if (row := ours(summary, name)) is not None
        ),
    )
    if skipped := sorted(set(summary.loc[summary["status"] == "skipped", "ood_set"]) - set(AGGREGATES)):
        yield f"Not measured, and in no mean: {', '.join(skipped)}."
    single = summary[~summary["ood_set"].isin(AGGREGATES) & (summary["group"] != "control")]
    sets = single[["ood_set", "group", "trivial"]].drop_duplicates("ood_set").itertuples(index=False)
    yield table(
        ("OOD set", "group", "ours", "FPR95", "FPR95 ID", "best of pytorch-ood"),
        (
            (f"{one.ood_set}{' †' if one.trivial else ''}", one.group,
             *(percent(row[name]) for name in ("auroc", "fpr95", "fpr95_id")),
             best_text(summary, one.ood_set, *networks))
            for one in sets
            if (row := ours(summary, one.ood_set)) is not None
        ),
    )  # fmt: skip
    yield "What the score and what the network adds (mean-near, with the difference to ours):"
    yield table(("network", "score", "mean-near", "difference"), own_rows(summary))
    yield from sides(folder)
    attacks = pd.read_csv(folder / "attacks.csv")
    kept = [best for _, own in attacks.groupby("network", sort=False) for best in strongest(own)]
    yield (
        "Inversion as attacker: attack images that a detector accepts, and those that fool the network as well, mean "
        "over the attacks; ours, and the three other detectors that accept fewest:"
    )
    yield table(("network", "detector", "accepted", "accepted and fooled", "AUROC"), kept)
    yield from worst(folder)


def worst(folder: Path) -> Iterator[str]:
    """Give what `worst_images.py` found, with its pictures."""
    records = [read_json(path) for path in sorted(folder.glob("worst-*.json"))]
    if not records:
        return
    judges = records[0]["judges"]
    if any(about["judges"] != judges for about in records):
        raise ValueError(f"{folder}: the records of the worst images have other judges")
    names = " and ".join(f"`{judge['arch']}`, ID accuracy {percent(judge['id_accuracy'])}" for judge in judges)
    yield (
        "Images that ours takes most for ID. Shown are the lowest scores of an OOD set (mean over seeds; the number of "
        "a row is the rank of its first image), or of an attack that of each seed and of each class that was asked "
        f"for. Below an image: its class by `{judges[0]['arch']}`. ✓: an image of an attack that ours accepts at 5 % "
        f"false alarms. *: two networks that had no part in it ({names}) are both sure of one class (p > 0.99). The "
        "table says how many per cent they are sure of; of accepted and rejected ones, of the very class asked for."
    )
    kinds = ("shown", "all", "accepted", "rejected")
    yield table(
        ("sure of images of", *kinds),
        ((f"`{about['images_of']}`", *(share_text(about.get(kind)) for kind in kinds)) for about in records),
    )
    for about in records:
        picture = f"worst-{folder.name.removeprefix('ood-')}-{about['images_of']}.png"
        yield f"![Images of {about['images_of']} with the lowest scores](images/{picture})"


def share_text(counted: dict[str, Any] | None) -> str:
    """Return the share of some images that both are sure of, and how many images there are."""
    return f"{percent(counted['both_sure'])} of {counted['images']}" if counted and counted["images"] else DASH


COMPARED = (("plain", "noise"), ("full",))
"""Groups of networks on which ours is to be ahead of every detector: those of others, then our own."""
TRAINING_TIME = ("logit-norm", "vos", "outlier-exposure", "energy")
"""Training-time baselines without outside data."""


def ahead(summary: pd.DataFrame, *groups: tuple[str, ...]) -> Iterator[Row]:
    """Give the aims of being ahead of every detector on each group of networks."""
    others = summary[baseline_rows(summary)]
    for networks in groups:
        rows = others[others["network"].isin(networks) & others["ood_set"].isin(AGGREGATES)]
        known = rows[rows["difference"].notna()]
        if known.empty:
            continue
        text = " and ".join(f"`{name}`" for name in networks if name in set(known["network"]))
        near = known[known["ood_set"].isin(["mean-near", "worst-near"])]
        best = near.loc[near.groupby("ood_set")["difference"].idxmax()]
        detectors = rows.drop_duplicates(["network", "detector"])
        counts = detectors["status"].value_counts().rename({"ok": "ran"})
        yield (
            f"by the mean, ours ahead of every detector that ran on {text}, in mean-near and worst-near",
            "; ".join(f"{row['ood_set']}: {difference_text(row)}" for _, row in best.iterrows())
            + f"; of {len(detectors)} rows (detector on a network) "
            + ", ".join(f"{count} {status}" for status, count in counts.items()),
            holds(best["difference"].max() < 0, best["difference"].max()),
        )
        worst = known.sort_values(["difference_high", "difference"], na_position="first").iloc[-1]
        found = f"largest bound: {worst['ood_set']}, {difference_text(worst)}"
        over = known.loc[known["difference_high"] > UPPER, "difference"]
        if len(over):
            found += (
                f"; {len(over)} of {len(known)} bounds are over it, the largest mean of these is {points(over.max())}"
            )
        yield (
            f"upper bound of the difference at most 0.1 for every detector on {text}, in {', '.join(AGGREGATES)}",
            found,
            holds(over.empty, *known["difference_high"]),
        )


def further_aims(folder: Path, summary: pd.DataFrame) -> Iterator[Row]:
    """Give the aims beside being ahead, where the ID set has some."""
    calibration = pd.read_csv(folder / "calibration.csv")
    yield "false alarms on held-out images inside the 99.9 % band", *inside_band(calibration)
    aims = AIMS.get(calibration["id_set"].iloc[0])
    if aims is None:
        return
    far = ours(summary, "mean-far")
    value = float("nan") if far is None else far["auroc"]
    yield "mean-far at least 99.9 %", percent(value), holds(value >= 0.999, value)
    for name in aims.apart:
        row = ours(summary, name)
        rates = (float("nan"),) if row is None else (row["fpr95"], row["fpr95_id"])
        text = " and ".join(map(percent, rates))
        yield f"FPR95 and FPR95 ID at most 1 % on {name}", text, holds(max(rates) <= 0.01, *rates)
    accuracy = calibration.set_index(["network", "seed"])["id_accuracy"]
    value, low, high = paired(accuracy["full"], accuracy["plain"])
    aim = f"lower bound of our ID accuracy less that of `plain` over {points(aims.accuracy)} points"
    yield aim, interval_text(value, low, high), holds(low > aims.accuracy, low)
    resistance = pd.read_csv(folder / "resistance.csv")
    for attack, found in resistance.groupby("attack", sort=False):
        # A diverged attack leaves the mean unknown: one over the other seeds would be another quantity.
        means = means_of_all(found, ["network"], ["resistance", "accepted"])
        if aims.resists:
            others = means["resistance"].reindex(["plain", "noise"]).max(skipna=False)
            lead = means.loc["full", "resistance"] - others
            aim = f"resistance to `{attack}` 50 points over `plain` and `noise`"
            yield aim, points(lead), holds(lead >= 0.5, lead)
        share = means.loc["full", "accepted"]
        yield f"ours accepts at most 2 % of the images of `{attack}`", percent(share), holds(share <= 0.02, share)


def ablation(folder: Path) -> Iterator[str]:
    """Give the parts of an ablation."""
    summary, rows = pd.read_csv(folder / "summary.csv"), pd.read_csv(folder / "table.csv")
    yield from heading(folder)
    if aims := list(ahead(summary, TRAINING_TIME)):
        yield (
            "What holds and what does not, against training-time baselines without outside data, each judged by scores "
            "of pytorch-ood:"
        )
        yield table(("aim", "found", "holds"), aims)
    yield (
        "AUROC by network and score, with the difference to ours in mean-near. Training-time baselines of pytorch-ood "
        "are judged by its own scores too; `outlier-exposure-real` has seen real outliers and is an upper reference."
    )
    yield table(("network", "score", "mean-near", "worst-near", "mean-far", "difference"), levels(summary))
    yield from sides(folder)
    near = rows[(rows["group"] == "near") & (rows["status"] != "skipped")]
    by_seed = means_of_all(near, ["network", "detector", "seed"], ["auroc"])["auroc"]
    values = {f"near, {score}": by_seed.xs(score, level="detector") for score in OWN_SCORES}
    attacked = pd.read_csv(folder / "resistance.csv")
    for name, column in (("resistance to", "resistance"), ("accepted of", "accepted")):
        for attack, found in attacked.groupby("attack", sort=False):
            values[f"{name} `{attack}`"] = found.set_index(["network", "seed"])[column]
    calibration = pd.read_csv(folder / "calibration.csv")
    values["ID accuracy"] = calibration.set_index(["network", "seed"])["id_accuracy"]
    networks = set(calibration["network"])
    effects = {pair: text for pair, text in EFFECTS.items() if networks.issuperset(pair)}
    yield "Effect of inversion, in points, each row paired over the seeds:"
    yield table(
        ("", *effects.values()),
        (
            (name, *(interval_text(*paired(by_network[one], by_network[other])) for one, other in effects))
            for name, by_network in values.items()
        ),
    )


OWN_SCORES = ("joint", "garbage-logit")
WAYS = ("border", "more", "longer")
"""Networks of `full` with its inversions made or used in another way (`decisions/007-what-inversion-earns.md`)."""
EFFECTS = {
    ("full", "refilled"): "half sharpened: `full` less `refilled`, which has noise and derived images instead",
    ("unsharpened", "derived"): "none sharpened: `unsharpened` less `derived`, which has noise instead",
    **{(name, "refilled"): f"`{name}` less `refilled`" for name in WAYS},
}
"""Networks with inversions and without, and how they differ."""


def own_rows(summary: pd.DataFrame) -> Iterator[Row]:
    """Give mean-near of our own scores on every network."""
    rows = summary[summary["detector"].isin(OWN_SCORES) & (summary["ood_set"] == "mean-near")]
    for _, row in rows.sort_values("auroc", ascending=False).iterrows():
        yield f"`{row['network']}`", row["detector"], percent(row["auroc"]), plain_difference(row)


def levels(summary: pd.DataFrame) -> Iterator[Row]:
    """Give the aggregates of our own scores and of the baselines on every network."""
    shown = ("mean-near", "worst-near", "mean-far")
    kept = summary[summary["detector"].isin(OWN_SCORES) | baseline_rows(summary)]
    for (network, detector), rows in kept.groupby(["network", "detector"], sort=False):
        found = rows.set_index("ood_set")
        values = (percent(found["auroc"].get(name, float("nan"))) for name in shown)
        yield f"`{network}`", str(detector), *values, plain_difference(found.loc["mean-near"])


def heading(folder: Path) -> Iterator[str]:
    """Give the title of a run and where its figures come from."""
    about = read_json(folder / "environment.json")
    versions = ", ".join(f"{name} {about['versions'][name]}" for name in ("invaudit", "torch", "pytorch-ood"))
    commits = ", resumed with ".join(commit_text(one["git"]) for one in (about, *about.get("resumed_with", [])))
    yield f"## {folder.name.removeprefix('ood-')}"
    yield (
        f"`benchmarks/results/{folder.name}`: {about['date']}, {commits}, {versions}, "
        f"{about['hardware']['cores']} cores of {about['hardware']['processor']}; "
        f"`python -m invaudit.benchmarks.ood {shlex.join(about['command'][1:])}`"
    )


def commit_text(code: dict[str, Any] | None) -> str:
    """Return the commit of a run, and whether the checkout differed from it."""
    return "no commit" if code is None else code["commit"][:12] + (" with changes" if code["changed"] else "")


def sides(folder: Path) -> Iterator[str]:
    """Give accuracy, calibration, cost and resistance of the networks."""
    calibration, cost = pd.read_csv(folder / "calibration.csv"), pd.read_csv(folder / "cost.csv")
    accuracy = calibration.set_index(["network", "seed"])["id_accuracy"]
    seconds = cost.groupby("network")["seconds"].mean()
    trained = [name for name in calibration["network"].unique() if name in seconds]
    yield "ID accuracy (garbage counts as an error), calibration error, cost of training on one core:"
    yield table(
        ("network", "ID accuracy", "difference to `plain`", "ECE", "seconds", "of `plain`"),
        (
            (f"`{name}`", spread(accuracy[name]),
             "" if name == "plain" else interval_text(*paired(accuracy[name], accuracy["plain"])),
             percent(calibration.loc[calibration["network"] == name, "ece"].mean()),
             f"{seconds[name]:.0f}", f"{seconds[name] / seconds['plain']:.2f} x")
            for name in trained
        ),
    )  # fmt: skip
    yield from part_weights(folder)
    yield from hard_decisions(folder)
    own = calibration[calibration["network"] == OURS[0]]
    yield (
        f"False alarms of ours at 5 %: on held-out images {spread(own['false_alarms_held_out'])} ("
        f"{inside_band(calibration)[0]} inside the 99.9 % band); on the test images, which other people may have made, "
        f"{spread(own['false_alarms'])}."
    )
    resistance = pd.read_csv(folder / "resistance.csv")
    yield "Resistance to each attack / its images that ours on that network accepts, and how many attacks collapsed:"
    attacks = list(resistance["attack"].unique())
    yield table(
        ("network", *(f"`{name}`" for name in attacks)),
        (
            (f"`{network}`", *(resisted(found[found["attack"] == name]) for name in attacks))
            for network, found in resistance.groupby("network", sort=False)
        ),
    )


def part_weights(folder: Path) -> Iterator[str]:
    """Give how the parts of ``joint`` weigh, by network; a record may hold none."""
    if not (folder / "weights.csv").is_file():
        return
    found = pd.read_csv(folder / "weights.csv")
    means = found.pivot_table(index="network", columns="part", values="weight", sort=False)
    means = means[[name for name in PARTS if name in means]]
    rows = ((f"`{name}`", *("" if pd.isna(one) else f"{one:.1f}" for one in row)) for name, row in means.iterrows())
    yield "Weights of the parts of `joint`, which synthetic outliers give:"
    yield table(("network", *means.columns), rows)


def hard_decisions(folder: Path) -> Iterator[str]:
    """Give the papers' hard decision of every network."""
    decisions = pd.read_csv(folder / "decisions.csv")
    sets = list(decisions["ood_set"].unique())
    shares = decisions.groupby(["network", "ood_set"], sort=False)["garbage"].mean()
    published = PUBLISHED.get(decisions["id_set"].iloc[0])
    rows = [(f"`{name}`", *(percent(shares[name, one]) for one in sets)) for name in decisions["network"].unique()]
    if published:
        rows.append(("published", *(percent(published.get(one, float("nan"))) for one in sets)))
    source = " (published: arXiv 2505.23448, table 1)" if published else ""
    yield f"Images whose largest output is the garbage class, the papers' hard decision{source}:"
    yield table(("network", *sets), rows)


def resisted(found: pd.DataFrame) -> str:
    """Return resistance and accepted share of one network and attack, and how many seeds' attacks collapsed."""
    text = f"{percent(found['resistance'].mean(skipna=False))} / {percent(found['accepted'].mean(skipna=False))}"
    outcomes = found["outcome"].value_counts()
    odd = [f"{outcomes[name]} of {len(found)} {name}" for name in ("collapsed", "diverged") if name in outcomes]
    return text + (f" ({', '.join(odd)})" if odd else "")


def strongest(attacks: pd.DataFrame) -> Iterator[Row]:
    """Give ours, and the three detectors of others that accept the fewest attack images."""
    columns = ["accepted", "passed", "auroc"]
    means = means_of_all(attacks, ["network", "detector"], columns).dropna()
    others = means[[is_baseline(*key) for key in means.index]].sort_values(
        ["accepted", "auroc"], ascending=[True, False]
    )
    own = means[means.index.get_level_values("detector") == OURS[1]]
    for (network, detector), row in pd.concat([own, others.head(3)]).iterrows():
        yield f"`{network}`", detector, *(percent(row[name]) for name in columns)


def inside_band(calibration: pd.DataFrame) -> tuple[str, str]:
    """Return how many seeds' false alarms of ours lie inside their band, and whether all do."""
    own = calibration[calibration["network"] == OURS[0]]
    inside = own["false_alarms_held_out"].between(own["band_low"], own["band_high"])
    return f"{inside.sum()} of {len(own)} seeds", holds(bool(inside.all()), *own["false_alarms_held_out"])


def is_baseline(network: str, detector: str) -> bool:
    """Return whether a row of a recorded run is somebody else's detector on a trained network."""
    role = detector_of_schema_1(detector).role
    return comparisons.is_baseline(role, on_trained_network=network not in CONTROL_NETWORKS)


def means_of_all(frame: pd.DataFrame, by: Iterable[str], measures: Iterable[str]) -> pd.DataFrame:
    """Return the means of some columns for each value of the columns ``by``, which are the index.

    Where a row has no figure, neither has the mean: that of the others would be of fewer than it seems.
    """
    grouped = frame.groupby(list(by), sort=False)[list(measures)]
    return pd.DataFrame(grouped.agg(lambda values: values.mean(skipna=False)))


def baseline_rows(summary: pd.DataFrame) -> pd.Series:
    """Return which rows are somebody else's detector."""
    keys = zip(summary["network"], summary["detector"], strict=True)
    return pd.Series([is_baseline(*key) for key in keys], index=summary.index, dtype=bool)


def ours(summary: pd.DataFrame, ood_set: str) -> pd.Series | None:
    """Return the row of ours for a set or an aggregate, if it has a figure."""
    own = (summary["network"] == OURS[0]) & (summary["detector"] == OURS[1])
    found = summary[own & (summary["ood_set"] == ood_set)]
    return None if found.empty or found["auroc"].isna().all() else found.iloc[0]


def best_text(summary: pd.DataFrame, ood_set: str, *networks: str) -> str:
    """Return the best baseline of some networks, with its difference to ours."""
    rows = summary[(summary["ood_set"] == ood_set) & summary["network"].isin(networks)]
    rows = rows[baseline_rows(rows) & rows["difference"].notna()]
    if rows.empty:
        return DASH
    row = rows.loc[rows["auroc"].idxmax()]
    return f"{percent(row['auroc'])} {difference_text(row)}"


def difference_text(row: pd.Series) -> str:
    """Return detector and network of a row, with its difference to ours and the corrected p-value."""
    p_adjusted = "" if pd.isna(row["p_adjusted"]) else f", Holm p {p_text(row['p_adjusted'])}"
    return f"{row['detector']}, `{row['network']}`: {plain_difference(row)}{p_adjusted}"


def plain_difference(row: pd.Series) -> str:
    """Return the difference of a row to ours in points, with its interval; a dash for ours."""
    return interval_text(*(row[name] for name in ("difference", "difference_low", "difference_high")))


def paired(one: pd.Series, other: pd.Series) -> tuple[float, float, float]:
    """Return the mean difference over seeds with Student's t interval; unknown is NaN."""
    gaps = (one - other).dropna()
    enough = len(gaps) >= MIN_SEEDS
    half = t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5 if enough else float("nan")
    return gaps.mean(), gaps.mean() - half, gaps.mean() + half


def interval_text(value: float, low: float, high: float) -> str:
    """Return a difference of fractions in points, with its interval where there is one."""
    return points(value) if pd.isna(low) else f"{points(value)} [{points(low)}; {points(high)}]"


def holds(kept: bool, *figures: float) -> str:
    """Return whether an aim is kept, as a word; unknown where a figure is."""
    return "unknown" if any(map(pd.isna, figures)) else "yes" if kept else "**no**"


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
