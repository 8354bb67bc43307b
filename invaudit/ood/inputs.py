"""Images that a run is given: by a DATA text, or as they are."""

from invaudit.data import ImageSet, Preparation, load
from invaudit.data.folders import PictureInput
from invaudit.ood.guarded import GuardedClassifier


def images_for(guarded: GuardedClassifier, data: str | ImageSet, *, download: bool) -> ImageSet:
    """Return images for a guard.

    Pictures are prepared as those that it was fitted to; where these needed no preparation, none is guessed.
    """
    spec = guarded.target.spec
    wanted = PictureInput(spec.shape, spec.preparation or Preparation())
    return named(data, wanted, download=download)[0]


def named(data: str | ImageSet, wanted: PictureInput | None, *, download: bool) -> tuple[ImageSet, str]:
    """Return images and what to call them: their DATA text where they are given by one."""
    if isinstance(data, str):
        return load(data, download=download, wanted=wanted), data
    return data, data.name
