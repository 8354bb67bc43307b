"""The audit of a model made once more from its scores.

A file that the audit writes from its records and arrays, in ``write_audit_tables`` or on the page, is compared without
a line here. A record that follows from arrays needs a line in `_RECORDS`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from invaudit.audit import ModelAuditSettings
from invaudit.audit.method import measurement_rng, membership_figures
from invaudit.audit.model_audit import MAY_CHANGE
from invaudit.audit.model_settings import POOL
from invaudit.audit.model_tables import READINESS_RECORD, record_name, repeat_tests, write_audit_tables
from invaudit.audit.readiness import measured_row
from invaudit.audit.references import References, reference_scores
from invaudit.audit.signals import BY_GRADIENT
from invaudit.records import AuditRecord, MembershipResult, ReadinessRecord, ReadinessRow
from invaudit.records.folder import read_record
from invaudit.records.names import ATTACK_CONTROL, CONFIG
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import read_json, write_json
from invaudit.runtime.settings import load_config
from invaudit.verify.audits import StoredAudit, rebuild_audit, rebuild_pool, with_figures
from invaudit.verify.findings import Difference, Findings
from invaudit.verify.leakage import check_origin, rebuild_page
from invaudit.verify.rebuilding import rebuilt

MEMBERSHIP_RECORD = "membership"
UNCHECKED = (
    "records/plan.json and preflight.json, seconds of stages.csv: the audit has measured them once",
    "records/gallery.json, where there is one: it needs the model; the page and audit.json are checked against it",
    "nearest reconstructions of images.csv beyond what is stored of them, its files and classes: these need the images",
)


def check_model_audit(findings: Findings) -> None:
    """Check the folder of `invaudit audit`."""
    settings = load_config(ModelAuditSettings, str(findings.folder / CONFIG))
    seed = settings.seeds[0]
    _check_model_origin(findings, settings)
    with rebuilt(findings) as copy:
        for rebuild in _RECORDS:
            rebuild(findings, copy, settings)
        write_audit_tables(copy, settings)
        rebuild_page(findings, copy)
    with findings.noted("scores"):
        _check_references(findings, StoredAudit(findings.folder, seed, settings.name))
    findings.unchecked += UNCHECKED


def _check_model_origin(findings: Findings, settings: ModelAuditSettings) -> None:
    """Check settings, data and the hash of the model."""
    sources = {"members": settings.members} | {f"ood/{data}": data for data in settings.ood}
    if settings.reference is not None:
        # Without reference images of their own, some controls are: what is left of them has a hash of its own.
        sources |= {"controls": settings.controls, "reference": settings.reference}
    if settings.train_references_on is not None:
        sources["train-references-on"] = settings.train_references_on
    hashes = {}
    with findings.noted("records"):
        name = record_name(settings.seeds[0], settings.name)
        target = read_record(findings.folder, name, AuditRecord).target
        if target.hash is not None:
            hashes[f"records/{name}.json, target.hash"] = target.hash
    check_origin(findings, sources, {}, hashes, MAY_CHANGE)


def _rebuild_targets(findings: Findings, copy: Path, settings: ModelAuditSettings) -> None:
    """Write the records of both targets; what the model answers by itself comes from the record of membership."""
    seed = settings.seeds[0]
    signals = _membership(copy)
    for target in (ATTACK_CONTROL, settings.name):
        stage, known = record_name(seed, target), signals if target == settings.name else {}
        rebuild_audit(findings, copy, settings, seed=seed, target=target, stage=stage, known=known)


def _membership(copy: Path) -> dict[str, MembershipResult]:
    results = read_json(copy / "records" / f"{MEMBERSHIP_RECORD}.json")
    return {name: MembershipResult.model_validate(result) for name, result in results.items()}


def _rebuild_membership(findings: Findings, copy: Path, settings: ModelAuditSettings) -> None:
    """Write the record of the membership scores that need no reconstruction."""
    results = rebuilt_signals(findings, copy, settings, _membership(copy))
    made = {name: one.model_dump() for name, one in results.items()}
    write_json(copy / "records" / f"{MEMBERSHIP_RECORD}.json", made)


class ScoredSettings(Protocol):
    """What the settings of an audit say of its membership scores."""

    @property
    def name(self) -> str:
        """Name of the model in tables."""
        ...

    @property
    def seeds(self) -> tuple[int]:
        """Seed of all draws."""
        ...

    @property
    def draws(self) -> int:
        """Relabellings of a test."""
        ...


def rebuilt_signals(
    findings: Findings, copy: Path, settings: ScoredSettings, stored_results: Mapping[str, MembershipResult]
) -> dict[str, MembershipResult]:
    """Return the results of the membership scores that need no reconstruction, with the figures that these give."""
    stored = StoredAudit(copy, settings.seeds[0], settings.name, pool="scored")
    design, scores = stored.design(), stored.arrays("signals")
    results = {}
    for name, old in stored_results.items():
        results[name] = old if name in scores else with_figures(old, {})
        with findings.noted(f"{stored.file('signals')}, {name}"):
            if name in scores:
                # Scores by gradients may be of a part of the pool.
                of = np.flatnonzero(np.isfinite(scores[name])) if name in BY_GRADIENT else np.arange(len(design))
                rng = measurement_rng(stored.seed, settings.name, f"membership/{name}")
                figures = membership_figures(scores[name][of], design.subset(of), rng, draws=settings.draws)
                results[name] = with_figures(old, {"status": "ok", **figures})
    return results


def _check_references(findings: Findings, stored: StoredAudit) -> None:
    """Compare the scores by reference models with what these answer."""
    arrays, scores = stored.arrays("references"), stored.arrays("signals")
    if not arrays:
        return
    for name, made in reference_scores(arrays["own"], References.of(arrays), arrays.get("own_population")).items():
        if name not in scores or not np.allclose(scores[name], made, rtol=1e-9, atol=1e-12):
            words = "these scores are not those that the answers of the reference models give"
            findings.differences.append(Difference(stored.file("signals"), name, words=words))
        else:
            findings.checked.append(f"{stored.file('signals')}, {name}: it follows from the answers of references")


def _rebuild_pool(_: Findings, copy: Path, settings: ModelAuditSettings) -> None:
    rebuild_pool(copy, record_name(settings.seeds[0], POOL))


def _rebuild_repeats(_: Findings, copy: Path, settings: ModelAuditSettings) -> None:
    rows = repeat_tests(copy, settings)
    write_json(copy / "records" / "repeats.json", [row.model_dump() for row in rows])


def _rebuild_readiness(findings: Findings, copy: Path, settings: ModelAuditSettings) -> None:
    """Write the record of readiness with the figures that its scores give."""
    record = read_record(copy, READINESS_RECORD, ReadinessRecord)
    stored = StoredAudit(copy, settings.seeds[0], settings.name)
    scores = stored.arrays("readiness")
    if not scores and any(row.rejected is not None for row in record.rows):
        findings.unchecked.append("readiness.csv: the run does not hold the scores that it was made from")
        return
    rows = []
    for row in record.rows:
        with findings.noted(f"{stored.file('readiness')}, {row.detector} on {row.ood_set}"):
            rows.append(_readiness_row(row, scores))
    made = record.model_copy(update={"rows": rows})
    write_json(copy / "records" / f"{READINESS_RECORD}.json", made.model_dump(mode="json"))


def _readiness_row(row: ReadinessRow, scores: Mapping[str, np.ndarray]) -> ReadinessRow:
    bare = row.model_copy(update=dict.fromkeys(("n", "auroc", "auroc_low", "auroc_high", "rejected")))
    try:
        return measured_row(bare, scores)
    except RunFolderError:
        return bare


_RECORDS: tuple[Callable[[Findings, Path, ModelAuditSettings], None], ...] = (
    _rebuild_membership,
    _rebuild_targets,
    _rebuild_pool,
    _rebuild_repeats,
    _rebuild_readiness,
)
"""What writes the records that follow from arrays, in the order in which one needs the other."""
