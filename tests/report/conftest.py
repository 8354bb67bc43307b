"""A small run folder with invented figures, in the form that the OOD runner writes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SETS = {"held-out-digits": "near", "letters": "near", "photos": "far", "gaussian": "seen", "uniform": "seen"}
MEANS = {"mean-near": ["near"], "mean-far": ["far"], "worst-near": ["near"], "worst": ["near", "far"]}
SKILL = {
    ("full", "joint"): (0.962, 0.931, 0.991), ("full", "garbage-logit"): (0.941, 0.902, 0.985),
    ("full", "joint/distance"): (0.944, 0.911, 0.98), ("derived", "joint"): (0.951, 0.917, 0.975),
    ("derived", "garbage-logit"): (0.921, 0.874, 0.961), ("inversion", "joint"): (0.943, 0.909, 0.966),
    ("inversion", "garbage-logit"): (0.861, 0.82, 0.93), ("noise", "joint"): (0.942, 0.896, 0.97),
    ("noise", "garbage-logit"): (0.62, 0.66, 0.84), ("plain", "joint"): (0.94, 0.893, 0.964),
    ("random", "joint"): (0.71, 0.69, 0.9), ("plain", "KNN"): (0.938, 0.899, 0.968),
    ("plain", "KNN@tuned"): (0.94, 0.9, 0.967), ("plain", "ViM"): (0.921, 0.871, 0.977),
    ("plain", "Mahalanobis"): (0.911, 0.881, 0.981), ("plain", "EnergyBased"): (0.92, 0.831, 0.91),
    ("plain", "MaxSoftmax"): (0.925, 0.84, 0.902), ("full", "KNN"): (0.945, 0.905, 0.976),
    ("full", "ViM"): (0.935, 0.888, 0.982), ("noise", "KNN"): (0.94, 0.894, 0.97),
    ("plain", "ODIN"): (0.87, 0.8, 0.88), ("plain", "Entropy"): (0.926, 0.842, 0.905),
    ("none", "pixel-mean"): (0.52, 0.56, 0.8),
}  # fmt: skip
SEEDS = (0, 1, 2)


def _auroc(key: tuple[str, str], ood_set: str, seed: int) -> float:
    first, second, third = SKILL[key]
    level = dict(zip(SETS, (first, second, third, 0.999, 0.9995), strict=True))[ood_set]
    return min(1.0, level + 0.004 * (seed - 1) * (1 - level) * 10)


def _table() -> pd.DataFrame:
    rows = []
    for seed in SEEDS:
        for key in SKILL:
            for ood_set, group in [*SETS.items(), ("control-same", "control"), ("control-split", "control")]:
                auroc = {"control-same": 0.5, "control-split": 0.49 + 0.01 * seed}.get(ood_set)
                auroc = _auroc(key, ood_set, seed) if auroc is None else auroc
                rows.append(
                    {"id_set": "digits", "seed": seed, "network": key[0], "detector": key[1], "ood_set": ood_set,
                     "group": group, "trivial": ood_set == "uniform", "n_id": 400, "n_ood": 300, "auroc": auroc,
                     "auroc_low": auroc - 0.01, "auroc_high": min(1.0, auroc + 0.01), "aupr_in": auroc,
                     "aupr_out": auroc, "fpr95": 1 - auroc, "fpr95_id": 1 - auroc, "id_accuracy": 0.97,
                     "seconds": 0.1, "status": "ok", "reason": None}
                )  # fmt: skip
        base = {"id_set": "digits", "seed": seed, "trivial": False}
        rows.append(
            base | {"network": "plain", "detector": "MCD", "ood_set": "letters", "group": "near", "status": "failed",
                    "reason": "the network has no dropout"}
        )  # fmt: skip
    return pd.DataFrame(rows)


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (network, detector), part in table[table["status"] == "ok"].groupby(["network", "detector"], sort=False):
        seeds = part.pivot_table(index="seed", columns="ood_set", values="auroc")
        units = {name: [name] for name in SETS}
        units |= {mean: [name for name in SETS if SETS[name] in groups] for mean, groups in MEANS.items()}
        for ood_set, members in units.items():
            values = seeds[members].min(axis=1) if ood_set.startswith("worst") else seeds[members].mean(axis=1)
            rows.append(
                {"id_set": "digits", "network": network, "detector": detector, "ood_set": ood_set,
                 "group": SETS.get(ood_set, " and ".join(MEANS.get(ood_set, []))), "trivial": ood_set == "uniform",
                 "n_sets": len(members), "seeds": len(SEEDS), "auroc": values.mean(), "auroc_sd": values.std(),
                 "aupr_in": values.mean(), "aupr_out": values.mean(), "fpr95": 1 - values.mean(),
                 "fpr95_id": 1 - values.mean(), "status": "ok", "reason": None}
            )  # fmt: skip
    summary = pd.DataFrame(rows)
    ours = summary[(summary["network"] == "full") & (summary["detector"] == "joint")].set_index("ood_set")["auroc"]
    summary["difference"] = summary["auroc"] - summary["ood_set"].map(ours)
    summary["difference_low"] = summary["difference"] - 0.006
    summary["difference_high"] = summary["difference"] + 0.006
    summary["p_adjusted"] = 0.004
    failed = {"id_set": "digits", "network": "plain", "detector": "MCD", "ood_set": "letters", "group": "near",
              "seeds": 3, "status": "failed", "reason": "the network has no dropout"}  # fmt: skip
    return pd.concat([summary, pd.DataFrame([failed])], ignore_index=True)


def _arrays(folder: Path) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        (folder / f"scores/seed-{seed}").mkdir(parents=True)
        shifts = {"id-test": 0.0, "control-same": 0.0, "held-out-digits": 2.4, "letters": 2.0, "photos": 3.5}
        shifts |= {"gaussian": 6.0, "uniform": 7.0}
        scores = {f"joint::{name}": rng.normal(shift, 1, 300) for name, shift in shifts.items()}
        np.savez(folder / f"scores/seed-{seed}/full.npz", allow_pickle=False, **scores)
        for network in ("full", "inversion"):
            images = rng.integers(0, 256, (5, 7, 2, 1, 8, 8), dtype=np.uint8)
            path = folder / f"scores/seed-{seed}/{network}-inversions.npz"
            np.savez(path, allow_pickle=False, images=images, epochs=np.arange(2, 12, 2))


@pytest.fixture(scope="session")
def make_run() -> Callable[[Path], Path]:
    """Return a function that writes a whole run folder."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        table = _table()
        table.to_csv(folder / "table.csv", index=False)
        _summary(table).to_csv(folder / "summary.csv", index=False)
        _arrays(folder)
        jobs = [(seed, network) for seed in SEEDS for network in ("full", "derived", "inversion", "noise", "plain")]
        base = pd.DataFrame(jobs, columns=["seed", "network"])
        base.insert(0, "id_set", "digits")
        base.assign(steps=1200, seconds=31.5, inversions=640).to_csv(folder / "cost.csv", index=False)
        base.assign(n=400, ece=0.021, id_accuracy=0.97, alpha=0.05, false_alarms=0.0475).to_csv(
            folder / "calibration.csv", index=False
        )
        share = base["network"].map({"full": 0.97, "derived": 0.9, "inversion": 0.93, "noise": 0.4, "plain": 0.02})
        base.assign(n=700, resistance=share + 0.005 * base["seed"], accepted=1 - share).to_csv(
            folder / "resistance.csv", index=False
        )
        (folder / "config.yaml").write_text("id: digits\nseeds: [0, 1, 2]\ntraining:\n  epochs: 12\n", encoding="utf-8")
        (folder / "records").mkdir(exist_ok=True)
        passed = {"passed": ["control-same: all alike", "control-split: within 0.5 +- 0.060"]}
        (folder / "records/controls.json").write_text(json.dumps(passed), encoding="utf-8")
        environment = {"versions": {"python": "3.11.9", "torch": None}, "command": ["python", "-m", "x", "a b"]}
        (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def finished_run(make_run: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run folder, not to be changed."""
    return make_run(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def run_folder(finished_run: Path, tmp_path: Path) -> Path:
    """A whole run folder of the test's own."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))
