"""Which executor does the jobs of a run, as a command line says it."""

from dataclasses import dataclass
from typing import Literal, cast, get_args

from invaudit.runtime.errors import ConfigError

Kind = Literal["serial", "processes", "ray"]
SMALLEST, LARGEST = 0.01, 1e6
"""Accelerators, or GiB, that a job may ask for."""
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class ExecutorChoice:
    """How the jobs of a run are done. No number depends on it.

    Attributes:
        kind: ``serial``: one after the other, in this process; ``processes``: side by side on this machine; ``ray``: on
            a Ray cluster. None: ``processes`` where there is room for more than one job, else ``serial``.
        address: Of a Ray cluster that runs, or ``auto``; None: that of ``RAY_ADDRESS``, or a new one on this machine.
        workers: Jobs at a time; None: one for each core or accelerator that there is.
        gpus_per_job: Accelerators that a job takes of a Ray cluster, or a share of one; None: one where it has some.
        memory_per_job: Memory in GiB that a job takes of a Ray cluster; None: what there is.

    Raises:
        ConfigError: Values that do not go together.
    """

    kind: Kind | None = None
    address: str | None = None
    workers: int | None = None
    gpus_per_job: float | None = None
    memory_per_job: float | None = None

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.kind not in (None, *KINDS):
            raise ConfigError(f"executor {self.kind!r}: expected {', '.join(KINDS)}")
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"--workers {self.workers}: expected at least 1")
        if self.kind == "serial" and self.workers not in (None, 1):
            raise ConfigError(f"--executor serial does one job at a time; leave out --workers {self.workers}")
        for option, value in (("--gpus-per-job", self.gpus_per_job), ("--memory-per-job", self.memory_per_job)):
            if value is not None and self.kind != "ray":
                raise ConfigError(f"{option} changes nothing without --executor ray; leave it out")
            if value is not None and not SMALLEST <= value <= LARGEST:
                raise ConfigError(f"{option} {value:g}: expected {SMALLEST} to {LARGEST}")
        if self.gpus_per_job is not None and self.gpus_per_job > 1 and self.gpus_per_job % 1:
            raise ConfigError(f"--gpus-per-job {self.gpus_per_job:g}: expected a share of one, or a whole number")

    @classmethod
    def parse(
        cls,
        text: str | None,
        workers: int | None = None,
        gpus_per_job: float | None = None,
        memory_per_job: float | None = None,
    ) -> "ExecutorChoice":
        """Return the choice that ``serial``, ``processes``, ``ray`` or ``ray:ADDRESS`` stands for; None: the default.

        Raises:
            ConfigError: Another text, or values that do not go together.
        """
        kind, colon, address = (text or "").partition(":")
        if text is not None and (kind not in KINDS or (colon and (kind != "ray" or not address))):
            raise ConfigError(f"--executor {text}: expected serial, processes, ray or ray:ADDRESS")
        known = cast(Kind, kind) if kind else None
        return cls(known, address or None, workers, gpus_per_job, memory_per_job)


ONE_AT_A_TIME = ExecutorChoice("serial")
"""In this process, with all its threads."""
THIS_MACHINE = ExecutorChoice()
"""As many jobs at a time as there are cores or accelerators here."""
