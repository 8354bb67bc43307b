"""The audit of a model from its answers made once more from its scores."""

from functools import partial
from pathlib import Path

from invaudit.audit.model_settings import POOL
from invaudit.audit.model_tables import record_name, repeat_tests, write_audit_tables
from invaudit.audit.probabilities import ProbabilityAuditSettings
from invaudit.audit.probability_files import read_answers
from invaudit.records import AuditRecord
from invaudit.records.folder import read_record
from invaudit.records.names import CONFIG
from invaudit.runtime.files import write_json
from invaudit.runtime.settings import load_config
from invaudit.verify.audits import rebuild_pool
from invaudit.verify.findings import Findings
from invaudit.verify.leakage import check_origin, rebuild_page
from invaudit.verify.model_audit import rebuilt_signals
from invaudit.verify.rebuilding import rebuilt


def check_probabilities(findings: Findings) -> None:
    """Check the folder of `invaudit audit --probabilities`."""
    settings = load_config(ProbabilityAuditSettings, str(findings.folder / CONFIG))
    files = {"members": settings.members, "controls": settings.controls}
    for number, path in enumerate(settings.references):
        files[f"reference-{number}"] = path
    check_origin(findings, {}, {name: partial(_hash, path) for name, path in files.items()})
    name = record_name(settings.seeds[0], settings.name)
    with rebuilt(findings) as copy:
        record = read_record(copy, name, AuditRecord)
        membership = rebuilt_signals(findings, copy, settings, record.membership)
        made = record.model_copy(update={"membership": membership})
        write_json(copy / "records" / f"{name}.json", made.model_dump(mode="json"))
        rebuild_pool(copy, record_name(settings.seeds[0], POOL))
        rows = [row.model_dump() for row in repeat_tests(copy, settings)]
        write_json(copy / "records" / "repeats.json", rows)
        write_audit_tables(copy, settings)
        rebuild_page(findings, copy)
    findings.unchecked.append(
        "the attack control: its scores are not kept, and its tables are checked against its record"
    )


def _hash(path: Path) -> str:
    return read_answers(path).hash
