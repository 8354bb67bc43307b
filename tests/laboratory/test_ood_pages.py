import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.publish.pages.ood.aims import COMPARED, aims_of_being_ahead, further_aims
from benchmarks.publish.pages.ood.networks import resistance_text
from benchmarks.publish.pages.ood.page import page
from invaudit.benchmarks.ood.open_set import UNKNOWN
from invaudit.ood import PARTS

pytestmark = pytest.mark.slow

SIDES = ("calibration", "cost", "decisions", "resistance")


def copied(finished: Path, to: Path, *names: str) -> Path:
    to.mkdir()
    for name in ("environment.json", *(f"{name}.csv" for name in ("detectors", *SIDES, *names))):
        (to / name).write_bytes((finished / name).read_bytes())
    return to


def test_a_comparison_shows_ours_the_best_of_others_and_every_network(finished, tmp_path):
    folder = copied(finished, tmp_path / "ood-small", "summary", "attacks", "weights")
    text = page(folder)
    weights = pd.read_csv(finished / "weights.csv")
    ours = weights[weights["network"] == "full"].groupby("part")["weight"].mean()
    assert "| `full` | " + " | ".join(f"{ours[name]:.1f}" for name in PARTS) + " |" in text
    summary = pd.read_csv(finished / "summary.csv").set_index(["network", "detector", "ood_set"])["auroc"]
    assert f"| mean-near | {100 * summary['full', 'joint', 'mean-near']:.2f} |" in text
    near = summary["plain"].xs("mean-near", level="ood_set")
    best = near[[name != name.lower() for name in near.index]]
    assert f"{100 * best.max():.2f} {best.idxmax()}, `plain`" in text
    assert all(f"| `{network}` |" in text for network in ("plain", "full"))
    ahead = near[[name != name.lower() for name in near.index]].max() < summary["full", "joint", "mean-near"]
    worst = summary["plain"].xs("worst-near", level="ood_set")
    ahead &= worst[[name != name.lower() for name in worst.index]].max() < summary["full", "joint", "worst-near"]
    (line,) = [
        line
        for line in text.splitlines()
        if line.startswith("| by the mean, ours ahead of every detector that ran on `plain`")
    ]
    assert line.endswith("| yes |" if ahead else "| **no** |")


def test_published_shares_stand_beside_ours(finished, tmp_path):
    folder = copied(finished, tmp_path / "ood-small", "summary", "attacks")
    decisions = pd.read_csv(folder / "decisions.csv").assign(id_set="mnist")
    decisions.replace({"ood_set": {"letters": "cifar10"}}).to_csv(folder / "decisions.csv", index=False)
    (line,) = [line for line in page(folder).splitlines() if line.startswith("| published |")]
    assert line.count("99.40") == 1


def test_the_images_that_ours_takes_most_for_id_are_shown(finished, tmp_path):
    folder = copied(finished, tmp_path / "ood-small", "summary", "attacks")
    record = {
        "images_of": "letters",
        "judges": [{"arch": "small-cnn", "id_accuracy": 0.9}, {"arch": "resnet20", "id_accuracy": 0.8}],
        "shown": {"images": 50, "both_sure": 0.32},
        "all": {"images": 2000, "both_sure": 0.107},
        "rejected": {"images": 0, "both_sure": None},
    }
    (folder / "worst-letters.json").write_text(json.dumps(record), encoding="utf-8")
    text = page(folder)
    assert "| `letters` | 32.00 of 50 | 10.70 of 2000 |" in text
    assert "](../images/worst-small-letters.png)" in text


def test_an_open_set_is_judged_on_each_network_by_draw(finished, tmp_path):
    folder = copied(finished, tmp_path / "ood-open", "summary", "weights")
    tables = {}
    for name in ("summary", "table"):
        rows = pd.read_csv(finished / f"{name}.csv")
        tables[name] = rows.replace({"ood_set": {"letters": UNKNOWN}})
    one = tables["table"][tables["table"]["seed"] == 0]
    draws = [one.assign(seed=seed, auroc=one["auroc"] - 0.01 * seed) for seed in range(5)]
    tables["table"] = pd.concat(draws)
    for name, rows in tables.items():
        rows.to_csv(folder / f"{name}.csv", index=False)
    text = page(folder)
    (line,) = [line for line in text.splitlines() if line.startswith("| `plain` |") and " of " in line.split("|")[-2]]
    aurocs = one[(one["network"] == "plain") & (one["ood_set"] == UNKNOWN)].set_index("detector")["auroc"]
    others = aurocs[[name for name in aurocs.index if name != name.lower()]].dropna()
    assert f"| {100 * (aurocs['joint'] - 0.02):.2f} ± 1.58 |" in line
    assert f"{100 * (others.max() - 0.02):.2f} ± 1.58 {others.idxmax()}: " in line
    gap = f"{100 * (others.max() - aurocs['joint']):+.2f}"
    assert f"{gap} [{gap}; {gap}]" in line
    assert "## Resistance" not in text
    pixels = one[(one["network"] == "none") & (one["ood_set"] == UNKNOWN)].set_index("detector")["auroc"] - 0.02
    either_way = pixels.where(pixels >= 0.5, 1 - pixels)
    best = f"`{either_way.idxmax()}`: {100 * either_way.max():.2f} ± 1.58"
    assert f"The best score without a network, in either direction, is {best}." in text


