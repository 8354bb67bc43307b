"""A classifier with its OOD detector: fitted, calibrated, saved and loaded as one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from invaudit.data import ImageSet
from invaudit.models import Activations, Target, collect, load_model, save_target
from invaudit.ood.door import checked
from invaudit.ood.export import Comparison, GuardNetwork, export_onnx
from invaudit.ood.guard_files import DESCRIPTION, DETECTOR, REMEDY, SCHEMA, read_description, read_detector
from invaudit.ood.joint import Joint
from invaudit.runtime.errors import ModelError
from invaudit.runtime.files import content_hash, write_bytes, write_json
from invaudit.stats import conformal_p_values, conformal_threshold

FALSE_ALARM_RATE = 0.05
"""Alpha where none is named: of decisions on images, of what `fit` tries out on its test images, of benchmarks."""
AT_ONCE = 512
"""Images that are judged at once: memory does not grow with their number."""


@dataclass(frozen=True)
class Judgement:
    """What a guarded classifier says of N images.

    Attributes:
        scores: (N,) float64 OOD scores, higher = more OOD.
        p_values: (N,) float64 conformal p-values, small = stranger than the calibration images.
        accepted: (N,) bool, whether each image is accepted as ID.
        predicted: (N,) int64, the most likely ID class.
        class_names: Name of each ID class; () where the guard was fitted to classes without names.
    """

    scores: Tensor
    p_values: Tensor
    accepted: Tensor
    predicted: Tensor
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.scores)

    @property
    def predicted_names(self) -> tuple[str | None, ...]:
        """Name of the most likely class of each image; None where classes have no names."""
        if not self.class_names:
            return (None,) * len(self)
        return tuple(self.class_names[label] for label in self.predicted.tolist())

    @staticmethod
    def cat(parts: "list[Judgement]") -> "Judgement":
        """Join the judgements of several batches of one guard."""
        columns = []
        for name in ("scores", "p_values", "accepted", "predicted"):
            columns.append(torch.cat([getattr(part, name) for part in parts]))
        return Judgement(*columns, class_names=parts[0].class_names)


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

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each ID class; () where the images that it was fitted to have none."""
        return tuple(self.about.get("data", {}).get("class_names", ()))

    def activations(self, images: Tensor | ImageSet) -> Activations:
        """Return what the target gives for images (N, C, H, W) float32 in [0, 1]."""
        return collect(self.target, checked(images, self.target.spec), keep_maps=False)

    def judge(
        self, images: Tensor | ImageSet, alpha: float = FALSE_ALARM_RATE, delta: float | None = None
    ) -> Judgement:
        """Score, accept and classify images (N, C, H, W) in [0, 1], all from one pass; alpha, delta as in `threshold`.

        Raises:
            SettingError: An alpha or delta that so many calibration images cannot keep.
            ShapeError: Images of another shape than the network takes.
            DataError: Values outside [0, 1], as of normalised images, or no floats; the message has the remedy.
        """
        return Judgement.cat(list(self.judgements(images, alpha, delta)))

    def judgements(
        self, images: Tensor | ImageSet, alpha: float = FALSE_ALARM_RATE, delta: float | None = None
    ) -> Iterator[Judgement]:
        """Yield what `judge` returns, in batches of 512 images: for sets of any size."""
        threshold = self.threshold(alpha, delta)
        for activations in self.batches(images):
            yield self._judge(activations, threshold)

    def _judge(self, activations: Activations, threshold: float) -> Judgement:
        scores = self.joint.score(activations)
        accepted, predicted = scores <= threshold, self._predicted(activations)
        return Judgement(scores, self.p_values(scores), accepted, predicted, self.class_names)

    def batches(self, images: Tensor | ImageSet) -> Iterator[Activations]:
        """Yield what the target gives for images, in batches of 512, without maps: nothing is kept."""
        images = checked(images, self.target.spec)
        batches = images.batches(AT_ONCE) if isinstance(images, ImageSet) else images.split(AT_ONCE)
        for batch in batches:
            yield collect(self.target, batch, keep_maps=False)

    def _predicted(self, activations: Activations) -> Tensor:
        """Return the most likely ID class; garbage is none."""
        return activations.logits[:, : self.target.classes].argmax(1)

    def score(self, images: Tensor | ImageSet) -> Tensor:
        """Return OOD scores (N,) float64 of images (N, C, H, W) in [0, 1]; higher = more OOD."""
        return torch.cat([self.joint.score(activations) for activations in self.batches(images)])

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
        return torch.cat([self._predicted(activations) for activations in self.batches(images)])

    def save(self, folder: str | Path) -> None:
        """Write ``network.safetensors``, ``detector.safetensors`` and ``guard.json`` into a folder.

        Raises:
            ModelError: The network has no architecture name.
        """
        folder = Path(folder)
        save_target(self.target, folder / "network.safetensors")
        state = self.joint.state_dict() | {"calibration": self.calibration}
        detector = save({name: value.contiguous() for name, value in state.items()})
        write_bytes(folder / DETECTOR, detector)
        description = {
            "schema": SCHEMA,
            "target_hash": self.target.hash,
            "detector_hash": content_hash(detector),
        }
        write_json(folder / DESCRIPTION, description | self.about)

    def export(
        self,
        path: str | Path,
        *,
        alpha: float = FALSE_ALARM_RATE,
        delta: float | None = None,
        images: Tensor | ImageSet | None = None,
    ) -> Comparison:
        """Write classifier, score and decision as one ONNX file, and ``NAME.onnx.json`` beside it.

        Args:
            path: File to write.
            alpha: Highest false-alarm rate of the decision.
            delta: As in `threshold`.
            images: ID images to compare the file with torch on; see ``invaudit.ood.export.export_onnx``, also for what
                is raised.

        Raises:
            SettingError: An alpha or delta that so many calibration images cannot keep.
        """
        network = GuardNetwork(self.target, self.joint, self.calibration, self.threshold(alpha, delta))
        about = {"alpha": alpha, "delta": delta, "class_names": list(self.class_names)}
        images = None if images is None else checked(images, self.target.spec)
        return export_onnx(network, Path(path), about, images)

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
        about = read_description(folder)
        target = load_model(folder / "network.safetensors", arch=arch)
        if about.pop("target_hash") != target.hash:
            raise ModelError(
                f"{folder}: network.safetensors is not the network that the detector was fitted to; {REMEDY}"
            )
        state = read_detector(folder, about.pop("detector_hash"))
        calibration = state.pop("calibration")
        like = collect(target, torch.zeros(1, *target.spec.shape, device=target.device), keep_maps=False)
        try:
            joint = Joint().load_state_dict(state, like)
        except ModelError as error:
            raise ModelError(f"{folder / DETECTOR}: {error}") from error
        guarded = GuardedClassifier(target, joint, calibration, about)
        if len(guarded.class_names) not in (0, target.classes):
            names = f"{len(guarded.class_names)} class names for {target.classes} classes"
            raise ModelError(f"{folder / DESCRIPTION} has {names}; {REMEDY}")
        return guarded
