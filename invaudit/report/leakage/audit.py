"""The audit record of a leakage run, ``audit.json``."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from invaudit.records.audit_file import (
    AuditControl,
    AuditFile,
    AuditMembership,
    AuditMembershipVerdict,
    AuditNetwork,
    AuditOodSet,
    AuditReadiness,
    AuditTarget,
    AuditTest,
)
from invaudit.records.leakage_run import LeakageRun, read_leakage_run
from invaudit.records.model_audit_run import is_model_audit
from invaudit.records.names import ID_TEST, OURS
from invaudit.report.audit.content import Content
from invaudit.report.audit.file import audit_fields, membership_verdict
from invaudit.report.leakage.findings import LIMITS, Finding, findings, not_tested
from invaudit.report.leakage.scope import scope
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.settings import explain


def audit_record(folder: Path, *, data: Mapping[str, str]) -> AuditFile:
    """Return the content of ``audit.json``. What is not known is None.

    Args:
        folder: The folder of a leakage run.
        data: Content hash (SHA-256, hex) by name of image set.

    Raises:
        RunFolderError: The folder holds no ``table.csv``, or values that are out of range.
    """
    run = read_leakage_run(folder)
    environment = run.environment or {}
    content = Content.of(folder) if is_model_audit(folder) else None
    membership = {} if content is None else {content.audit.target: membership_verdict(content)}
    # The audit of a model is of that model also where no attack fits it, so that the table has no row.
    audited = findings(run) if content is None else [content.reconstruction]
    try:
        return AuditFile(
            schema_version=2,
            date=environment.get("date"),
            targets=tuple(_target(run, finding, membership.get(finding.target)) for finding in audited),
            data=dict(data),
            scope=dict(scope(run)),
            membership=tuple(map(AuditMembership.of, run.membership)),
            controls=tuple(map(AuditControl.of, run.controls)),
            ood=_readiness(run),
            **audit_fields(content),
            not_tested=tuple(not_tested(run)),
            limits=LIMITS,
            settings=run.settings,
            command=environment.get("command", ()),
            versions=environment.get("versions", {}),
        )
    except ValidationError as error:
        raise RunFolderError(
            f"{folder} holds a value that audit.json cannot: {explain(AuditFile, error)}; "
            "its files are damaged or were made by another version"
        ) from error


def _target(run: LeakageRun, finding: Finding, membership: AuditMembershipVerdict | None) -> AuditTarget:
    networks = [row for row in run.targets if row.target == finding.target]
    tests = [row for row in run.tests if row.target == finding.target]
    return AuditTarget(
        target=finding.target,
        negative_control=finding.negative,
        networks=tuple(map(AuditNetwork.of, networks)),
        verdict=finding.verdict,
        reasons=finding.reasons,
        tests=tuple(map(AuditTest.of, tests)),
        membership=membership,
    )


def _readiness(run: LeakageRun) -> AuditReadiness | None:
    """Return what our detector makes of images of other kinds; None where that was not tested."""
    rows = [row for row in run.readiness if row.detector == OURS[1]]
    own = [row for row in rows if row.ood_set == ID_TEST]
    if not own or own[0].rejected is None:
        return None
    sets = []
    for row in rows:
        if row.ood_set != ID_TEST:
            sets.append(
                AuditOodSet(
                    ood_set=row.ood_set,
                    group=row.group,
                    n_id=own[0].n,
                    n_ood=row.n,
                    auroc=row.auroc,
                    auroc_low=row.auroc_low,
                    auroc_high=row.auroc_high,
                    fpr95=None,
                )
            )
    return AuditReadiness(detector=OURS[1], id_accuracy=None, sets=tuple(sets))
