"""The audit of a model whole: what it gives away of its training images, and what it does not know.

A model, images that it was trained on and images of the same source that it was not trained on go in; a folder with
two verdicts, tables and a page comes out.
"""

import functools
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from invaudit.audit.attack_control import train_known_leak
from invaudit.audit.attack_parts import Attacked, attack_by_parts
from invaudit.audit.attempts import failure
from invaudit.audit.control_cache import ControlCache
from invaudit.audit.gallery import make_gallery
from invaudit.audit.known_leaks import known_leak_recipe
from invaudit.audit.method import AuditSetup
from invaudit.audit.metrics import MetricSet, planned_metrics
from invaudit.audit.model_inputs import AuditImages, AuditPools, load_images, make_pools
from invaudit.audit.model_settings import POOL, ModelAuditSettings
from invaudit.audit.model_tables import (
    READINESS_RECORD,
    AuditVerdicts,
    planned_settings,
    record_name,
    repeat_tests,
    write_audit_tables,
)
from invaudit.audit.planning import ATTACKS, KNOWN, MEMBERSHIP, PREFLIGHT, READINESS, REFERENCES, REPEATS, make_plan
from invaudit.audit.planning import POOL as POOL_STAGE
from invaudit.audit.pools import describe_pool
from invaudit.audit.preflight import preflight
from invaudit.audit.readiness import DETECTORS, readiness
from invaudit.audit.references import References, confidences, given_references, load_references, train_references
from invaudit.audit.rows import n_reconstructions
from invaudit.audit.settings import TargetAuditSettings
from invaudit.audit.signals import score_by_quantiles, score_by_references, score_signals, scores_of
from invaudit.audit.store import pool_arrays, write_array_files
from invaudit.audit.target import describe_sizes, membership_signals, not_audited
from invaudit.leakage import Pool, TargetRecipe
from invaudit.leakage.quantile_regression import FEWEST_UNSEEN
from invaudit.models import Target, limit_threads, resolve_device
from invaudit.models.settings import code_hashes
from invaudit.records import (
    LEAKAGE_RUN,
    AuditRecord,
    MembershipResult,
    ReadinessRecord,
    ReadinessRow,
    TestRow,
)
from invaudit.records.audit_gallery import GALLERY
from invaudit.records.folder import read_record, write_scores_record
from invaudit.records.leakage import Ended
from invaudit.records.model_audit import PlanRecord
from invaudit.records.model_audit_run import PLAN_RECORD
from invaudit.records.names import ATTACK_CONTROL, ID_TEST, OURS
from invaudit.report import audit_page, audit_record
from invaudit.runtime.console import notice
from invaudit.runtime.errors import InputError, ModelError
from invaudit.runtime.files import npz_bytes, read_arrays, write_json
from invaudit.runtime.runs import RunFolder
from invaudit.runtime.seeds import child_seed
from invaudit.stats import OverallVerdict

LONGER = 4
"""How many times as long as the test needs it lists of neighbours are, so that they hold for parts of the pool."""
MAY_CHANGE = ("ood",)
"""Settings that an audit may be gone on with other values of."""


@dataclass(frozen=True)
class ModelAuditResult:
    """What the audit of a model says.

    Attributes:
        folder: The folder of the audit.
        membership: Whether one can tell who was trained on: the verdict over all membership scores; None where no
            score has a result.
        reconstruction: Whether images can be made from it: the verdict over all tests; None likewise.
        tests: The tests of reconstructions, as in ``table.csv``.
        readiness: What detectors make of images of other kinds.
    """

    folder: Path
    membership: OverallVerdict | None
    reconstruction: OverallVerdict | None
    tests: list[TestRow]
    readiness: list[ReadinessRow]


