"""What each leakage method finds on targets that know their training images by heart: AUROC, verdict test, seconds.

    python benchmarks/leakage_methods.py --suite digits
    INVAUDIT_DATA=... python benchmarks/leakage_methods.py --suite digits mnist fashion-mnist

Each target is trained on one image of every pair, chosen by a coin. Reconstruction methods score a pool image by its
most similar reconstruction of its class (centred cosine, mean over restarts); beside them attribution and the usual
membership scores. Each finished row is recorded, so that a run that was stopped continues where it was. Settings are
chosen on seeds from 100 on; the recorded seeds start at 0.
"""

import argparse
import csv
import io
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invaudit.data import generator, load
from invaudit.leakage import (
    METHODS,
    RECIPES,
    attribute,
    best_similarity,
    draw_pairs,
    membership_scores,
    reconstruct,
    score_reconstructions,
    train_target,
)
from invaudit.models import Target, resolve_device, threads
from invaudit.runtime import child, describe_environment, read_json, write_json, write_text
from invaudit.runtime.errors import InputError, RunFolderError
from invaudit.similarity import make_metric
from invaudit.stats import Pairs, auroc

DRAWS = 9999


@dataclass(frozen=True)
class Suite:
    """Targets on one data set."""

    data: str
    members: int
    targets: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: dict[str, dict[str, Any]]
    """Settings of methods that differ from their defaults."""


LARGE = {"kkt": {"images": 200}, "generator": {"count": 200}, "tldr": {"count": 200}, "deepinversion": {"images": 200}}
SUITES = {
    "digits": Suite("digits", 40, tuple(RECIPES), tuple(range(10)), {}),
    "mnist": Suite("mnist:train", 100, ("mlp", "cnn-adam"), (0, 1, 2), LARGE),
    "fashion-mnist": Suite("fashion-mnist:train", 100, ("mlp", "cnn-adam"), (0, 1, 2), LARGE),
}


@dataclass(frozen=True)
class Case:
    """One target with what an auditor has, and the truth."""

    target: Target
    images: Tensor
    labels: Tensor
    design: Pairs
    reference: Tensor


def make_case(suite: Suite, name: str, seed: int, device: torch.device) -> Case:
    """Draw the pool of a seed, which all targets of a suite share, and train a target."""
    data = load(suite.data)
    drawn = draw_pairs(data.labels, suite.members, generator(seed, "leakage/pool"))
    images, labels = data.floats(drawn.index), data.labels[drawn.index]
    members = images[drawn.member], labels[drawn.member]
    target = train_target(RECIPES[name], *members, data.classes, generator(seed, f"leakage/{name}"), device=device)
    design = Pairs(drawn.member.numpy(), drawn.pair.numpy())
    return Case(target, images, labels, design, data.floats(drawn.reference))


def by_score(case: Case, name: str) -> dict[str, Any]:
    """Return the row of a score that needs no reconstruction."""
    given = case.target, case.images, case.labels
    scores = attribute(*given) if name == "attribution" else membership_scores(*given)[name]
    return {"outcome": "ok", "auroc_cosine": separation(scores, case.design)}


def by_method(case: Case, method: str, settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the row of a reconstruction method."""
    rng = generator(seed, f"leakage/method/{method}")
    start = time.perf_counter()
    found = reconstruct(case.target, method, settings, rng, reference=case.reference)
    row: dict[str, Any] = {"outcome": found.outcome, "seconds": round(time.perf_counter() - start, 1)}
    row["reconstructions"] = len(found)
    if not len(found):
        return row
    for name in ("cosine", "ssim"):
        metric = make_metric(name, reference=case.reference)
        scores = best_similarity(found.images, found.labels, found.restart, case.images, case.labels, metric)
        row[f"auroc_{name}"] = separation(scores, case.design)
        if name == "cosine":
            nearest = score_reconstructions(found.images, case.images, metric)
            stage = child(seed, f"leakage/test/{method}")
            test = nearest.test(case.design, np.random.default_rng(stage), draws=DRAWS)
            row |= {"p_value": test.p_value, "distinct_hits": test.distinct_hits}
            row["near_members"] = float(case.design.member[nearest.index[:, 0]].mean())
    return row


def separation(scores: Tensor, design: Pairs) -> float:
    """Return the AUROC of members against controls."""
    return auroc(scores[~design.member], scores[design.member])


SCORES = ("attribution", "loss", "margin", "gradient-norm")


def run(names: list[str], seeds: list[int] | None, methods: list[str], out: Path, device: torch.device) -> list[Any]:
    """Measure what is not recorded yet; return all rows."""
    settings = {
        "recipes": {name: recipe.model_dump(mode="json") for name, recipe in RECIPES.items()},
        "methods": {name: method.settings().model_dump(mode="json") for name, method in METHODS.items()},
    }
    known = read_json(out) if out.is_file() else {"settings": settings, "rows": []}
    if known["settings"] != settings:
        raise RunFolderError(f"{out} was made with other settings; remove it or choose another --out")
    rows: list[dict[str, Any]] = known["rows"]
    done = {(row["suite"], row["target"], row["seed"], row["method"]) for row in rows}
    about = {"threads": torch.get_num_threads(), "device": str(device)}
    for name in names:
        suite = SUITES[name]
        for seed, target in ((seed, target) for seed in seeds or suite.seeds for target in suite.targets):
            missing = [one for one in (*SCORES, *methods) if (name, target, seed, one) not in done]
            if not missing:
                continue
            case = make_case(suite, target, seed, device)
            for method in missing:
                start = {"suite": name, "members": suite.members, "target": target, "seed": seed, "method": method}
                given = (case, method, suite.settings.get(method, {}), seed)
                rows.append(start | (by_score(case, method) if method in SCORES else by_method(*given)))
                write_json(out, {"settings": settings, "rows": rows, "environment": describe_environment(**about)})
                write_text(out.with_suffix(".csv"), table(rows))
                print(rows[-1], file=sys.stderr)
    return rows


COLUMNS = (
    "suite", "members", "target", "seed", "method", "outcome", "auroc_cosine", "auroc_ssim", "p_value",
    "distinct_hits", "near_members", "reconstructions", "seconds",
)  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()})
    return text.getvalue()


def summary(rows: list[dict[str, Any]]) -> str:
    """Return means over seeds, one line for each suite, target and method."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["suite"], row["target"], row["method"]), []).append(row)
    lines = []
    for key, found in groups.items():
        values = {name: [row[name] for row in found if row.get(name) is not None] for name in COLUMNS}
        cosine, ssim = (mean_of(values[name]) for name in ("auroc_cosine", "auroc_ssim"))
        low = f"p<=0.01 in {sum(p <= 0.01 for p in values['p_value'])}/{len(found)}" if values["p_value"] else ""
        seconds = f"{np.mean(values['seconds']):.1f} s" if values["seconds"] else ""
        lines.append(f"{' '.join(key):40s}{cosine:8s}{ssim:8s}{low:18s}{seconds}")
    return "\n".join(lines)


def mean_of(values: list[float]) -> str:
    """Return the mean as text, empty where there is none."""
    return f"{np.mean(values):.3f}" if values else ""


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", nargs="+", choices=SUITES, default=["digits"])
    parser.add_argument("--seeds", type=int, nargs="+", help="those of the suite by default")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "leakage_methods.json")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    chosen = parser.parse_args()
    try:
        with threads(chosen.threads):
            rows = run(chosen.suite, chosen.seeds, chosen.methods, chosen.out, resolve_device(chosen.device))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps({"rows": rows}, sort_keys=True) if chosen.json else summary(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
