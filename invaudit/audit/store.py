"""What an audit leaves in a run folder beside its record: arrays, from which every figure can be made again."""

from pathlib import Path

import numpy as np

from invaudit.audit.target import TargetAudit
from invaudit.data.image_set import eight_bits
from invaudit.leakage import Pool
from invaudit.runtime.files import npz_bytes, write_bytes
from invaudit.stats import Pairs


def scores_folder(run: Path, seed: int, target: str) -> Path:
    """Return the folder of the arrays of one target."""
    return run / "scores" / f"seed-{seed}" / target


def store_arrays(audit: TargetAudit, pool: Pool, folder: Path, *, images: bool) -> None:
    """Write ``pool.npz``, ``membership.npz``, one file for each method and, if images are kept, ``images.npz``.

    Args:
        audit: The audit.
        pool: The pool that was tested.
        folder: From ``scores_folder``.
        images: Whether reconstructions and pool images are kept, with 8 bits.
    """
    write_bytes(folder / "pool.npz", npz_bytes(pool_arrays(pool)))
    write_bytes(folder / "membership.npz", npz_bytes(audit.scores))
    for method, arrays in audit.arrays.items():
        reconstructions = {"images": eight_bits(audit.images[method]).cpu().numpy()} if images else {}
        write_bytes(folder / f"{method}.npz", npz_bytes(arrays | reconstructions))
    if images:
        write_bytes(folder / "images.npz", npz_bytes({"images": pool.images.images.cpu().numpy()}))


def pool_arrays(pool: Pool) -> dict[str, np.ndarray]:
    """Return who is a member and what moves together; for images that were given also which of them each one is."""
    design = pool.design
    arrays = {"labels": pool.labels.numpy(), "member": design.member}
    if isinstance(design, Pairs):
        arrays["pair"] = design.pair
    else:
        arrays["stratum"] = design.stratum
    if pool.source is not None:
        arrays["source"] = pool.source
        if not isinstance(design, Pairs):
            arrays["unit"] = design.units
    return arrays