def audit_model(
    target: Target, settings: ModelAuditSettings, out: str | Path, *, resume: bool = False
) -> ModelAuditResult:
    """Audit a model and write the folder of the audit.

    Args:
        target: The model.
        settings: The images, the attacks, the time for them, and how they are judged.
        out: The folder: ``table.csv``, ``membership_tests.csv``, ``images.csv``, ``readiness.csv``, ``report.html``,
            ``audit.json`` and others.
        resume: Continue an audit that the folder holds; finished stages are not done again. Sets of other kinds may be
            added.

    Raises:
        InputError: Data that is missing or does not fit; nothing is written then.
    """
    images = load_images(target, settings)
    pools = make_pools(settings, images)
    target = target.to(resolve_device(settings.device)).eval()
    references = load_references(settings.reference_models, target, download=settings.download)
    inputs = (target.hash, *code_hashes(target.arch), *images.fixed_hashes.values(), *(one.hash for one in references))
    opened = RunFolder.open(Path(out), settings, kind=LEAKAGE_RUN, resume=resume, inputs=inputs, may_change=MAY_CHANGE)
    with limit_threads(1), opened as folder:
        audit = _Audit(target, settings, images, pools, folder)
        audit.run()
        write_scores_record(folder.path)
        notice("making the report")
        verdicts = write_audit_tables(folder.path, settings)
        audit_page(folder.path)
        write_json(folder.path / "audit.json", audit_record(folder.path, data=images.hashes).model_dump(mode="json"))
    return _result(folder.path, verdicts)


def _result(folder: Path, verdicts: AuditVerdicts) -> ModelAuditResult:
    rows = read_record(folder, READINESS_RECORD, ReadinessRecord).rows
    return ModelAuditResult(folder, verdicts.membership, verdicts.reconstruction, verdicts.tests, rows)


