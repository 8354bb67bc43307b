"""A run that a user starts: reconstruct training images of a network into a folder."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from invaudit.data import ImageSet
from invaudit.data.image_set import eight_bits
from invaudit.leakage.methods import reconstruct
from invaudit.leakage.reconstruction import Reconstructions
from invaudit.models import Target
from invaudit.report import gallery, write_figure
from invaudit.runtime.files import npz_bytes, write_bytes, write_json
from invaudit.runtime.runs import RunFolder
from invaudit.runtime.settings import Settings

COLUMNS = 10
ROWS = 10


@dataclass(frozen=True)
class ReconstructionRun:
    """Reconstructions that lie in a folder.

    Attributes:
        folder: Holds ``reconstructions.npz`` (8-bit images and labels), ``reconstructions.json`` and, where there are
            reconstructions, ``figures/gallery.png``.
        method: Name of the method.
        reconstructions: The images and how the search ended.
    """

    folder: Path
    method: str
    reconstructions: Reconstructions

    def report(self) -> dict[str, Any]:
        """Return what ``reconstructions.json`` holds."""
        ending = {"outcome": self.reconstructions.outcome, "message": self.reconstructions.message}
        return {"method": self.method, "count": len(self.reconstructions), **ending}


def run_reconstruction(
    target: Target,
    method: str,
    settings: Settings,
    out: Path,
    *,
    seed: int = 0,
    reference: ImageSet | None = None,
    resume: bool = False,
) -> ReconstructionRun:
    """Make images from a network alone that are meant to resemble its training images, and write them.

    Args:
        target: The network, on the device to work on.
        method: A name of ``METHODS``.
        settings: Settings of the method; choose them without the target's members.
        out: Folder to make, or to continue.
        seed: Seed of everything random.
        reference: Images of the same kind that the network was not trained on; they help most methods.
        resume: Continue the run that ``out`` holds.

    Raises:
        SettingError: Unknown method, or settings of another one.
        InputError: What the method cannot work with, e.g. batch norm for ``kkt``.
        RunFolderError: The folder holds something else, or another run.
    """
    inputs = (target.hash, method, str(seed), reference.hash if reference else "")
    with RunFolder.open(out, settings, resume=resume, inputs=inputs) as folder:
        reconstructions = reconstruct(
            target,
            method,
            settings,
            seed=seed,
            reference=reference.floats() if reference else None,
            checkpoint=folder.path / "work" / "search.pt",
        )
        run = ReconstructionRun(folder.path, method, reconstructions)
        pictures = eight_bits(reconstructions.images).numpy()
        arrays = {"images": pictures, "labels": reconstructions.labels.numpy()}
        write_bytes(folder.path / "reconstructions.npz", npz_bytes(arrays))
        if len(pictures):
            _draw_gallery(pictures, folder.path / "figures" / "gallery.png")
        write_json(folder.path / "reconstructions.json", run.report())
        shutil.rmtree(folder.path / "work", ignore_errors=True)
    return run


def _draw_gallery(pictures: np.ndarray, path: Path) -> None:
    """Write a picture of the first reconstructions, in whole rows where there are enough for one."""
    count = len(pictures) // COLUMNS * COLUMNS or 1
    grid = pictures[:count].reshape(-1, min(COLUMNS, count), *pictures.shape[1:])[:ROWS]
    write_figure(gallery(grid, [""] * len(grid)), path)
