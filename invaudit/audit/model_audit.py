"""The audit of a model whole: what it gives away of its training images, and what it does not know.

A model, images that it was trained on and images of the same source that it was not trained on go in; a folder with
verdicts, tables and a page comes out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import Field

from invaudit.audit.attack_control import train_known_leak
from invaudit.audit.attempts import failure
from invaudit.audit.controls import attack_rows, attack_verdicts, called_methods
from invaudit.audit.method import AuditSetup
from invaudit.audit.metrics import make_metrics
from invaudit.audit.pools import coin_pool, describe_pool, load_labelled
from invaudit.audit.readiness import readiness
from invaudit.audit.rows import (
    Audited,
    judge_rows,
    membership_rows,
    n_reconstructions,
    papers_count_rows,
    target_row,
)
from invaudit.audit.settings import MethodChoice, TargetAuditSettings
from invaudit.audit.store import array_files, write_array_files, write_tables
from invaudit.audit.target import TargetAudit, audit_target
from invaudit.data import ImageSet, load, refuse_duplicates, seeded_rng
from invaudit.data.joining import with_classes
from invaudit.leakage import Pool, TargetRecipe, make_pool
from invaudit.leakage.pool import stratified
from invaudit.leakage.targets import RECIPES
from invaudit.models import Target, limit_threads, resolve_device
from invaudit.models.settings import code_hashes
from invaudit.models.suitability import refuse_misfit
from invaudit.records import (
    LEAKAGE_RUN,
    AuditRecord,
    ControlRow,
    PoolRecord,
    ReadinessRecord,
    ReadinessRow,
    TargetRow,
    TestRow,
    write_rows,
)
from invaudit.records.folder import read_record, write_scores_record
from invaudit.records.names import ATTACK_CONTROL, ID_TEST, OURS, READINESS
from invaudit.report import audit_record, leakage_page
from invaudit.report.leakage.findings import overall_of
from invaudit.runtime.console import notice
from invaudit.runtime.errors import DataError, InputError, SettingError, ShapeError
from invaudit.runtime.files import npz_bytes, write_json
from invaudit.runtime.runs import RunFolder
from invaudit.runtime.seeds import child_seed
from invaudit.runtime.settings import Name, OneSeed
from invaudit.stats import BlindBaseline, OverallVerdict

POOL = "pool"
"""Name of the record of the pool."""
READINESS_RECORD, READINESS_SCORES = "readiness", "readiness.npz"
"""What the stage of readiness leaves: its record, and the file of its scores beside those of the model."""


class ModelAuditSettings(TargetAuditSettings):
    """What is audited of a model, and how."""

    name: Name = "target"
    """Name of the model in tables."""
    members: str
    """DATA that the model was trained on."""
    controls: str
    """DATA of the same source that it was not trained on, with classes."""
    reference: str | None = None
    """Further DATA of the source, in neither; it helps most attacks, and gives the scoring limit."""
    ood: tuple[str, ...] = ()
    """DATA of other kinds, for the question what the model does not know."""
    methods: dict[Name, MethodChoice] = Field(
        default={
            "kkt": MethodChoice(kind="kkt", settings={"images": 100, "restarts": 1}),
            "generator": MethodChoice(kind="generator", settings={"images": 100}),
            "deepinversion": MethodChoice(kind="deepinversion", settings={"images": 100}),
        },
        min_length=1,
    )
    """Reconstruction methods by the name that tables give them; where one does not fit the model, its rows say so."""
    most: int = Field(default=1_000, ge=7, le=1_000_000)
    """Largest number of members, and of controls, that are tested."""
    drop_duplicates: bool = False
    """Leave out images that are both member and control."""
    known_leak: TargetRecipe = RECIPES["mlp-decay"]
    """How the attack control is trained, a network that is known to leak."""
    known_members: int = Field(default=40, ge=7, le=1_000_000)
    """Its members, drawn from the controls of the model, and as many controls."""
    seeds: OneSeed = (0,)

    def problems(self) -> Iterator[str]:
        """Yield a name that records of the audit have."""
        yield from super().problems()
        if self.name in (ATTACK_CONTROL, POOL):
            yield f"target name {self.name!r} is taken; choose another"


@dataclass(frozen=True)
class ModelAuditResult:
    """What the audit of a model says.

    Attributes:
        folder: The folder of the audit.
        verdict: Whether images can be made from it: the verdict over all tests; None where no test has a result.
        tests: The tests, as in ``table.csv``.
        readiness: What detectors make of images of other kinds; none where it could not be measured.
    """

    folder: Path
    verdict: OverallVerdict | None
    tests: list[TestRow]
    readiness: list[ReadinessRow]


class _Images(NamedTuple):
    """The images of an audit, as the model takes them."""

    members: ImageSet
    controls: ImageSet
    reference: ImageSet | None
    ood: dict[str, ImageSet]

    @property
    def hashes(self) -> dict[str, str]:
        """Content hash of each set by its name."""
        hashes = {"members": self.members.hash, "controls": self.controls.hash}
        if self.reference is not None:
            hashes["reference"] = self.reference.hash
        return hashes | {f"ood/{name}": images.hash for name, images in self.ood.items()}


def audit_model(target: Target, settings: ModelAuditSettings, out: Path, *, resume: bool = False) -> ModelAuditResult:
    """Audit a model and write the folder of the audit.

    Args:
        target: The model.
        settings: The images, the attacks, and how they are judged.
        out: The folder: ``table.csv``, ``membership.csv``, ``readiness.csv``, ``report.html``, ``audit.json``.
        resume: Continue an audit that the folder holds; finished stages are not done again.

    Raises:
        InputError: Data that is missing or does not fit; nothing is written then.
    """
    images = _load(target, settings)
    pool, blind = _pool(settings, images)
    target = target.to(resolve_device(settings.device)).eval()
    known_pool = _known_pool(settings, images.controls)
    inputs = (target.hash, *code_hashes(target.arch), *images.hashes.values())
    with limit_threads(1), RunFolder.open(out, settings, kind=LEAKAGE_RUN, resume=resume, inputs=inputs) as folder:
        audit = _Audit(target, settings, images, pool, blind, known_pool, folder)
        for stage in (audit.known_leak, audit.attacks, audit.measure_pool, audit.readiness):
            stage()
        write_scores_record(folder.path)
        notice("making the report")
        tests = write_audit_tables(folder.path, settings)
        leakage_page(folder.path)
        write_json(folder.path / "audit.json", audit_record(folder.path, data=images.hashes).model_dump(mode="json"))
    return ModelAuditResult(folder.path, overall_of(tests), tests, _readiness_rows(folder.path))


def write_audit_tables(folder: Path, settings: ModelAuditSettings) -> list[TestRow]:
    """Write every table of an audit from its records alone, and return the tests of the model."""
    seed, methods, metrics = settings.seeds[0], list(settings.methods), list(settings.metrics)
    known = read_record(folder, record_name(seed, ATTACK_CONTROL), AuditRecord)
    record = read_record(folder, record_name(seed, settings.name), AuditRecord)
    pool = read_record(folder, record_name(seed, POOL), PoolRecord)
    verdicts = attack_verdicts(known, methods, metrics, design="pairs", alpha=settings.alpha)
    audited = Audited.of(settings.name, seed, record.target)
    called = called_methods(verdicts, methods)
    tests = judge_rows(audited, record, pool, methods, metrics, alpha=settings.alpha, called=called)
    membership, counts = membership_rows(audited, record), papers_count_rows(audited, record)
    write_tables(folder, tests, membership, counts, record.metrics.values())
    write_rows(folder / "controls.csv", ControlRow, attack_rows(ATTACK_CONTROL, seed, known, verdicts))
    targets = []
    for name, stored in ((ATTACK_CONTROL, known), (settings.name, record)):
        targets.append(target_row(name, seed, stored))
    write_rows(folder / "targets.csv", TargetRow, targets)
    write_rows(folder / READINESS, ReadinessRow, _readiness_rows(folder))
    return tests


def _readiness_rows(folder: Path) -> list[ReadinessRow]:
    return read_record(folder, READINESS_RECORD, ReadinessRecord).rows


def record_name(seed: int, name: str) -> str:
    """Return the name of the record of a target or a pool."""
    return f"seed-{seed}-{name}"


def _load(target: Target, settings: ModelAuditSettings) -> _Images:
    """Load all images as the model takes them; what does not fit is refused here, before anything is written."""
    wanted = target.spec.pictures
    members = load_labelled(settings.members, wanted)
    controls = load_labelled(settings.controls, wanted)
    controls = with_classes(controls, members.class_names, known_by=settings.members)
    members = refuse_misfit(target, members, f"the members {settings.members}")
    controls = refuse_misfit(target, controls, f"the controls {settings.controls}")
    reference = None if settings.reference is None else load(settings.reference, wanted=wanted)
    ood = {data: load(data, wanted=wanted) for data in settings.ood}
    others = ood if reference is None else {str(settings.reference): reference, **ood}
    for data, images in others.items():
        if images.shape != target.spec.shape:
            raise ShapeError(f"{data} has images of {images.shape}, the model takes {target.spec.shape}; resize them")
    if reference is not None:
        refuse_duplicates({"reference": reference, "members": members})
        refuse_duplicates({"reference": reference, "controls": controls})
    return _Images(members, controls, reference, ood)


def _known_pool(settings: ModelAuditSettings, controls: ImageSet) -> Pool:
    """Draw the pool of the attack control from the controls of the model."""
    try:
        pool, _ = coin_pool(controls, settings.known_members, seeded_rng(settings.seeds[0], ATTACK_CONTROL))
    except SettingError as error:
        raise DataError(
            f"{settings.controls} has too few images for an attack control of {settings.known_members} members and as "
            f"many controls ({error}); give more controls, or lower known_members"
        ) from error
    return pool


def _pool(settings: ModelAuditSettings, images: _Images) -> tuple[Pool, BlindBaseline]:
    """Return the part of members and controls that is tested, and the blind baseline on it."""
    reference = None if images.reference is None else images.reference.floats()
    whole = make_pool(images.members, images.controls, reference=reference, drop_duplicates=settings.drop_duplicates)
    rng = np.random.default_rng(child_seed(settings.seeds[0], "strata"))
    return stratified(whole, rng, most=settings.most)


class _Audit:
    """The stages of an audit; each leaves a record, and one that has a record is not done again."""

    def __init__(
        self,
        target: Target,
        settings: ModelAuditSettings,
        images: _Images,
        pool: Pool,
        blind: BlindBaseline,
        known_pool: Pool,
        folder: RunFolder,
    ) -> None:
        self.target, self.settings, self.images = target, settings, images
        self.pool, self.blind, self.known_pool, self.folder = pool, blind, known_pool, folder
        self.seed = settings.seeds[0]

    def known_leak(self) -> None:
        """Train a network that is known to leak, on controls of the model, and attack it in the same way."""
        name = record_name(self.seed, ATTACK_CONTROL)
        if self.folder.record(name) is not None:
            return
        notice("attacking a network that is known to leak")
        recipe = self.settings.known_leak
        known = train_known_leak(recipe, self.known_pool, seed=self.seed, device=self.settings.device)
        self._attack(known, self.known_pool, ATTACK_CONTROL, f"{recipe.arch}, known to leak")

    def attacks(self) -> None:
        """Attack the model."""
        name = record_name(self.seed, self.settings.name)
        if self.folder.record(name) is not None:
            return
        notice("attacking the model")
        self._attack(self.target, self.pool, self.settings.name, self.target.arch or "a model of its own architecture")

    def measure_pool(self) -> None:
        """Measure what the pool allows by itself: after the attacks, whose numbers of images it needs."""
        name = record_name(self.seed, POOL)
        if self.folder.record(name) is not None:
            return
        notice("measuring the pool without the model")
        record = read_record(self.folder.path, record_name(self.seed, self.settings.name), AuditRecord)
        device = resolve_device(self.settings.device)
        metrics = make_metrics(self.settings.metrics, self.pool.reference, device, download=self.settings.download)
        setup = AuditSetup(self.pool, metrics, self.seed, POOL, self.settings.draws)
        measured = describe_pool(setup, n_reconstructions([record]), self.settings, blind=self.blind)
        self.folder.finish(name, measured.model_dump())

    def readiness(self) -> None:
        """Measure what the model does not know, where there are enough controls to do so."""
        if self.folder.record(READINESS_RECORD) is not None:
            return
        notice("measuring what the model makes of other images")
        try:
            rows, scores = readiness(self.target, self.images.controls, self.images.ood, seed=self.seed)
            files = {READINESS_SCORES: npz_bytes(scores)}
            write_array_files(files, self.folder.path, self.seed, self.settings.name)
        except InputError as error:
            status, reason = failure(error)
            rows = [ReadinessRow(detector=OURS[1], ood_set=ID_TEST, group="id", status=status, reason=reason)]
        self.folder.finish(READINESS_RECORD, ReadinessRecord(rows=rows).model_dump())

    def _attack(self, target: Target, pool: Pool, name: str, description: str) -> None:
        work = self.folder.path / "work"
        audit: TargetAudit = audit_target(
            target, pool, self.settings, name=name, seed=self.seed, description=description, work=work
        )
        files = array_files(audit, pool, images=self.settings.images == "full")
        write_array_files(files, self.folder.path, self.seed, name)
        self.folder.finish(record_name(self.seed, name), audit.record.model_dump())