def ablated(finished: Path, to: Path, vos: str = "", **gaps: float) -> Path:
    """Make a record of five seeds whose networks are behind `full` by 1 to 5 times a gap; `vos` repeats another."""
    folder = copied(finished, to, "summary")
    for name in ("table", "summary", *SIDES):
        rows = pd.read_csv(finished / f"{name}.csv")
        value = {"table": "auroc", "resistance": "resistance"}.get(name)
        if value:
            rows = pd.concat([rows[rows["seed"] == 0].assign(seed=seed) for seed in range(5)])
        twins = [rows[rows["network"] == vos].assign(network="vos")]
        for twin, gap in gaps.items():
            twins.append(rows[rows["network"] == "full"].assign(network=twin))
            if value:
                twins[-1][value] -= gap * (1 + twins[-1]["seed"])
        pd.concat([rows, *twins]).to_csv(folder / f"{name}.csv", index=False)
    return folder


def test_an_ablation_pairs_the_seeds(finished, tmp_path):
    folder = ablated(finished, tmp_path / "ood-ablation", vos="plain", refilled=0.01, unsharpened=0.0, derived=0.02)
    text = page(folder)
    # Gaps of 1 to 5 points: mean 3, and 2.776 standard errors of 0.707 to each side; then twice as large.
    assert "| near, joint | +3.00 [+1.04; +4.96] | +6.00 [+2.07; +9.93] |" in text
    assert "| resistance to `sure` | +3.00 [+1.04; +4.96] | +6.00 [+2.07; +9.93] |" in text
    assert "| accepted of `sure` |" in text
    summary = pd.read_csv(finished / "summary.csv").set_index(["network", "detector", "ood_set"])["difference"]
    gaps = summary["plain"].unstack()[["mean-near", "worst-near"]]
    gaps = gaps[[name != name.lower() for name in gaps.index]]
    kept = gaps.max().max() < 0
    (line,) = [line for line in text.splitlines() if line.startswith("| by the mean")]
    assert line.startswith("| by the mean, ours ahead of every detector that ran on `vos`, in mean-near")
    assert f"{gaps['mean-near'].idxmax()}, `vos`" in line
    assert line.endswith("| yes |" if kept else "| **no** |")


def test_ways_to_use_inversions_are_paired_with_none(finished, tmp_path):
    folder = ablated(finished, tmp_path / "ood-ways", refilled=0.01, longer=0.02)
    text = page(folder)
    assert text.count("less `refilled`") == 2
    assert "| near, joint | +3.00 [+1.04; +4.96] | -3.00 [-4.96; -1.04] |" in text
    assert "What holds" not in text


def facts(folder: Path, **changes: float) -> list[tuple[str, str, str]]:
    """Aims of a record on MNIST in which each holds, but for the figures that are changed."""
    good = {"far": 0.9995, "fpr95": 0.004, "fpr95_id": 0.006, "accuracy": 0.990, "false_alarms_held_out": 0.05,
            "resistance": 0.97, "noise": 0.1, "accepted": 0.01}  # fmt: skip
    value = good | changes
    base = [
        {"id_set": "mnist", "seed": seed, "network": network}
        for network in ("plain", "noise", "full")
        for seed in range(5)
    ]
    accuracy = {"plain": 0.992, "noise": 0.992, "full": value["accuracy"]}
    resistance = {"plain": 0.0, "noise": value["noise"], "full": value["resistance"]}
    band = {"false_alarms_held_out": value["false_alarms_held_out"], "band_low": 0.03, "band_high": 0.07}
    attacked = {"attack": "sure", "accepted": value["accepted"]}
    folder.mkdir()
    rows = [row | band | {"id_accuracy": accuracy[row["network"]] + 1e-4 * (row["seed"] % 2)} for row in base]
    pd.DataFrame(rows).to_csv(folder / "calibration.csv", index=False)
    rows = [row | attacked | {"resistance": resistance[row["network"]]} for row in base]
    pd.DataFrame(rows).to_csv(folder / "resistance.csv", index=False)
    ours = {"network": "full", "detector": "joint", "auroc": value["far"]}
    rates = {name: value[name] for name in ("fpr95", "fpr95_id")}
    rows = [ours | rates | {"ood_set": name} for name in ("fashion-mnist", "notmnist", "mean-far")]
    return list(further_aims(folder, pd.DataFrame(rows)))


