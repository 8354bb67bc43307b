"""Where a run comes from: its settings and inputs against the hash that was taken of them, and data at hand."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from invaudit.records.folder import ScoresRecord, read_config, read_record, record_file, scores_hashes
from invaudit.records.names import CONFIG, RUN_RECORD, SCORES, SCORES_RECORD
from invaudit.runtime.errors import InputError, MissingDataError, RunFolderError
from invaudit.runtime.files import read_object
from invaudit.runtime.paths import is_file
from invaudit.runtime.runs import run_identity
from invaudit.runtime.yaml_text import read_yaml
from invaudit.verify.findings import Difference, Findings

Hashes = Mapping[str, str]
"""What has a hash, in words that say where it stands -> the hash."""


def run_record(findings: Findings) -> dict[str, Any]:
    """Return what ``run.json`` says; nothing where there is none."""
    path = record_file(findings.folder, RUN_RECORD)
    return {} if path is None else read_object(path)


def check_scores(findings: Findings) -> None:
    """Check the files of scores against the hashes that the run took of them."""
    if not is_file(findings.folder / SCORES_RECORD, RunFolderError):
        findings.unchecked.append(
            f"{SCORES} against their hashes: the run holds none; they change no number that agrees"
        )
        return
    stored = read_record(findings.folder, Path(SCORES_RECORD).stem, ScoresRecord).files
    now = scores_hashes(findings.folder)
    before = len(findings.differences)
    for name in dict.fromkeys((*stored, *now)):
        words = ""
        if name not in now:
            words = "this file is missing"
        elif name not in stored:
            words = "this file is one too many"
        elif now[name] != stored[name]:
            words = f"the file has the hash {now[name]}, the run stored one with {stored[name]}"
        if words:
            findings.differences.append(Difference(name, words=words))
    if len(findings.differences) == before:
        findings.checked.append(f"{SCORES}: {len(now)} files have the hashes that the run took of them")


def check_identity(findings: Findings, hashes: Hashes, may_change: Collection[str] = ()) -> None:
    """Check settings and inputs against the hash that the run took of them when it began.

    Args:
        findings: What is found.
        hashes: Hashes in other files of the folder, which have to be among the inputs.
        may_change: Fields of the settings that may have changed since.
    """
    record = run_record(findings)
    inputs, config = record.get("inputs"), read_config(findings.folder)
    if not isinstance(inputs, list) or config is None:
        words = "settings against their hash: records/run.json does not hold the hashes of the inputs"
        findings.unchecked.append(words if config is not None else f"{CONFIG}: it is missing")
        return
    values = read_yaml(config, str(findings.folder / CONFIG))
    fixed = {name: value for name, value in values.items() if name not in may_change}
    made = run_identity(fixed, map(str, inputs))
    if made != record.get("config_hash"):
        words = f"settings and inputs have the hash {made}, the run was begun with {record.get('config_hash')}"
        findings.differences.append(Difference(CONFIG, words=f"{words}: one of the two was changed since"))
        return
    findings.checked.append(f"{CONFIG}: settings and hashes of inputs are those that the run was begun with")
    missing = 0
    for place, value in hashes.items():
        if value not in inputs:
            missing += 1
            findings.differences.append(Difference(place, words=f"the hash {value} is none of the inputs of the run"))
    if hashes and not missing:
        findings.checked.append(f"hashes of data and models in the folder ({len(hashes)}): they are inputs of the run")


def check_at_hand(findings: Findings, place: str, stored: Hashes, now: Mapping[str, Callable[[], str | None]]) -> None:
    """Check the hashes of files that are at hand.

    Args:
        findings: What is found.
        place: The file that holds the hashes.
        stored: Name -> hash.
        now: Name -> what gives the hash of the file at hand; None where its hash says nothing.
    """
    alike, absent = [], []
    for name, value in stored.items():
        try:
            found = now[name]() if name in now else None
        except MissingDataError:
            absent.append(name)
            continue
        except InputError as error:
            findings.unchecked.append(f"hash of {name}: {error}")
            continue
        if found is None:
            absent.append(name)
        elif found == value:
            alike.append(name)
        else:
            findings.differences.append(Difference(place, f"hash of {name}", "", value, found))
    if alike:
        findings.checked.append(f"data and models at hand have their hashes: {', '.join(alike)}")
    if absent:
        findings.unchecked.append(f"hashes of what is not at hand as it was used: {', '.join(absent)}")
