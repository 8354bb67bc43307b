"""Small run folders with invented figures, in the form that the runners write; and what reads a page."""

import base64
import html
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

import invaudit.report.leakage.pictures as leakage_module
import invaudit.report.ood.sections as ood_module
from invaudit.runtime import content_hash

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
    ("none", "pixel-mean"): (0.52, 0.56, 0.8), ("none", "pixel-neighbour"): (0.89, 0.83, 0.95),
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
              "trivial": False, "n_sets": 1, "seeds": 3, "status": "failed",
              "reason": "the network has no dropout"}  # fmt: skip
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
        attacks = {}
        for name in ("sure", "same"):
            attacks[f"attack-{name}::images"] = rng.integers(0, 256, (7, 1, 8, 8), dtype=np.uint8)
        attacks["attack-sure::accepted"] = np.arange(7) < 3
        np.savez(folder / f"scores/seed-{seed}/full-attacks.npz", allow_pickle=False, **attacks)


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
        held_out = {"false_alarms_held_out": 0.0613, "band_low": 0.0271, "band_high": 0.0837}
        calibration = base.assign(n=400, ece=0.021, id_accuracy=0.97, alpha=0.05, false_alarms=0.0475, **held_out)
        calibration.to_csv(folder / "calibration.csv", index=False)
        share = base["network"].map({"full": 0.97, "derived": 0.9, "inversion": 0.93, "noise": 0.4, "plain": 0.02})
        resistance = base.assign(attack="sure", n=700, resistance=share + 0.005 * base["seed"], accepted=1 - share)
        resistance.assign(passed=0.0, outcome="collapsed").to_csv(folder / "resistance.csv", index=False)
        base[base["network"] != "plain"].assign(ood_set="letters", n=300, garbage=0.375 + 0.125 * base["seed"]).to_csv(
            folder / "decisions.csv", index=False
        )
        nearest = base.assign(part="nearest", weight=3.0 + 0.25 * base["seed"])
        garbage = base[base["network"] != "plain"].assign(part="garbage", weight=6.25)
        pd.concat([nearest, garbage]).to_csv(folder / "weights.csv", index=False)
        attacks = base.assign(attack="sure", detector="KNN", n=700, accepted=0.25 + 0.125 * base["seed"], passed=0.0)
        attacks.assign(auroc=0.9, status="ok", reason=None).to_csv(folder / "attacks.csv", index=False)
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


# With the colon of a detector's path it counts as a baseline, so that it also gets into the figures.
HOSTILE = "x:<script src=//evil.example>alert(1)</script>\" onload='x' & ${7*7} {{7*7}} $\\frac{"
IMAGE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+")
REQUESTS = ("http:", "https:", "//", "<script", "@import", "url(", "<link", "<iframe", "<object", "<base", "<form")
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Page(HTMLParser):
    """A page that was written: its elements, their attributes and the text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.html = path, path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())

    def assert_offline(self, figures: list[str]) -> None:
        """Check that the page asks for nothing, and that its figures are those beside it."""
        page_text = IMAGE.sub("", self.html)
        assert not [word for word in REQUESTS if word in page_text.lower()]
        assert ("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}) in self.elements
        pictures = [attributes for tag, attributes in self.elements if tag == "img"]
        assert all(IMAGE.fullmatch(attributes["src"] or "") and attributes.get("alt") for attributes in pictures)
        beside = {path.stem: path.read_bytes() for path in (self.path.parent / "figures").glob("*")}
        assert sorted(beside) == figures
        embedded = {base64.b64decode((attributes["src"] or "").partition(",")[2]) for attributes in pictures}
        assert embedded == set(beside.values())

    def assert_harmless(self) -> None:
        """Check that the hostile name is on the page as text and nothing else."""
        assert html.escape("x:<script src") in self.html
        assert "script" not in {tag for tag, _ in self.elements}
        for tag, attributes in self.elements:
            assert not {"onload", "onerror", "href"} & attributes.keys()
            if tag == "img":
                assert (attributes["src"] or "").startswith("data:image/png;base64,")
        assert "{{7*7}}" in "".join(self.pieces)


@pytest.fixture(scope="session")
def hostile() -> str:
    """A name that tries everything."""
    return HOSTILE


@pytest.fixture(scope="session")
def read() -> Callable[[Path], Page]:
    """Return what reads a page that was written."""
    return Page


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the drawing, which takes most of the time, where the words are tested."""
    drawing = {
        ood_module: ("headline", "histograms", "inversions", "attack_images", "resistance"),
        leakage_module: ("quantiles", "membership", "triplets"),
    }
    for module, names in drawing.items():
        monkeypatch.setattr(module, "png", lambda _: b"\x89PNG\r\n\x1a\n" + bytes(16))
        for name in names:
            monkeypatch.setattr(module.figures, name, lambda *_, **__: None)


