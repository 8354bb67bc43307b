"""A run that a user starts: invert a network into a folder, with a picture and the diagnosis of what came out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from invaudit.data import ImageSet, seeded_rng
from invaudit.data.image_set import eight_bits
from invaudit.inversion.diagnostics import Diagnosis, diagnose
from invaudit.inversion.inverting import invert_by
from invaudit.inversion.pixel_inversion import PixelInversion, PixelInversionSettings
from invaudit.inversion.results import Inversion
from invaudit.inversion.settings import InversionSettings
from invaudit.models import Target
from invaudit.report import gallery, write_figure
from invaudit.report.drawing import LONGEST_CLASS
from invaudit.runtime.errors import SettingError
from invaudit.runtime.files import write_json
from invaudit.runtime.runs import RunFolder
from invaudit.runtime.text import printable

DIAGNOSED = 100
"""Inversions of each class that a generator draws for the diagnosis."""


@dataclass(frozen=True)
class InversionRun:
    """An inversion that lies in a folder.

    Attributes:
        folder: Holds ``diagnosis.json`` and ``figures/gallery.png``.
        inversion: The trained generator, or the images found, and how the search ended.
        diagnosis: What fresh inversions look like to the target and to each other.
    """

    folder: Path
    inversion: Inversion | PixelInversion
    diagnosis: Diagnosis

    def report(self) -> dict[str, Any]:
        """Return what ``diagnosis.json`` holds."""
        return {"outcome": self.inversion.outcome, "message": self.inversion.message, **self.diagnosis.as_dict()}


def run_inversion(
    target: Target,
    settings: InversionSettings | PixelInversionSettings,
    out: Path,
    *,
    seed: int = 0,
    images: int = 8,
    resume: bool = False,
    real: ImageSet | None = None,
) -> InversionRun:
    """Invert a target, and write a gallery per class and a diagnosis.

    Args:
        target: The network to invert, on the device to work on.
        settings: How to train the generator, or how to search for pixels.
        out: Folder to make, or to continue.
        seed: Seed of everything random.
        images: Inversions of each class in the gallery, at least 1.
        resume: Continue the run that ``out`` holds.
        real: Held-out real images of the target's classes, by which the inversions are judged.

    Raises:
        SettingError: ``images`` is under 1, or more than a search for pixels makes; the target's images are too small;
            or the inversion diverged.
        RunFolderError: The folder holds something else, or another run.
    """
    if images < 1:
        raise SettingError(f"images is {images}, expected at least 1 for each class")
    per_class = DIAGNOSED
    if isinstance(settings, PixelInversionSettings):
        per_class = settings.per_class
        if images > per_class:
            raise SettingError(f"images is {images}, but {per_class} of each class are searched for; set per_class")
    inputs = (target.hash, str(seed), *(() if real is None else (real.hash,)))
    with RunFolder.open(out, settings, resume=resume, inputs=inputs) as folder:
        checkpoint = folder.path / "work.pt"
        inversion = invert_by(target, settings, seed=seed, checkpoint=checkpoint, real=real)
        diagnosis = diagnose(inversion, target, seeded_rng(seed, "invert/diagnosis"), per_class=per_class)
        run = InversionRun(folder.path, inversion, diagnosis)
        _draw_gallery(run, target, images, seeded_rng(seed, "invert/gallery"))
        write_json(folder.path / "diagnosis.json", run.report())
        for file in folder.path.glob(f"{checkpoint.name}*"):
            file.unlink()
    return run


def _draw_gallery(run: InversionRun, target: Target, images: int, rng: torch.Generator) -> None:
    """Write a picture with a row for each class, titled with the inversion accuracy of the class."""
    labels = torch.arange(target.classes).repeat_interleave(images)
    inversions = run.inversion.sample(labels, rng)
    pictures = eight_bits(inversions.cpu()).view(target.classes, images, *target.spec.shape).numpy()
    titles = []
    for label, accuracy in enumerate(run.diagnosis.accuracy_per_class):
        name = target.class_names[label] if target.class_names else str(label)
        titles.append(f"{printable(name, LONGEST_CLASS)}: {accuracy:.0%}")
    write_figure(gallery(pictures, titles), run.folder / "figures" / "gallery.png")