class _Audit:
    """The stages of an audit; each leaves a record, and one that has a record is not done again."""

    def __init__(
        self, target: Target, settings: ModelAuditSettings, images: AuditImages, pools: AuditPools, folder: RunFolder
    ) -> None:
        self.target, self.settings, self.images, self.pools, self.folder = target, settings, images, pools, folder
        self.seed = settings.seeds[0]
        self.recipe: TargetRecipe = settings.known_leak or known_leak_recipe(target)
        self.plan = self._plan()
        self.effective: TargetAuditSettings = planned_settings(settings, self.plan)
        self.compared = pools.scored.subset(self._positions("compared", self.plan.most))

    def run(self) -> None:
        """Do what is not done yet."""
        stages: dict[str, tuple[str, Callable[[], None]]] = {
            PREFLIGHT: ("looking at model and images", self._preflight),
            KNOWN: ("attacking a network that is known to leak", self._known_leak),
            REFERENCES: ("asking reference models", self._references),
            MEMBERSHIP: ("scoring membership", self._membership),
            ATTACKS: ("attacking the model", self._attacks),
            POOL_STAGE: ("measuring the pool without the model", self._measure_pool),
            REPEATS: ("repeating the tests on other draws", self._repeats),
            READINESS: ("measuring what the model makes of other images", self._readiness),
            GALLERY: ("looking for what each class looks like to the model, and which classes touch", self._gallery),
        }
        planned = {stage.name: stage for stage in self.plan.stages}
        for name, (words, stage) in stages.items():
            if name not in planned or self._is_done(name):
                continue
            notice(f"{words} (about {planned[name].seconds:,.0f} s: {planned[name].settings})")
            start = time.perf_counter()
            stage()
            self.folder.finish(f"stage-{name}", {"seconds": time.perf_counter() - start})
        shutil.rmtree(self.folder.path / "work", ignore_errors=True)

    def _is_done(self, name: str) -> bool:
        if self.folder.record(f"stage-{name}") is None:
            return False
        if name != READINESS:
            return True
        return self.folder.record("ood-sets") == self._ood_hashes()

    def _ood_hashes(self) -> dict[str, str]:
        return {name: images.hash for name, images in self.images.ood.items()}

    def _plan(self) -> PlanRecord:
        """Return the plan of the folder; where there is none, make one and write it before anything else is done."""
        if self.folder.record(PLAN_RECORD) is None:
            notice("timing a few steps, to plan the audit")
            plan = make_plan(self.target, self.images, self.pools, self.recipe, self.settings)
            self.folder.finish(PLAN_RECORD, plan.model_dump())
            notice(f"planned: about {sum(stage.seconds for stage in plan.stages) / 60:,.1f} minutes")
            for stage in plan.stages:
                if stage.cut:
                    notice(f"cut for the budget: {stage.name}: {stage.cut}")
        return read_record(self.folder.path, PLAN_RECORD, PlanRecord)

    def _positions(self, name: str, most: int) -> np.ndarray:
        """Return the positions of so many members, and controls, in the pool that is scored."""
        pool = self.pools.scored
        rng = np.random.default_rng(child_seed(self.seed, name))
        return pool.design.drawn(pool.labels.numpy(), rng, most=most)

    def _metrics(self, pool: Pool) -> MetricSet:
        settings, device = self.settings, resolve_device(self.settings.device)
        return planned_metrics(
            settings.metrics, self.plan.unavailable, pool.reference, device, download=settings.download
        )

    def _preflight(self) -> None:
        metrics, model = self._metrics(self.compared), self.settings.model
        found = preflight(self.target, self.images, self.pools, self.compared, metrics, model=model)
        self.folder.finish("preflight", found.model_dump())
        for note in found.notes:
            notice(note)

    def _known_leak(self) -> None:
        """Train a network that is known to leak, on controls of the model, and attack it in the same way."""
        pool, name = self.pools.known, record_name(self.seed, ATTACK_CONTROL)
        cache = ControlCache.of(self.recipe, pool, self.effective, self.seed, self._metrics(pool).ready)
        stored = cache.read()
        if stored is not None:
            record, files = stored
            write_array_files(files, self.folder.path, self.seed, ATTACK_CONTROL)
            self.folder.finish(name, record.model_dump())
            return
        record = self._attacked_known_leak(pool)
        self.folder.finish(name, record.model_dump())
        files = sorted((self.folder.path / "scores" / f"seed-{self.seed}" / ATTACK_CONTROL).glob("*.npz"))
        cache.write(record, {file.name: file.read_bytes() for file in files})

    def _attacked_known_leak(self, pool: Pool) -> AuditRecord:
        description = f"{self.recipe.arch}, known to leak"
        try:
            known = train_known_leak(self.recipe, pool, seed=self.seed, device=self.settings.device)
        except ModelError as error:
            ended = Ended(status="failed", reason=f"the attack control could not be trained: {error}")
            return not_audited(self.effective, describe_sizes(pool, description), ended)
        attacked = self._attacked(known, pool, ATTACK_CONTROL, description)
        stage = f"seed-{self.seed}-{ATTACK_CONTROL}"
        setup = AuditSetup(pool, self._metrics(pool), self.seed, stage, self.settings.draws)
        signals = membership_signals(known, setup, attribution=self.settings.attribution)
        scores = scores_of(signals) | attacked.scores
        write_array_files({"membership.npz": npz_bytes(scores)}, self.folder.path, self.seed, ATTACK_CONTROL)
        results = {score: audit.result for score, audit in signals.items()}
        return attacked.record.model_copy(update={"membership": results | attacked.record.membership})

    def _references(self) -> None:
        """Ask reference models, given or trained here, and keep what they answer."""
        settings, pool, population = self.settings, self.pools.scored.images, self.images.labelled_reference
        parts = []
        if self.images.trained_references is not None:
            trained = train_references(
                self.target,
                self.images.trained_references,
                pool,
                settings.train_references,
                settings.reference_training,
                seed=self.seed,
                folder=self.folder.path / "references",
                population=population,
            )
            parts.append(trained)
        if settings.reference_models:
            models, download = settings.reference_models, settings.download
            parts.append(given_references(models, self.target, pool, population, download=download))
        arrays = functools.reduce(References.joined, parts).arrays() | {"own": confidences(self.target, pool)}
        if population is not None:
            arrays["own_population"] = confidences(self.target, population)
        write_array_files({"references.npz": npz_bytes(arrays)}, self.folder.path, self.seed, settings.name)

    def _membership(self) -> None:
        """Score membership without reconstructions."""
        pool = self.pools.scored
        setup = AuditSetup(pool, self._metrics(pool), self.seed, self.settings.name, self.settings.draws)
        weighed = self._positions("weighed", self.plan.weighed)
        audits = score_signals(self.target, setup, weighed, attribution=self.settings.attribution)
        unseen = self.images.labelled_reference
        if unseen is not None and len(unseen) >= FEWEST_UNSEEN:
            audits["quantile"] = score_by_quantiles(self.target, setup, unseen, seed=self.seed)
        if self.settings.n_references:
            file = self.folder.path / "scores" / f"seed-{self.seed}" / self.settings.name / "references.npz"
            audits |= score_by_references(read_arrays(file), setup)
        files = {"scored.npz": npz_bytes(pool_arrays(pool)), "signals.npz": npz_bytes(scores_of(audits))}
        write_array_files(files, self.folder.path, self.seed, self.settings.name)
        results = {name: audit.result.model_dump() for name, audit in audits.items()}
        self.folder.finish("membership", results)

    def _attacks(self) -> None:
        """Attack the model, and compare what the attacks give with the pool."""
        results = self.folder.record("membership") or {}
        description = self.target.arch or "a model of its own architecture"
        attacked = self._attacked(self.target, self.compared, self.settings.name, description, depth=LONGER)
        signals = {name: MembershipResult.model_validate(result) for name, result in results.items()}
        record = attacked.record.model_copy(update={"membership": signals | attacked.record.membership})
        positions = self._positions("compared", self.plan.most)
        files = {
            "pool.npz": npz_bytes(pool_arrays(self.compared) | {"position": positions}),
            "nearest.npz": npz_bytes(attacked.nearest),
        }
        write_array_files(files, self.folder.path, self.seed, self.settings.name)
        self.folder.finish(record_name(self.seed, self.settings.name), record.model_dump())

    def _attacked(self, target: Target, pool: Pool, name: str, description: str, *, depth: int = 1) -> Attacked:
        return attack_by_parts(
            self.folder,
            target,
            pool,
            self.effective,
            self._metrics(pool),
            name=name,
            seed=self.seed,
            description=description,
            depth=depth,
        )

    def _measure_pool(self) -> None:
        """Measure what the pool allows by itself: after the attacks, whose numbers of images it needs."""
        record = read_record(self.folder.path, record_name(self.seed, self.settings.name), AuditRecord)
        setup = AuditSetup(self.compared, self._metrics(self.compared), self.seed, POOL, self.settings.draws)
        measured = describe_pool(setup, n_reconstructions([record]), self.effective, blind=self.pools.blind)
        self.folder.finish(record_name(self.seed, POOL), measured.model_dump())

    def _repeats(self) -> None:
        rows = repeat_tests(self.folder.path, self.settings)
        self.folder.finish("repeats", [row.model_dump() for row in rows])

    def _readiness(self) -> None:
        """Measure what the model does not know, where there are enough controls to do so."""
        try:
            images, detectors = self.images, self.plan.detectors or DETECTORS
            rows, scores = readiness(self.target, images.controls, images.ood, detectors, seed=self.seed)
            files = {"readiness.npz": npz_bytes(scores)}
            write_array_files(files, self.folder.path, self.seed, self.settings.name)
        except InputError as error:
            status, reason = failure(error)
            unmeasured = [ID_TEST, *self.settings.ood]
            rows = []
            for name in unmeasured:
                group = "id" if name == ID_TEST else "given"
                rows.append(ReadinessRow(detector=OURS[1], ood_set=name, group=group, status=status, reason=reason))
        self.folder.finish(READINESS_RECORD, ReadinessRecord(rows=rows).model_dump())
        self.folder.finish("ood-sets", self._ood_hashes())

    def _gallery(self) -> None:
        """Look for what each class looks like to the model, and which classes touch."""
        share, place = self.plan.gallery or 1.0, self.folder.path / "work"
        record, pictures = make_gallery(self.target, self.images.controls, share, seed=self.seed, place=place)
        if pictures:
            write_array_files({f"{GALLERY}.npz": npz_bytes(pictures)}, self.folder.path, self.seed, self.settings.name)
        self.folder.finish(GALLERY, record.model_dump(mode="json"))
