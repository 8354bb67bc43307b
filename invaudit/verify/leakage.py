"""Leakage runs made once more from their scores: the benchmark, and the scoring of reconstructions."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path

from invaudit.audit import ScoreSettings
from invaudit.audit.attack_control import CONTROLS, MEMBERS, RECONSTRUCTIONS, REFERENCE
from invaudit.audit.reconstructions import CONTROL_POOL, write_score_tables
from invaudit.audit.reconstructions import POOL as GIVEN_POOL
from invaudit.benchmarks.leakage import LeakageBenchmark
from invaudit.benchmarks.leakage.jobs import target_jobs
from invaudit.benchmarks.leakage.tables import StoredRun, make_tables
from invaudit.data import load
from invaudit.models.loading import model_file
from invaudit.records.model_audit_run import is_model_audit
from invaudit.records.names import ATTACK_CONTROL, CONFIG, SCORES
from invaudit.report import audit_page, audit_record, leakage_page
from invaudit.runtime.errors import ModelError, RunFolderError
from invaudit.runtime.files import content_hash, read_object, write_json
from invaudit.runtime.paths import is_file, read_bytes
from invaudit.runtime.settings import load_config
from invaudit.verify.audits import UNCHECKED, rebuild_audit, rebuild_pool
from invaudit.verify.findings import Findings
from invaudit.verify.neighbours import check_neighbours
from invaudit.verify.origin import check_at_hand, check_identity, check_scores
from invaudit.verify.rebuilding import rebuilt

AUDIT = "audit.json"


def check_leakage_benchmark(findings: Findings) -> None:
    """Check the folder of a leakage benchmark."""
    settings = load_config(LeakageBenchmark, str(findings.folder / CONFIG))
    sources: dict[str, str] = {settings.data: settings.data}
    models: dict[str, Callable[[], str | None]] = {}
    for choice in settings.released.values():
        sources |= {data: data for data in (choice.members, choice.controls, choice.reference)}
        models[choice.model] = partial(_file_hash, choice.model)
    check_origin(findings, sources, models)
    with rebuilt(findings) as copy:
        for job in target_jobs(settings):
            rebuild_audit(findings, copy, settings, seed=job.seed, target=job.target, stage=job.name)
            if job.target != ATTACK_CONTROL:
                rebuild_pool(copy, job.pool_name)
        make_tables(StoredRun.read(copy, settings)).write(copy)
        rebuild_page(findings, copy)


def check_scored_reconstructions(findings: Findings) -> None:
    """Check the folder of `invaudit leakage score`."""
    settings = load_config(ScoreSettings, str(findings.folder / CONFIG))
    seed = settings.seeds[0]
    sources = {name: getattr(settings, name) for name in ("reconstructions", "members", "controls")}
    if settings.attack_control is not None:
        for file in (RECONSTRUCTIONS, MEMBERS, CONTROLS, REFERENCE):
            sources[f"{ATTACK_CONTROL}/{Path(file).stem}"] = str(settings.attack_control / file)
    check_origin(findings, sources, {})
    with rebuilt(findings) as copy:
        rebuild_audit(findings, copy, settings, seed=seed, target=settings.name, stage="score")
        rebuild_pool(copy, f"seed-{seed}-{GIVEN_POOL}")
        if settings.attack_control is not None:
            rebuild_audit(findings, copy, settings, seed=seed, target=ATTACK_CONTROL, stage=ATTACK_CONTROL)
            rebuild_pool(copy, f"seed-{seed}-{CONTROL_POOL}")
        write_score_tables(copy, settings)
        rebuild_page(findings, copy)
    with findings.noted("neighbours.csv"):
        check_neighbours(findings, settings)


def rebuild_page(findings: Findings, copy: Path) -> None:
    """Write the page and ``audit.json``, with the hashes of data that the stored one has."""
    write_page = audit_page if is_model_audit(copy) else leakage_page
    write_page(copy)
    made = audit_record(copy, data=_data_hashes(findings))
    write_json(copy / AUDIT, made.model_dump(mode="json"))


def _data_hashes(findings: Findings) -> dict[str, str]:
    path = findings.folder / AUDIT
    data = read_object(path).get("data") if is_file(path, RunFolderError) else {}
    return {str(name): str(value) for name, value in data.items()} if isinstance(data, dict) else {}


def check_origin(
    findings: Findings,
    sources: Mapping[str, str],
    models: Mapping[str, Callable[[], str | None]],
    more: Mapping[str, str] | None = None,
    may_change: Collection[str] = (),
) -> None:
    """Check settings, inputs, and the hashes of what is at hand.

    Args:
        findings: What is found.
        sources: Name in ``audit.json`` -> DATA.
        models: Name in ``audit.json`` -> what gives the hash of a model file.
        more: Further hashes that have to be inputs of the run, by where they stand.
        may_change: Fields of the settings that may have changed since; images that they name are no inputs.
    """
    with findings.noted(AUDIT):
        data = _data_hashes(findings)
        inputs = dict(more or {})
        for name, value in data.items():
            if name.partition("/")[0] not in may_change:
                inputs[f"{AUDIT}, data.{name}"] = value
        check_identity(findings, inputs, may_change)
        at_hand = {name: partial(_images_hash, text) for name, text in sources.items()}
        check_at_hand(findings, AUDIT, data, at_hand | dict(models))
    with findings.noted(SCORES):
        check_scores(findings)
    findings.unchecked += UNCHECKED


def _images_hash(text: str) -> str | None:
    """Return the hash of the images at hand; None for picture files, which become what a model takes."""
    images = load(text)
    return None if images.preparation is not None else images.hash


def _file_hash(name: str) -> str:
    return content_hash(read_bytes(model_file(name), ModelError))
