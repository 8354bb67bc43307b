"""Which recipe to take for the OOD benchmarks, chosen without any OOD set: held-out ID images and synthetic outliers.

Each candidate trains one network for each ID set and seed on 12,000 images. `joint` is fitted on them and scaled by
2,000 held-out images; 2,000 others play ID against ten families of synthetic outliers that no network is trained on.
Beside that stand the ID accuracy, and the resistance to a fresh generator of another kind. Seeds begin at 100; the
recorded benchmarks use others. Data from INVAUDIT_DATA; what is recorded is not measured again.

    python benchmarks/ood_recipes.py [--candidates plain noise ...] [--ids mnist fashion-mnist] [--seeds 100 101]
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from invaudit.benchmarks.ood.sets import families as synthetic_families
from invaudit.data import Transform, generator, load, split
from invaudit.inversion import InversionSettings, Inverter
from invaudit.models import TrainingSettings, accuracy, collect, threads
from invaudit.ood import GarbageSettings, Joint, Recipe, counterfeits, new_target, predictions, train_network
from invaudit.runtime import describe_environment, read_json, write_json
from invaudit.stats import auroc, conformal_threshold

SIZES = {"train": 12_000, "fit": 2_000, "calibrate": 2_000}
EACH = 400
TRAINING = {"epochs": 6}
INVERSION = {"steps": 50, "batch_size": 64, "eval_every": 50, "eval_images": 4}
ATTACK = InversionSettings(
    generator="transposed-small", steps=150, batch_size=64, hot=True, eval_every=150, eval_images=4
)
ATTACK_IMAGES = 500
HOW = {"sizes": SIZES, "each": EACH, "attack": ATTACK.model_dump(mode="json"), "attack_images": ATTACK_IMAGES}
"""What a row depends on beside its recipe."""

CANDIDATES: dict[str, dict[str, Any]] = {
    "plain": {},
    "noise": {"garbage": {"noise": 1.0}},
    "derived": {"garbage": {"noise": 0.25, "derived": 0.75}},
    "inversion": {"garbage": {"noise": 0.25, "inversions": 0.75}},
    "full": {"garbage": {"noise": 0.2, "derived": 0.55, "inversions": 0.25}},
    "full, noisier": {"garbage": {"noise": 0.5, "derived": 0.25, "inversions": 0.25}},
    "full, hot": {"garbage": {"noise": 0.2, "derived": 0.55, "inversions": 0.25}, "inversion": {"hot": True}},
    "full, smoothed": {
        "garbage": {"noise": 0.2, "derived": 0.55, "inversions": 0.25},
        "training": {"label_smoothing": 0.1},
    },
    "full, shifted": {"garbage": {"noise": 0.2, "derived": 0.55, "inversions": 0.25}, "training": {"shift": 2}},
    "full, sharpened": {"garbage": {"noise": 0.2, "derived": 0.55, "inversions": 0.25, "sharpen": 3}},
    "full, sharpened more": {
        "garbage": {"noise": 0.2, "derived": 0.55, "inversions": 0.25, "sharpen": 5, "sharpen_size": 0.06}
    },
    "full, hot, sharpened": {
        "garbage": {"noise": 0.2, "derived": 0.4, "inversions": 0.4, "sharpen": 3},
        "inversion": {"hot": True},
    },
    "full, hot, renewed, sharpened": {
        "garbage": {"noise": 0.2, "derived": 0.4, "inversions": 0.4, "sharpen": 3, "renew_every": 1},
        "inversion": {"hot": True, "steps": 100},
    },
    "derived, sharpened": {"garbage": {"noise": 0.25, "derived": 0.75, "sharpen": 3}},
    "full, half weight": {"garbage": {"noise": 0.2, "derived": 0.55, "inversions": 0.25, "weight": 0.5}},
}
"""Name -> what differs from plain training for TRAINING epochs."""


def recipe_of(candidate: str) -> Recipe:
    """Return the recipe of a candidate."""
    chosen = CANDIDATES[candidate]
    garbage = chosen.get("garbage")
    return Recipe(
        training=TrainingSettings(**TRAINING | chosen.get("training", {})),
        garbage=GarbageSettings(**garbage) if garbage else None,
        inversion=InversionSettings(**INVERSION | chosen.get("inversion", {})),
    )


def measure(id_set: str, candidate: str, seed: int) -> dict[str, Any]:
    """Train one network and return what it is chosen by."""
    data = load(f"{id_set}:train")
    some = torch.randperm(len(data), generator=generator(seed, "recipes/images"))[: sum(SIZES.values())]
    splits = split(data.subset(some), SIZES, generator(seed, "recipes/splits"), test=load(f"{id_set}:test@0:10"))
    recipe = recipe_of(candidate)
    target = new_target(
        "cnn", splits.train, data.classes, generator(seed, "network/weights"), garbage=recipe.has_garbage_class
    )
    made = train_network(target, splits.train, recipe, generator(seed, "network/training"), held_out=splits.fit)
    train, fit, held_out = (collect(target, getattr(splits, name), keep_maps=False) for name in SIZES)
    joint = Joint().fit(train, splits.train.labels, held_out=fit, garbage=target.has_garbage)
    inside, inside_parts = joint.score(held_out), joint.score_parts(held_out)
    families, parts = {}, {name: [] for name in inside_parts}
    transform = Transform(data.images.shape[2], data.images.shape[1])
    for name, images in synthetic_families(splits.calibrate, transform, seed, EACH).items():
        found = collect(target, images.float() / 255, keep_maps=False)
        families[name] = auroc(inside, joint.score(found))
        for part, scores in joint.score_parts(found).items():
            parts[part].append(auroc(inside_parts[part], scores))
    return {
        "id": id_set,
        "candidate": candidate,
        "seed": seed,
        "id_accuracy": accuracy(predictions(held_out.logits), splits.calibrate.labels),
        "joint": mean(families.values()),
        **{f"joint/{name}": mean(values) for name, values in parts.items()},
        "families": families,
        **attacked(target, joint, inside, seed),
        "seconds": round(made.seconds, 1),
    }


def attacked(target: Any, joint: Joint, inside: torch.Tensor, seed: int) -> dict[str, float | None]:
    """Return resistance, and the share of fresh inversions that fool the network and that `joint` accepts at 5 %."""
    rng = generator(seed, "attack")
    attacker = Inverter(ATTACK, target, rng)
    if attacker.run(target).outcome == "diverged":
        return {"resistance": None, "accepted": None}
    found = collect(target, attacker.sample(torch.arange(ATTACK_IMAGES) % target.classes, rng), keep_maps=False)
    fooled = counterfeits(found.logits, target.classes)
    accepted = fooled & (joint.score(found) <= conformal_threshold(inside.numpy(), 0.05))
    return {"resistance": 1 - float(fooled.double().mean()), "accepted": float(accepted.double().mean())}


def summary(rows: list[dict[str, Any]]) -> str:
    """Return means over seeds, one line for each ID set and candidate."""
    names = ("joint", "joint/garbage", "id_accuracy", "resistance", "accepted", "seconds")
    lines = [f"{'':40s}" + "".join(f"{name:>16s}" for name in ("seeds", *names))]
    for id_set, candidate in dict.fromkeys((row["id"], row["candidate"]) for row in rows):
        same = [row for row in rows if (row["id"], row["candidate"]) == (id_set, candidate)]
        values = [[row[name] for row in same if row.get(name) is not None] for name in names]
        shown = "".join(f"{mean(found):16.4f}" if found else f"{'':16s}" for found in values)
        lines.append(f"{f'{id_set} {candidate}':40s}{len(same):16d}{shown}")
    return "\n".join(lines)


def main() -> None:
    """Measure what is not recorded yet and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    parser.add_argument("--ids", nargs="+", default=["mnist", "fashion-mnist"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "ood_recipes.json")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args()
    rows = read_json(options.out)["rows"] if options.out.is_file() else []
    with threads(options.threads):
        for seed in options.seeds:
            for id_set in options.ids:
                for candidate in options.candidates:
                    recipe = recipe_of(candidate).model_dump(mode="json")
                    key = {"id": id_set, "candidate": candidate, "seed": seed, "recipe": recipe, "how": HOW}
                    if any(all(row[name] == value for name, value in key.items()) for row in rows):
                        continue
                    rows.append({**measure(id_set, candidate, seed), "recipe": recipe, "how": HOW})
                    write_json(options.out, {"rows": rows, "environment": describe_environment()})
                    print(summary(rows[-1:]), file=sys.stderr)
    print(json.dumps({"rows": rows}, sort_keys=True) if options.json else summary(rows))


if __name__ == "__main__":
    main()
