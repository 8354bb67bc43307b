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
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from invaudit.benchmarks.ood.networks import new_network, train_new
from invaudit.benchmarks.ood.sets import load_sets
from invaudit.benchmarks.ood.settings import OODBenchmark
from invaudit.data import ImageSet
from invaudit.models import collect, limit_threads
from invaudit.ood import PARTS, synthetic_activations
from invaudit.ood.joint import ONSET, Scale, first_block_tells_classes, mean_error, part_weight
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
FIT, TEST = "fit", "test"
ONE_BRANCH = "one-branch"

Scores = dict[str, dict[str, Tensor]]
"""Part -> where -> scores (N,): held-out images (``fit``), ``test``, and ``family/NAME`` and ``ood/NAME``."""

KEEP_PICTURE = ("class-mix", "overlays")
"""Families that keep the picture and lose the class; all others break the picture."""
CLASS = tuple(name for name, part in PARTS.items() if part.branch == "class")
PICTURE = tuple(name for name, part in PARTS.items() if part.branch == "picture")
FIRST = ("nearest-first", "nearest-first-whitened")


class Rule(NamedTuple):
    """A way to join parts.

    Attributes:
        classes: Parts of the class branch.
        picture: Parts of the picture branch; none: there is one branch.
        onset: What the picture branch must exceed to count.
        by_branch: Whether a branch is weighed by the families that it asks for, or by all.
        balanced: Whether the picture branch counts more where it tells the families that keep the picture better.
    """

    classes: tuple[str, ...]
    picture: tuple[str, ...] = ()
    onset: float = ONSET
    by_branch: bool = False
    balanced: bool = False


RULES = {
    "one branch": Rule((*CLASS, *PICTURE)),
    "two branches": Rule(CLASS, PICTURE),
    "two, onset 0": Rule(CLASS, PICTURE, onset=0),
    "two, onset 2": Rule(CLASS, PICTURE, onset=2),
    "two, onset 4": Rule(CLASS, PICTURE, onset=4),
    "two, each weighed by its families": Rule(CLASS, PICTURE, by_branch=True),
    "two, balanced": Rule(CLASS, PICTURE, balanced=True),
    "two, last block in the class branch": Rule(
        (*CLASS, "nearest-last"), tuple(name for name in PICTURE if name != "nearest-last")
    ),
    "two, first block alone in the picture branch": Rule(
        (*CLASS, *(name for name in PICTURE if name not in FIRST)), FIRST
    ),
    "class branch alone": Rule(CLASS),
}
"""``joint`` is the first where the first block tells the classes, else the second."""


def scored(settings: OODBenchmark, network: str, seed: int) -> dict[str, np.ndarray]:
    """Return the scores of every part by ``PART::WHERE``, of one network that is trained or loaded."""
    sets = load_sets(settings, seed)
    splits = sets.splits
    target = new_network(settings, seed, network, sets)
    if settings.networks[network].model is None:
        train_new(settings, seed, network, sets, target)
    train = collect(target, splits.train, keep_maps=False)
    seen = {FIT: splits.fit, TEST: _some(splits.test)} | {
        f"ood/{name}": _some(images) for name, images in sets.ood.items()
    }
    found = {where: collect(target, images, keep_maps=False) for where, images in seen.items()}
    for family, activations in synthetic_activations(target, splits.fit).items():
        found[f"family/{family}"] = activations
    tells = first_block_tells_classes(train, splits.train.labels, found[FIT], splits.fit.labels, target.classes)
    scores: dict[str, np.ndarray] = {ONE_BRANCH: np.array(tells)}
    for name, part in PARTS.items():
        if part.needs_garbage and not target.has_garbage:
            continue
        state = part.fit(part.read(train), splits.train.labels)
        for where, activations in found.items():
            scores[f"{name}::{where}"] = part.score(state, part.read(activations)).numpy()
    return scores


def joined(scores: Scores, rule: Rule) -> dict[str, Tensor]:
    """Return the joined scores (N,) of every set."""
    scaled, weights = {}, {}
    for names, keeps in ((rule.classes, True), (rule.picture, False)):
        for name in set(names) & scores.keys():
            of_part = scores[name]
            telling = {
                where: values
                for where, values in of_part.items()
                if _is_family(where, keeps if rule.by_branch else None)
            }
            weights[name] = part_weight(of_part[FIT], telling)
            scale = Scale(of_part[FIT].sort().values)
            scaled[name] = {where: scale(values) for where, values in of_part.items()}
    classes = _mean(rule.classes, scaled, weights)
    if not rule.picture:
        return classes
    picture = _mean(rule.picture, scaled, weights)
    factor = 1.0
    if rule.balanced:
        tells = [
            part_weight(branch[FIT], {w: v for w, v in branch.items() if _is_family(w, True)})
            for branch in (classes, picture)
        ]
        factor = max(1.0, tells[1] / tells[0])
    return {where: classes[where] + factor * (picture[where] - rule.onset).clamp_min(0) for where in classes}


def _mean(names: tuple[str, ...], scaled: Scores, weights: dict[str, float]) -> dict[str, Tensor]:
    there = [name for name in names if name in scaled]
    total = sum(weights[name] for name in there)
    return {
        where: torch.stack([weights[name] / total * scaled[name][where] for name in there]).sum(0)
        for where in scaled[there[0]]
    }


def _is_family(where: str, keeps: bool | None) -> bool:
    """Return whether a set is a family of synthetic outliers, of those that keep the picture or of the others."""
    kind, _, name = where.partition("/")
    return kind == "family" and (keeps is None or (name in KEEP_PICTURE) == keeps)


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
            how = content_hash(settings.model_dump_json(), *PARTS)
            name = f"{Path(config).stem}-{network}-{seed}"
            kept = options.work / f"{name}-{how[:8]}.npz"
            if not kept.is_file():
                print(f"training {name}", file=sys.stderr, flush=True)
                write_bytes(kept, npz_bytes(scored(settings, network, seed)))
            with np.load(kept) as file:
                one_branch = bool(file[ONE_BRANCH])
                scores: Scores = {}
                for key in file.files:
                    part, _, where = key.partition("::")
                    if where:
                        scores.setdefault(part, {})[where] = torch.from_numpy(file[key])
            for rule_name, rule in RULES.items():
                row = {key: round(value, 3) for key, value in measured(scores, rule).items()}
                ours = rule_name == ("one branch" if one_branch else "two branches")
                rows.append({"network": name, "rule": rule_name, "ours": ours, **row})
                print(
                    f"{name:36} {rule_name:44} {'*' if ours else ' '}",
                    *(f"{key} {value:.2f}" for key, value in row.items()),
                    flush=True,
                )
    write_json(options.out, {"rows": rows, "environment": describe_environment()})


if __name__ == "__main__":
    main()
