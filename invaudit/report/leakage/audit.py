"""The audit record of a leakage run, ``audit.json``."""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from invaudit.report.leakage.findings import LIMITS, findings, not_tested
from invaudit.report.leakage.run import read_leakage_run
from invaudit.report.leakage.scope import scope
from invaudit.report.records import Row


@cache
def audit_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) that ``audit.json`` follows."""
    text = resources.files("invaudit.report").joinpath("schemas/audit.schema.json").read_text(encoding="utf-8")
    return json.loads(text)


def audit_record(folder: Path, *, data: Mapping[str, str], ood: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the content of ``audit.json``: plain values, following `audit_schema`. What is not known is None.

    Args:
        folder: The folder of a leakage run.
        data: Content hash (SHA-256, hex) by name of image set.
        ood: OOD readiness: ``detector``, ``id_accuracy`` and ``sets``, rows of an OOD table; None: not tested.

    Raises:
        RunFolderError: The folder holds no ``table.csv``.
    """
    run = read_leakage_run(folder)
    environment = run.environment or {}
    return {
        "schema_version": audit_schema()["properties"]["schema_version"]["const"],
        "date": environment.get("date"),
        "targets": [
            {
                "target": finding.target,
                "negative_control": finding.negative,
                "networks": [_picked(row, "network") for row in run.targets if row["target"] == finding.target],
                "verdict": finding.verdict,
                "reasons": finding.reasons,
                "tests": [_picked(row, "test") for row in run.rows if row["target"] == finding.target],
            }
            for finding in findings(run)
        ],
        "data": dict(data),
        "scope": dict(scope(run)),
        "membership": [_picked(row, "membership") for row in run.membership],
        "controls": [_picked(row, "control") for row in run.controls],
        "ood": None if ood is None else {**ood, "sets": [_picked(row, "ood_set") for row in ood["sets"]]},
        "not_tested": not_tested(run, ood=ood is not None),
        "limits": LIMITS,
        "settings": run.settings,
        "command": list(environment.get("command", [])),
        "versions": dict(environment.get("versions", {})),
    }


def _picked(row: Row, kind: str) -> Row:
    """Return the fields of a row that the schema names; a count is a whole number, also beside empty cells."""
    fields = audit_schema()["$defs"][kind]["properties"]
    known = {name: row.get(name) for name in fields}
    counts = {name for name, field in fields.items() if "integer" in field.get("type", ())}
    return {name: int(value) if name in counts and value is not None else value for name, value in known.items()}
