"""Jobs on Ray: on the cores of this machine, or of all machines of a cluster. It comes with the extra ``ray``."""

import logging
import os
import pickle
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from invaudit.runtime.console import notice
from invaudit.runtime.environment import package_versions
from invaudit.runtime.errors import InputError, MissingExtraError, SettingError
from invaudit.runtime.jobs import Job, Results, WorkerLost, as_they_end
from invaudit.runtime.runs import LOGGED

GIB = 2**30
ANSWERS_IN_S = 10
"""Seconds in which a cluster takes a connection; Ray alone would try for minutes."""
LOOK_EVERY_S = 30
"""Seconds after which it is looked whether there are more machines to use, or none to wait for."""
VARIABLES = ("INVAUDIT_DATA", "INVAUDIT_WEIGHTS")
"""Environment variables of the command that its jobs see."""
LOST = ("WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "ObjectLostError", "LocalRayletDiedError")
"""Names of Ray's exceptions after which a job may be begun again."""
NO_ANSWER = "no Ray cluster answers; check with: ray status"


@dataclass(frozen=True)
class JobNeeds:
    """What one job takes of a machine, beside a core.

    Attributes:
        gpus: Accelerators, or a share of one; 0: it computes on the CPU.
        memory_gib: Memory in GiB that it asks for; None: what there is.
    """

    gpus: float = 0
    memory_gib: float | None = None

    @property
    def device(self) -> str:
        """Name of the device that a worker computes on: Ray shows it no accelerators but its own."""
        return "cuda:0" if self.gpus else "cpu"

    def options(self) -> dict[str, Any]:
        """Return them as options of a Ray task."""
        options: dict[str, Any] = {"num_cpus": 1, "num_gpus": self.gpus}
        if self.memory_gib is not None:
            options["memory"] = int(self.memory_gib * GIB)
        return options


class Place(NamedTuple):
    """Where a job is done: what its numbers depend on there."""

    versions: dict[str, str | None]
    environment: dict[str, Any]


class Answer(NamedTuple):
    """What a job left: its result or its error, and what was logged while it was done."""

    result: Any
    error: Exception | None
    log: list[logging.LogRecord]


@dataclass(frozen=True)
class Ray:
    """Does jobs on a Ray cluster that this process is connected with.

    Attributes:
        needs: What one job takes.
        place: What the numbers depend on; a machine where this is otherwise is refused.
        describe: Returns the environment of a device by its name, on the machine that it is called on.
        folder: The run folder, which all machines see.
        most: Jobs at a time at most; None: as many as the cluster has room for.
    """

    needs: JobNeeds
    place: Place
    describe: Callable[[str], dict[str, Any]]
    folder: Path
    most: int | None = None

    @property
    def environment(self) -> dict[str, Any]:
        """What the numbers depend on where the jobs are done, beside settings and versions."""
        return self.place.environment

    @property
    def workers(self) -> int:
        """Jobs at a time: what the machines that are there now have room for."""
        room = places_for(self.needs)
        return room if self.most is None else min(room, self.most)

    def run(self, jobs: Sequence[Job]) -> Results:
        """Do the jobs, as many at a time as there is room for; one whose worker or machine is lost is begun again."""
        workers = _Tasks(self)
        try:
            yield from as_they_end(workers, lambda: max(1, self.workers), jobs)
        finally:
            workers.stop()


@contextmanager
def connected(address: str | None, workers: int | None) -> Iterator[None]:
    """Connect this process with a Ray cluster, or start one on this machine, and part from it in the end.

    A connection that is there already is used, and stays.

    Args:
        address: ``auto`` or address of a cluster that runs; None: ``RAY_ADDRESS``, or else a new one on this machine.
        workers: Cores of a new cluster; None: all of this machine.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingError: No cluster answers at the address.
    """
    ray = _ray()
    if ray.is_initialized():
        notice("this process is connected with a Ray cluster already, which is used")
        yield
        return
    # Ray sends reports of its use to its makers, unless it is told not to.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    address = address or os.environ.get("RAY_ADDRESS")
    if address is not None:
        _check_answers(address)
    # Ray prints on stdout what happens to its workers, between what a command prints there for programs.
    with redirect_stdout(sys.stderr):
        on_termination = signal.getsignal(signal.SIGTERM)
        _connect(address, workers)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_termination)  # Ray has put its own in place
        try:
            yield
        finally:
            ray.shutdown()


def _connect(address: str | None, workers: int | None) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            _ray().init("local", num_cpus=workers or os.cpu_count() or 1, include_dashboard=False, **quiet)
        else:
            _ray().init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError, _ray().exceptions.RayError) as error:
        where = f"ray:{address}" if address else "ray"
        raise SettingError(f"--executor {where}: {NO_ANSWER} ({error})") from error


def _check_answers(address: str) -> None:
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise SettingError(f"--executor ray:{address}: expected ray:auto or ray:HOST:PORT, as ray start prints it")
    try:
        socket.create_connection((host, int(port)), ANSWERS_IN_S).close()
    except (OSError, OverflowError, ValueError) as error:
        raise SettingError(f"--executor ray:{address}: {NO_ANSWER} ({error})") from error


