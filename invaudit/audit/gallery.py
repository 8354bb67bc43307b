"""What each class looks like to the audited model, and which classes touch, as ``invaudit explain`` finds it.

Inversions may come near to training images, so an audit has a gallery with ``images: full`` alone.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from invaudit.audit.timing import step_seconds, unheard
from invaudit.data import ImageSet
from invaudit.explain.border_stage import borders_by_pixels
from invaudit.explain.budget import attack_passes, cut, passes, seconds_per_pass
from invaudit.explain.settings import ExplainSettings
from invaudit.explain.stages import inversion
from invaudit.explain.work import Work, of_classes
from invaudit.inversion import invert_by
from invaudit.inversion.shipped import Engine
from invaudit.models import Target
from invaudit.records.audit_gallery import GalleryRecord
from invaudit.records.explain import BORDERS
from invaudit.runtime.errors import DataError, InputError, RunFolderError

PICTURES = 5
"""Inversions of each class: as many as stand side by side on the page."""
MEASURED = 20
"""Inversions of each class whose answers are counted: the gallery is no measurement, `invaudit explain` is."""
REAL = 1_000
"""Controls that the inversions are measured against, and that borders start from."""
LARGE = 100
"""Side beyond which a generator learns too slowly, so that pixels are moved in its place."""
MOST_CLASSES, MOST_LARGE_CLASSES = 20, 5
"""Classes that are looked at, the first ones, by a generator and by pixels: each has a row of pictures."""


class GalleryCost(NamedTuple):
    """Seconds of the searches with all their steps, and of what no budget cuts."""

    searches: float
    rest: float


def explained(target: Target) -> Target:
    """Return the model with the classes that are looked at."""
    most = MOST_LARGE_CLASSES if _by(target) == "pixels" else MOST_CLASSES
    return target.of_classes(range(min(target.classes, most)))


def gallery_settings(target: Target, seed: int = 0) -> ExplainSettings:
    """Return how closely a model is looked at: as ``invaudit explain`` does by default, but for the numbers of images.

    Raises:
        SettingError: There is no such search.
    """
    by = _by(target)
    search: dict[str, Any] = {"per_class": PICTURES} if by == "pixels" else {}
    return ExplainSettings(by=by, inversion=search, images=PICTURES, measured=MEASURED, seeds=(seed,))


def gallery_cost(target: Target) -> GalleryCost:
    """Time the searches of a gallery for a few steps. One that does not fit the model costs nothing, and says so later.

    Args:
        target: The model.
    """
    target, settings = explained(target), gallery_settings(target)
    search = settings.search(target.spec.channels)

    def invert(steps: int) -> None:
        invert_by(target, search.model_copy(update={"steps": steps}), seed=0)

    try:
        with unheard():
            step, rest = step_seconds(invert)
    except InputError:
        return GalleryCost(0.0, 0.0)
    one_pass = seconds_per_pass(target)
    borders = passes(settings, target, has_real=True)[BORDERS]
    return GalleryCost(search.steps * step + borders * one_pass, rest + attack_passes(target) * one_pass)


def make_gallery(
    target: Target, controls: ImageSet, share: float, *, seed: int, place: Path
) -> tuple[GalleryRecord, dict[str, np.ndarray]]:
    """Search for images of each class and for borders between classes; what does not fit the model has its reason.

    Args:
        target: The model.
        controls: Images of its classes that it was not trained on.
        share: Share of the steps of every search that is done.
        seed: Seed of everything random.
        place: Folder for the state of the search, from which a killed one goes on.

    Returns:
        The record, and the pictures: ``images`` (class, image, C, H, W) uint8, none where there are none.
    """
    shown = explained(target)
    chosen = tuple(range(shown.classes))
    real = _real(controls, target, chosen)
    settings = gallery_settings(target, seed)
    work = Work(
        target=shown,
        settings=cut(settings, share, shown.spec.channels) if share < 1 else settings,
        place=place,
        real=real,
    )
    names = shown.class_names or (() if real is None else real.class_names) or tuple(map(str, chosen))
    record = GalleryRecord(classes=chosen, n_classes=target.classes, class_names=names, share_of_steps=share)
    pictures: dict[str, np.ndarray] = {}
    place.mkdir(parents=True, exist_ok=True)
    try:
        found, pictures = inversion(work)
        record = record.model_copy(update={"inversion": found})
        atlas, _ = borders_by_pixels(work)
        return record.model_copy(update={"borders": atlas}), pictures
    except RunFolderError:
        raise
    except InputError as error:
        return record.model_copy(update={"status": "skipped", "reason": str(error)}), pictures


def _by(target: Target) -> Engine:
    return "pixels" if max(target.spec.height, target.spec.width) > LARGE else "generator"


def _real(controls: ImageSet, target: Target, chosen: tuple[int, ...]) -> ImageSet | None:
    """Return some controls of the classes; None where there are none of two of them."""
    try:
        return of_classes(controls, chosen, target).spread(REAL)
    except DataError:
        return None
