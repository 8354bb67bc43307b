"""The tables of the audit of a model, from what its folder holds: records and arrays, neither model nor images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from invaudit.audit.controls import attack_rows, attack_verdicts, called_methods
from invaudit.audit.images import Nearest, StoredPool, claiming, image_rows, parts_of
from invaudit.audit.model_settings import POOL, ModelAuditSettings
from invaudit.audit.repeats import membership_family, reconstruction_family, repeated
from invaudit.audit.rows import (
    Audited,
    declared_tests,
    judge_membership,
    judge_rows,
    membership_rows,
    papers_count_rows,
    target_row,
)
from invaudit.audit.settings import PICTURES, TargetAuditSettings
from invaudit.audit.store import write_tables
from invaudit.records import AuditRecord, ControlRow, PoolRecord, ReadinessRecord, ReadinessRow, TargetRow, TestRow
from invaudit.records.columns import write_rows
from invaudit.records.folder import read_record
from invaudit.records.model_audit import ImageRow, MembershipTestRow, PlanRecord, RepeatRow, StageRow
from invaudit.records.model_audit_run import PLAN_RECORD
from invaudit.records.names import (
    ATTACK_CONTROL,
    IMAGES_TABLE,
    MEMBERSHIP_TESTS,
    READINESS,
    REPEATS,
    STAGES,
)
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import read_arrays, read_json, write_json
from invaudit.runtime.seeds import child_seed
from invaudit.stats import OverallVerdict, known_leak_found, overall_of, repeats_of

OF_EVERY_AUDIT = ("scored", "signals", "pool", "membership", "nearest")
"""Files of arrays that every audit has."""
READINESS_RECORD = "readiness"
"""Record of what the model makes of images of other kinds."""


class JudgedSettings(Protocol):
    """What the tables need to know of the settings of an audit."""

    @property
    def name(self) -> str: ...
    @property
    def seeds(self) -> tuple[int]: ...
    @property
    def metrics(self) -> Mapping[str, object]: ...
    @property
    def alpha(self) -> float: ...
    @property
    def claim_rate(self) -> float: ...


@dataclass(frozen=True)
class AuditVerdicts:
    """The two verdicts on a model, which are never merged, and the tests of reconstructions.

    Attributes:
        membership: Over the declared membership scores; None where none has a result.
        reconstruction: Over all methods and metrics; None likewise.
        tests: Rows of ``table.csv``.
    """

    membership: OverallVerdict | None
    reconstruction: OverallVerdict | None
    tests: list[TestRow]


def record_name(seed: int, name: str) -> str:
    """Return the name of the record of a target or a pool."""
    return f"seed-{seed}-{name}"


def planned_settings(settings: ModelAuditSettings, plan: PlanRecord) -> TargetAuditSettings:
    """Return the settings with the methods that fit the model, and the steps that the plan gives them."""
    methods = {}
    for name, steps in plan.steps.items():
        choice = settings.methods[name]
        methods[name] = choice.model_copy(update={"settings": choice.settings | {"steps": steps}})
    return settings.model_copy(update={"methods": methods})


def write_audit_tables(folder: Path, settings: JudgedSettings) -> AuditVerdicts:
    """Write every table of an audit from its records and arrays alone, and return its verdicts."""
    seed, plan = settings.seeds[0], read_record(folder, PLAN_RECORD, PlanRecord)
    methods, metrics = list(plan.steps), list(settings.metrics)
    known = read_record(folder, record_name(seed, ATTACK_CONTROL), AuditRecord)
    record = read_record(folder, record_name(seed, settings.name), AuditRecord)
    pool = read_record(folder, record_name(seed, POOL), PoolRecord)
    verdicts = attack_verdicts(known, methods, metrics, design="pairs", alpha=settings.alpha)
    audited = Audited.of(settings.name, seed, record.target)
    called = called_methods(verdicts, methods) if known.target.hash else {}
    repeats = stored_repeats(folder)
    null = repeats_of(repeats, "reconstruction", settings.alpha).null_p
    negatives = dict.fromkeys(declared_tests(methods, metrics), null) if null is not None else None
    tests = judge_rows(
        audited, record, pool, methods, metrics, alpha=settings.alpha, called=called, negatives=negatives
    )
    membership, counts = membership_rows(audited, record), papers_count_rows(audited, record)
    write_tables(folder, tests, membership, counts, record.metrics.values())
    write_rows(folder / "controls.csv", ControlRow, attack_rows(ATTACK_CONTROL, seed, known, verdicts))
    null = repeats_of(repeats, "membership", settings.alpha).null_p
    membership_tests = _membership_tests(audited, record, known, pool, settings, null)
    write_rows(folder / MEMBERSHIP_TESTS, MembershipTestRow, membership_tests)
    targets = [target_row(ATTACK_CONTROL, seed, known), target_row(settings.name, seed, record)]
    write_rows(folder / "targets.csv", TargetRow, targets)
    write_rows(folder / READINESS, ReadinessRow, read_record(folder, READINESS_RECORD, ReadinessRecord).rows)
    _write_image_rows(folder, settings, record)
    write_rows(folder / REPEATS, RepeatRow, repeats)
    write_rows(folder / STAGES, StageRow, _stage_rows(folder, plan))
    return AuditVerdicts(overall_of(membership_tests), overall_of(tests), tests)


def _membership_tests(
    audited: Audited,
    record: AuditRecord,
    known: AuditRecord,
    pool: PoolRecord,
    settings: JudgedSettings,
    null: float | None,
) -> list[MembershipTestRow]:
    """Judge the membership scores; the same scores of the network that is known to leak are their attack control."""
    called = known_leak_found(known.membership_family, design=known.target.design, alpha=settings.alpha)
    return judge_membership(audited, record, pool, alpha=settings.alpha, called=called, negative_p=null)


def _write_image_rows(folder: Path, settings: JudgedSettings, record: AuditRecord) -> None:
    """Write the row of every image, and how many are claimed."""
    arrays = _arrays(folder, settings)
    pool = StoredPool.of(arrays["scored"])
    positions = arrays["pool"]["position"]
    by_similarity = {}
    for name, scores in arrays["membership"].items():
        whole = np.full(len(pool.design), np.nan)
        whole[positions] = scores
        by_similarity[name] = whole
    index, value, sign = {}, {}, {}
    for key, array in arrays["nearest"].items():
        kind, _, name = key.partition("/")
        (index if kind == "index" else value)[name] = array
        sign[name] = 1.0 if record.metrics[name.partition(":")[2]].better == "higher" else -1.0
    rows, claimed = image_rows(
        pool,
        parts_of(claiming(arrays["signals"])),
        parts_of(by_similarity),
        Nearest(positions, index, value, sign),
        rate=settings.claim_rate,
    )
    write_rows(folder / IMAGES_TABLE, ImageRow, rows)
    write_json(folder / "records" / "claims.json", claimed.model_dump())


def repeat_tests(folder: Path, settings: JudgedSettings) -> list[RepeatRow]:
    """Repeat the tests of an audit on other draws of its images, from its arrays."""
    seed, plan = settings.seeds[0], read_record(folder, PLAN_RECORD, PlanRecord)
    record = read_record(folder, record_name(seed, settings.name), AuditRecord)
    arrays = _arrays(folder, settings)
    compared, scored = StoredPool.of(arrays["pool"]), StoredPool.of(arrays["scored"])
    lists = {}
    for key in declared_tests(list(plan.steps), list(settings.metrics)):
        stored = arrays.get(key.method, {})
        if f"{key.metric}-index" in stored:
            sign = 1.0 if record.metrics[key.metric].better == "higher" else -1.0
            lists[f"{key.method}:{key.metric}"] = (stored[f"{key.metric}-index"], sign * stored[f"{key.metric}-value"])
    size = len(plan.steps) * len(settings.metrics)
    families = [reconstruction_family(lists, compared.design, compared.given, size)] if lists else []
    # Scores by gradients cover a part of the pool: a repeat of them would be of other images than the others.
    whole = {name: scores for name, scores in arrays["signals"].items() if np.isfinite(scores).all()}
    if whole:
        families.append(membership_family(whole, scored.design, scored.given, len(record.membership_family)))
    rows = []
    for family in families:
        rows += repeated(family, seed=child_seed(seed, "repeats"), alpha=settings.alpha)
    return rows


def stored_repeats(folder: Path) -> list[RepeatRow]:
    """Return the repeats that the folder of an audit holds."""
    path = folder / "records" / "repeats.json"
    return [RepeatRow.model_validate(row) for row in read_json(path, remedy="remove it and give --resume")]


def _arrays(folder: Path, settings: JudgedSettings) -> Mapping[str, dict[str, np.ndarray]]:
    """Return the arrays of the audited model by file."""
    arrays, place = {}, folder / "scores" / f"seed-{settings.seeds[0]}" / settings.name
    for file in place.glob("*.npz"):
        if file.stem not in PICTURES:
            arrays[file.stem] = read_arrays(file)
    for name in OF_EVERY_AUDIT:
        if name not in arrays:
            raise RunFolderError(f"{place} holds no {name}.npz; make the run again in another folder")
    return arrays


def _stage_rows(folder: Path, plan: PlanRecord) -> list[StageRow]:
    rows = []
    for stage in plan.stages:
        path = folder / "records" / f"stage-{stage.name}.json"
        taken = read_json(path, remedy="remove it and give --resume")["seconds"]
        rows.append(
            StageRow(stage=stage.name, settings=stage.settings, planned=stage.seconds, seconds=taken, cut=stage.cut)
        )
    return rows
