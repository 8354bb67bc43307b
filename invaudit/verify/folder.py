"""Which kind of run a folder holds, and what is checked of it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from invaudit.audit.attack_control import CONTROL_FOLDER
from invaudit.records import LEAKAGE_RUN, OOD_RUN
from invaudit.records.columns import table_file
from invaudit.records.folder import EXPLAIN_BENCHMARK_RUN, read_config, record_file
from invaudit.records.names import CONFIG, RUN_RECORD, SUMMARY, TABLE
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import read_object
from invaudit.runtime.paths import is_file, is_folder
from invaudit.runtime.runs import RunKind
from invaudit.runtime.yaml_text import read_yaml
from invaudit.verify.attack_control import check_attack_control
from invaudit.verify.explain import check_explain_benchmark, check_kept_explain
from invaudit.verify.findings import Findings, Verification
from invaudit.verify.kept_leakage import check_kept_leakage
from invaudit.verify.kept_ood import check_kept_ood
from invaudit.verify.leakage import check_leakage_benchmark, check_scored_reconstructions
from invaudit.verify.model_audit import check_model_audit
from invaudit.verify.ood import check_ood_run
from invaudit.verify.probabilities import check_probabilities
from invaudit.verify.rebuilding import other_versions

Check = Callable[[Findings], None]


class Kind(NamedTuple):
    """A kind of folder that can be checked.

    Attributes:
        words: What it is.
        check: What is checked.
    """

    words: str
    check: Check


KEPT = {
    "ood": Kind("what is kept of an OOD benchmark", check_kept_ood),
    "leakage": Kind("what is kept of a leakage run", check_kept_leakage),
    "explain-benchmark": Kind("what is kept of a benchmark of explanations", check_kept_explain),
}
"""Kind of run -> what is checked of tables alone, as records keep them, and of a run of an older schema."""
OOD_BENCHMARK = Kind("OOD benchmark", check_ood_run)
EXPLAIN_BENCHMARK = Kind("benchmark of explanations", check_explain_benchmark)
ATTACK_CONTROL = Kind("attack control", check_attack_control)
LEAKAGE_RUNS = {
    "reconstructions": Kind("scoring of reconstructions", check_scored_reconstructions),
    "drawn_at_random": Kind("audit of a model from its answers", check_probabilities),
    "known_leak": Kind("audit of a model", check_model_audit),
    "targets": Kind("leakage benchmark", check_leakage_benchmark),
}
"""Key that only the config of this kind of leakage run has -> what is checked of it."""


def verify(folder: Path) -> Verification:
    """Recompute the numbers of a finished run from what its folder holds, and compare.

    Neither models nor images are needed. Hashes of data that are at hand are checked; what cannot be checked is named.

    Args:
        folder: The folder of a benchmark, of an audit, of scored reconstructions or of an attack control, or what is
            recorded of a benchmark.

    Returns:
        What agrees, what differs and where, what could not be checked.

    Raises:
        InputError: The folder holds no finished run of a kind that can be checked, or its config cannot be read.
    """
    folder = Path(folder)
    if not is_folder(folder, RunFolderError):
        raise RunFolderError(f"{folder} is no folder, expected that of a run; give its path")
    kind = _kind_of(folder)
    findings = Findings(folder)
    if versions := other_versions(folder):
        findings.unchecked.append(f"whether other versions would give the same: it was made with {', '.join(versions)}")
    kind.check(findings)
    if kind in KEPT.values():
        findings.unchecked += _parts_of_older_schema(folder)
    return Verification(
        folder, kind.words, tuple(findings.checked), tuple(findings.differences), tuple(findings.unchecked)
    )


def _kind_of(folder: Path) -> Kind:
    path = record_file(folder, RUN_RECORD)
    record = {} if path is None else read_object(path)
    name = record.get("kind") or _kind_by_tables(folder)
    if name == CONTROL_FOLDER.name:
        return ATTACK_CONTROL
    run_kind = _run_kind(folder, name)
    main_table = SUMMARY if run_kind is OOD_RUN else TABLE
    if table_file(folder / main_table) is None:
        raise RunFolderError(f"{folder} holds no {main_table}, expected the folder of a finished run; finish it first")
    if record.get("schema", 1) != run_kind.schema or not is_file(folder / RUN_RECORD, RunFolderError):
        return KEPT[str(run_kind.name)]
    if run_kind is OOD_RUN:
        return OOD_BENCHMARK
    if run_kind is EXPLAIN_BENCHMARK_RUN:
        return EXPLAIN_BENCHMARK
    settings = read_yaml(read_config(folder) or "", str(folder / CONFIG))
    for key, kind in LEAKAGE_RUNS.items():
        if isinstance(settings, dict) and key in settings:
            return kind
    raise RunFolderError(f"{folder / CONFIG} is not the config of a leakage run; the folder is damaged")


def _parts_of_older_schema(folder: Path) -> list[str]:
    """Return what a run of an older schema holds beside its tables, as a line for those who read."""
    parts = [name for name in ("records", "scores", "audit.json", "figures", "report.html") if (folder / name).exists()]
    return [f"{', '.join(parts)}: of an older version, whose records are not read any more"] if parts else []


def _kind_by_tables(folder: Path) -> str | None:
    """Return the kind of a run that does not name it, as those of schema 1."""
    if table_file(folder / "targets.csv") is not None:
        return LEAKAGE_RUN.name
    return OOD_RUN.name if table_file(folder / SUMMARY) is not None else None


def _run_kind(folder: Path, name: object) -> RunKind:
    for kind in (OOD_RUN, LEAKAGE_RUN, EXPLAIN_BENCHMARK_RUN):
        if kind.name == name:
            return kind
    raise RunFolderError(
        f"{folder} holds no run with tables that can be checked; give the folder of a benchmark, of an audit, of "
        "scored reconstructions or of an attack control"
    )