def test_every_aim_holds_where_its_figures_do(tmp_path):
    found = facts(tmp_path / "good")
    assert [row[2] for row in found] == ["yes"] * 7
    assert "-0.20 [-0.20; -0.20]" in [row[1] for row in found]


@pytest.mark.parametrize(
    ("changes", "aim", "word"),
    [
        ({"far": 0.998}, "mean-far", "**no**"),
        ({"fpr95": 0.02}, "FPR95 and FPR95 ID at most 1 % on notmnist", "**no**"),
        ({"fpr95_id": 0.02}, "FPR95 and FPR95 ID at most 1 % on notmnist", "**no**"),
        ({"accuracy": 0.986}, "lower bound of our ID accuracy", "**no**"),
        ({"false_alarms_held_out": 0.08}, "false alarms", "**no**"),
        ({"resistance": 0.55}, "resistance to `sure`", "**no**"),
        ({"noise": float("nan")}, "resistance to `sure`", "unknown"),
        ({"accepted": 0.03}, "ours accepts", "**no**"),
        ({"accepted": float("nan")}, "ours accepts", "unknown"),
    ],
)
def test_an_aim_that_is_missed_is_called_so(tmp_path, changes, aim, word):
    found = facts(tmp_path / "bad", **changes)
    assert [row[2] for row in found if row[0].startswith(aim)] == [word]


@pytest.mark.parametrize(
    ("high", "word", "end"),
    [
        (0.0005, "yes", "ASH, `noise`: -19.00 [-30.00; +0.05], Holm p 0.2"),
        (0.06, "**no**", "[-30.00; +6.00], Holm p 0.2; 1 of 4 bounds are over it, the largest mean of these is -19.00"),
        (float("nan"), "unknown", "Holm p 0.2"),
    ],
)
def test_the_upper_bounds_are_judged_one_by_one(high, word, end):
    sets = ("mean-near", "worst-near", "mean-far", "worst")
    base = [{"ood_set": name, "auroc": 0.9, "status": "ok", "is_baseline": True} for name in sets]
    rows = [row | {"network": "full", "detector": "joint", "is_baseline": False} for row in base]
    theirs = {"network": "noise", "detector": "ASH", "difference": -0.19, "difference_low": -0.3, "p_adjusted": 0.2}
    rows += [row | theirs | {"difference_high": high if row["ood_set"] == "worst" else -0.1} for row in base]
    found = [row for row in aims_of_being_ahead(pd.DataFrame(rows), *COMPARED) if row[0].startswith("upper bound")]
    assert [row[2] for row in found] == [word]
    assert found[0][1].endswith(end)


def test_being_ahead_names_the_best_row_of_each_aggregate_and_counts_those_that_ran():
    base = [{"network": "plain", "ood_set": name, "status": "ok"} for name in ("mean-near", "worst-near")]
    rows = [row | {"detector": "KNN", "difference": gap} for row, gap in zip(base, (-0.02, 0.03), strict=True)]
    rows += [row | {"detector": "ASH", "difference": -0.01} for row in base]
    rows += [row | {"detector": name, "status": status} for row in base
             for name, status in (("MCM", "not-applicable"), ("DICE", "failed"))]  # fmt: skip
    bounds = {"difference_low": float("nan"), "difference_high": float("nan"), "p_adjusted": float("nan")}
    first, *_ = aims_of_being_ahead(pd.DataFrame(rows).assign(auroc=0.9, is_baseline=True, **bounds), *COMPARED)
    assert first[1:] == (
        "mean-near: ASH, `plain`: -1.00; worst-near: KNN, `plain`: +3.00; of 4 rows (detector on a network) "
        "2 ran, 1 not-applicable, 1 failed",
        "**no**",
    )


def test_a_diverged_attack_leaves_its_resistance_unknown():
    rows = pd.DataFrame({"resistance": [0.5, None], "accepted": [0.0, 0.5], "outcome": ["converged", "diverged"]})
    assert resistance_text(rows) == "\u2013 / 25.00 (1 of 2 diverged)"
