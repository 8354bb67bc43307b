"""Our attacks beside those of well-kept libraries at equal settings: PGD of ART, DDN and FMN of adversarial-library.

    uv sync --all-extras --group attacks
    INVAUDIT_DATA=... python benchmarks/choices/attack_agreement.py [--out FILE.json]

A small network is trained on 10,000 images of MNIST and attacked on 500 test images, away from their labels and towards
the class after. Success and norms of both sides are counted here, from the images that they give back. The last row has
no partner: FMN at our default, which differs from the library's in its overshoot.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invaudit.data import ImageSet, load, seeded_rng
from invaudit.explain.aims import checked_aim, euclidean_norms, largest_changes
from invaudit.explain.attacks import ATTACKS, attack
from invaudit.models import InputSpec, Target, TrainingSettings, accuracy, build, frozen_eval, limit_threads, train
from invaudit.models.devices import seed_torch
from invaudit.runtime import describe_environment, write_json

ARCH, TRAIN, TEST = "plain-cnn", "mnist:train@0:10000", "mnist:test@0:500"
TRAINING = TrainingSettings(epochs=4)
LIBRARIES = {"pgd": "adversarial-robustness-toolbox", "ddn": "adv-lib", "fmn": "adv-lib"}
PGD = {"radius": 0.1, "step": 0.1, "steps": 40, "random_start": False}
"""A radius at which neither none nor all of the images are lost; without the random start, which nobody can repeat."""
COMPARED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("pgd", PGD),
    ("ddn", {"steps": 100}),
    ("ddn", {"steps": 100, "levels": 256}),
    ("fmn", {"steps": 100, "overshoot": 0.0}),
    ("fmn", {"steps": 1000, "overshoot": 0.0}),
)
ALONE: tuple[tuple[str, dict[str, Any]], ...] = (("fmn", {"steps": 100}),)
REFERENCE_AT_ONCE = 250
SUCCESS_POINTS, NORM_SHARE = 0.02, 0.03
"""How far apart success (absolute) and median norm (relative) may lie."""


def by_library(
    method: str, values: dict[str, Any], target: Target, images: Tensor, labels: Tensor, wanted: Tensor | None
) -> Tensor:
    """Return the images (N, C, H, W) of the library's attack at our settings; the target is frozen, in eval mode."""
    settings = ATTACKS[method].settings.model_validate(values)
    goal = labels if wanted is None else wanted
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they import what is deprecated
        if method == "pgd":
            return _by_art(settings, target, images, goal, is_wanted=wanted is not None)
        from adv_lib.attacks import ddn, fmn

    def of_adv_lib(some: Tensor, classes: Tensor) -> Tensor:
        if method == "ddn":
            steps, gamma, levels = settings.steps, settings.gamma, settings.levels
            first = settings.first_norm
            return ddn(target, some, classes, wanted is not None, steps, gamma, first, levels)
        first, last = settings.first_gamma, settings.last_gamma
        step, steps = settings.first_step, settings.steps
        return fmn(target, some, classes, 2, wanted is not None, steps, step, γ_init=first, γ_final=last)

    parts = [of_adv_lib(images[index], goal[index]) for index in torch.arange(len(images)).split(REFERENCE_AT_ONCE)]
    return torch.cat(parts).detach()


def _by_art(settings: Any, target: Target, images: Tensor, goal: Tensor, *, is_wanted: bool) -> Tensor:
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    estimator = PyTorchClassifier(
        target,
        torch.nn.CrossEntropyLoss(),
        images.shape[1:],
        target.outputs,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    found = ProjectedGradientDescentPyTorch(
        estimator,
        norm="inf",
        eps=settings.radius,
        eps_step=settings.step * settings.radius,
        max_iter=settings.steps,
        targeted=is_wanted,
        batch_size=REFERENCE_AT_ONCE,
        verbose=False,
    )
    return torch.from_numpy(found.generate(images.numpy(), np.eye(target.outputs)[goal.numpy()]))


def measured(
    method: str, target: Target, images: Tensor, labels: Tensor, wanted: Tensor | None, make: Callable[[], Tensor]
) -> dict[str, Any]:
    """Return success, median norm of the images that reach the aim, and seconds."""
    start = time.perf_counter()
    found = make()
    seconds = time.perf_counter() - start
    with torch.no_grad():
        reached = checked_aim(target, images, labels, wanted).reached(target(found))
    norms = (largest_changes if ATTACKS[method].norm == "largest" else euclidean_norms)(found - images)
    median = float(norms[reached].median()) if reached.any() else None
    return {"success": float(reached.double().mean()), "median_norm": median, "seconds": round(seconds, 1)}


def agree(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Return whether success and median norm lie as near as is asked for."""
    near = abs(ours["success"] - theirs["success"]) <= SUCCESS_POINTS
    return near and abs(ours["median_norm"] / theirs["median_norm"] - 1) <= NORM_SHARE


def trained(data: ImageSet) -> Target:
    """Return the network that is attacked."""
    pixels = data.floats()
    spec = InputSpec(*data.images.shape[1:], mean=(float(pixels.mean()),), std=(float(pixels.std()),))
    with seed_torch(seeded_rng(0, "agreement/weights")):
        target = Target(build(ARCH, spec, data.classes), spec, data.classes, arch=f"invaudit:{ARCH}")
    train(target, data, TRAINING, seeded_rng(0, "agreement/training"))
    return target


def rows(target: Target, test: ImageSet) -> list[dict[str, Any]]:
    """Return a row for each attack and aim."""
    images, labels, found = test.floats(), test.labels, []
    for aim, wanted in (("another class", None), ("the class after", (labels + 1) % target.classes)):
        for method, values in (*COMPARED, *ALONE):
            row: dict[str, Any] = {"attack": method, "settings": values, "aim": aim, "images": len(images)}

            def ours(method: str = method, values: Any = values, wanted: Tensor | None = wanted) -> Tensor:
                return attack(target, images, labels, method, values, wanted=wanted).images

            row["ours"] = measured(method, target, images, labels, wanted, ours)
            if (method, values) in COMPARED:

                def theirs(method: str = method, values: Any = values, wanted: Tensor | None = wanted) -> Tensor:
                    return by_library(method, values, target, images, labels, wanted)

                row["library"] = LIBRARIES[method]
                row["theirs"] = measured(method, target, images, labels, wanted, theirs)
                row["agrees"] = agree(row["ours"], row["theirs"])
            print(row, file=sys.stderr)
            found.append(row)
    return found


def main() -> int:
    """Train, attack, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "attack_agreement.json")
    chosen = parser.parse_args()
    with limit_threads(1):
        target, test = trained(load(TRAIN)), load(TEST)
        with frozen_eval(target):
            right = accuracy(target(test.floats()).argmax(1), test.labels)
            found = rows(target, test)
    libraries = {name: metadata.version(name) for name in sorted(set(LIBRARIES.values()))}
    settings = {"arch": ARCH, "train": TRAIN, "test": TEST, "training": TRAINING.model_dump(mode="json")}
    record = {"environment": describe_environment(threads=1, libraries=libraries), "settings": settings}
    write_json(chosen.out, record | {"target_accuracy": right, "rows": found})
    return 0 if all(row.get("agrees", True) for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
