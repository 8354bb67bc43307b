"""The folder of an attack control: it holds what a test is made of, and no result of its own."""

from invaudit.audit import AttackControlSettings
from invaudit.audit.attack_control import CONTROLS, MEMBERS, PAIRS, RECONSTRUCTIONS
from invaudit.data import load
from invaudit.leakage import read_pairs
from invaudit.records.names import CONFIG, RUN_RECORD
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import read_arrays
from invaudit.runtime.paths import is_file
from invaudit.runtime.settings import load_config
from invaudit.verify.findings import Difference, Findings
from invaudit.verify.origin import check_at_hand, check_identity, run_record


def check_attack_control(findings: Findings) -> None:
    """Check settings, data, and the numbers of images of an attack control."""
    settings = load_config(AttackControlSettings, str(findings.folder / CONFIG))
    check_identity(findings, {})
    _check_data(findings, settings.data)
    for name in (MEMBERS, CONTROLS):
        with findings.noted(name):
            _check_count(findings, name, len(read_arrays(findings.folder / name)["images"]), settings.members)
    with findings.noted(PAIRS):
        _check_count(findings, PAIRS, len(read_pairs(findings.folder / PAIRS)), settings.members)
    if settings.method is not None and not is_file(findings.folder / RECONSTRUCTIONS, RunFolderError):
        findings.differences.append(Difference(RECONSTRUCTIONS, words="this file is missing"))
    findings.unchecked.append("the network and its reconstructions: the folder holds nothing that they follow from")


def _check_count(findings: Findings, name: str, stored: int, expected: int) -> None:
    if stored == expected:
        findings.checked.append(f"{name}: {stored} entries, as the settings say")
    else:
        findings.differences.append(Difference(name, "entries", "", str(stored), str(expected)))


def _check_data(findings: Findings, data: str) -> None:
    """Check the data at hand, whose hash is the one input of the run."""
    inputs = run_record(findings).get("inputs")
    if isinstance(inputs, list) and len(inputs) == 1:
        check_at_hand(findings, RUN_RECORD, {data: str(inputs[0])}, {data: lambda: load(data).hash})