def start(describe: Callable[[str], dict[str, Any]], folder: Path, needs: JobNeeds, most: int | None) -> Ray:
    """Return an executor on the cluster that this process is connected with.

    Args:
        describe: Returns the environment of a device by its name, on the machine that it is called on.
        folder: The run folder.
        needs: What one job takes.
        most: Jobs at a time at most.

    Raises:
        SettingError: No machine of the cluster has room for one job, or the versions there are others than here.
    """
    ray = _ray()
    if not places_for(needs):
        raise SettingError(f"no machine of the Ray cluster has room for a job that needs {needs.options()}")
    # Asked there: this machine may have no accelerator, or another kind of CPU.
    notice("asking the Ray cluster for its versions")
    try:
        place = ray.get(ray.remote(**needs.options())(_place).remote(describe, needs.device))
    except ray.exceptions.RayError as error:
        raise SettingError(f"the Ray cluster does no jobs of invaudit; install it on all machines: {error}") from error
    here = package_versions()
    if place.versions != here:
        raise SettingError(
            f"the Ray cluster has other versions than this machine: {_differences(place.versions, here)}"
        )
    return Ray(needs, place, describe, folder, most)


def places_for(needs: JobNeeds) -> int:
    """Return how many jobs the machines that are there now have room for."""
    places = 0
    for node in _ray().nodes():
        if node["Alive"]:
            places += _places_on(node["Resources"], needs)
    return places


def has_accelerators() -> bool:
    """Return whether a machine of the cluster has an accelerator."""
    return _ray().cluster_resources().get("GPU", 0) > 0


def _places_on(resources: dict[str, float], needs: JobNeeds) -> int:
    places = resources.get("CPU", 0)
    if needs.gpus >= 1:
        places = min(places, resources.get("GPU", 0) // needs.gpus)
    elif needs.gpus:
        places = min(places, resources.get("GPU", 0) * (1 // needs.gpus))  # a share is one of one accelerator
    if needs.memory_gib:
        places = min(places, resources.get("memory", 0) / (needs.memory_gib * GIB))
    return int(places)


class _Tasks:
    """The tasks of one run of jobs."""

    def __init__(self, executor: Ray) -> None:
        self.executor = executor
        self.ray = _ray()
        # Ray's own second try says nothing to whoever waits, and has no end where memory is wanting.
        self.task = self.ray.remote(max_retries=0, **executor.needs.options())(_do)
        self.variables = {name: os.environ[name] for name in VARIABLES if name in os.environ}
        self.running: set[Any] = set()

    def begin(self, job: Job) -> Any:
        handle = self.task.remote(job, self.executor, self.variables)
        self.running.add(handle)
        return handle

    def wait(self, begun: Collection[Any]) -> Collection[Any]:
        ended, _ = self.ray.wait(list(begun), num_returns=1, timeout=LOOK_EVERY_S)
        if not ended and not places_for(self.executor.needs):
            notice("no machine of the Ray cluster has room for a job now; waiting for one")
        return ended

    def result(self, handle: Any) -> Any:
        self.running.discard(handle)
        try:
            answer = self.ray.get(handle)
        except self.ray.exceptions.RayTaskError as error:  # before the job began, or an error that cannot be sent
            raise error.cause if isinstance(error.cause, Exception) else error from None
        except tuple(getattr(self.ray.exceptions, name) for name in LOST) as error:
            raise WorkerLost(type(error).__name__) from error
        for record in answer.log:
            logging.getLogger(record.name).handle(record)
        if answer.error is not None:
            raise answer.error
        return answer.result

    def stop(self) -> None:
        """End what still runs, at once: a job may take minutes, and all that it has kept is whole."""
        for handle in self.running:
            self.ray.cancel(handle, force=True)


class _Kept(logging.Handler):
    """Keeps what is logged, to be sent to the parent."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        # As text: arguments and tracebacks may hold what cannot be sent.
        record.msg, record.args = self.format(record), None
        record.exc_info = record.exc_text = record.stack_info = None
        self.records.append(record)


def _place(describe: Callable[[str], dict[str, Any]], device: str) -> Place:
    return Place(package_versions(), describe(device))


def _do(job: Job, executor: Ray, variables: dict[str, str]) -> Answer:
    """Do a job on some machine of the cluster, once it is known to give the same numbers there."""
    _check_this_machine(executor)
    kept, loggers = _Kept(), [logging.getLogger(name) for name in LOGGED]
    for logger in loggers:
        logger.addHandler(kept)
        logger.setLevel(logging.INFO)
    os.environ.update(variables)
    try:
        return Answer(job(executor.needs.device), None, kept.records)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - of somebody's job; the parent raises it
        return Answer(None, _sendable(error), kept.records)
    finally:
        for logger in loggers:
            logger.removeHandler(kept)


def _sendable(error: BaseException) -> Exception:
    """Return an error, with its traceback, as the parent can raise it: in place of one that cannot be sent its text."""
    try:
        sent = pickle.loads(pickle.dumps(error))  # noqa: S301 - what was pickled just now
    except Exception:  # noqa: BLE001 - its class is somebody's
        sent = None
    if not isinstance(sent, Exception):
        sent = RuntimeError(f"{type(error).__name__}: {error}")
    if not isinstance(sent, InputError):
        sent.add_note("".join(traceback.format_exception(error)))
    return sent


def _check_this_machine(executor: Ray) -> None:
    name = os.uname().nodename
    here = _place(executor.describe, executor.needs.device)
    for found, wanted in zip(here, executor.place, strict=True):
        if found != wanted:
            raise SettingError(
                f"the machine {name} would give other numbers: {_differences(found, wanted)}; use machines with the "
                "same versions and the same kind of processor"
            )
    if not executor.folder.is_dir():
        raise InputError(
            f"the machine {name} does not see {executor.folder}; choose an --out that all machines of the cluster see"
        )


def _differences(found: dict[str, Any], expected: dict[str, Any]) -> str:
    differences = []
    for name in expected:
        if found.get(name) != expected[name]:
            differences.append(f"{name} {found.get(name)} there, {expected[name]} expected")
    return ", ".join(differences)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError('--executor ray needs Ray; run: pip install "invaudit[ray]"') from error
    return ray
