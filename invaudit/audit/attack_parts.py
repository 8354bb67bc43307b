"""The attacks of an audit one by one, each of which leaves its part, so that an audit that is stopped keeps it.

A search keeps no state of its own where no picture may be kept: what it has of a member would lie there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from invaudit.audit.metrics import MetricSet
from invaudit.audit.settings import TargetAuditSettings
from invaudit.audit.store import array_files, pool_arrays, write_array_files
from invaudit.audit.target import TargetAudit, audit_target, describe_target
from invaudit.leakage import Pool
from invaudit.leakage.matches import nearest_reconstructions
from invaudit.models import Target
from invaudit.records import AuditRecord
from invaudit.records.folder import read_record
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import npz_bytes, read_arrays, write_bytes
from invaudit.runtime.paths import is_file
from invaudit.runtime.runs import RunFolder

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Attacked:
    """What all attacks on one target found.

    Attributes:
        record: Of all of them together.
        scores: Membership by similarity to the nearest reconstruction, (N,) by ``METHOD:METRIC``.
        nearest: ``index/METHOD:METRIC`` and ``value/METHOD:METRIC``, the nearest reconstruction of each pool image.
    """

    record: AuditRecord
    scores: Arrays
    nearest: Arrays


def attack_by_parts(
    folder: RunFolder,
    target: Target,
    pool: Pool,
    settings: TargetAuditSettings,
    metrics: MetricSet,
    *,
    name: str,
    seed: int,
    description: str,
    depth: int = 1,
) -> Attacked:
    """Attack a target by every method, and write the arrays of each as soon as it is done.

    Args:
        folder: The folder of the audit.
        target: The target.
        pool: Members and controls.
        settings: The attacks, and how they are judged.
        metrics: Ways to compare what they give with the pool.
        name: Name of the target.
        seed: Seed of the audit.
        description: What the target is, in words.
        depth: As of ``audit_target``.
    """
    records, scores, nearest = [AuditRecord(target=describe_target(target, pool, description))], {}, {}
    for method, choice in settings.methods.items():
        part = f"part-{name}-{method}"
        arrays_file = folder.path / "work" / f"{part}.npz"
        if folder.record(part) is None or not is_file(arrays_file, RunFolderError):
            keeps = settings.images == "full"
            audit = audit_target(
                target,
                pool,
                settings.model_copy(update={"methods": {method: choice}}),
                name=name,
                seed=seed,
                description=description,
                work=folder.path / "work" if keeps else None,
                memberships={},
                metrics=metrics,
                depth=depth,
            )
            files = array_files(audit, pool, images=keeps)
            write_array_files({key: files[key] for key in files if key == f"{method}.npz"}, folder.path, seed, name)
            write_bytes(arrays_file, npz_bytes(_prefixed("score", audit.scores) | _nearest(audit, pool, metrics)))
            folder.finish(part, audit.record.model_dump())
        records.append(read_record(folder.path, part, AuditRecord))
        stored = read_arrays(arrays_file)
        scores |= {key.removeprefix("score/"): stored[key] for key in stored if key.startswith("score/")}
        nearest |= {key: stored[key] for key in stored if not key.startswith("score/")}
    files = {"pool.npz": npz_bytes(pool_arrays(pool)), "membership.npz": npz_bytes(scores)}
    if settings.images == "full":
        files["images.npz"] = npz_bytes({"images": pool.images.images.cpu().numpy()})
    write_array_files(files, folder.path, seed, name)
    return Attacked(_together(records), scores, nearest)


def _prefixed(prefix: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    return {f"{prefix}/{key}": array for key, array in arrays.items()}


def _nearest(audit: TargetAudit, pool: Pool, metrics: MetricSet) -> Arrays:
    """Return the nearest reconstruction of each pool image by each test, with its value."""
    arrays: Arrays = {}
    for method, images in audit.images.items():
        labels = torch.from_numpy(audit.arrays[method]["labels"])
        for name, metric in metrics.ready.items():
            index, value = nearest_reconstructions(images, labels, pool.embeddings.by(metric), pool.labels, metric)
            arrays |= {f"index/{method}:{name}": index, f"value/{method}:{name}": value}
    return arrays


def _together(records: list[AuditRecord]) -> AuditRecord:
    """Return the record of all methods; what each says of the target is the same."""
    whole = records[0]
    for record in records[1:]:
        whole = whole.model_copy(
            update={
                "metrics": whole.metrics | record.metrics,
                "methods": whole.methods | record.methods,
                "tests": whole.tests | record.tests,
                "membership": whole.membership | record.membership,
                "papers_count": whole.papers_count | record.papers_count,
            }
        )
    return whole
