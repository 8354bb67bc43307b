"""A second folder in which a run is made once more from what the first one stores, and the comparison of both."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from invaudit.records.folder import read_environment
from invaudit.records.names import CONFIG, ENVIRONMENT, RUN_RECORD, SCORES, SCORES_RECORD, TABLE
from invaudit.runtime.environment import describe_environment
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import read_json
from invaudit.runtime.paths import inside, is_file, is_folder, read_bytes
from invaudit.runtime.runs import UNFINISHED
from invaudit.verify.comparing import cells_of, compare_json, compare_pages, compare_tables
from invaudit.verify.findings import Compared, Difference, Findings

GIVEN = (CONFIG, ENVIRONMENT, RUN_RECORD, SCORES_RECORD)
"""Files that nothing else in the folder gives; what they say stands in the page and in ``audit.json``."""
NOT_COMPARED = (SCORES, "log.txt", ".lock", *UNFINISHED)
"""What the rest is made from, and what says nothing of the results."""
PAGE = "report.html"


@contextmanager
def rebuilt(findings: Findings) -> Iterator[Path]:
    """Give a folder with the settings, records and scores of a run, then compare all that was made in it meanwhile.

    What could not be made, because something that is stored does not fit, is a difference; so is any error, since what
    is stored may be anything.
    """
    with TemporaryDirectory(prefix="invaudit-verify-") as work:
        copy = Path(work) / "run"
        (copy / "records").mkdir(parents=True)
        for name in (CONFIG, ENVIRONMENT):
            if is_file(findings.folder / name, RunFolderError):
                shutil.copyfile(findings.folder / name, copy / name)
        for record in inside(findings.folder / "records", RunFolderError):
            if record.suffix == ".json" and is_file(record, RunFolderError):
                shutil.copyfile(record, copy / "records" / record.name)
        if is_folder(findings.folder / SCORES, RunFolderError):
            (copy / SCORES).symlink_to((findings.folder / SCORES).resolve())
        refused = Findings(findings.folder)
        with refused.noted("records", instead_of=copy):
            yield copy
        compare_folders(findings, copy, whole=not refused.differences)
        findings.differences += refused.differences


def compare_folders(findings: Findings, made: Path, *, whole: bool) -> None:
    """Compare every file that was made once more with the one that is stored.

    Args:
        findings: What is found.
        made: The folder that was made once more.
        whole: Whether all of it could be made.
    """
    names = [name for name in _files(made) if name not in GIVEN]
    # In the order in which one follows from the other: records, tables, audit.json, figures, the page.
    for name in sorted(names, key=_rank):
        if is_file(findings.folder / name, RunFolderError):
            _compare_file(findings, name, made)
        else:
            findings.differences.append(Difference(name, words="this file is missing"))
    unknown = [name for name in _files(findings.folder) if name not in (*names, *GIVEN)]
    if unknown and whole:
        listed = ", ".join(unknown[:10]) + (", ..." if len(unknown) > 10 else "")
        findings.unchecked.append(f"{listed}: nothing in the folder gives what should be in there")


def _rank(name: str) -> tuple[int, str]:
    ranks = {"records": 0, TABLE: 1, "audit.json": 3, "figures": 4, PAGE: 5}
    return ranks.get(name.partition("/")[0], 2), name


def _files(folder: Path) -> list[str]:
    """Return the files of a folder that may be compared, by their paths from there on."""
    names = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0] not in NOT_COMPARED and path.is_file():
            names.append(str(name))
    return names


def _compare_file(findings: Findings, name: str, made: Path) -> None:
    stored_file, made_file = findings.folder / name, made / name
    stored, new = read_bytes(stored_file, RunFolderError), read_bytes(made_file, RunFolderError)
    if name.endswith(".csv"):
        findings.note(_without_newer(findings, compare_tables(name, cells_of(stored), cells_of(new))))
    elif name.endswith(".json"):
        with findings.noted(name):
            compared = compare_json(name, read_json(stored_file), json.loads(new))
            # Much of a record is what the run has measured once, and stands in both.
            is_record = name.startswith("records/")
            findings.note(
                _without_newer(findings, compared),
                "it agrees with the scores, as far as they give it" if is_record else None,
            )
    elif stored == new:
        findings.checked.append(f"{name}: the same bytes")
    else:
        _compare_drawing(findings, name, stored, new)


def _without_newer(findings: Findings, compared: Compared) -> Compared:
    """Take columns and keys that this version writes and an older one did not for what cannot be checked."""
    if other_makers(findings.folder)[0] is None:
        return compared
    newer = [one for one in compared.differences if one.of_newer]
    if newer:
        names = dict.fromkeys(one.column or one.place.rpartition(".")[2] for one in newer)
        words = f"{compared.file}: {', '.join(names)}: the version that made the run did not write it"
        findings.unchecked.append(words)
    return replace(compared, differences=[one for one in compared.differences if not one.of_newer])


def _compare_drawing(findings: Findings, name: str, stored: bytes, new: bytes) -> None:
    """Compare a page or a figure whose bytes differ, as far as the same code made both."""
    other_code, other_figures = other_makers(findings.folder)
    reason = other_code or (other_figures if name != PAGE else None)
    if reason:
        findings.unchecked.append(f"{name}: {reason}")
    elif name != PAGE:
        findings.differences.append(Difference(name, words="the figure is not the one that the tables and scores give"))
    else:
        compared = compare_pages(name, stored, new)
        if not compared.differences and other_figures is None:
            compared.differences.append(Difference(name, words="a picture in it is not the one that is drawn anew"))
        findings.note(compared)


def other_makers(folder: Path) -> tuple[str | None, str | None]:
    """Return why a page cannot be compared, and why a figure cannot: other versions made them. None where both can."""
    stored, now = read_environment(folder) or {}, describe_environment()
    if _code(stored) != _code(now):
        return f"made by {_maker(stored)}, whose pages may look different; here is {_maker(now)}", None
    then, here = (_version(environment, "matplotlib") for environment in (stored, now))
    if then != here:
        return None, f"drawn by matplotlib {then or 'of a version that is not recorded'}, here is {here}"
    return None, None


def _maker(environment: dict[str, Any]) -> str:
    version, git = _code(environment)
    commit = f" of commit {str(git.get('commit'))[:10]}" if isinstance(git, dict) else ""
    changed = " and changes" if isinstance(git, dict) and git.get("changed") else ""
    return f"invaudit {version}{commit}{changed}"


def _code(environment: dict[str, Any]) -> tuple[Any, Any]:
    return _version(environment, "invaudit"), environment.get("git")


def _version(environment: dict[str, Any], package: str) -> Any:
    versions = environment.get("versions")
    return versions.get(package) if isinstance(versions, dict) else None


def other_versions(folder: Path) -> list[str]:
    """Return the packages that had another version when a folder was made, with both versions."""
    stored, now = read_environment(folder) or {}, describe_environment()
    differing = []
    for package, version in now["versions"].items():
        then = _version(stored, package)
        if then is not None and then != version:
            differing.append(f"{package} {then} (here {version})")
    if stored.get("git") != now["git"]:
        differing.append(_maker(stored))
    return differing
