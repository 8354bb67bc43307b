"""What does the jobs of a run, and on which devices."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from invaudit.models.devices import resolve_device, resolve_precision
from invaudit.runtime import ray_jobs
from invaudit.runtime.errors import SettingError
from invaudit.runtime.executor import ExecutorChoice
from invaudit.runtime.jobs import Executor, Serial
from invaudit.runtime.processes import Processes
from invaudit.runtime.ray_jobs import JobNeeds


@contextmanager
def start_executor(choice: ExecutorChoice, device: str, preload: Sequence[str], folder: Path) -> Iterator[Executor]:
    """Start what does the jobs of a run, and end it after.

    Args:
        choice: Which executor.
        device: Name of the device of all jobs, as `resolve_device` takes it. On a Ray cluster ``auto`` stands for its
            accelerators, where it has some.
        preload: Modules that jobs need.
        folder: The run folder.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingError: Unknown name, no such device, or no cluster that has room for a job.
    """
    folder = Path(folder).absolute()
    if choice.kind == "ray":
        with ray_jobs.connected(choice.address, choice.workers):
            needs = JobNeeds(_gpus_per_job(choice, device), choice.memory_per_job)
            yield ray_jobs.start(computed_with, folder, needs, choice.workers)
        return
    devices = worker_devices(device, 1 if choice.kind == "serial" else choice.workers)
    environment = computed_with(device)
    if choice.kind != "processes" and len(devices) == 1:
        yield Serial(devices[0], environment)
    else:
        yield Processes(tuple(devices), environment, tuple(preload), folder / "log.txt")


def worker_devices(text: str, workers: int | None = None) -> list[str]:
    """Return the device of each worker of a run: one worker for each core, or for each accelerator.

    Args:
        text: As `resolve_device` takes it; ``auto`` and ``cuda`` stand for all accelerators that there are.
        workers: Workers that are wanted; never more than there are accelerators, where jobs run on these.

    Raises:
        SettingError: Unknown name, or no such device on this machine.
    """
    device = resolve_device(text)
    if device.type == "cpu":
        return ["cpu"] * (workers or os.cpu_count() or 1)
    if device.index is not None:
        return [str(device)]
    devices = [f"{device.type}:{index}" for index in range(torch.cuda.device_count())]
    return devices[: workers or None]


def computed_with(text: str) -> dict[str, Any]:
    """Return what the numbers of a run depend on beside its settings, for ``environment.json``.

    Raises:
        SettingError: No such device.
    """
    precision = resolve_precision("auto", resolve_device(text))
    return {"threads_per_job": 1, "auto_precision": str(precision).removeprefix("torch.")}


def _gpus_per_job(choice: ExecutorChoice, device: str) -> float:
    if device not in ("auto", "cpu", "cuda"):
        raise SettingError(f"--device {device}: on Ray each job is given its accelerator; expected auto, cpu or cuda")
    wanted = device == "cuda" or (device == "auto" and ray_jobs.has_accelerators())
    if not wanted:
        if choice.gpus_per_job is not None:
            raise SettingError(f"--gpus-per-job {choice.gpus_per_job:g}: these jobs use no accelerator; leave it out")
        return 0
    return 1 if choice.gpus_per_job is None else choice.gpus_per_job
