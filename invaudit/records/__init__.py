"""What a run folder holds, typed: rows with a meaning for each column, records of jobs, names, schema versions.

Everything that writes or reads a run folder takes its columns and names from here; nothing here imports torch.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.records.audit_file import AuditFile, audit_schema
    from invaudit.records.columns import Column, Row, read_rows, write_rows
    from invaudit.records.comparison import ComparisonRow
    from invaudit.records.folder import LEAKAGE_RUN, OOD_RUN, kind_of, schema_of
    from invaudit.records.leakage import (
        AttackControlRecord,
        AuditRecord,
        BlindResult,
        ControlRow,
        Ended,
        LeakageSummaryRow,
        LimitResult,
        MembershipResult,
        MembershipRow,
        MethodOutcome,
        MetricRow,
        NeighbourRow,
        PapersCount,
        PapersCountRow,
        PoolRecord,
        ReadinessRecord,
        ReadinessRow,
        TargetDescription,
        TargetRow,
        TestResult,
        TestRow,
    )
    from invaudit.records.leakage_run import LeakageRun, read_leakage_run
    from invaudit.records.model_audit_run import ModelAuditRun, is_model_audit, read_model_audit
    from invaudit.records.names import AGGREGATES, Role, Status, scores_key, split_scores_key
    from invaudit.records.ood import (
        AttackRow,
        CalibrationRecord,
        CalibrationRow,
        CostRecord,
        CostRow,
        DecisionRow,
        DetectorInfo,
        DetectorOutcome,
        ImageSetRecord,
        OodJobRecord,
        OodRow,
        OodSummaryRow,
        ResistanceRow,
        SetsRecord,
        WeightRow,
    )
    from invaudit.records.ood_run import OodRun, read_ood_run

__all__ = [
    "AGGREGATES",
    "LEAKAGE_RUN",
    "OOD_RUN",
    "AttackControlRecord",
    "AttackRow",
    "AuditFile",
    "AuditRecord",
    "BlindResult",
    "CalibrationRecord",
    "CalibrationRow",
    "Column",
    "ComparisonRow",
    "ControlRow",
    "CostRecord",
    "CostRow",
    "DecisionRow",
    "DetectorInfo",
    "DetectorOutcome",
    "Ended",
    "ImageSetRecord",
    "LeakageRun",
    "LeakageSummaryRow",
    "LimitResult",
    "MembershipResult",
    "MembershipRow",
    "MethodOutcome",
    "MetricRow",
    "ModelAuditRun",
    "NeighbourRow",
    "OodJobRecord",
    "OodRow",
    "OodRun",
    "OodSummaryRow",
    "PapersCount",
    "PapersCountRow",
    "PoolRecord",
    "ReadinessRecord",
    "ReadinessRow",
    "ResistanceRow",
    "Role",
    "Row",
    "SetsRecord",
    "Status",
    "TargetDescription",
    "TargetRow",
    "TestResult",
    "TestRow",
    "WeightRow",
    "audit_schema",
    "is_model_audit",
    "kind_of",
    "read_leakage_run",
    "read_model_audit",
    "read_ood_run",
    "read_rows",
    "schema_of",
    "scores_key",
    "split_scores_key",
    "write_rows",
]
__getattr__, __dir__ = attach(__name__)
