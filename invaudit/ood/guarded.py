"""A classifier with its OOD detector: fitted, calibrated, saved and loaded as one."""

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from invaudit.data import ImageSet, Splits, split
from invaudit.models import Activations, Target, accuracy, collect, load_model, save_target
from invaudit.models.training import chance_limit
from invaudit.ood.cycle import new_target, train_network, with_garbage
from invaudit.ood.joint import FEWEST, Joint, synthetic_activations
from invaudit.ood.recipes import Recipe
from invaudit.ood.scores import predictions
from invaudit.runtime.errors import DataError, ModelError
from invaudit.runtime.files import content_hash, read_json, write_bytes, write_json
from invaudit.stats import conformal_p_values, conformal_threshold

SIZES = {"train": 0.7, "fit": 0.1, "calibrate": 0.1, "test": 0.1}
ALPHA = 0.05
FEWEST_PER_CLASS = 10
SCHEMA = 4


@dataclass(frozen=True)
class GuardedClassifier:
    """A target, its fitted detector, and the sorted scores of ID images that nothing else has used.

    Attributes:
        target: The classifier.
        joint: The fitted detector.
        calibration: (n,) float64, ascending.
        about: How it was made: plain values for the JSON beside the weights.
    """

    target: Target
    joint: Joint
    calibration: Tensor
    about: dict[str, Any]

    def activations(self, images: Tensor | ImageSet) -> Activations:
        """Return what the target gives for images (N, C, H, W) float32 in [0, 1]."""
        return collect(self.target, images, keep_maps=False)

    def score(self, images: Tensor | ImageSet) -> Tensor:
        """Return OOD scores (N,) float64 of images (N, C, H, W) in [0, 1]; higher = more OOD."""
        return self.joint.score(self.activations(images))

    def p_values(self, scores: Tensor) -> Tensor:
        """Return the conformal p-value of each score: small = stranger than the calibration images."""
        return torch.from_numpy(conformal_p_values(scores.numpy(), self.calibration.numpy()))

    def threshold(self, alpha: float, delta: float | None = None) -> float:
        """Return the score above which an image is rejected, see ``invaudit.stats.conformal_threshold``.

        Args:
            alpha: Highest false-alarm rate on ID images like those of calibration.
            delta: Share of calibration sets for which the rate may be higher; None: it holds on average over them.

        Raises:
            SettingError: An alpha or delta that so many calibration images cannot keep.
        """
        return conformal_threshold(self.calibration.numpy(), alpha, delta)

    def accept(self, images: Tensor | ImageSet, alpha: float = 0.05, delta: float | None = None) -> Tensor:
        """Return which images are accepted as ID, (N,) bool; alpha and delta as in ``threshold``."""
        return self.score(images) <= self.threshold(alpha, delta)

    def predict(self, images: Tensor | ImageSet) -> Tensor:
        """Return the most likely ID class of each image, (N,) int64."""
        return self.activations(images).logits[:, : self.target.classes].argmax(1)

    def save(self, folder: Path) -> None:
        """Write ``network.safetensors``, ``detector.safetensors`` and ``guard.json`` into a folder.

        Raises:
            ModelError: The network has no architecture name.
        """
        save_target(self.target, folder / "network.safetensors")
        state = {**self.joint.state_dict(), "calibration": self.calibration}
        detector = save({name: value.contiguous() for name, value in state.items()})
        write_bytes(folder / "detector.safetensors", detector)
        hashes = {"target_hash": self.target.hash, "detector_hash": content_hash(detector)}
        write_json(folder / "guard.json", {"schema": SCHEMA, **hashes, **self.about})

    @staticmethod
    def load(folder: Path, *, arch: str | None = None) -> "GuardedClassifier":
        """Read what ``save`` wrote; its scores are identical.

        Args:
            folder: The folder.
            arch: ``package.module:callable`` of a network that was built by one: code is not run at a file's word.

        Raises:
            ModelError: A file is missing or damaged, network and detector do not belong together, or the network is
                built by code that ``arch`` does not name.
        """
        folder = Path(folder)
        if not (folder / "guard.json").is_file():
            raise ModelError(f"{folder} holds no guarded classifier (guard.json); make one with: invaudit ood fit")
        damaged = ModelError(f"{folder / 'guard.json'} is damaged; fit it again")
        try:
            about = read_json(folder / "guard.json")
        except ValueError as error:
            raise damaged from error
        if not isinstance(about, dict):
            raise damaged
        if about.get("schema") != SCHEMA:
            raise ModelError(f"{folder} has schema {about.get('schema')}, this version reads {SCHEMA}; fit it again")
        target = load_model(folder / "network.safetensors", arch=arch)
        if about.get("target_hash") != target.hash:
            raise ModelError(
                f"{folder}: network.safetensors is not the network that the detector was fitted to; fit it again"
            )
        try:
            detector = (folder / "detector.safetensors").read_bytes()
            state = load(detector)
            calibration = state.pop("calibration")
        except (SafetensorError, OSError, KeyError) as error:
            raise ModelError(f"{folder / 'detector.safetensors'} is missing or damaged; fit it again") from error
        if about.get("detector_hash") != content_hash(detector):
            raise ModelError(
                f"{folder}: detector.safetensors is not the detector that guard.json describes; fit it again"
            )
        rest = {name: value for name, value in about.items() if name not in ("schema", "target_hash", "detector_hash")}
        return GuardedClassifier(target, Joint().load_state_dict(state), calibration, rest)


