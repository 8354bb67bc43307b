"""One job: a network with a seed is trained, attacked, and scored by every detector; it returns, its parent writes."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from invaudit.benchmarks.ood.attacks import Attacks, attack_network, attack_pictures
from invaudit.benchmarks.ood.fusing import fused_scores
from invaudit.benchmarks.ood.networks import new_network, numbered_as, train_new
from invaudit.benchmarks.ood.pixels import PIXEL_SCORES
from invaudit.benchmarks.ood.scoring import Outcomes, score_sets
from invaudit.benchmarks.ood.sets import Sets, halves, read_sets, sets_file, synthetic
from invaudit.benchmarks.ood.settings import Network, OODBenchmark
from invaudit.data import ImageSet, seeded_rng
from invaudit.models import Activations, Target, collect, limit_threads
from invaudit.ood import Detector, FitInputs, TrainingResult, make_detector
from invaudit.ood.detector import InParts
from invaudit.ood.guarded import FALSE_ALARM_RATE
from invaudit.ood.scores import confidence, predictions
from invaudit.records import CalibrationRecord, CostRecord, DetectorInfo, OodJobRecord, scores_key
from invaudit.records.names import (
    ATTACKS_ENDING,
    CALIBRATE,
    CONTROL_SAME,
    FOOLED,
    HALF,
    HELD_OUT,
    ID_TEST,
    INVERSIONS_ENDING,
    LABELS,
    OURS,
    PIXELS,
    PREDICTIONS,
    job_name,
    scores_file,
)
from invaudit.runtime.errors import InputError
from invaudit.runtime.files import npz_bytes, write_bytes
from invaudit.runtime.runs import RunFolder
from invaudit.stats import conformal_threshold, expected_calibration_error, false_alarm_band


@dataclass(frozen=True)
class JobScores:
    """What a job returns.

    Attributes:
        seed: Its seed.
        network: Name of its network.
        arrays: Scores by detector and set, and what else is known of each image.
        pictures: Ending of the name of a file of pictures -> its arrays.
        record: What the job was, and how each detector fared.
    """

    seed: int
    network: str
    arrays: dict[str, np.ndarray]
    pictures: dict[str, dict[str, np.ndarray]]
    record: OodJobRecord


def checkpoint_file(folder: Path, seed: int, network: str) -> Path:
    """Return where the training of a job continues from, if it was interrupted."""
    return folder / "work" / f"{job_name(seed, network)}.pt"


def run_job(settings: OODBenchmark, seed: int, network: str, folder: Path, *, device: str) -> JobScores:
    """Do one job; network ``none`` stands for the pixel statistics.

    Args:
        settings: The benchmark.
        seed: Which seed.
        network: Name of the network.
        folder: The run folder, whose prepared sets are read; a checkpoint is all that is written.
        device: Where to compute.
    """
    with limit_threads(1):
        sets = read_sets(sets_file(folder, seed))
        try:
            if network == PIXELS:
                scores = _score_pixels(seed, sets)
            else:
                on_device = settings.model_copy(update={"device": device})
                checkpoint = checkpoint_file(folder, seed, network)
                scores = _NetworkJob(on_device, seed, network, sets).run(checkpoint)
        except InputError as error:
            raise type(error)(f"{job_name(seed, network)}: {error}") from error
        scores.arrays[HALF] = halves(len(sets.splits.test), seed).numpy()
        return scores


def store_job(folder: RunFolder, scores: JobScores) -> None:
    """Write what a job returned, its record last."""
    for ending, arrays in scores.pictures.items():
        write_bytes(folder.path / scores_file(scores.seed, scores.network + ending), npz_bytes(arrays))
    write_bytes(folder.path / scores_file(scores.seed, scores.network), npz_bytes(scores.arrays))
    record = scores.record.model_dump(mode="json", exclude_none=True)
    folder.finish(job_name(scores.seed, scores.network), record)
    checkpoint_file(folder.path, scores.seed, scores.network).unlink(missing_ok=True)


def _score_pixels(seed: int, sets: Sets) -> JobScores:
    outcomes = Outcomes()
    arrays: dict[str, np.ndarray] = {}
    for name, fitted in PIXEL_SCORES.items():
        with outcomes.of(DetectorInfo(name=name, role="statistic", consumes="images")):
            score = fitted(sets.splits.train.images)
            scores = {}
            for set_name, images in _scored_sets(sets).items():
                scores[scores_key(name, set_name)] = score(images.images)
            arrays |= scores
    return JobScores(seed, PIXELS, arrays, {}, OodJobRecord(sets=sets.record(), detectors=outcomes.by_name))


def _scored_sets(sets: Sets) -> dict[str, ImageSet]:
    test = sets.splits.test
    # The same images once more, under the name and with the labels of an OOD set: control-same.
    same = replace(test, name=CONTROL_SAME, labels=torch.full_like(test.labels, -1))
    return {ID_TEST: test} | sets.ood | {CONTROL_SAME: same}


class _NetworkJob:
    """The steps of the job of one network."""

    def __init__(self, settings: OODBenchmark, seed: int, network: str, sets: Sets) -> None:
        self.settings, self.seed, self.network, self.sets = settings, seed, network, sets
        self.choices: Network = settings.networks[network]
        self.outcomes = Outcomes()

    def run(self, checkpoint: Path) -> JobScores:
        """Train the network, fit every detector, attack, score everything."""
        record = self.sets.record()
        target = new_network(self.settings, self.seed, self.network, self.sets)
        self.sets = numbered_as(target, self.sets)
        training = self._train(target, checkpoint)
        detectors = self._fitted_detectors(target)
        attacks = Attacks({}, {}, {})
        if self.choices.trained:
            attacks = attack_network(self.settings, self.seed, target, self.sets.splits.test)
        scored = _scored_sets(self.sets) | {CALIBRATE: self.sets.splits.calibrate}
        few_images = self.settings.slow_images
        if self.choices.baselines is True:
            scored[HELD_OUT] = self.sets.splits.fit
        logits, arrays = score_sets(target, detectors, scored, self.outcomes, few_images)
        # Apart: a detector that fails on attack images keeps its rows of all other sets.
        of_attacks = score_sets(target, detectors, attacks.images, self.outcomes, few_images)
        arrays |= of_attacks.scores
        if self.choices.baselines is True:
            arrays |= fused_scores(arrays, [*scored, *attacks.images], self.outcomes)
        weights: dict[str, float] = {}
        for name, detector in detectors.items():
            if isinstance(detector, InParts):
                weights |= detector.part_weights
                self.outcomes.with_parts(name, detector.part_weights)
        pictures: dict[str, dict[str, np.ndarray]] = {}
        if attacks.inversions:
            pictures[ATTACKS_ENDING] = attack_pictures(
                attacks.inversions, arrays, target.classes, OURS[1], FALSE_ALARM_RATE
            )
        arrays |= self._answers(logits[ID_TEST])
        calibration = calibration_record(arrays, seeded_rng(self.seed, "calibration/halves"))
        for name in attacks.images:
            arrays[scores_key(FOOLED, name)] = attacks.fooled(name, of_attacks.logits[name], target.classes).numpy()
        if training and training.snapshots.epochs:
            images = torch.stack(training.snapshots.images).numpy()
            pictures[INVERSIONS_ENDING] = {"images": images, "epochs": np.array(training.snapshots.epochs)}
        job = OodJobRecord(
            sets=record,
            detectors=self.outcomes.by_name,
            classes=target.classes,
            cost=_cost(training) if training else None,
            calibration=calibration,
            weights=weights,
            attacks=attacks.outcomes,
        )
        return JobScores(self.seed, self.network, arrays, pictures, job)

    def _train(self, target: Target, checkpoint: Path) -> TrainingResult | None:
        if not self.choices.is_trained_here:
            return None
        return train_new(self.settings, self.seed, self.network, self.sets, target, checkpoint)

    def _fitted_detectors(self, target: Target) -> dict[str, Detector]:
        """Fit every detector that runs on this network; one that cannot be fitted has an outcome that says why."""
        detectors: dict[str, Detector] = {}
        unfitted = self._detectors(target)
        inputs = self._fit_inputs(target)
        for name, detector in unfitted.items():
            with self.outcomes.of(detector.info):
                own_rng = replace(inputs, rng=seeded_rng(self.seed, f"baseline/{name}"))
                detectors[name] = detector.fit(own_rng)
        return detectors

    def _detectors(self, target: Target) -> dict[str, Detector]:
        """Return what runs on this network: ours that it can serve, and where it has baselines these and users'."""
        detectors: dict[str, Detector] = {}
        for name in self.settings.detectors_on(self.network):
            detector = make_detector(name)
            if target.has_garbage or "garbage" not in detector.info.consumes.split("+"):
                detectors[name] = detector
        return detectors

    def _fit_inputs(self, target: Target) -> FitInputs:
        # In an order drawn at random: the first images feed detectors that fit on maps, and in the data's own order
        # they might be of one class.
        data, held_out = self.sets.splits.train, self.sets.splits.fit
        data = data.subset(torch.randperm(len(data), generator=seeded_rng(self.seed, "train/order")))
        map_images = self.settings.map_images
        with_maps = collect(target, data.subset(slice(0, map_images)))
        train = with_maps.vectors_only()
        if len(data) > map_images:
            others = collect(target, data.subset(slice(map_images, None)), keep_maps=False)
            train = Activations.cat([train, others])
        tuning = None
        if self.choices.tuned:
            tuning = collect(target, synthetic(self.sets, self.seed, self.settings.synthetic_images))
        return FitInputs(
            target=target,
            train=train,
            train_labels=data.labels,
            maps=with_maps,
            maps_labels=data.labels[: len(with_maps)],
            fit=collect(target, held_out),
            fit_labels=held_out.labels,
            rng=torch.Generator(),
            held_out=held_out,
            tuning=tuning,
        )

    def _answers(self, logits: Tensor) -> dict[str, np.ndarray]:
        """Return what the network says of the ID test images."""
        return {
            LABELS: self.sets.splits.test.labels.numpy(),
            PREDICTIONS: predictions(logits).numpy(),
            "confidence": confidence(logits).numpy(),
        }


