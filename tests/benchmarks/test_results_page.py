import subprocess
import sys
from pathlib import Path

import pandas as pd

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "results_page.py"
SIDES = ("calibration", "cost", "decisions", "resistance")


def written(results: Path) -> str:
    out = results / "page.md"
    subprocess.run([sys.executable, SCRIPT, "--results", results, "--out", out], check=True)
    return out.read_text(encoding="utf-8")


def copied(finished: Path, to: Path, *names: str) -> Path:
    to.mkdir()
    for name in ("environment.json", *(f"{name}.csv" for name in (*SIDES, *names))):
        (to / name).write_bytes((finished / name).read_bytes())
    return to


def test_a_comparison_shows_ours_the_best_of_others_and_every_network(finished, tmp_path):
    copied(finished, tmp_path / "ood-small", "summary", "attacks")
    text = written(tmp_path)
    summary = pd.read_csv(finished / "summary.csv").set_index(["network", "detector", "ood_set"])["auroc"]
    assert f"| mean-near | {100 * summary['full', 'joint', 'mean-near']:.2f} |" in text
    near = summary["plain"].xs("mean-near", level="ood_set")
    best = near[[name != name.lower() for name in near.index]]
    assert f"{100 * best.max():.2f} {best.idxmax()}, `plain`" in text
    assert all(f"| `{network}` |" in text for network in ("plain", "full"))
    ahead = near[[name != name.lower() for name in near.index]].max() < summary["full", "joint", "mean-near"]
    worst = summary["plain"].xs("worst-near", level="ood_set")
    ahead &= worst[[name != name.lower() for name in worst.index]].max() < summary["full", "joint", "worst-near"]
    (line,) = [line for line in text.splitlines() if line.startswith("| ours ahead of every detector on `plain`")]
    assert line.endswith("| yes |" if ahead else "| **no** |")


def test_published_shares_stand_beside_ours(finished, tmp_path):
    folder = copied(finished, tmp_path / "ood-small", "summary", "attacks")
    decisions = pd.read_csv(folder / "decisions.csv").assign(id_set="mnist")
    decisions.replace({"ood_set": {"letters": "cifar10"}}).to_csv(folder / "decisions.csv", index=False)
    (line,) = [line for line in written(tmp_path).splitlines() if line.startswith("| published |")]
    assert line.count("99.40") == 1


def test_an_ablation_pairs_the_seeds(finished, tmp_path):
    folder = copied(finished, tmp_path / "ood-ablation")
    for name in ("table", *SIDES):
        rows = pd.read_csv(finished / f"{name}.csv")
        twin = rows[rows["network"] == "full"].assign(network="refilled")
        if name == "table":
            twin["auroc"] = twin["auroc"] - 0.01 * (1 + twin["seed"])
        pd.concat([rows, twin]).to_csv(folder / f"{name}.csv", index=False)
    text = written(tmp_path)
    # Gaps of 1 and 2 points: mean 1.5, and 12.71 standard errors of 0.5 to each side.
    assert "| near, joint | +1.50 [-4.85; +7.85] |" in text
    assert "| resistance to sure | +0.00 [+0.00; +0.00] |" in text