METHODS, METRICS, LEAK_SEEDS = ("generator", "kkt", "tldr"), ("ssim", "lpips-alex"), (0, 1)
TARGETS = {"twin": 0.0, "memorised": 0.5, "early-stopped": 0.0, "shifted": 0.25}
N_PAIRS, N_RECONSTRUCTIONS, N_LISTED = 40, 30, 12
HITS = {"generator": 25, "kkt": 21, "tldr": 3}


def _leak_row(target: str, method: str, metric: str, seed: int) -> dict[str, object]:
    row = {"target": target, "method": method, "metric": metric, "seed": seed,
           "design": "observational" if target == "shifted" else "pairs", "n_members": N_PAIRS, "n_control": N_PAIRS,
           "n_reconstructions": N_RECONSTRUCTIONS, "similarity_member": 0.61, "similarity_control": 0.55,
           "distinct_hits": HITS[method], "p_value": 0.12, "p_adjusted": 0.48, "verdict": "no-evidence",
           "verdict_reason": None, "scoring_limit": 9 if metric == "ssim" else 7, "blind_auroc": 0.52, "blind_p": 0.31,
           "seconds": 4.5, "status": "ok", "reason": None}  # fmt: skip
    if target == "shifted":
        row |= {"verdict": "inconclusive", "verdict_reason": "shift", "blind_auroc": 0.71, "blind_p": 0.005}
    elif method == "tldr":
        row |= {"verdict": "inconclusive", "verdict_reason": "attack-failed"}
    elif target == "memorised":
        row |= {"verdict": "leak", "p_value": 0.0001, "p_adjusted": 0.0004, "similarity_member": 0.83}
    return row


def _leak_table() -> pd.DataFrame:
    keys = [(*key, seed) for seed in LEAK_SEEDS for key in product(TARGETS, METHODS, METRICS)]
    rows = [_leak_row(*key) for key in keys]
    failed = {"status": "failed", "reason": "the inversions collapsed", "seconds": 1.0}
    skipped = {"status": "skipped", "reason": "the LPIPS weights are not there"}
    for seed in LEAK_SEEDS:
        base = {"target": "memorised", "design": "pairs", "seed": seed}
        rows.append(base | {"method": "deepinversion", "metric": "ssim"} | failed)
        rows.append(base | {"method": "generator", "metric": "lpips-squeeze"} | skipped)
    frame = pd.DataFrame(rows)
    frame.loc[frame["method"].eq("tldr") & frame["target"].eq("memorised"), "reason"] = "collapsed: one image"
    return frame


def _membership() -> pd.DataFrame:
    scores = ["attribution", "loss", "margin", "gradient-norm"]
    scores += [f"{method}:{metric}" for method, metric in product(METHODS, METRICS)]
    rng, rows = np.random.default_rng(5), []
    for seed, (target, leak), score in product(LEAK_SEEDS, TARGETS.items(), scores):
        auroc = 0.5 + 0.8 * leak * (0.6 if ":" in score else 1) + rng.normal(0, 0.02)
        rows.append(
            {"target": target, "score": score, "design": "pairs", "seed": seed, "n_members": N_PAIRS,
             "n_control": N_PAIRS, "auroc": auroc, "auroc_low": auroc - 0.06, "auroc_high": min(1.0, auroc + 0.06),
             "tpr_at_fpr_1pct": None, "p_value": 0.2 - 0.3 * leak, "epsilon_lower": 2 * leak, "status": "ok",
             "reason": "under 1,000 controls"}
        )  # fmt: skip
    rows.append({"target": "shifted", "score": "kkt:cosine", "design": "observational", "seed": 0,
                 "status": "failed", "reason": "no reference set"})  # fmt: skip
    return pd.DataFrame(rows)


