"""Score reconstructions that somebody made: nearest members and controls, the test, the report, ``audit.json``."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator
from torch import Tensor

from invaudit.audit.attack_control import AttackControl, read_attack_control
from invaudit.audit.controls import attack_rows, attack_verdicts, called_methods
from invaudit.audit.method import AuditSetup
from invaudit.audit.metrics import MetricSet, make_metrics
from invaudit.audit.pools import describe_pool
from invaudit.audit.rows import Audited, judge_rows, membership_rows, papers_count_rows
from invaudit.audit.settings import AuditSettings
from invaudit.audit.store import array_files, write_array_files, write_tables
from invaudit.audit.target import audit_given
from invaudit.data import ImageSet, load
from invaudit.data.folders import PictureInput
from invaudit.data.joining import with_classes
from invaudit.leakage import Pool, make_pool, read_groups, read_pairs
from invaudit.leakage.matches import Embeddings
from invaudit.leakage.pool import stratified
from invaudit.models import resolve_device
from invaudit.models.workers import start_executor
from invaudit.records import (
    LEAKAGE_RUN,
    AuditRecord,
    ControlRow,
    NeighbourRow,
    PoolRecord,
    TestRow,
    write_rows,
)
from invaudit.records.folder import read_record, write_scores_record
from invaudit.records.names import ATTACK_CONTROL, ATTACK_CONTROL_COMMAND, GIVEN
from invaudit.report import audit_record, leakage_page
from invaudit.runtime.console import notice
from invaudit.runtime.errors import DataError, SettingError, ShapeError
from invaudit.runtime.executor import ONE_AT_A_TIME, ExecutorChoice
from invaudit.runtime.files import write_json
from invaudit.runtime.jobs import Executor
from invaudit.runtime.paths import what_is
from invaudit.runtime.runs import RunFolder
from invaudit.runtime.seeds import child_seed
from invaudit.runtime.settings import Name, OneSeed
from invaudit.similarity import Metric, Neighbours, nearest_in_shards, shards_of
from invaudit.similarity.shards import PRELOAD
from invaudit.stats import BlindBaseline, OverallVerdict, overall_of

POOL, CONTROL_POOL = "pool-given", f"pool-{ATTACK_CONTROL}"
"""Names of the records of the pool, and of that of the attack control."""
NEIGHBOURS = "neighbours.csv"


class ScoreSettings(AuditSettings):
    """What is scored, and how."""

    name: Name = "target"
    """Name of the audited target in tables."""
    reconstructions: str
    """DATA: the reconstructions, all of them that the attack gave."""
    members: str
    """DATA: images that the target was trained on."""
    controls: str
    """DATA: images of the same source that it was not trained on."""
    pairs: Path | None = None
    """File of pairs drawn by coins before training; without it the design is ``observational``."""
    groups: Path | None = None
    """File of groups, such as patients: under ``observational`` their images move together."""
    reference: str | None = None
    """DATA: further images of the source, for the centre of the cosine and for the scoring limit."""
    attack_control: Path | None = None
    """Folder with reconstructions by the same attack of a network that is known to leak, as
    ``invaudit leakage attack-control`` makes it. Without it, finding nothing says nothing."""
    used_members: bool = False
    """Whether any setting, choice or statistic of the attack used members: then nothing is concluded."""
    drop_duplicates: bool = False
    """Leave out images that are both member and control."""
    most: int = Field(default=2_000, ge=7, le=1_000_000)
    """Largest number of members, and of controls, that are tested under ``observational``; all are searched."""
    seeds: OneSeed = (0,)

    @field_validator("name")
    @classmethod
    def _free(cls, name: str) -> str:
        if name in (ATTACK_CONTROL, POOL, CONTROL_POOL):
            raise ValueError(f"target name {name!r} is taken; choose another")
        return name


@dataclass(frozen=True)
class ScoreResult:
    """What the scoring of reconstructions says.

    Attributes:
        folder: The folder of the audit.
        verdict: The verdict on the target over all tests, with its reasons; None where no test has a result.
        rows: The tests, as in ``table.csv``.
    """

    folder: Path
    verdict: OverallVerdict | None
    rows: list[TestRow]

    @property
    def advice(self) -> str | None:
        """What would let the audit say more, if there is something to say."""
        silent_for_want_of_control = self.verdict is not None and "no-control" in self.verdict.reasons
        return NO_ATTACK_CONTROL if silent_for_want_of_control else None


NO_ATTACK_CONTROL = (
    "Nothing was found, and without an attack control that says nothing: the same attack has to find the leak of a "
    f"network that is known to leak. Make one with `{ATTACK_CONTROL_COMMAND}`, with --data on images of the members' "
    "shape, and give it as --attack-control FOLDER."
)


@dataclass(frozen=True, eq=False)
class _Inputs:
    """Everything that is scored, loaded and checked; ``tested`` is the part of the pool that the test is made on."""

    reconstructions: ImageSet
    members: ImageSet
    controls: ImageSet
    tested: Pool
    blind: BlindBaseline
    metrics: MetricSet
    control: AttackControl | None

    @property
    def hashes(self) -> dict[str, str]:
        """Content hash of each image set by name."""
        hashes = {
            "reconstructions": self.reconstructions.hash,
            "members": self.members.hash,
            "controls": self.controls.hash,
        }
        if self.control is not None:
            for name, value in self.control.hashes.items():
                hashes[f"{ATTACK_CONTROL}/{name}"] = value
        return hashes


def score(
    settings: ScoreSettings, out: Path, *, resume: bool = False, executor: ExecutorChoice = ONE_AT_A_TIME
) -> ScoreResult:
    """Score reconstructions and write the folder of the audit.

    Args:
        settings: What is scored, and how.
        out: The folder: ``table.csv``, ``membership.csv``, ``neighbours.csv`` (the nearest member and control of every
            reconstruction, over all images), ``report.html``, ``audit.json``.
        resume: Continue an audit that the folder holds.
        executor: What searches the nearest images, in shards of members and controls; by default this process, with all
            cores. No number depends on it.

    Returns:
        The folder, the verdict and the tests.

    Raises:
        InputError: Data that is missing or does not fit; nothing is written then.
    """
    alone = executor.kind == "serial"
    if not alone and resolve_device(settings.device).type != "cpu":
        raise SettingError(
            "shards are searched side by side on processor cores: give --device cpu, or leave --executor out to search "
            "on the accelerator"
        )
    inputs = _load(settings)
    hashes = tuple(inputs.hashes.values())
    if inputs.control is not None:
        hashes += (inputs.control.pairs_hash,)
    with (
        start_executor(executor, settings.device if alone else "cpu", PRELOAD, out) as workers,
        RunFolder.open(out, settings, kind=LEAKAGE_RUN, resume=resume, inputs=hashes) as folder,
    ):
        if inputs.control is not None:
            notice("scoring the attack control")
            _score_control(settings, inputs.control, folder)
        notice("searching the nearest images")
        _score(settings, inputs, folder, workers)
        write_scores_record(folder.path)
        notice("making the report")
        rows = write_score_tables(folder.path, settings)
        leakage_page(folder.path)
        write_json(folder.path / "audit.json", audit_record(folder.path, data=inputs.hashes).model_dump(mode="json"))
    return ScoreResult(folder.path, overall_of(rows), rows)


def _load(settings: ScoreSettings) -> _Inputs:
    """Load all that is scored; what does not fit is refused here, before anything is written."""
    device = resolve_device(settings.device)
    reconstructions = load(settings.reconstructions)
    # Photos become what the network took, and so what the attack made; an `InputSpec` is not known here.
    wanted = PictureInput(reconstructions.shape)
    members, controls = load(settings.members, wanted=wanted), load(settings.controls, wanted=wanted)
    controls = with_classes(controls, members.class_names, known_by=members.name)
    if reconstructions.shape != members.shape:
        raise ShapeError(
            f"reconstructions have shape {reconstructions.shape}, members {members.shape}; "
            "bring them to the members' size by the map that the attack used"
        )
    pairs = groups = reference = None
    if settings.pairs:
        pairs = read_pairs(settings.pairs, made_before=_file(settings.reconstructions))
    if settings.groups:
        groups = read_groups(settings.groups, len(members), len(controls))
    if settings.reference:
        reference = load(settings.reference, wanted=wanted).floats()
    pool = make_pool(
        members, controls, pairs=pairs, groups=groups, reference=reference, drop_duplicates=settings.drop_duplicates
    )
    metrics = make_metrics(settings.metrics, reference, device, download=settings.download)
    for metric in metrics.ready.values():
        metric.embed(reconstructions.floats(slice(1)))  # images too small for it are refused
    control = None
    if settings.attack_control is not None:
        seed = settings.seeds[0]
        control = read_attack_control(
            settings.attack_control, settings, audited_shape=members.shape, seed=seed, most=settings.most
        )
    notice("measuring the pool without the target")
    rng = np.random.default_rng(child_seed(settings.seeds[0], "strata"))
    tested, blind = stratified(pool, rng, most=settings.most)
    return _Inputs(reconstructions, members, controls, tested, blind, metrics, control)


def _file(data: str) -> Path | None:
    """Return the file or folder that a DATA text names, without its slice and split; None for the name of a set."""
    whole = data.rpartition("@")[0] or data
    without_split, _, _ = whole.rpartition(":")
    for text in (data, whole, without_split):
        if text and what_is(Path(text), DataError):
            return Path(text)
    return None


def _score_control(settings: ScoreSettings, control: AttackControl, folder: RunFolder) -> None:
    """Score the attack control, and write what is found."""
    seed = settings.seeds[0]
    setup = AuditSetup(control.pool, control.metrics, seed, ATTACK_CONTROL, settings.draws)
    audit = audit_given(control.reconstructions, Embeddings(control.reconstructions.floats()), setup, "known to leak")
    files = array_files(audit, control.pool, images=settings.images == "full")
    write_array_files(files, folder.path, seed, ATTACK_CONTROL)
    folder.finish(ATTACK_CONTROL, control.origin.model_dump())
    # Without the reference images, as no scoring limit is asked for.
    without_limit = replace(setup, pool=replace(control.pool, reference=None))
    pool = describe_pool(without_limit, (), settings, blind=control.blind)
    folder.finish(f"seed-{seed}-{CONTROL_POOL}", pool.model_dump())
    folder.finish(f"seed-{seed}-{ATTACK_CONTROL}", audit.record.model_dump())


def _score(settings: ScoreSettings, inputs: _Inputs, folder: RunFolder, executor: Executor) -> None:
    """Score the reconstructions, and write records, arrays and their neighbours."""
    seed, tested = settings.seeds[0], inputs.tested
    embeddings = Embeddings(inputs.reconstructions.floats())
    setup = AuditSetup(tested, inputs.metrics, seed, "score", settings.draws)
    audit = audit_given(inputs.reconstructions, embeddings, setup, "reconstructions that were given")
    counts = [len(inputs.reconstructions)]
    pool = describe_pool(replace(setup, stage="pool"), counts, settings, blind=inputs.blind)
    path = folder.path
    write_array_files(array_files(audit, tested, images=settings.images == "full"), path, seed, settings.name)
    folder.finish(f"seed-{seed}-{POOL}", pool.model_dump())
    folder.finish(f"seed-{seed}-{settings.name}", audit.record.model_dump())
    write_rows(path / NEIGHBOURS, NeighbourRow, _neighbours(inputs, embeddings.images, path / "work", executor))
    shutil.rmtree(path / "work", ignore_errors=True)


def write_score_tables(folder: Path, settings: ScoreSettings) -> list[TestRow]:
    """Write every table of a scoring from its records alone, but that of neighbours, and return the tests."""
    seed, metrics = settings.seeds[0], list(settings.metrics)
    record = _stored(folder, settings, settings.name)
    pool = read_record(folder, f"seed-{seed}-{POOL}", PoolRecord)
    called = None
    if settings.attack_control is not None:
        called = _write_controls(folder, settings)
    audited = Audited.of(settings.name, seed, record.target)
    rows = judge_rows(
        audited,
        record,
        pool,
        [GIVEN],
        metrics,
        alpha=settings.alpha,
        called=called,
        exploratory=settings.used_members,
    )
    membership, papers_count = membership_rows(audited, record), papers_count_rows(audited, record)
    write_tables(folder, rows, membership, papers_count, record.metrics.values())
    return rows


def _write_controls(folder: Path, settings: ScoreSettings) -> dict[str, bool]:
    """Write what the attack control says; return whether the attack finds the leak that is there."""
    seed = settings.seeds[0]
    record = _stored(folder, settings, ATTACK_CONTROL)
    pool = read_record(folder, f"seed-{seed}-{CONTROL_POOL}", PoolRecord)
    verdicts = attack_verdicts(
        record,
        [GIVEN],
        list(settings.metrics),
        design=record.target.design,
        alpha=settings.alpha,
        blind=pool.blind.finding,
    )
    write_rows(folder / "controls.csv", ControlRow, attack_rows(ATTACK_CONTROL, seed, record, verdicts))
    return called_methods(verdicts, [GIVEN])


def _stored(folder: Path, settings: ScoreSettings, name: str) -> AuditRecord:
    """Return the record of an audit, its metrics in the order of the settings; the file has them by name."""
    record = read_record(folder, f"seed-{settings.seeds[0]}-{name}", AuditRecord)
    ordered: dict[str, Any] = {"tests": {}, "membership": {}, "metrics": {}}
    ordered["tests"][GIVEN] = {metric: record.tests[GIVEN][metric] for metric in settings.metrics}
    for metric in settings.metrics:
        ordered["membership"][f"{GIVEN}:{metric}"] = record.membership[f"{GIVEN}:{metric}"]
        if metric in record.metrics:
            ordered["metrics"][metric] = record.metrics[metric]
    return record.model_copy(update=ordered)


def _neighbours(inputs: _Inputs, images: Tensor, work: Path, executor: Executor) -> Iterator[NeighbourRow]:
    """Yield the nearest member and the nearest control of every reconstruction, over all that were given.

    The search may be long, so it keeps its state in ``work``, and goes on from there.
    """

    def searched(gallery: ImageSet, metric: Metric, folder: str) -> Neighbours:
        return nearest_in_shards(images, shards_of(gallery), metric, executor=executor, records=work / folder)

    for name, metric in inputs.metrics.ready.items():
        members = searched(inputs.members, metric, f"{name}-member")
        controls = searched(inputs.controls, metric, f"{name}-control")
        for position, label in enumerate(inputs.reconstructions.labels.tolist()):
            member, control = int(members.index[position, 0]), int(controls.index[position, 0])
            yield NeighbourRow(
                reconstruction=position,
                label=label,
                metric=name,
                member=member,
                similarity_member=float(members.value[position, 0]),
                control=control,
                similarity_control=float(controls.value[position, 0]),
                class_name=inputs.members.class_name(label),
                member_file=inputs.members.file(member),
                control_file=inputs.controls.file(control),
            )
