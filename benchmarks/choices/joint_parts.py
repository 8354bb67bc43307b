"""Which parts `joint` should have: every set of candidate parts ranked on synthetic outliers, without an OOD set.

For each config, network and seed one network is trained as in the benchmark; every candidate part is fitted on its
training images and scaled by held-out ID images. Other held-out ID images then stand against ten families of synthetic
outliers, made from them, that nothing is trained on. The error of a set of parts on a network is the geometric mean
over the families of 1 - AUROC of the weighted sum (at least 0.0001 each); the weights for five families come from the
other five. Sets are ranked by the geometric mean over the ID sets of the geometric mean over the networks of one ID
set. Seeds begin at 100; the recorded benchmarks use others. Scores are kept in --work, so that a run that was stopped
continues where it was. Data from INVAUDIT_DATA.

    python benchmarks/choices/joint_parts.py [--configs ood/digits ood/ablation-mnist ood/mnist ...] [--seeds 100 101]
"""

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from invaudit.benchmarks.ood.networks import new_network, train_new
from invaudit.benchmarks.ood.sets import load_sets
from invaudit.benchmarks.ood.settings import OODBenchmark
from invaudit.data import FAMILIES
from invaudit.models import Activations, collect, limit_threads
from invaudit.ood import PARTS, synthetic_activations
from invaudit.ood.joint import OUTLIERS_PER_FAMILY, Scale, mean_error, part_weight
from invaudit.ood.parts import (
    Part,
    State,
    nearest_score,
    nearest_state,
    read_features,
    read_first_block,
    read_last_block,
    whitened_score,
    whitened_state,
)
from invaudit.runtime import describe_environment, load_config, write_bytes, write_json
from invaudit.runtime.console import progress
from invaudit.runtime.files import content_hash, npz_bytes
from invaudit.stats import auroc

CONFIGS = ["ood/digits", "ood/ablation-mnist", "ood/ablation-fashion-mnist", "ood/cifar10"]
EACH = 300
SIZES = range(3, 10)
SHOWN = 20

HALVES = tuple(FAMILIES)[::2], tuple(FAMILIES)[1::2]

Scores = dict[str, np.ndarray]
"""By ``PART::SET``, scaled and weighed by the half of the families that SET is not in; ``id-0`` and ``id-1`` are the
held-out ID images, for the one half and the other."""


def gaussian_state(vectors: Tensor, labels: Tensor) -> State:
    """Fit one Gaussian for each class: 0.9 of its own covariance, 0.1 of the tied one, a ridge of 0.01."""
    vectors = vectors.double()
    scale = vectors.std(0, correction=0).clamp_min(1e-6)
    classes = labels.unique()
    groups = [vectors[labels == label] / scale for label in classes]
    centred = [group - group.mean(0) for group in groups]
    covariances = torch.stack([group.T @ group / len(group) for group in centred])
    tied = torch.cat(centred).T @ torch.cat(centred) / len(vectors)
    ridge = 0.01 * tied.trace() / len(tied) * torch.eye(len(tied), dtype=tied.dtype)
    means = torch.stack([group.mean(0) for group in groups])
    return {"scale": scale, "means": means, "covariances": 0.9 * covariances + 0.1 * tied + ridge}


def gaussian_score(state: State, vectors: Tensor) -> Tensor:
    """Return minus the largest log-density over the classes, (N,)."""
    vectors = vectors.double() / state["scale"]
    parameters = zip(state["means"], state["covariances"], strict=True)
    densities = [MultivariateNormal(mean, covariance).log_prob(vectors) for mean, covariance in parameters]
    return -torch.stack(densities).max(0).values


