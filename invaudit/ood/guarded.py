"""A classifier with its OOD detector: fitted, calibrated, saved and loaded as one."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from invaudit.data import ImageSet, Splits, seeded_rng, split
from invaudit.models import Activations, Target, accuracy, collect, load_model, resolve_device, save_target
from invaudit.models.suitability import refuse_misfit
from invaudit.ood.cycle import train_network, untrained_target, with_garbage
from invaudit.ood.door import check_images
from invaudit.ood.joint import FEWEST, Joint, synthetic_activations
from invaudit.ood.recipes import FitSettings, Recipe
from invaudit.ood.scores import predictions
from invaudit.runtime.errors import DataError, ModelError
from invaudit.runtime.files import content_hash, read_object, write_bytes, write_json
from invaudit.runtime.paths import is_file
from invaudit.runtime.settings import load_config
from invaudit.stats import conformal_p_values, conformal_threshold

SHARES = {"train": 0.7, "fit": 0.1, "calibrate": 0.1, "test": 0.1}
"""How `fit` splits its images: to train on, to scale and weigh the detector by, for the threshold, to try it out."""
FALSE_ALARM_RATE = 0.05
"""Alpha where none is named: of decisions on images, of what `fit` tries out on its test images, of benchmarks."""
FEWEST_PER_CLASS = 10
"""Training images that each class needs."""
SCHEMA = 4


@dataclass(frozen=True)
class Judgement:
    """What a guarded classifier says of N images.

    Attributes:
        scores: (N,) float64 OOD scores, higher = more OOD.
        p_values: (N,) float64 conformal p-values, small = stranger than the calibration images.
        accepted: (N,) bool, whether each image is accepted as ID.
        predicted: (N,) int64, the most likely ID class.
    """

    scores: Tensor
    p_values: Tensor
    accepted: Tensor
    predicted: Tensor

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.scores)


@dataclass(frozen=True)
class GuardedClassifier:
    """A target, its fitted detector, and the sorted scores of ID images that nothing else has used.

    Attributes:
        target: The classifier.
        joint: The fitted detector.
        calibration: (n,) float64, ascending.
        about: How it was made: plain values for the JSON beside the weights.

    Examples:
        Photographs are no digits, and are rejected:

        >>> from invaudit.data import digits_benchmark
        >>> from invaudit.models import TrainingSettings
        >>> from invaudit.ood import Recipe, fit
        >>> sets = digits_benchmark(seed=0)
        >>> recipe = Recipe(training=TrainingSettings(epochs=1))
        >>> guarded = fit(sets.splits.train, recipe, arch="small-cnn")
        >>> judgement = guarded.judge(sets.ood["photos"], alpha=0.05)
        >>> judgement.accepted.double().mean() < 0.5
        tensor(True)
    """

    target: Target
    joint: Joint
    calibration: Tensor
    about: dict[str, Any]

    def activations(self, images: Tensor | ImageSet) -> Activations:
        """Return what the target gives for images (N, C, H, W) float32 in [0, 1].

        Raises:
            DataError: Images of another type or range; the message has the line that converts them.
            ShapeError: Images of another shape.
        """
        check_images(images, self.target.spec.shape)
        return collect(self.target, images, keep_maps=False)

    def judge(
        self, images: Tensor | ImageSet, alpha: float = FALSE_ALARM_RATE, delta: float | None = None
    ) -> Judgement:
        """Score, accept and classify images (N, C, H, W) in [0, 1], all from one pass; alpha, delta as in `threshold`.

        Raises:
            SettingError: An alpha or delta that so many calibration images cannot keep.
        """
        threshold = self.threshold(alpha, delta)  # first: what it refuses is refused before the pass
        return self._judge(self.activations(images), threshold)

    def _judge(self, activations: Activations, threshold: float) -> Judgement:
        scores = self.joint.score(activations)
        return Judgement(scores, self.p_values(scores), scores <= threshold, self._predicted(activations))

    def _predicted(self, activations: Activations) -> Tensor:
        """Return the most likely ID class; garbage is none."""
        return activations.logits[:, : self.target.classes].argmax(1)

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

    def accept(self, images: Tensor | ImageSet, alpha: float = FALSE_ALARM_RATE, delta: float | None = None) -> Tensor:
        """Return which images are accepted as ID, (N,) bool; alpha and delta as in `threshold`."""
        return self.judge(images, alpha, delta).accepted

    def predict(self, images: Tensor | ImageSet) -> Tensor:
        """Return the most likely ID class of each image, (N,) int64."""
        return self._predicted(self.activations(images))

    def save(self, folder: str | Path) -> None:
        """Write ``network.safetensors``, ``detector.safetensors`` and ``guard.json`` into a folder.

        Raises:
            ModelError: The network has no architecture name.
        """
        folder = Path(folder)
        save_target(self.target, folder / "network.safetensors")
        state = self.joint.state_dict() | {"calibration": self.calibration}
        detector = save({name: value.contiguous() for name, value in state.items()})
        write_bytes(folder / "detector.safetensors", detector)
        description = {
            "schema": SCHEMA,
            "target_hash": self.target.hash,
            "detector_hash": content_hash(detector),
        }
        write_json(folder / "guard.json", description | self.about)

    @staticmethod
    def load(folder: str | Path, *, arch: str | None = None) -> "GuardedClassifier":
        """Read what ``save`` wrote; its scores are identical.

        Args:
            folder: The folder.
            arch: ``package.module:callable`` of a network that was built by one: code is not run at a file's word.

        Raises:
            ModelError: A file is missing or damaged, network and detector do not belong together, or the network is
                built by code that ``arch`` does not name.
        """
        folder = Path(folder)
        if not is_file(folder / "guard.json", ModelError):
            raise ModelError(f"{folder} holds no guarded classifier (guard.json); make one with: invaudit ood fit")
        about = read_object(folder / "guard.json", remedy="fit it again", kind=ModelError)
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
        for name in ("schema", "target_hash", "detector_hash"):
            del about[name]
        return GuardedClassifier(target, Joint().load_state_dict(state), calibration, about)


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
    joint = Joint().fit_parts(train, splits.train.labels, held_out=fit, outliers=outliers, garbage=target.has_garbage)
    calibration = joint.score(collect(target, splits.calibrate, keep_maps=False)).sort().values
    description = {"splits": splits.record(), "part_weights": joint.part_weights, **(about or {})}
    guarded = GuardedClassifier(target, joint, calibration, description)
    guarded.about["held_out"] = _try_out(guarded, splits.test)
    return guarded


def _try_out(guarded: GuardedClassifier, test: ImageSet) -> dict[str, Any]:
    """Return accuracy and false alarms on images that nothing has used, from one pass."""
    activations = guarded.activations(test)
    # A garbage prediction on an ID image is an error, so all outputs count here.
    held_out = {"n": len(test), "id_accuracy": accuracy(predictions(activations.logits), test.labels)}
    if len(guarded.calibration) >= 1 / FALSE_ALARM_RATE - 1:
        accepted = guarded._judge(activations, guarded.threshold(FALSE_ALARM_RATE)).accepted
        held_out["false_alarms_at_5_percent"] = 1 - float(accepted.double().mean())
    return held_out


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
    shares: Mapping[str, float] = SHARES,
    checked: bool = False,
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
        shares: Shares of the images for ``train``, ``fit``, ``calibrate`` and ``test``; they sum to 1 at most.
        checked: Whether the caller has called `check_training_images`, which passes 1,000 images through ``start``.

    Returns:
        The classifier; ``about["held_out"]`` has its accuracy and false alarms on ID images that nothing has used.

    Raises:
        DataError: Labels that are no classes, or too few images for the splits.
        ModelError: ``start`` does not classify the images: wrong preprocessing or other classes.

    Examples:
        >>> from invaudit.data import load
        >>> from invaudit.models import TrainingSettings
        >>> from invaudit.ood import GarbageSettings, Recipe, fit
        >>> recipe = Recipe(training=TrainingSettings(epochs=1), garbage=GarbageSettings())
        >>> guarded = fit(load("digits"), recipe, arch="small-cnn")
        >>> sorted(guarded.about["held_out"])
        ['false_alarms_at_5_percent', 'id_accuracy', 'n']
    """
    if not checked:
        check_training_images(train, start, as_it_is=as_it_is, shares=shares)
    if recipe is None:
        recipe = load_config(FitSettings, "fit/finetune" if start else "fit/scratch").recipe
    if rng is None:
        rng = seeded_rng(seed, "ood/fit")
    splits = split(train, shares, rng)
    if start is None:
        target = untrained_target(arch, splits.train, train.classes, rng, garbage=recipe.has_garbage_class)
    else:
        target = with_garbage(start) if recipe.has_garbage_class and not as_it_is else deepcopy(start)
    target = target.to(device or resolve_device("auto"))
    steps = 0
    if not as_it_is:
        steps = train_network(target, splits.train, recipe, rng, held_out=splits.fit, checkpoint=checkpoint).steps
    about = {
        "recipe": None if as_it_is else recipe.model_dump(mode="json"),
        "data": {"name": train.name, "hash": train.hash, "classes": train.classes},
        "steps": steps,
    }
    if train.preparation is not None:
        target.spec = replace(target.spec, preparation=train.preparation)
    return guard(target.eval(), splits, about)


def check_training_images(
    train: ImageSet, start: Target | None, *, as_it_is: bool, shares: Mapping[str, float] = SHARES
) -> None:
    """Refuse images that no guarded classifier can be made of; `fit` does so before long work.

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
    if len(train) * shares["fit"] < FEWEST:
        raise DataError(
            f"{train.name} has {len(train)} images, which leaves {int(len(train) * shares['fit'])} to scale the "
            f"detector, expected at least {FEWEST}; give {round(FEWEST / shares['fit'])} or more"
        )
    if start is None:
        if as_it_is:
            raise ModelError("there is no network to take as it is; give one as start")
        return
    if start.classes != train.classes:
        raise ModelError(
            f"the model has {start.classes} classes, {train.name} has {train.classes}; they must be the same"
        )
    refuse_misfit(start, train, train.name)
