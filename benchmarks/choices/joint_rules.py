"""How `joint` should join its parts: rules side by side, by synthetic outliers, and by the near sets of development.

For each config, network and seed one network is trained as in the benchmark, or loaded where it was trained elsewhere;
seeds begin at 100, the recorded benchmarks use others. The parts are fitted on its training images and scaled by
held-out ID images. For each rule: the error on families that keep the picture and on those that break it (geometric
mean of 1 - AUROC among the held-out images), and the AUROC of ID test images against each OOD set, a look at
development sets. Scores are kept in --work, so that a run that was stopped continues where it was.

    python benchmarks/choices/joint_rules.py [--configs ood/digits ood/ablation-mnist ...] [--seeds 100 101]
"""

import argparse
import sys
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from invaudit.benchmarks.ood.networks import new_network, train_new
from invaudit.benchmarks.ood.sets import load_sets
from invaudit.benchmarks.ood.settings import OODBenchmark
from invaudit.data import FAMILIES, KEEP_PICTURE, ImageSet
from invaudit.models import Activations, collect, limit_threads
from invaudit.ood import synthetic_activations
from invaudit.ood.joint import Scale, mean_error, told
from invaudit.ood.parts import FORMER_PARTS, KNOWN_PARTS, PARTS, Part
from invaudit.runtime import describe_environment, load_config, write_bytes, write_json
from invaudit.runtime.files import content_hash, npz_bytes
from invaudit.stats import auroc

CONFIGS = [
    "ood/cifar10-released",
    "ood/digits",
    "ood/ablation-mnist",
    "ood/ablation-fashion-mnist",
    "ood/open-set-mnist",
    "ood/open-set-fashion-mnist",
]
NETWORKS = ["released", "plain", "full"]
MOST = 2_000
"""Images of a set that are scored."""
TRAIN, FIT, TEST = "train", "fit", "test"

Scores = dict[str, dict[str, Tensor]]
"""Part -> where -> scores (N,): held-out images (``fit``), ``test``, and ``family/NAME`` and ``ood/NAME``."""


class Rule(NamedTuple):
    """A way to join parts.

    Attributes:
        classes: Parts of the class branch.
        picture: Parts of the picture branch; none: there is one branch.
        onset: What the picture branch must exceed to count.
        power: Of what a part tells, which is its weight.
        of_branches: Power of what a branch tells of the families that keep the picture, which is its weight.
    """

    classes: tuple[str, ...]
    picture: tuple[str, ...] = ()
    onset: float = 0
    power: float = 1
    of_branches: float = 0


def branch(parts: dict[str, Part], name: str) -> tuple[str, ...]:
    """Return the names of the parts of a branch."""
    return tuple(part for part in parts if parts[part].branch == name)


CLASS, PICTURE = branch(PARTS, "class"), branch(PARTS, "picture")
FORMER_CLASS, FORMER_PICTURE = branch(FORMER_PARTS, "class"), branch(FORMER_PARTS, "picture")
RMD, GEN = "relative-mahalanobis", "generalised-entropy"
RULES = {
    "former: one weighted sum": Rule(tuple(FORMER_PARTS)),
    "former parts, onset 1": Rule(FORMER_CLASS, FORMER_PICTURE, onset=1),
    "former parts, branches alike": Rule(FORMER_CLASS, FORMER_PICTURE),
    "early blocks for the first, whitened": Rule(FORMER_CLASS, PICTURE),
    "and relative Mahalanobis": Rule((*FORMER_CLASS, RMD), PICTURE),
    "and generalised entropy": Rule((*FORMER_CLASS, RMD, GEN), PICTURE),
    "and squared weights": Rule((*FORMER_CLASS, RMD, GEN), PICTURE, power=2),
    "and gradient norm for the energy": Rule(CLASS, PICTURE, power=2),
    "ours: and weights of branches": Rule(CLASS, PICTURE, power=2, of_branches=0.5),
    "ours, branches in full measure": Rule(CLASS, PICTURE, power=2, of_branches=1),
    "ours, onset 1": Rule(CLASS, PICTURE, onset=1, power=2, of_branches=0.5),
    "ours, fourth powers": Rule(CLASS, PICTURE, power=4, of_branches=0.5),
    "ours and the energy": Rule((*CLASS, "energy"), PICTURE, power=2, of_branches=0.5),
    "ours as one sum": Rule((*CLASS, *PICTURE), power=2),
    "class branch alone": Rule(CLASS, power=2),
    "picture branch alone": Rule(PICTURE, power=2),
}


