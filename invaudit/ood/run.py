"""Runs that a user starts: a guarded classifier into a folder, checked on new images, and calibrated by them."""

from dataclasses import dataclass
from pathlib import Path

from invaudit.data import ImageSet
from invaudit.data.folders import PictureInput
from invaudit.models import Target, resolve_device
from invaudit.ood.checking import GuardCheck, check, recalibrated
from invaudit.ood.export import Comparison
from invaudit.ood.fitting import check_training_images, fit
from invaudit.ood.guarded import FALSE_ALARM_RATE, GuardedClassifier
from invaudit.ood.inputs import images_for, named
from invaudit.ood.recipes import FitSettings
from invaudit.runtime.errors import ConfigError, RunFolderError, ShapeError
from invaudit.runtime.paths import what_is
from invaudit.runtime.runs import RunFolder


@dataclass(frozen=True)
class FitRun:
    """A guarded classifier that lies in a folder.

    Attributes:
        folder: What ``GuardedClassifier.load`` reads.
        guarded: The classifier with its detector.
    """

    folder: Path
    guarded: GuardedClassifier


def run_fit(
    data: str | ImageSet,
    settings: FitSettings,
    out: Path,
    *,
    start: Target | None = None,
    wanted: PictureInput | None = None,
    as_it_is: bool = False,
    download: bool = False,
    resume: bool = False,
) -> FitRun:
    """Train or take a classifier, fit and calibrate its detector, and save both in a folder.

    Args:
        data: ID images with their classes: a DATA text, or the images; ones that ``start`` was not trained on.
        settings: Recipe, architecture of a new network, seed and device.
        out: Folder to make, or to continue.
        start: A trained network to start from, which stays as it is; without one a new network is trained.
        wanted: What picture files become for a new network; with ``start``, its own input spec says so.
        as_it_is: Do not train ``start``.
        download: Whether torchvision may fetch the set that ``data`` names.
        resume: Continue the run that ``out`` holds.

    Raises:
        DataError: Labels that are no classes, or too few images.
        ModelError: ``start`` does not classify the images, or cannot be saved.
        RunFolderError: The folder holds something else, or another run.
        ConfigError: The settings have no recipe, and the network is to be trained.
    """
    settings = _resolved(settings, start, as_it_is=as_it_is)
    device = resolve_device(settings.device)
    images, name = named(data, start.spec.pictures if start else wanted, download=download)
    if wanted is not None and images.shape != wanted.shape:
        raise ShapeError(f"{name} has images of {images.shape}, --input says {wanted.shape}; leave --input out")
    checked = check_training_images(images, start, as_it_is=as_it_is)
    images = checked.images
    inputs = (images.hash, start.hash if start else "", str(as_it_is))
    with RunFolder.open(out, settings, resume=resume, inputs=inputs, data=name) as folder:
        checkpoint = folder.path / "work.pt"
        guarded = fit(
            images,
            settings.recipe,
            seed=settings.seed,
            start=start,
            arch=settings.arch or "",
            as_it_is=as_it_is,
            device=device,
            checkpoint=checkpoint,
            checked=checked,
        )
        guarded.save(folder.path)
        checkpoint.unlink(missing_ok=True)
    return FitRun(folder.path, guarded)


def _resolved(settings: FitSettings, start: Target | None, *, as_it_is: bool) -> FitSettings:
    """Return the settings as they are followed: of a network that is given its architecture, without a recipe as it is.

    Raises:
        ConfigError: There is no recipe to train by.
    """
    if as_it_is:
        return settings.model_copy(update={"arch": start.arch if start else None, "recipe": None})
    if settings.recipe is None:
        raise ConfigError("the config has no recipe, as that of a network that was taken as it is; add --as-it-is")
    return settings.model_copy(update={"arch": start.arch}) if start else settings


def run_check(
    guarded: GuardedClassifier,
    data: str | ImageSet,
    *,
    alpha: float = FALSE_ALARM_RATE,
    delta: float | None = None,
    download: bool = False,
) -> GuardCheck:
    """Count false alarms on new ID images: a DATA text, or the images; see ``checking.check``."""
    images = images_for(guarded, data, download=download)
    return check(guarded, images, alpha, delta)


def run_calibrate(
    guarded: GuardedClassifier, data: str | ImageSet, out: Path, *, download: bool = False
) -> GuardedClassifier:
    """Set the threshold anew by images of another site, and save the guard in a new folder.

    Args:
        guarded: The guard.
        data: ID images of the new site: a DATA text, or the images; see ``checking.recalibrated``.
        out: Folder to make.
        download: Whether torchvision may fetch the set that ``data`` names.

    Raises:
        RunFolderError: The folder is there already.
        DataError: Too few images, or ones that the guard was made of.
    """
    if what_is(out, RunFolderError):
        raise RunFolderError(f"{out} exists already; choose another --out")
    images = images_for(guarded, data, download=download)
    guarded = recalibrated(guarded, images)
    guarded.save(out)
    return guarded


def run_export(
    guarded: GuardedClassifier,
    out: Path,
    data: str | ImageSet | None = None,
    *,
    alpha: float = FALSE_ALARM_RATE,
    delta: float | None = None,
    download: bool = False,
) -> Comparison:
    """Write a guard as one ONNX file, compared with torch on images: a DATA text, or the images."""
    images = None if data is None else images_for(guarded, data, download=download)
    return guarded.export(out, alpha=alpha, delta=delta, images=images)
