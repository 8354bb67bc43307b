"""What each class looks like to an audited model, and which classes touch: ``records/gallery.json``."""

from typing import Literal

from pydantic import Field

from invaudit.records.explain import BordersRecord, InversionRecord, StageRecord

GALLERY = "gallery"
"""Name of the stage, of its record, and of the file of its pictures."""


class GalleryRecord(StageRecord):
    """The gallery of an audit: array ``images`` (class, image, C, H, W) of ``gallery.npz``.

    An audit has one with ``images: full`` alone.
    """

    schema_version: Literal[1] = 1
    """Version of this record."""
    classes: tuple[int, ...]
    """Numbers of the classes that were looked at; labels below are positions in this list."""
    n_classes: int
    """Number of classes that the model knows."""
    class_names: tuple[str, ...]
    """A name for each of them, in this order; its number where it has none."""
    share_of_steps: float = Field(gt=0, le=1)
    """Share of the steps of every search that the budget left; 1: nothing was cut."""
    inversion: InversionRecord | None = None
    """What each class looks like to the model; None: it could not be searched for."""
    borders: BordersRecord | None = None
    """Which classes touch; None: that could not be searched for."""