def seen(settings: OODBenchmark, network: str, seed: int) -> tuple[dict[str, Activations], Tensor]:
    """Return activations of all sets of one network, which is trained or loaded, and its training labels."""
    sets = load_sets(settings, seed)
    splits = sets.splits
    target = new_network(settings, seed, network, sets)
    if settings.networks[network].model is None:
        train_new(settings, seed, network, sets, target)
    images = {TRAIN: splits.train, FIT: splits.fit, TEST: _some(splits.test)}
    for name, of_set in sets.ood.items():
        images[f"ood/{name}"] = _some(of_set)
    found = {where: collect(target, some, keep_maps=False) for where, some in images.items()}
    for family, activations in synthetic_activations(target, splits.fit).items():
        found[f"family/{family}"] = activations
    return found, splits.train.labels


def scored(found: dict[str, Activations], labels: Tensor) -> dict[str, np.ndarray]:
    """Return the scores of every part by ``PART::WHERE``."""
    classes = int(labels.max()) + 1
    has_garbage = found[TRAIN].logits.shape[1] > classes
    scores: dict[str, np.ndarray] = {}
    for name, part in KNOWN_PARTS.items():
        if part.needs_garbage and not has_garbage:
            continue
        state = part.fit(part.read(found[TRAIN]), labels)
        for where, activations in found.items():
            if where != TRAIN:
                scores[f"{name}::{where}"] = part.score(state, part.read(activations)).numpy()
    return scores


def joined(scores: Scores, rule: Rule) -> dict[str, Tensor]:
    """Return the joined scores (N,) of every set."""
    scaled, weights = {}, {}
    for name in {*rule.classes, *rule.picture} & scores.keys():
        of_part = scores[name]
        weights[name] = _told(of_part, FAMILIES) ** rule.power
        scale = Scale(of_part[FIT].sort().values)
        scaled[name] = {where: scale(values) for where, values in of_part.items()}
    classes = _mean(rule.classes, scaled, weights)
    if not rule.picture:
        return classes
    picture = _mean(rule.picture, scaled, weights)
    share = (_told(picture, KEEP_PICTURE) / _told(classes, KEEP_PICTURE)) ** rule.of_branches
    return {where: classes[where] + share * (picture[where] - rule.onset).clamp_min(0) for where in classes}


def _told(scores: dict[str, Tensor], families: Iterable[str]) -> float:
    return told(scores[FIT], {name: scores[f"family/{name}"] for name in families})


def _mean(names: tuple[str, ...], scaled: Scores, weights: dict[str, float]) -> dict[str, Tensor]:
    there = [name for name in names if name in scaled]
    total = sum(weights[name] for name in there)
    return {
        where: torch.stack([weights[name] / total * scaled[name][where] for name in there]).sum(0)
        for where in scaled[there[0]]
    }


def _is_family(where: str, keeps: bool) -> bool:
    """Return whether a set is a family of synthetic outliers, of those that keep the picture or of the others."""
    kind, _, name = where.partition("/")
    return kind == "family" and (name in KEEP_PICTURE) == keeps


def measured(scores: Scores, rule: Rule) -> dict[str, float]:
    """Return the error on both kinds of families, and the AUROC on every OOD set, in per cent."""
    found = joined(scores, rule)

    def told(inside: str, where: str) -> float:
        return auroc(found[inside].numpy(), found[where].numpy())

    row = {}
    for name, keeps in (("keep", True), ("break", False)):
        row[name] = 100 * mean_error(told(FIT, where) for where in found if _is_family(where, keeps))
    for where in found:
        if where.startswith("ood/"):
            row[where.removeprefix("ood/")] = 100 * told(TEST, where)
    return row


def _some(images: ImageSet) -> ImageSet:
    if len(images) <= MOST:
        return images
    return images.subset(torch.linspace(0, len(images) - 1, MOST).round().long())


def main() -> None:
    """Score what is not kept yet, and print and record what each rule gives on each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", nargs="+", default=CONFIGS)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[100])
    parser.add_argument("--work", type=Path, default=Path("runs/joint-rules"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "joint_rules.json")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with limit_threads(1):
        for config, network, seed in product(options.configs, options.networks, options.seeds):
            settings = load_config(OODBenchmark, config)
            if network not in settings.networks:
                continue
            how = content_hash(settings.model_dump_json(), *KNOWN_PARTS)
            name = f"{Path(config).stem}-{network}-{seed}"
            kept = options.work / f"{name}-{how[:8]}.npz"
            if not kept.is_file():
                print(f"training {name}", file=sys.stderr, flush=True)
                write_bytes(kept, npz_bytes(scored(*seen(settings, network, seed))))
            with np.load(kept) as file:
                scores: Scores = {}
                for key in file.files:
                    part, _, where = key.partition("::")
                    scores.setdefault(part, {})[where] = torch.from_numpy(file[key])
            for rule_name, rule in RULES.items():
                row = {key: round(value, 3) for key, value in measured(scores, rule).items()}
                rows.append({"network": name, "rule": rule_name, **row})
                print(
                    f"{name:36} {rule_name:44}",
                    *(f"{key} {value:.2f}" for key, value in row.items()),
                    flush=True,
                )
    write_json(options.out, {"rows": rows, "environment": describe_environment()})


if __name__ == "__main__":
    main()