def _leak_controls() -> pd.DataFrame:
    rows: list[dict[str, object]] = [
        {"kind": "attack", "target": "attack-control", "method": method, "metric": metric, "seed": 0,
         "p_value": 0.4 if method == "tldr" else 0.0001, "verdict": "no-evidence" if method == "tldr" else "leak",
         "status": "ok", "reason": None}
        for method, metric in product(METHODS, METRICS)
    ]  # fmt: skip
    table = _leak_table()
    negative = table[table["target"] == "twin"].assign(kind="negative")
    return pd.concat([pd.DataFrame(rows), negative[list(rows[0])]], ignore_index=True)


def _leak_arrays(folder: Path, *, images: bool) -> None:
    digits = load_digits()
    for seed, (target, leak) in product(LEAK_SEEDS, list(TARGETS.items())[1:]):
        rng = np.random.default_rng([seed, len(target)])
        place = folder / f"scores/seed-{seed}/{target}"
        place.mkdir(parents=True)
        chosen = np.concatenate([rng.choice(np.flatnonzero(digits.target == n), 8, replace=False) for n in range(10)])
        labels, pixels = digits.target[chosen], digits.images[chosen] / 16
        member = np.arange(2 * N_PAIRS) % 2 == 0
        np.savez(place / "pool.npz", labels=labels, member=member, pair=np.arange(2 * N_PAIRS) // 2)
        if images:
            np.savez(place / "images.npz", images=np.round(255 * pixels[:, None]).astype(np.uint8))
        for method in METHODS:
            source = np.where(rng.random(N_RECONSTRUCTIONS) < leak, 2 * rng.integers(0, N_PAIRS, N_RECONSTRUCTIONS), -1)
            other = digits.images[rng.integers(0, len(digits.images), N_RECONSTRUCTIONS)] / 16
            reconstructions = np.where(source[:, None, None] >= 0, pixels[source], other)
            reconstructions = np.clip(reconstructions + rng.normal(0, 0.12, reconstructions.shape), 0, 1)
            flat = [part.reshape(len(part), -1) - pixels.mean(0).ravel() for part in (reconstructions, pixels)]
            flat = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in flat]
            similarity = flat[0] @ flat[1].T
            index = np.argsort(-similarity, axis=1, kind="stable")[:, :N_LISTED]
            value = np.take_along_axis(similarity, index, axis=1)
            arrays = {"labels": labels[source], "restart": np.zeros(N_RECONSTRUCTIONS, int)}
            arrays |= {"ssim-index": index, "ssim-value": value, "lpips-alex-index": index}
            arrays |= {"lpips-alex-value": (1 - value) / 2}
            arrays |= {"images": np.round(255 * reconstructions[:, None]).astype(np.uint8)} if images else {}
            np.savez(place / f"{method}.npz", allow_pickle=False, **arrays)


@pytest.fixture(scope="session")
def make_leakage_run() -> Callable[..., Path]:
    """Return a function that writes a whole folder of a leakage run."""

    def make(folder: Path, *, images: str = "full") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        _leak_table().to_csv(folder / "table.csv", index=False)
        _membership().to_csv(folder / "membership.csv", index=False)
        _leak_controls().to_csv(folder / "controls.csv", index=False)
        targets = [
            {"target": target, "seed": seed, "n_members": N_PAIRS, "train_accuracy": 0.85 + 0.3 * leak,
             "control_accuracy": 0.86, "description": f"{target} network", "hash": content_hash(target, str(seed))}
            for seed, (target, leak) in product(LEAK_SEEDS, [("attack-control", 0.5), *TARGETS.items()])
        ]  # fmt: skip
        pd.DataFrame(targets).to_csv(folder / "targets.csv", index=False)
        _leak_arrays(folder, images=images == "full")
        (folder / "config.yaml").write_text(f"seeds: [0, 1]\nimages: {images}\nmetrics: [ssim, lpips-alex]\n", "utf-8")
        environment = {"versions": {"python": "3.11.9", "invaudit": "0.1"}, "command": ["invaudit", "leak", "a b"]}
        (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def finished_leakage_run(make_leakage_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole folder of a leakage run with images, not to be changed."""
    return make_leakage_run(tmp_path_factory.mktemp("finished") / "leakage")


@pytest.fixture
def leakage_folder(finished_leakage_run: Path, tmp_path: Path) -> Path:
    """A whole folder of a leakage run with images, of the test's own."""
    return Path(shutil.copytree(finished_leakage_run, tmp_path / "leakage"))
