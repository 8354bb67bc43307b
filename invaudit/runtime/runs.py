"""The folder of one run: locked, resumable, written atomically."""

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from invaudit.runtime.boundary import is_interruption
from invaudit.runtime.environment import describe_environment
from invaudit.runtime.errors import InputError, Interrupted, RunFolderError
from invaudit.runtime.files import PARTIAL, content_hash, read_json, read_object, write_json, write_text
from invaudit.runtime.paths import asking, inside, is_file, open_own, resolved, what_is
from invaudit.runtime.settings import Settings, dump_config

CONFIG = "config.yaml"
CODE = ("versions", "git")
"""What of an environment may change the numbers of a run that is resumed."""
NOT_BEGUN = {".lock", "environment.json", "records", "records/run.json"}
"""What is in a folder before ``config.yaml``, which says that a run was begun."""
BEGUN = NOT_BEGUN | {CONFIG, "log.txt"}
"""What is in a folder before the first job is done."""
UNFINISHED = ("work", "work.pt")
"""States of work that is not finished: nothing without what they were to become."""
LOGGED = ("invaudit", "py.warnings")
"""Loggers whose lines go to the log file; a command sends the warnings of libraries to the second."""
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
        may_change: Collection[str] = (),
        **environment: Any,
    ) -> Iterator["RunFolder"]:
        """Create or resume the folder of a run and hold its lock.

        Args:
            path: The folder.
            settings: Resolved settings; resuming with others is refused.
            kind: What kind of run it is; resuming a folder of another kind, or of another version, is refused.
            resume: Continue a run that the folder holds.
            inputs: Content hashes of what the settings do not name; resuming with others is refused too.
            may_change: Fields of the settings that a run may be resumed with other values of.
            environment: Extra facts for ``environment.json``.

        Raises:
            RunFolderError: Another run holds the folder, it holds another config or kind of run, or it cannot be
                written.
        """
        path = resolved(path, RunFolderError)
        config = path / CONFIG
        identity = run_identity(settings.model_dump(mode="json", exclude=set(may_change)), inputs)
        refuse_used(path, resume=resume)
        existing = what_is(path, RunFolderError)
        resumed = is_file(config, RunFolderError)
        with _locked(path), _nothing_for_bad_input(path, existed=existing is not None, resumed=resumed):
            _sweep(path)
            run = cls(path)
            if resumed:
                known = read_object(path / "records" / "run.json")
                _refuse_other_kind(path, known, kind)
                if known.get("config_hash") != identity:
                    raise RunFolderError(
                        f"{path} was made with other settings or inputs (see {config}); "
                        "use the same ones or choose another --out"
                    )
            else:
                record: dict[str, Any] = {"config_hash": identity, "inputs": list(inputs), "schema": kind.schema}
                if kind.name is not None:
                    record["kind"] = kind.name
                write_json(path / "records" / "run.json", record)
                write_json(path / "environment.json", describe_environment(**environment))
            if not resumed or may_change:
                write_text(config, dump_config(settings))
            with _logged(path / "log.txt"):
                if resumed:
                    _note_other_code(path / "environment.json", environment)
                try:
                    yield run
                except BaseException as error:
                    if is_interruption(error):
                        raise Interrupted(path) from error
                    raise

    def record(self, name: str) -> Any | None:
        """Return the record of a finished job, or None."""
        path = self.path / "records" / f"{name}.json"
        if not is_file(path, RunFolderError):
            return None
        return read_json(path, remedy=f"remove it and give --resume: {name} is done again then")

    def finish(self, name: str, record: Any) -> None:
        """Write the record of a finished job; do it after all of its other files."""
        write_json(self.path / "records" / f"{name}.json", record)


def run_identity(settings: Any, inputs: Iterable[str]) -> str:
    """Return the hash that tells a run from others: of its settings, as ``config.yaml`` holds them, and of its inputs.

    Args:
        settings: Plain values.
        inputs: Content hashes of what the settings do not name, in the order of the run.
    """
    return content_hash(json.dumps(settings, sort_keys=True), *inputs)


