"""One job: train one network with one seed, pass every image through it once, score with every detector."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invaudit.benchmarks.ood.sets import Sets, halves, load_sets, synthetic
from invaudit.benchmarks.ood.settings import (
    ATTACK,
    CALIBRATE,
    CONTROL_SAME,
    ID_TEST,
    OURS,
    PIXELS,
    Network,
    OODBenchmark,
)
from invaudit.data import STATISTICS, ImageSet, import_torchvision, load, seeded_rng
from invaudit.data.image_set import eight_bits
from invaudit.inversion import InversionSettings, Inverter
from invaudit.models import Activations, Target, collect, limit_threads, passes, resolve_device
from invaudit.ood import (
    BASELINES,
    TUNABLE,
    FitInputs,
    Joint,
    Recipe,
    TrainingResult,
    confidence,
    fools_network,
    logit_scores,
    new_target,
    predictions,
    require_finite,
    synthetic_activations,
    train_network,
    tuned,
)
from invaudit.runtime.errors import InputError, NotApplicableError, SettingError, ShapeError
from invaudit.runtime.files import npz_bytes, write_bytes
from invaudit.runtime.named import import_named
from invaudit.runtime.runs import RunFolder
from invaudit.stats import conformal_threshold, expected_calibration_error, false_alarm_band

logger = logging.getLogger(__name__)
Scorer = Callable[[Activations], dict[str, Tensor]]
ALPHA = 0.05
SLOW = ("GradNorm", "GradUncertainty")
"""They take a gradient in all weights for each image: milliseconds each."""


def job_name(seed: int, network: str) -> str:
    """Return the name of a job's record."""
    return f"seed-{seed}-{network}"


def run_job(settings: OODBenchmark, seed: int, network: str, folder: Path) -> None:
    """Do one job and write its scores, then its record; network ``none`` stands for the pixel statistics."""
    with limit_threads(1):
        sets = load_sets(settings, seed)
        try:
            job = _pixels(sets) if network == PIXELS else _network(settings, seed, network, sets, folder)
        except InputError as error:
            raise type(error)(f"{job_name(seed, network)}: {error}") from error
        job.arrays["half"] = halves(len(sets.splits.test), seed).numpy()
        for name, arrays in job.pictures.items():
            write_bytes(folder / "scores" / f"seed-{seed}" / f"{network}-{name}.npz", npz_bytes(arrays))
        write_bytes(folder / "scores" / f"seed-{seed}" / f"{network}.npz", npz_bytes(job.arrays))
        RunFolder(folder).finish(job_name(seed, network), {**job.record, "sets": sets.record()})