def middle(found: Activations) -> Tensor:
    """Read the channel moments of the middle block (N, D)."""
    return found.moments[len(found.moments) // 2]


CANDIDATES = PARTS | {
    "nearest-middle": Part(middle, nearest_state, nearest_score),
    "nearest-middle-whitened": Part(middle, whitened_state, whitened_score),
    "nearest-last-whitened": Part(read_last_block, whitened_state, whitened_score),
    "nearest-head-whitened": Part(read_features, whitened_state, whitened_score),
    "gaussian-first": Part(read_first_block, gaussian_state, gaussian_score),
    "gaussian-last": Part(read_last_block, gaussian_state, gaussian_score),
    "gaussian-head": Part(read_features, gaussian_state, gaussian_score),
}


def scored(settings: OODBenchmark, network: str, seed: int) -> Scores:
    """Train one network and return the scores of each candidate on held-out ID images and on each family."""
    sets = load_sets(settings, seed)
    splits = sets.splits
    target = new_network(settings, seed, network, sets)
    train_new(settings, seed, network, sets, target)
    train, fit = (collect(target, data, keep_maps=False) for data in (splits.train, splits.fit))
    weighing = synthetic_activations(target, splits.fit)
    seen = {"id": collect(target, splits.calibrate, keep_maps=False)}
    seen |= synthetic_activations(target, splits.calibrate, seed=seed, n=EACH)
    scores: Scores = {}
    for name, part in CANDIDATES.items():
        state = part.fit(part.read(train), splits.train.labels)
        reference = part.score(state, part.read(fit))
        scale = Scale(reference.sort().values)
        scaled = {where: scale(part.score(state, part.read(found))).numpy() for where, found in seen.items()}
        for half, others in enumerate(reversed(HALVES)):
            weight = part_weight(reference, {one: part.score(state, part.read(weighing[one])) for one in others})
            scores[f"{name}::id-{half}"] = weight * scaled["id"]
            scores |= {f"{name}::{family}": weight * scaled[family] for family in HALVES[half]}
    return scores


def error(scores: Scores, parts: tuple[str, ...]) -> float:
    """Return the geometric mean over the families of 1 - AUROC of the sum of some parts."""
    aurocs = []
    for half, families in enumerate(HALVES):
        inside, *outside = (
            np.sum([scores[f"{part}::{where}"] for part in parts], axis=0) for where in (f"id-{half}", *families)
        )
        aurocs += [auroc(inside, values) for values in outside]
    return mean_error(aurocs)


def sets_of_parts() -> Iterator[tuple[str, ...]]:
    """Give every set of candidates that holds the garbage class, in their order."""
    others = [name for name in CANDIDATES if name != "garbage"]
    for size in SIZES:
        for some in combinations(others, size - 1):
            yield ("garbage", *some)


def ranked(networks: dict[str, dict[str, Scores]]) -> list[dict[str, Any]]:
    """Return one row for each set of parts, the best first.

    Args:
        networks: ID set -> name of a network -> its scores.
    """
    rows = []
    candidates = list(sets_of_parts())
    for parts in progress(candidates, total=len(candidates), label="sets of parts"):
        errors = {
            id_set: {name: error(scores, parts) for name, scores in found.items()} for id_set, found in networks.items()
        }
        overall = geometric_mean(geometric_mean(found.values()) for found in errors.values())
        rows.append({"parts": parts, "overall": overall, "errors": errors})
    return sorted(rows, key=lambda row: row["overall"])


def main() -> None:
    """Train what is not kept yet, rank all sets and record the best, ours, and ours with one part more or less."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", nargs="+", default=CONFIGS)
    parser.add_argument("--networks", nargs="+", default=["full", "noise"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[100])
    parser.add_argument("--work", type=Path, default=Path("runs/joint-parts"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "joint_parts.json")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args()
    networks: dict[str, dict[str, Scores]] = {}
    with limit_threads(1):
        for config, network, seed in product(options.configs, options.networks, options.seeds):
            settings = load_config(OODBenchmark, config)
            how = content_hash(settings.model_dump_json(), *CANDIDATES, f"{EACH} {OUTLIERS_PER_FAMILY}")
            name = f"{Path(config).stem}-{network}-{seed}"
            kept = options.work / f"{name}-{how[:8]}.npz"
            if not kept.is_file():
                print(f"training {name}", file=sys.stderr)
                write_bytes(kept, npz_bytes(scored(settings, network, seed)))
            with np.load(kept) as file:
                networks.setdefault(settings.name, {})[name] = dict(file)
    rows = ranked(networks)
    ours = set(PARTS)
    near = [row for row in rows if len(ours ^ set(row["parts"])) <= 1]
    record = {"n_sets": len(rows), "best": rows[:SHOWN], "ours_and_one_more_or_less": near}
    write_json(options.out, {**record, "environment": describe_environment()})
    if options.json:
        print(json.dumps(record, sort_keys=True))
    for rank, row in enumerate(rows[:SHOWN] if not options.json else [], start=1):
        print(f"{rank:3}  {100 * row['overall']:.4f} %  {' '.join(row['parts'])}")


if __name__ == "__main__":
    main()