def _cost(training: TrainingResult) -> CostRecord:
    steps = training.steps + training.inversion_steps
    return CostRecord(steps=steps, seconds=training.seconds, inversions=training.inversions)


def calibration_record(arrays: dict[str, np.ndarray], rng: torch.Generator) -> CalibrationRecord:
    """Return how sure the network is, and how often our detector, if it worked, raises a false alarm.

    Args:
        arrays: ``labels``, ``predictions`` and ``confidence`` of the ID test images, and the scores.
        rng: Source of the halves of the calibration images.
    """
    ece = expected_calibration_error(arrays["confidence"], arrays[PREDICTIONS] == arrays[LABELS])
    calibration = arrays.get(scores_key(OURS[1], CALIBRATE))
    test = arrays.get(scores_key(OURS[1], ID_TEST))
    if calibration is None or test is None:
        return CalibrationRecord(ece=ece, alpha=FALSE_ALARM_RATE)
    return CalibrationRecord(ece=ece, alpha=FALSE_ALARM_RATE, **false_alarms(calibration, test, rng))


def false_alarms(calibration: np.ndarray, test: np.ndarray, rng: torch.Generator) -> dict[str, float]:
    """Return the false alarms on the test images, and those on one half of the calibration images by the other.

    The test images may come from other writers or cameras; halves drawn at random are exchangeable, so the band has to
    hold them.

    Args:
        calibration: (n,) scores of the calibration images.
        test: Scores of the ID test images.
        rng: Source of the halves.

    Returns:
        ``false_alarms``, and where there are enough images ``false_alarms_held_out``, ``band_low`` and ``band_high``.
    """
    shares = {"false_alarms": float((test > conformal_threshold(calibration, FALSE_ALARM_RATE)).mean())}
    n = len(calibration) // 2
    if n + 1 < 1 / FALSE_ALARM_RATE:
        return shares
    shuffled = calibration[torch.randperm(len(calibration), generator=rng).numpy()]
    held_out = shuffled[n:] > conformal_threshold(shuffled[:n], FALSE_ALARM_RATE)
    low, high = false_alarm_band(n, len(held_out), FALSE_ALARM_RATE)
    return shares | {"false_alarms_held_out": float(held_out.mean()), "band_low": low, "band_high": high}
