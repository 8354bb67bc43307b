"""A cache of attack controls: the same network, attacked in the same way, need not be attacked for every model.

It holds figures alone, no picture: records, and positions and similarities of neighbours.
"""

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from invaudit.audit.settings import TargetAuditSettings
from invaudit.audit.store import pool_arrays
from invaudit.leakage import Pool, TargetRecipe
from invaudit.records import AuditRecord
from invaudit.records.folder import read_record
from invaudit.runtime.errors import InputError
from invaudit.runtime.files import content_hash, npz_bytes, write_bytes, write_json
from invaudit.runtime.version import __version__

CACHE = "INVAUDIT_CACHE"
"""Variable that names the folder of the cache; by default ``invaudit`` in the user's cache folder."""
RECORD = "record"
Stored = tuple[AuditRecord, dict[str, bytes]]


@dataclass(frozen=True)
class ControlCache:
    """Where the audit of one attack control is kept; None: nowhere."""

    folder: Path | None

    @classmethod
    def of(
        cls, recipe: TargetRecipe, pool: Pool, settings: TargetAuditSettings, seed: int, metrics: Collection[str]
    ) -> "ControlCache":
        """Return the place of an attack control: everything that its figures depend on names it.

        Where pictures are kept, or the names of files, nothing is cached.

        Args:
            recipe: How the network is trained.
            pool: Its members and controls.
            settings: The attacks, and how they are judged.
            seed: Seed of the audit.
            metrics: Names of the metrics that can be computed here.
        """
        if settings.images == "full" or pool.images.files:
            return cls(None)
        reference = b"" if pool.reference is None else pool.reference.numpy().tobytes()
        measured = {"metrics", "limit_blur", "limit_noise", "draws", "alpha", "device", "methods", "attribution"}
        key = content_hash(
            recipe.model_dump_json(),
            settings.model_dump_json(include=measured),
            pool.images.hash,
            npz_bytes(pool_arrays(pool)),
            reference,
            f"{pool.classes} classes, {', '.join(sorted(metrics))}",
            str(seed),
            f"invaudit {__version__} torch {torch.__version__}",
        )
        return cls(cache_folder() / "attack-controls" / key)

    def read(self) -> Stored | None:
        """Return what is kept; None where there is nothing whole."""
        if self.folder is None or not (self.folder / "records" / f"{RECORD}.json").is_file():
            return None
        try:
            record = read_record(self.folder, RECORD, AuditRecord)
            return record, {file.name: file.read_bytes() for file in sorted(self.folder.glob("*.npz"))}
        except (InputError, OSError):
            return None

    def write(self, record: AuditRecord, files: dict[str, bytes]) -> None:
        """Keep an attack control; a cache that cannot be written is done without."""
        ended = [*record.methods.values(), *record.membership.values()]
        for tests in record.tests.values():
            ended += tests.values()
        if self.folder is None or any(one.status == "failed" for one in ended):
            return
        with suppress(InputError, OSError):
            cache_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
            for name, content in files.items():
                write_bytes(self.folder / name, content)
            write_json(self.folder / "records" / f"{RECORD}.json", record.model_dump())


def cache_folder() -> Path:
    """Return the folder of the cache."""
    named = os.environ.get(CACHE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "invaudit"
