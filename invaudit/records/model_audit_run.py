"""The folder of the audit of a model, read as typed rows and records."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from invaudit.records.audit_gallery import GALLERY, GalleryRecord
from invaudit.records.columns import read_rows
from invaudit.records.folder import read_kept_record, record_file
from invaudit.records.leakage import AuditRecord, TargetRow
from invaudit.records.leakage_run import LeakageRun, read_leakage_run
from invaudit.records.model_audit import (
    ClaimsRecord,
    ImageRow,
    MembershipTestRow,
    PlanRecord,
    PreflightRecord,
    RepeatRow,
    StageRow,
)
from invaudit.records.names import ATTACK_CONTROL, IMAGES_TABLE, MEMBERSHIP_TESTS, REPEATS, STAGES

PLAN_RECORD = "plan"
"""Record that only the audit of a model has: by it the folder is told from other leakage runs."""


@dataclass(frozen=True)
class ModelAuditRun:
    """The audit of a model; a table that the folder does not hold has no rows, a record that it does not hold is None.

    Attributes:
        run: What it has in common with every leakage run.
        membership_tests: Rows of ``membership_tests.csv``.
        repeats: Rows of ``repeats.csv``.
        images: Rows of ``images.csv``.
        stages: Rows of ``stages.csv``.
        preflight: What was seen of model and images.
        plan: What was to be done.
        claims: How many records are claimed as members.
        known_leak: What the same attacks found on the attack control.
        gallery: What each class looks like to the model, and which classes touch.
    """

    run: LeakageRun
    membership_tests: list[MembershipTestRow]
    repeats: list[RepeatRow]
    images: list[ImageRow]
    stages: list[StageRow]
    preflight: PreflightRecord | None
    plan: PlanRecord | None
    claims: ClaimsRecord | None
    known_leak: AuditRecord | None
    gallery: GalleryRecord | None

    @property
    def target(self) -> str:
        """Name of the model in the tables."""
        return str(self.run.settings.get("name", "target"))

    @property
    def seed(self) -> int:
        """Its only seed."""
        return _only_seed(self.run)

    @property
    def model(self) -> str:
        """File of the model, or the name that was given to it where no file is recorded."""
        return (self.preflight.model if self.preflight else "") or self.target

    @cached_property
    def network(self) -> TargetRow | None:
        """The row of the model in ``targets.csv``; None where there is none."""
        return next((row for row in self.run.targets if row.target == self.target), None)


def is_model_audit(folder: Path) -> bool:
    """Return whether a folder is that of the audit of a model."""
    return record_file(folder, f"records/{PLAN_RECORD}.json") is not None


def read_model_audit(folder: Path) -> ModelAuditRun:
    """Read the folder of the audit of a model.

    Raises:
        RunFolderError: The folder holds no ``table.csv``, a file of it is damaged, or it is of another kind or of a
            schema that cannot be read.
    """
    run = read_leakage_run(folder)
    return ModelAuditRun(
        run=run,
        membership_tests=read_rows(folder / MEMBERSHIP_TESTS, MembershipTestRow),
        repeats=read_rows(folder / REPEATS, RepeatRow),
        images=read_rows(folder / IMAGES_TABLE, ImageRow),
        stages=read_rows(folder / STAGES, StageRow),
        preflight=read_kept_record(folder, "preflight", PreflightRecord),
        plan=read_kept_record(folder, PLAN_RECORD, PlanRecord),
        claims=read_kept_record(folder, "claims", ClaimsRecord),
        known_leak=read_kept_record(folder, f"seed-{_only_seed(run)}-{ATTACK_CONTROL}", AuditRecord),
        gallery=read_kept_record(folder, GALLERY, GalleryRecord),
    )


def _only_seed(run: LeakageRun) -> int:
    """Return the seed of an audit; where neither rows nor settings name one, that of an audit that was given none."""
    return run.seeds[0] if run.seeds else 0
