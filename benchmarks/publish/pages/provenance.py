"""Where the figures of a page come from: date, commit, versions, machine and command."""

import shlex
from pathlib import Path
from typing import Any

from invaudit.runtime import read_json


def provenance(folder: Path, module: str, packages: tuple[str, ...]) -> str:
    """Return in one sentence how a record was made.

    Args:
        folder: The record.
        module: What was started, for example ``"invaudit.benchmarks.ood"``.
        packages: Names of the packages whose versions are said.
    """
    environment = read_json(folder / "environment.json")
    runs = [environment, *environment.get("resumed_with", [])]
    commits = ", resumed with ".join(commit_text(run["git"]) for run in runs)
    versions = ", ".join(f"{name} {environment['versions'][name]}" for name in packages)
    hardware = environment["hardware"]
    return (
        f"`benchmarks/results/{folder.name}`: {environment['date']}, {commits}, {versions}, "
        f"{hardware['cores']} cores of {hardware['processor']}; "
        f"`python -m {module} {shlex.join(environment['command'][1:])}`"
    )


def date_and_commit(folder: Path) -> str:
    """Return date and commit of a record, for the index."""
    environment = read_json(folder / "environment.json")
    return f"{environment['date']}, {commit_text(environment['git'])}"


def commit_text(git: dict[str, Any] | None) -> str:
    """Return the commit of a run, and whether its checkout differed from it."""
    if git is None:
        return "no commit"
    return git["commit"][:12] + (" with changes" if git["changed"] else "")