class Job:
    """What a job gathers: score arrays by ``DETECTOR::SET``, pictures, a record of what became of each detector."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.pictures: dict[str, dict[str, np.ndarray]] = {}
        self.record: dict[str, Any] = {"detectors": {}}

    @contextmanager
    def detector(self, name: str) -> Iterator[None]:
        """Time what happens inside and note whether it worked; a failure is a row, not the end."""
        about = self.record["detectors"].setdefault(name, {"status": "ok", "reason": "", "seconds": 0.0})
        start = time.perf_counter()
        try:
            yield
        except NotApplicableError as error:
            about |= {"status": "not-applicable", "reason": str(error)}
        except Exception as error:
            about |= {"status": "failed", "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
            logger.warning("%s failed", name, exc_info=True)
        about["seconds"] += time.perf_counter() - start

    def works(self, name: str) -> bool:
        """Return whether a detector has not failed so far."""
        return name not in self.record["detectors"] or self.record["detectors"][name]["status"] == "ok"

    def score(
        self, target: Target, scorers: dict[str, Scorer], sets: Mapping[str, ImageSet | Tensor], slow_images: int | None
    ) -> dict[str, Tensor]:
        """Pass every image of the sets through the target once and every batch to every detector that works.

        Args:
            target: The network.
            scorers: Name -> what gives the scores of one or more rows.
            sets: Name -> images.
            slow_images: Evenly spaced images of each set that the ``SLOW`` detectors see; None: all.

        Returns:
            The logits of each set.
        """
        logits = {}
        found: dict[str, dict[str, list[Tensor]]] = {name: defaultdict(list) for name in scorers}
        for where, images in sets.items():
            parts, done = [], 0
            few = torch.zeros(len(images), dtype=torch.bool)
            few[evenly(len(images), min(slow_images or len(images), len(images)))] = True
            for part in passes(target, images):
                parts.append(part.logits)
                seen = few[done : done + len(part)]
                done += len(part)
                for name in filter(self.works, scorers):
                    given = part.select(seen) if name in SLOW else part
                    if not len(given):
                        continue
                    with self.detector(name):
                        for row, scores in scorers[name](given).items():
                            if scores.shape != (len(given),):
                                raise ShapeError(
                                    f"{row} gives scores of shape {tuple(scores.shape)}, expected ({len(given)},)"
                                )
                            found[name][f"{row}::{where}"].append(require_finite(scores, row))
            logits[where] = torch.cat(parts)
        for name in filter(self.works, scorers):
            self.arrays |= {key: torch.cat(scores).numpy() for key, scores in found[name].items()}
        return logits


def evenly(n: int, k: int) -> np.ndarray:
    """Return k of n positions, evenly spaced: those of the images that slow detectors see."""
    return np.linspace(0, n - 1, k).round().astype(int)


def _pixels(sets: Sets) -> Job:
    job = Job()
    for name, statistic in STATISTICS.items():
        with job.detector(f"pixel-{name}"):
            scores = {f"pixel-{name}::{where}": statistic(images.images) for where, images in _scored(sets).items()}
            job.arrays |= scores
    return job


def _scored(sets: Sets) -> dict[str, ImageSet]:
    test = sets.splits.test
    # The same images once more, under the name and with the labels of an OOD set: control-same.
    same = replace(test, name=CONTROL_SAME, labels=torch.full_like(test.labels, -1))
    return {ID_TEST: test, **sets.ood, CONTROL_SAME: same}


def _network(settings: OODBenchmark, seed: int, network: str, sets: Sets, folder: Path) -> Job:
    choices = settings.networks[network]
    work = folder / "work" / f"{job_name(seed, network)}.pt"
    target = new_network(settings, seed, choices, sets)
    made = train_new(settings, seed, choices, sets, target, work) if choices.trained else None
    job = Job()
    train = _collect_train(target, _shuffled(sets.splits.train, seed), settings.map_images)
    fit = collect(target, sets.splits.fit)
    joint = Joint()
    scorers = _own(job, target, joint, train, fit, sets.splits.fit)
    if choices.baselines:
        scorers |= _baselines(job, settings, seed, choices, target, train, sets, fit)
    attacks = _attack(job, settings, seed, target) if made else {}
    logits = job.score(target, scorers, {**_scored(sets), CALIBRATE: sets.splits.calibrate}, settings.slow_images)
    # Apart: a detector that fails on attack images keeps its rows of all other sets.
    logits |= job.score(target, scorers, attacks, settings.slow_images)
    if attacks:
        job.pictures["attacks"] = _attack_pictures(job, attacks, target.classes)
    job.record["detectors"] |= {f"joint/{part}": job.record["detectors"]["joint"] for part in joint.state}
    _describe(job, target, sets, logits[ID_TEST], seed)
    for name in attacks:
        job.arrays[f"fooled::{name}"] = fools_network(logits[name], target.classes).numpy()
    if made:
        steps = made.steps + made.inversion_steps
        job.record["cost"] = {"steps": steps, "seconds": made.seconds, "inversions": made.inversions}
    if made and made.snapshots.epochs:
        images = torch.stack(made.snapshots.images).numpy()
        job.pictures["inversions"] = {"images": images, "epochs": np.array(made.snapshots.epochs)}
    work.unlink(missing_ok=True)
    return job


def new_network(settings: OODBenchmark, seed: int, choices: Network, sets: Sets) -> Target:
    """Return an untrained network of a benchmark."""
    # The same draws for every network of a seed: initial weights of all layers but the head.
    data, rng = sets.splits.train, seeded_rng(seed, "network/weights")
    target = new_target(settings.arch, data, data.classes, rng, garbage=_recipe(settings, choices).has_garbage_class)
    return target.to(resolve_device(settings.device)).eval()


def _recipe(settings: OODBenchmark, choices: Network) -> Recipe:
    inversion = choices.inversion or settings.inversion
    return Recipe(training=settings.training, garbage=choices.garbage, loss=choices.loss, inversion=inversion)


def train_new(
    settings: OODBenchmark, seed: int, choices: Network, sets: Sets, target: Target, work: Path | None = None
) -> TrainingResult:
    """Train a new network of a benchmark in place, with checkpoints in ``work`` if given."""
    # The same draws for every network of a seed: ID batches, shifts, dropout.
    recipe, rng = _recipe(settings, choices), seeded_rng(seed, "network/training")
    real = load(choices.real).transformed(sets.transform) if choices.real else None
    return train_network(target, sets.splits.train, recipe, rng, held_out=sets.splits.fit, real=real, checkpoint=work)


@dataclass(frozen=True)
class _Train:
    """Activations of all training images without maps, and of the first ones with maps."""

    all: Activations
    first: Activations
    labels: Tensor


def _shuffled(data: ImageSet, seed: int) -> ImageSet:
    # The first images feed detectors that fit on maps; in the data's own order they might be of one class.
    return data.subset(torch.randperm(len(data), generator=seeded_rng(seed, "train/order")))


def _collect_train(target: Target, data: ImageSet, map_images: int) -> _Train:
    first = collect(target, data.subset(slice(0, map_images)))
    found = first.vectors_only()
    if len(data) > map_images:
        rest = collect(target, data.subset(slice(map_images, None)), keep_maps=False)
        found = Activations.cat([found, rest])
    return _Train(found, first, data.labels)


def _own(
    job: Job, target: Target, joint: Joint, train: _Train, held_out: Activations, images: ImageSet
) -> dict[str, Scorer]:
    """Fit ``joint`` and return what gives the scores of our own rows."""
    with job.detector("joint"):
        outliers = synthetic_activations(target, images)
        joint.fit(train.all, train.labels, held_out=held_out, outliers=outliers, garbage=target.has_garbage)
        job.record["weights"] = joint.part_weights

    def joined(found: Activations) -> dict[str, Tensor]:
        parts = joint.score_parts(found)
        return {"joint": joint.combine(parts), **{f"joint/{part}": scores for part, scores in parts.items()}}

    own = logit_scores(target.classes, garbage=target.has_garbage)
    return {**{name: _named(name, detector.score) for name, detector in own.items()}, "joint": joined}


def _named(name: str, score: Callable[[Activations], Tensor]) -> Scorer:
    return lambda found: {name: score(found)}


def _baselines(
    job: Job,
    settings: OODBenchmark,
    seed: int,
    choices: Network,
    target: Target,
    train: _Train,
    sets: Sets,
    held_out: Activations,
) -> dict[str, Scorer]:
    """Fit every detector of the comparison and return what gives its scores; those that cannot be fitted are noted."""
    classes = target.classes
    base = FitInputs(
        target=target.first_outputs(classes),
        train=train.all.classes_only(classes),
        train_labels=train.labels,
        maps=train.first.classes_only(classes),
        maps_labels=train.labels[: len(train.first)],
        fit=held_out.classes_only(classes),
        fit_labels=sets.splits.fit.labels,
        rng=torch.Generator(),
    )
    names = choices.baselines if isinstance(choices.baselines, tuple) else BASELINES
    makers: dict[str, Callable[[FitInputs], Any]] = {name: BASELINES[name].detector for name in names}
    if choices.tuned:
        against = collect(target, synthetic(sets, seed, settings.synthetic_images)).classes_only(classes)
        tunable = [name for name in names if name in TUNABLE]
        makers |= {f"{name}@tuned": lambda fitting, name=name: tuned(name, fitting, against)[0] for name in tunable}
    makers |= {path: _own_detector(path) for path in settings.detectors}
    scorers: dict[str, Scorer] = {}
    for name, make in makers.items():
        with job.detector(name):
            score = make(replace(base, rng=seeded_rng(seed, f"baseline/{name}"))).score
            scorers[name] = _named(name, lambda found, score=score: score(found.classes_only(classes)))
    return scorers


def _own_detector(path: str) -> Callable[[FitInputs], Any]:
    module, found, name = path.partition(":")
    if not found:
        raise SettingError(f"--detector {path!r}: expected package.module:Class")
    try:
        kind = import_named(module, name)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise SettingError(f"--detector {path!r}: {error}") from error
    return lambda fitting: kind().fit(fitting.train, fitting.train_labels)


def _describe(job: Job, target: Target, sets: Sets, logits: Tensor, seed: int) -> None:
    labels = sets.splits.test.labels.numpy()
    found = predictions(logits).numpy()
    sure = confidence(logits).numpy()
    job.arrays |= {
        "labels": labels,
        "predictions": found,
        "confidence": sure,
    }
    job.record["classes"] = target.classes
    job.record["calibration"] = {"ece": expected_calibration_error(sure, found == labels), "alpha": ALPHA}
    if f"joint::{ID_TEST}" in job.arrays:
        calibration, test = (job.arrays[f"joint::{where}"] for where in (CALIBRATE, ID_TEST))
        job.record["calibration"] |= _false_alarms(calibration, test, seeded_rng(seed, "calibration/halves"))


def _false_alarms(calibration: np.ndarray, test: np.ndarray, rng: torch.Generator) -> dict[str, float]:
    """Return the false alarms on the test images, and those on one half of the calibration images by the other.

    The test images may come from other writers or cameras; halves drawn at random are exchangeable, so the band has to
    hold them.
    """
    found = {"false_alarms": float((test > conformal_threshold(calibration, ALPHA)).mean())}
    n = len(calibration) // 2
    if n + 1 < 1 / ALPHA:
        return found
    shuffled = calibration[torch.randperm(len(calibration), generator=rng).numpy()]
    held_out = shuffled[n:] > conformal_threshold(shuffled[:n], ALPHA)
    low, high = false_alarm_band(n, len(held_out), ALPHA)
    return {**found, "false_alarms_held_out": float(held_out.mean()), "band_low": low, "band_high": high}


def _attack(job: Job, settings: OODBenchmark, seed: int, target: Target) -> dict[str, Tensor]:
    """Let fresh generators try to make images that the network calls a class; return the images of each."""
    made: dict[str, Tensor] = {}
    job.record["attacks"] = {}
    for name, attack in settings.attacks.items():
        rng = seeded_rng(seed, f"attack/{name}")
        job.record["attacks"][name], images = fresh_inversions(target, attack, settings.attack_images, rng)
        if images is not None:
            made[ATTACK + name] = images
    return made


def _attack_pictures(job: Job, attacks: dict[str, Tensor], classes: int) -> dict[str, np.ndarray]:
    """Return an image of each class by ``NAME::images``, and by ``NAME::accepted`` which ours accepts, if it worked."""
    found: dict[str, np.ndarray] = {}
    for name, images in attacks.items():
        found[f"{name}::images"] = eight_bits(images[:classes]).numpy()
        calibration, scores = (job.arrays.get(f"joint::{where}") for where in (CALIBRATE, name))
        if calibration is not None and scores is not None:
            found[f"{name}::accepted"] = scores[:classes] <= conformal_threshold(calibration, ALPHA)
    return found


def fresh_inversions(
    target: Target, attack: InversionSettings, n: int, rng: torch.Generator
) -> tuple[str, Tensor | None]:
    """Train a new generator against a target; return the outcome and n images of its classes in turn, if any."""
    attacker = Inverter(attack, target, rng)
    outcome = attacker.run(target).outcome
    if outcome == "diverged":
        return outcome, None
    return outcome, attacker.sample(torch.arange(n) % target.classes, rng)


def checked_inputs(settings: OODBenchmark) -> list[str]:
    """Return the content hashes of the images of the first seed and of real outliers.

    A benchmark that could not run is refused here, before its first job: for its device, data, detectors by path.

    Raises:
        InputError: What is wrong, and the remedy.
    """
    resolve_device(settings.device)
    if any(network.baselines for network in settings.networks.values()):
        import_torchvision()
    for path in settings.detectors:
        _own_detector(path)
    sets = load_sets(settings, settings.seeds[0])
    real = [load(network.real) for network in settings.networks.values() if network.real]
    target = new_network(settings, settings.seeds[0], settings.networks[OURS[0]], sets)
    own = [network.inversion for network in settings.networks.values() if network.inversion]
    for inversion in (settings.inversion, *own, *settings.attacks.values()):
        Inverter(inversion, target, seeded_rng(0, "check"))
    return [images.hash for images in (*sets.splits.sets().values(), *sets.ood.values(), *real)]