def guard(target: Target, splits: Splits, about: dict[str, Any] | None = None) -> GuardedClassifier:
    """Fit and calibrate the detector of a trained network, as it is.

    Args:
        target: The network, with or without a garbage class.
        splits: ``train`` for statistics, ``fit`` for scaling and weighing, ``calibrate`` for the threshold.
        about: Further plain values to keep.

    Returns:
        Network and detector, with accuracy and false alarms on the images of ``test`` under ``about["held_out"]``.

    Raises:
        SettingError: There are too few images to fit.
    """
    train = collect(target, splits.train, keep_maps=False)
    fit = collect(target, splits.fit, keep_maps=False)
    outliers = synthetic_activations(target, splits.fit)
    joint = Joint().fit(train, splits.train.labels, held_out=fit, outliers=outliers, garbage=target.has_garbage)
    calibration = joint.score(collect(target, splits.calibrate, keep_maps=False)).sort().values
    made = {"splits": splits.record(), "part_weights": joint.part_weights}
    guarded = GuardedClassifier(target, joint, calibration, {**made, **(about or {})})
    # A garbage prediction on an ID image is an error, so all outputs count here.
    right = accuracy(predictions(guarded.activations(splits.test).logits), splits.test.labels)
    held_out = {"n": len(splits.test), "id_accuracy": right}
    if len(calibration) >= 1 / ALPHA - 1:
        held_out["false_alarms_at_5_percent"] = 1 - float(guarded.accept(splits.test, ALPHA).double().mean())
    guarded.about["held_out"] = held_out
    return guarded


def fit(
    train: ImageSet,
    recipe: Recipe,
    rng: torch.Generator,
    *,
    start: Target | None = None,
    as_it_is: bool = False,
    arch: str = "cnn",
    device: torch.device | None = None,
    checkpoint: Path | None = None,
) -> GuardedClassifier:
    """Make a guarded classifier: split the images, train by the cycle, fit and calibrate the detector.

    Args:
        train: ID images with labels 0 to n - 1; ones that ``start`` was not trained on, or scale and threshold are
            too optimistic.
        recipe: How to train.
        rng: Source of everything random but the synthetic outliers that weigh the detector's parts.
        start: A trained network to start from, which stays as it is; a garbage class is added where the recipe has one.
        as_it_is: Do not train ``start``.
        arch: Architecture of a new network.
        device: Where to train; by default where ``start`` is, or the CPU.
        checkpoint: File to continue from.

    Returns:
        The classifier; ``about["held_out"]`` has its accuracy and false alarms on ID images that nothing has used.

    Raises:
        DataError: Labels that are no classes, or too few images for the splits.
        ModelError: ``start`` does not classify the images: wrong preprocessing or other classes.
    """
    splits = split(check_training_images(train, start, as_it_is=as_it_is), SIZES, rng)
    if start is None:
        target = new_target(arch, splits.train, train.classes, rng, garbage=recipe.has_garbage_class)
    else:
        target = with_garbage(start) if recipe.has_garbage_class and not as_it_is else deepcopy(start)
    target = target.to(device or target.device)
    steps = 0
    if not as_it_is:
        steps = train_network(target, splits.train, recipe, rng, held_out=splits.fit, checkpoint=checkpoint).steps
    about = {
        "recipe": None if as_it_is else recipe.model_dump(mode="json"),
        "data": {"name": train.name, "hash": train.hash, "classes": train.classes},
        "steps": steps,
    }
    return guard(target.eval(), splits, about)


def check_training_images(train: ImageSet, start: Target | None, *, as_it_is: bool) -> ImageSet:
    """Return the images if a guarded classifier can be made of them; what ``fit`` checks before long work.

    Raises:
        DataError: Labels that are no classes, or too few images.
        ModelError: No network to take as it is, another number of classes, or accuracy at chance.
    """
    counts = torch.bincount(train.labels.clamp_min(0), minlength=2)
    if int(train.labels.min()) < 0 or (counts < FEWEST_PER_CLASS).any():
        raise DataError(
            f"{train.name}: labels must be classes 0 to n - 1 with at least {FEWEST_PER_CLASS} images each, "
            f"got the counts {counts.tolist()}"
        )
    if len(train) * SIZES["fit"] < FEWEST:
        raise DataError(
            f"{train.name} has {len(train)} images, which leaves {int(len(train) * SIZES['fit'])} to scale the "
            f"detector, expected at least {FEWEST}; give {round(FEWEST / SIZES['fit'])} or more"
        )
    if start is None:
        if as_it_is:
            raise ModelError("there is no network to take as it is; give one as start")
        return train
    if start.classes != train.classes:
        raise ModelError(
            f"the model has {start.classes} classes, {train.name} has {train.classes}; they must be the same"
        )
    some = train.subset(torch.linspace(0, len(train) - 1, min(1_000, len(train))).long())
    found = collect(start, some, keep_maps=False).logits[:, : start.classes].argmax(1)
    share = accuracy(found, some.labels)
    if share < chance_limit(start.classes, len(found), spreads=3):
        raise ModelError(
            f"the model gets {share:.1%} of {train.name} right, no better than chance: "
            "wrong --input, --mean, --std or class order"
        )
    return train
