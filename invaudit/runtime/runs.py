"""The folder of one run: locked, resumable, written atomically."""

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invaudit.runtime.environment import describe_environment
from invaudit.runtime.errors import InputError, RunFolderError
from invaudit.runtime.files import content_hash, read_json, read_object, write_json, write_text
from invaudit.runtime.settings import Settings, dump_config

CODE = ("versions", "git")
"""What of an environment may change the numbers of a run that is resumed."""
BEGUN = {".lock", "config.yaml", "environment.json", "log.txt", "records", "records/run.json"}
"""What is in a folder before the first job is done."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunKind:
    """A kind of run folder.

    Attributes:
        name: As ``records/run.json`` has it; None: it has none.
        schema: Version that this version of invaudit writes.
        readable: Versions that it reads.
    """

    name: str | None
    schema: int
    readable: tuple[int, ...]


NAMELESS = RunKind(None, schema=1, readable=(1,))
"""A run whose folder no other command reads."""


class RunFolder:
    """The output of one run: ``config.yaml``, ``environment.json``, ``records/``, ``scores/``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    @contextmanager
    def open(
        cls,
        path: Path,
        settings: Settings,
        *,
        kind: RunKind = NAMELESS,
        resume: bool = False,
        inputs: tuple[str, ...] = (),
        **environment: Any,
    ) -> Iterator["RunFolder"]:
        """Create or resume the folder of a run and hold its lock.

        Args:
            path: The folder.
            settings: Resolved settings; resuming with others is refused.
            kind: What kind of run it is; resuming a folder of another kind, or of another version, is refused.
            resume: Continue a run that the folder holds.
            inputs: Content hashes of what the settings do not name; resuming with others is refused too.
            environment: Extra facts for ``environment.json``.

        Raises:
            RunFolderError: Another run holds the folder, it holds another config or kind of run, or it cannot be
                written.
        """
        path = path.resolve()
        config = path / "config.yaml"
        identity = content_hash(json.dumps(settings.model_dump(mode="json"), sort_keys=True), *inputs)
        if path.exists() and not path.is_dir():
            raise RunFolderError(f"{path} is a file, expected a folder; choose another --out")
        if config.exists() and not (path / "records" / "run.json").is_file():
            raise RunFolderError(f"{path} holds a config.yaml, but no run of ours; choose another --out")
        if config.exists() and not resume:
            raise RunFolderError(f"{path} already holds a run; add --resume to continue it, or choose another --out")
        if not config.exists() and path.is_dir() and {file.name for file in path.iterdir()} - {".lock"}:
            raise RunFolderError(f"{path} is not empty and holds no run; choose another --out")
        existed = path.is_dir()
        with _locked(path), _nothing_for_bad_input(path, existed=existed, resumed=config.exists()):
            run = cls(path)
            if resumed := config.exists():
                known = read_object(path / "records" / "run.json")
                _refuse_other_kind(path, known, kind)
                if known.get("config_hash") != identity:
                    raise RunFolderError(
                        f"{path} was made with other settings or inputs (see {config}); "
                        "use the same ones or choose another --out"
                    )
            else:
                record = {"config_hash": identity, "schema": kind.schema}
                if kind.name is not None:
                    record["kind"] = kind.name
                write_json(path / "records" / "run.json", record)
                write_json(path / "environment.json", describe_environment(**environment))
                write_text(config, dump_config(settings))
            with _logged(path / "log.txt"):
                if resumed:
                    _note_other_code(path / "environment.json", environment)
                yield run

    def record(self, name: str) -> Any | None:
        """Return the record of a finished job, or None."""
        path = self.path / "records" / f"{name}.json"
        return read_json(path) if path.is_file() else None

    def finish(self, name: str, record: Any) -> None:
        """Write the record of a finished job; do it after all of its other files."""
        write_json(self.path / "records" / f"{name}.json", record)


def _refuse_other_kind(path: Path, record: dict[str, Any], kind: RunKind) -> None:
    """Refuse to resume a folder of another kind of run, or of another version; version 1 did not name its kind."""
    known_kind, known_schema = record.get("kind"), record.get("schema")
    same_kind = known_kind == kind.name or (known_kind is None and known_schema == 1)
    if not same_kind:
        raise RunFolderError(f"{path} holds a run of kind {known_kind!r}, expected {kind.name!r}; choose another --out")
    if known_schema != kind.schema:
        raise RunFolderError(
            f"{path} holds a run in schema {known_schema!r}, and this version of invaudit writes {kind.schema!r}; "
            "continue it with the version that began it, or choose another --out"
        )


def _note_other_code(path: Path, environment: dict[str, Any]) -> None:
    """Add what may change the numbers now to ``environment.json`` where the run had nothing like it."""
    begun_with, now = read_json(path), describe_environment(**environment)
    resumed_with = begun_with.get("resumed_with", [])
    names = (*CODE, *environment)
    code = {name: now[name] for name in names}
    for earlier in (begun_with, *resumed_with):
        if code == {name: earlier.get(name) for name in names}:
            return
    logger.warning("the run was begun with other versions, code or precision; environment.json lists all")
    write_json(path, begun_with | {"resumed_with": [*resumed_with, code]})


@contextmanager
def _nothing_for_bad_input(path: Path, *, existed: bool, resumed: bool) -> Iterator[None]:
    """Take back what was written of a new run that is refused before it has made anything."""
    try:
        yield
    except InputError:
        written = {str(file.relative_to(path)) for file in path.rglob("*")}
        if not resumed and written <= BEGUN:
            for name in written - {"records"}:
                (path / name).unlink()
            if "records" in written:
                (path / "records").rmdir()
            if not existed:
                path.rmdir()
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (path / ".lock").open("w")
    except OSError as error:
        raise RunFolderError(f"cannot write to {path}: {error.strerror}; choose another --out") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunFolderError(f"another run is writing to {path}; wait for it or choose another --out") from error
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def log_to(path: Path) -> logging.Handler:
    """Append what the package logs in this process to a file."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("invaudit")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return handler


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    logger = logging.getLogger("invaudit")
    before = logger.level
    handler = log_to(path)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
        handler.close()
