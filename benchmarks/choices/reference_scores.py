"""What membership scores from few reference models lose against the best test there is, where that test is known.

Each image has its own difficulty; a network answers it with that, plus a gap where it was trained on the image, plus
noise, all Gaussian. The best test knows difficulty and gap, and has AUROC Phi(gap / (sqrt(2) noise)). At log-odds
around -6 probabilities are small and their logarithm is Gaussian as well; around 0 and 3 they come near 1, which blunts
RMIA. No network is trained.

    python benchmarks/choices/reference_scores.py [--out FILE.json]
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr

from invaudit.runtime import child_seed, describe_environment, write_json
from invaudit.stats import auroc, lira_offline, lira_online, offline_a, rmia

SETTINGS: dict[str, Any] = {
    "images": 16_000,
    "runs": 5,
    "gap": 1.0,
    "noise": 1.0,
    "difficulty_spread": 2.0,
    "difficulties": [-6.0, 0.0, 3.0],
    "references": [1, 2, 4, 8, 16, 64, 256],
}
SCORES: dict[str, Callable[..., np.ndarray]] = {
    "lira-offline": lira_offline,
    "lira-online": lira_online,
    "rmia": rmia,
}


def areas(difficulty: float, references: int, run: int) -> dict[str, float]:
    """Return the AUROC of each score in one simulated audit; with the pool unseen, no reference was trained on it."""
    rng = np.random.default_rng(child_seed(run, f"reference-scores/{difficulty}/{references}"))
    images, gap, noise = SETTINGS["images"], SETTINGS["gap"], SETTINGS["noise"]
    hard = difficulty + SETTINGS["difficulty_spread"] * rng.normal(size=images)
    member, coins = rng.random(images) < 0.5, rng.random((references, images)) < 0.5
    target = hard + gap * member + noise * rng.normal(size=images)
    outside = hard + noise * rng.normal(size=(references, images))
    answers = outside + gap * coins
    found = {"loss": target}
    for name, score in SCORES.items():
        found[name] = score(target, answers, coins)
    nowhere, a = np.zeros_like(coins), offline_a(answers, coins)
    found["lira-offline, pool unseen"] = lira_offline(target, outside, nowhere)
    found["rmia, pool unseen"] = rmia(target, outside, nowhere, a=a)
    # Coins of the target that say nothing.
    swapped = rng.random(images) < 0.5
    measured = {name: float(auroc(score[~member], score[member])) for name, score in found.items()}
    for name in SCORES:
        measured[f"{name}, swapped coins"] = float(auroc(found[name][~swapped], found[name][swapped]))
    return measured


def rows() -> list[dict[str, Any]]:
    """Return the mean AUROC of each score for each difficulty and number of references, with what it loses."""
    best = float(ndtr(SETTINGS["gap"] / (np.sqrt(2) * SETTINGS["noise"])))
    measured = []
    for difficulty in SETTINGS["difficulties"]:
        for references in SETTINGS["references"]:
            runs = [areas(difficulty, references, run) for run in range(SETTINGS["runs"])]
            for name in runs[0]:
                values = [run[name] for run in runs]
                row = {"difficulty": difficulty, "references": references, "score": name}
                row |= {"auroc": round(float(np.mean(values)), 4), "sd": round(float(np.std(values, ddof=1)), 4)}
                measured.append(row | {"loss": round(best - float(np.mean(values)), 4)})
    return measured


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "reference_scores.json")
    chosen = parser.parse_args()
    measured = rows()
    record = {"environment": describe_environment(threads=1), "settings": SETTINGS, "rows": measured}
    write_json(chosen.out, record)
    for row in measured:
        print(*row.values(), sep=", ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