def refuse_used(path: Path, *, resume: bool) -> None:
    """Refuse a folder that no run can be written into; commands ask before they load anything.

    Raises:
        RunFolderError: It is a file, holds something else, or a run that is not to be continued.
    """
    existing = what_is(path, RunFolderError)
    if existing not in ("folder", None):
        raise RunFolderError(f"{path} is a file, expected a folder; choose another --out")
    holds_run = is_file(path / CONFIG, RunFolderError)
    if holds_run and not is_file(path / "records" / "run.json", RunFolderError):
        raise RunFolderError(f"{path} holds a config.yaml, but no run of ours; choose another --out")
    if holds_run and not resume:
        raise RunFolderError(f"{path} already holds a run; add --resume to continue it, or choose another --out")
    if existing and not holds_run and not _names_in(path) <= NOT_BEGUN:
        raise RunFolderError(f"{path} is not empty and holds no run; choose another --out")


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
    begun_with, now = read_object(path), describe_environment(**environment)
    resumed_with = begun_with.get("resumed_with", [])
    if not isinstance(resumed_with, list) or not all(isinstance(earlier, dict) for earlier in resumed_with):
        raise RunFolderError(f"{path} is damaged at resumed_with, expected a list of versions; remove the folder")
    names = (*CODE, *environment)
    code = {name: now[name] for name in names}
    for earlier in (begun_with, *resumed_with):
        if code == {name: earlier.get(name) for name in names}:
            return
    logger.warning("the run was begun with other versions, code or precision; environment.json lists all")
    write_json(path, begun_with | {"resumed_with": [*resumed_with, code]})


def _names_in(path: Path) -> Set[str]:
    """Return what is in a folder that may hold a run: its files, the records, the parts of unfinished work."""
    names = set()
    for file in inside(path, RunFolderError):
        names.add(file.name)
        if file.name in ("records", "work") and file.is_dir() and not file.is_symlink():
            names |= {f"{file.name}/{inner.name}" for inner in inside(file, RunFolderError)}
    return {name for name in names if not Path(name).name.startswith(PARTIAL)}


def _sweep(path: Path) -> None:
    """Remove what killed processes have left half-written; the lock says that nobody is writing now."""
    for folder, _, names in os.walk(path):
        for name in names:
            if name.startswith(PARTIAL):
                Path(folder, name).unlink(missing_ok=True)


@contextmanager
def _nothing_for_bad_input(path: Path, *, existed: bool, resumed: bool) -> Iterator[None]:
    """Take back what was written of a new run that is refused before it has made anything.

    A folder that cannot be written says nothing against the input: what is unfinished stays, to go on from.
    """
    try:
        yield
    except (InputError, KeyboardInterrupt) as error:
        may_go = NOT_BEGUN if isinstance(error, KeyboardInterrupt) else BEGUN
        names = _names_in(path)
        if isinstance(error, InputError) and not isinstance(error, RunFolderError):
            names = {name for name in names if name.partition("/")[0] not in UNFINISHED}
        if not resumed and names <= may_go:
            _remove(path, existed=existed)
        raise


def _remove(path: Path, *, existed: bool) -> None:
    """Remove what a run has written that has made nothing; the folder itself stays where it was there before."""
    for file in inside(path, RunFolderError):
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file, ignore_errors=True)
        else:
            file.unlink()
    if not existed:
        path.rmdir()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with asking(path, RunFolderError, "choose another --out"):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open_own(path / ".lock", RunFolderError) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunFolderError(f"another run is writing to {path}; wait for it or choose another --out") from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


class _OwnLog(logging.FileHandler):
    """A log file that no link leads elsewhere; a disk that is full costs its lines and nothing else."""

    def _open(self) -> IO[str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return open_own(Path(self.baseFilename), RunFolderError)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - named by the standard library
        """Say nothing: the standard library would print a traceback beside the messages of a command."""


def log_to(path: Path) -> logging.Handler:
    """Append what the package logs in this process to a file, and what libraries warn of."""
    handler = _OwnLog(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in LOGGED:
        logging.getLogger(name).addHandler(handler)
    logging.getLogger("invaudit").setLevel(logging.INFO)
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
        for name in LOGGED:
            logging.getLogger(name).removeHandler(handler)
        handler.close()
