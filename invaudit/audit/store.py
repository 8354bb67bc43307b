"""What an audit leaves in a run folder beside its record: tables, and arrays that every figure can be made from."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from invaudit.audit.target import TargetAudit
from invaudit.data.image_set import eight_bits
from invaudit.leakage import Pool
from invaudit.records import MembershipRow, MetricRow, PapersCountRow, TestRow, write_rows
from invaudit.records.names import METRICS, TABLE
from invaudit.runtime.files import npz_bytes, write_bytes
from invaudit.stats import Pairs


def write_tables(
    run: Path,
    tests: Iterable[TestRow],
    membership: Iterable[MembershipRow],
    papers_count: Iterable[PapersCountRow],
    metrics: Iterable[MetricRow],
) -> None:
    """Write the tables that every audit has to a run folder, as CSV files."""
    write_rows(run / TABLE, TestRow, tests)
    write_rows(run / "membership.csv", MembershipRow, membership)
    write_rows(run / "papers_count.csv", PapersCountRow, papers_count)
    write_rows(run / METRICS, MetricRow, metrics)


def array_files(audit: TargetAudit, pool: Pool, *, images: bool) -> dict[str, bytes]:
    """Return the arrays of an audit as files by name: of the pool, of membership scores, and of each method.

    Args:
        audit: The audit.
        pool: The pool that was tested.
        images: Whether reconstructions and pool images are kept, with 8 bits.
    """
    files = {"pool.npz": npz_bytes(pool_arrays(pool)), "membership.npz": npz_bytes(audit.scores)}
    for method, arrays in audit.arrays.items():
        reconstructions = {"images": eight_bits(audit.images[method]).cpu().numpy()} if images else {}
        files[f"{method}.npz"] = npz_bytes(arrays | reconstructions)
    if images:
        files["images.npz"] = npz_bytes({"images": pool.images.images.cpu().numpy()})
    return files


def write_array_files(files: Mapping[str, bytes], run: Path, seed: int, target: str) -> None:
    """Write the files of ``array_files`` to ``scores/seed-SEED/TARGET`` of a run folder."""
    for name, content in files.items():
        write_bytes(run / "scores" / f"seed-{seed}" / target / name, content)


def pool_arrays(pool: Pool) -> dict[str, np.ndarray]:
    """Return who is a member and what moves together; for images that were given also which of them each one is.

    Where they came from files, and their classes have names, these are there too.
    """
    design = pool.design
    arrays = {"labels": pool.labels.numpy(), "member": design.member}
    if isinstance(design, Pairs):
        arrays["pair"] = design.pair
    else:
        arrays["stratum"] = design.stratum
    for name, texts in (("files", pool.images.files), ("class_names", pool.images.class_names)):
        if texts:
            arrays[name] = np.array(texts)
    if pool.source is not None:
        arrays["source"] = pool.source
        if not isinstance(design, Pairs):
            arrays["unit"] = design.units
    return arrays
