"""Making a guarded classifier: split the images, train or take the network, fit and calibrate its detector."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from invaudit.data import ImageSet, Splits, seeded_rng, split
from invaudit.models import Target, collect, resolve_device
from invaudit.models.suitability import CheckedImages, check_fit
from invaudit.ood.cycle import train_network, untrained_target, with_garbage
from invaudit.ood.guarded import GuardedClassifier
from invaudit.ood.joint import FEWEST, fit_joint
from invaudit.ood.recipes import FitSettings, Recipe
from invaudit.ood.trial import caught_outliers, held_out_figures, suitability_figures
from invaudit.runtime.errors import DataError, ModelError
from invaudit.runtime.settings import load_config

SHARES = {"train": 0.7, "fit": 0.1, "calibrate": 0.1, "test": 0.1}
"""How `fit` splits its images: to train on, to scale and weigh the detector by, for the threshold, to try it out."""
FEWEST_CALIBRATION = 45
"""Images that the threshold is set by at least, where the images are too few for `SHARES`."""
FEWEST_TEST = 10
"""Images that the guard is tried out on at least."""
FEWEST_IMAGES = 100
"""Images that a guard can be made of: 45 for the threshold, 30 to scale the detector, 10 to try it out on, and 15 that
the detector compares with."""
FEWEST_PER_CLASS = 10
"""Training images that each class needs."""


def split_sizes(n: int) -> dict[str, int | float]:
    """Return how `fit` splits n images: by `SHARES`, or where these leave too few, as many as each purpose needs.

    From 450 images on the shares leave 45 for the threshold. Below, the threshold gets 45, scaling at least 30, and of
    the rest an eighth, but at least 10, is what the guard is tried out on; at 450 both ways are the same.
    """
    if n * SHARES["calibrate"] >= FEWEST_CALIBRATION:
        return dict(SHARES)
    scaling = max(FEWEST, round(n * SHARES["fit"]))
    rest = n - scaling - FEWEST_CALIBRATION
    test = max(FEWEST_TEST, round(rest / 8))
    return {"train": rest - test, "fit": scaling, "calibrate": FEWEST_CALIBRATION, "test": test}


def guard(
    target: Target, splits: Splits, about: dict[str, Any] | None = None, *, before: Target | None = None
) -> GuardedClassifier:
    """Fit and calibrate the detector of a trained network, as it is.

    Args:
        target: The network, with or without a garbage class.
        splits: ``train`` for statistics, ``fit`` for scaling and weighing, ``calibrate`` for the threshold.
        about: Further plain values to keep.
        before: The network as it was before training, to compare the accuracy with.

    Returns:
        Network and detector. ``about["held_out"]`` has accuracy and false alarms on the images of ``test``,
        ``about["synthetic"]`` what share of synthetic outliers it catches.

    Raises:
        SettingError: There are too few images to fit.
    """
    joint, outliers = fit_joint(target, splits)
    calibration = joint.score(collect(target, splits.calibrate, keep_maps=False)).sort().values
    description = {
        "splits": splits.record(),
        "part_weights": joint.part_weights,
        "branch_weights": joint.named_branch_weights,
        **(about or {}),
    }
    guarded = GuardedClassifier(target, joint, calibration, description)
    guarded.about["held_out"] = held_out_figures(guarded, splits.test, before)
    scores = {family: joint.score(activations) for family, activations in outliers.items()}
    guarded.about["synthetic"] = caught_outliers(guarded, scores)
    return guarded


def fit(
    train: ImageSet,
    recipe: Recipe | None = None,
    rng: torch.Generator | None = None,
    *,
    seed: int = 0,
    start: Target | None = None,
    as_it_is: bool = False,
    arch: str = "cnn",
    device: torch.device | None = None,
    checkpoint: Path | None = None,
    shares: Mapping[str, float] | None = None,
    checked: CheckedImages | None = None,
) -> GuardedClassifier:
    """Make a guarded classifier: split the images, train by the cycle, fit and calibrate the detector.

    ``fit(images, seed=SEED)`` makes what ``invaudit ood fit DATA --seeds SEED`` makes.

    Args:
        train: ID images with labels 0 to n - 1; ones that ``start`` was not trained on, or scale and threshold are
            too optimistic.
        recipe: How to train; None: as the shipped config ``fit/scratch`` has it, or ``fit/finetune`` with a start.
        rng: Source of everything random but the synthetic outliers that weigh the detector's parts; None: the seed.
        seed: What everything random is drawn from where there is no ``rng``.
        start: A trained network to start from, which stays as it is; a garbage class is added where the recipe has one.
        as_it_is: Do not train ``start``.
        arch: Architecture of a new network.
        device: Where to train; None: an accelerator where there is one, or else the CPU.
        checkpoint: File to continue from.
        shares: Shares of the images for ``train``, ``fit``, ``calibrate`` and ``test``, which sum to 1 at most; None:
            see `split_sizes`.
        checked: What `check_training_images` gave for these images, where the caller has asked it already: it passes
            1,000 of them through ``start``.

    Returns:
        The classifier; ``about["held_out"]`` has its accuracy and false alarms on ID images that nothing has used,
        ``about["synthetic"]`` what share of synthetic outliers it catches at the same threshold,
        ``about["suitability"]`` how ``start`` does on the images, with what would fit it better.

    Raises:
        DataError: Labels that are no classes, or too few images for the splits.
        ModelError: ``start`` does not classify the images: wrong preprocessing or other classes.

    Examples:
        >>> from invaudit.data import load
        >>> from invaudit.models import TrainingSettings
        >>> from invaudit.ood import GarbageSettings, Recipe, fit
        >>> recipe = Recipe(training=TrainingSettings(epochs=1), garbage=GarbageSettings())
        >>> guarded = fit(load("digits"), recipe, arch="small-cnn")
        >>> guarded.about["held_out"]["n"], guarded.about["synthetic"]["weak"]
        (180, False)
    """
    if checked is None:
        checked = check_training_images(train, start, as_it_is=as_it_is, shares=shares)
    train = checked.images
    rng = seeded_rng(seed, "ood/fit") if rng is None else rng
    device = device or resolve_device("auto")
    splits = split(train, split_sizes(len(train)) if shares is None else shares, rng)
    _refuse_few(splits)
    steps = 0
    if as_it_is and start is not None:
        target, recipe = deepcopy(start).to(device), None
    else:
        recipe = recipe or _shipped_recipe(start)
        if start is None:
            target = untrained_target(arch, splits.train, train.classes, rng, garbage=recipe.has_garbage_class)
        else:
            target = with_garbage(start) if recipe.has_garbage_class else deepcopy(start)
        target = target.to(device)
        steps = train_network(target, splits.train, recipe, rng, held_out=splits.fit, checkpoint=checkpoint).steps
    about = {
        "recipe": recipe.model_dump(mode="json") if recipe else None,
        "data": {
            "name": train.name,
            "hash": train.hash,
            "classes": train.classes,
            "class_names": list(train.class_names or (start.class_names if start else ())),
        },
        "steps": steps,
        "suitability": suitability_figures(checked.suitability),
    }
    if train.preparation is not None:
        target.spec = replace(target.spec, preparation=train.preparation)
    return guard(target.eval(), splits, about, before=None if as_it_is else start)


def _shipped_recipe(start: Target | None) -> Recipe:
    recipe = load_config(FitSettings, "fit/finetune" if start else "fit/scratch").recipe
    assert recipe is not None  # noqa: S101 - both configs have one
    return recipe


def _refuse_few(splits: Splits) -> None:
    """Refuse splits that copies have made too small, before long work; equal images go to one part together."""
    if len(splits.fit) < FEWEST:
        raise DataError(
            f"{splits.fit.name} holds copies of images, which leave {len(splits.fit)} to scale the detector, expected "
            f"at least {FEWEST}; remove the copies, or give more images"
        )


def check_training_images(
    train: ImageSet, start: Target | None, *, as_it_is: bool, shares: Mapping[str, float] | None = None
) -> CheckedImages:
    """Refuse images that no guarded classifier can be made of; `fit` does so before long work.

    Returns:
        The images, with their classes numbered as those of ``start`` where both have names, and how it does on them.

    Raises:
        DataError: Labels that are no classes, or too few images.
        ModelError: No network to take as it is, another number of classes, or accuracy at chance.
    """
    if int(train.labels.min()) < 0:
        raise DataError(f"{train.name} holds images without a class; give class folders, or labels from 0")
    counts = torch.bincount(train.labels, minlength=max(2, train.classes))
    few = (counts < FEWEST_PER_CLASS).nonzero().flatten().tolist()
    if few:
        more = f", and too few of {len(few) - 1} other classes" if len(few) > 1 else ""
        raise DataError(
            f"{train.name} has {counts[few[0]]} images of class {few[0]}{more}; expected at least {FEWEST_PER_CLASS} "
            "of each class, and two classes: give more images, or number the classes from 0 without gaps"
        )
    if shares is None and len(train) < FEWEST_IMAGES:
        raise DataError(
            f"{train.name} has {len(train)} images, expected at least {FEWEST_IMAGES}: {FEWEST_CALIBRATION} of them "
            f"set the threshold and {FEWEST} scale the detector; give {FEWEST_IMAGES - len(train)} more"
        )
    if shares is not None and len(train) * shares["fit"] < FEWEST:
        raise DataError(
            f"{train.name} has {len(train)} images, which leaves {int(len(train) * shares['fit'])} to scale the "
            f"detector, expected at least {FEWEST}; give {round(FEWEST / shares['fit'])} or more"
        )
    if start is None:
        if as_it_is:
            raise ModelError("there is no network to take as it is; give one as start")
        return CheckedImages(train)
    if start.classes != train.classes:
        raise ModelError(
            f"the model has {start.classes} classes, {train.name} has {train.classes}; they must be the same"
        )
    return check_fit(start, train, train.name)
