"""Which parts `joint` should have: every set of candidate parts ranked on synthetic outliers, without an OOD set.

For each config, network and seed one network is trained as in the benchmark; every candidate part is fitted on its
training images and scaled by held-out ID images. Other held-out ID images then stand against ten families of synthetic
outliers, made from them, that nothing is trained on. The error of a set of parts on a network is the geometric mean
over the families of 1 - AUROC of the sum (at least 0.0001 each); sets are ranked by the geometric mean over the ID
sets of the geometric mean over the networks of one ID set. Seeds begin at 100; the recorded benchmarks use others.
Scores are kept in --work, so that a run that was stopped continues where it was. Data from INVAUDIT_DATA.

    python benchmarks/joint_parts.py [--configs ood/digits ood/ablation-mnist ood/mnist ...] [--seeds 100 101]
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from invaudit.benchmarks.ood.sets import families, load_sets
from invaudit.benchmarks.ood.settings import OODBenchmark
from invaudit.data import generator
from invaudit.models import Activations, collect, threads
from invaudit.ood import PARTS, Recipe, new_target, train_network
from invaudit.ood.joint import Scale
from invaudit.ood.parts import (
    Part,
    State,
    nearest_score,
    nearest_state,
    whitened_score,
    whitened_state,
)
from invaudit.runtime import describe_environment, load_config, write_bytes, write_json
from invaudit.runtime.console import progress
from invaudit.runtime.files import npz_bytes
from invaudit.stats import auroc

CONFIGS = ["ood/digits", "ood/ablation-mnist", "ood/ablation-fashion-mnist"]
EACH = 300
FLOOR = 1e-4
SIZES = range(3, 9)
SHOWN = 20

Read = Callable[[Activations], Tensor]
Scores = dict[str, dict[str, np.ndarray]]


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


def _gaussian(read: Read) -> Part:
    return Part(
        lambda train, labels: gaussian_state(read(train), labels),
        lambda state, found: gaussian_score(state, read(found)),
    )


def _nearest(read: Read) -> Part:
    return Part(
        lambda train, _labels: nearest_state(read(train)),
        lambda state, found: nearest_score(state, read(found)),
    )


def _whitened(read: Read) -> Part:
    return Part(
        lambda train, labels: whitened_state(read(train), labels),
        lambda state, found: whitened_score(state, read(found)),
    )


CANDIDATES = PARTS | {
    "nearest-middle": _nearest(lambda found: found.moments[len(found.moments) // 2]),
    "nearest-middle-whitened": _whitened(lambda found: found.moments[len(found.moments) // 2]),
    "nearest-last-whitened": _whitened(lambda found: found.moments[-1]),
    "nearest-head-whitened": _whitened(lambda found: found.features),
    "gaussian-first": _gaussian(lambda found: found.moments[0]),
    "gaussian-last": _gaussian(lambda found: found.moments[-1]),
    "gaussian-head": _gaussian(lambda found: found.features),
}


def scored(config: str, network: str, seed: int) -> Scores:
    """Train one network and return the scaled scores of each candidate on held-out ID images and on each family."""
    settings = load_config(OODBenchmark, config)
    sets = load_sets(settings, seed)
    recipe = Recipe(
        training=settings.training, garbage=settings.networks[network].garbage, inversion=settings.inversion
    )
    splits, rng = sets.splits, generator(seed, "network/weights")
    target = new_target(settings.arch, splits.train, splits.train.classes, rng, garbage=recipe.has_garbage_class)
    train_network(target, splits.train, recipe, generator(seed, "network/training"), held_out=splits.fit)
    train, fit = (collect(target, data, keep_maps=False) for data in (splits.train, splits.fit))
    made = families(splits.calibrate, sets.transform, seed, EACH)
    seen = {"id": collect(target, splits.calibrate, keep_maps=False)}
    seen |= {name: collect(target, images.float() / 255, keep_maps=False) for name, images in made.items()}
    scores: Scores = {}
    for name, part in CANDIDATES.items():
        state = part.fit(train, splits.train.labels)
        scale = Scale(part.score(state, fit).sort().values)
        scores[name] = {where: scale(part.score(state, found)).numpy() for where, found in seen.items()}
    return scores


def error(scores: Scores, parts: tuple[str, ...]) -> float:
    """Return the geometric mean over the families of 1 - AUROC of the sum of some parts."""
    joined = {where: np.sum([scores[part][where] for part in parts], axis=0) for where in scores[parts[0]]}
    return geometric_mean(
        max(1 - auroc(joined["id"], values), FLOOR) for where, values in joined.items() if where != "id"
    )


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
    for parts in progress(sets_of_parts(), total=sum(1 for _ in sets_of_parts()), label="sets of parts"):
        errors = {
            id_set: {name: error(scores, parts) for name, scores in found.items()} for id_set, found in networks.items()
        }
        overall = geometric_mean(geometric_mean(found.values()) for found in errors.values())
        rows.append({"parts": parts, "overall": overall, "errors": errors})
    return sorted(rows, key=lambda row: row["overall"])


def main() -> None:
    """Train what is not kept yet, rank all sets and record the best, ours and ours without each of its parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", nargs="+", default=CONFIGS)
    parser.add_argument("--networks", nargs="+", default=["full", "noise"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[100])
    parser.add_argument("--work", type=Path, default=Path("runs/joint-parts"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "joint_parts.json")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args()
    networks: dict[str, dict[str, Scores]] = {}
    with threads(1):
        for config in options.configs:
            for network in options.networks:
                for seed in options.seeds:
                    name = f"{Path(config).stem}-{network}-{seed}"
                    kept = options.work / f"{name}.npz"
                    if not kept.is_file():
                        print(f"training {name}", file=sys.stderr)
                        found = scored(config, network, seed)
                        flat = {f"{part}::{where}": v for part, by in found.items() for where, v in by.items()}
                        write_bytes(kept, npz_bytes(flat))
                    id_set = load_config(OODBenchmark, config).name
                    networks.setdefault(id_set, {})[name] = _read(kept)
    rows = ranked(networks)
    ours = set(PARTS)
    near = [row for row in rows if len(ours ^ set(row["parts"])) <= 1]
    record = {"n_sets": len(rows), "best": rows[:SHOWN], "ours_and_one_more_or_less": near}
    write_json(options.out, {**record, "environment": describe_environment()})
    if options.json:
        print(json.dumps(record, sort_keys=True))
    for rank, row in enumerate(rows[:SHOWN] if not options.json else [], start=1):
        print(f"{rank:3}  {100 * row['overall']:.4f} %  {' '.join(row['parts'])}")


def _read(path: Path) -> Scores:
    scores: Scores = {}
    with np.load(path) as file:
        for key in file.files:
            part, where = key.split("::")
            scores.setdefault(part, {})[where] = file[key]
    return scores


if __name__ == "__main__":
    main()
