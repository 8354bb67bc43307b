"""Jobs that are lost in the middle: their process is killed, or the machine under it is taken away."""

import os
import signal
from pathlib import Path
from threading import Thread

import ray

from invaudit.models.checkpoints import Checkpoint


class Killed:
    """Calls a function; the first process that has written a checkpoint in it, or is done with it, is killed."""

    def __init__(self, function, folder: Path) -> None:
        self.function, self.marker = function, folder / "killed"

    def __call__(self, *arguments, device):
        save = Checkpoint.save

        def save_and_die(checkpoint, state):
            save(checkpoint, state)
            self.die_once()

        Checkpoint.save = save_and_die
        try:
            result = self.function(*arguments, device=device)
        finally:
            Checkpoint.save = save
        self.die_once()
        return result

    def die_once(self):
        if not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Stranded:
    """Calls a function, but the first time on one machine it only says that it is there, and waits for ever."""

    def __init__(self, function, folder: Path, machine: str) -> None:
        self.function, self.folder, self.machine = function, folder, machine

    def __call__(self, *arguments, device):
        if ray.get_runtime_context().get_node_id() == self.machine:
            (self.folder / "there").open("w").close()
            (self.folder / "never").open().close()
        return self.function(*arguments, device=device)


def taken_away(cluster, machine, folder: Path) -> Thread:
    """Take a machine away as soon as a job is on it."""
    for name in ("there", "never"):
        os.mkfifo(folder / name)

    def take_away():
        (folder / "there").open().close()  # until a job opens it, too
        cluster.remove_node(machine)

    thread = Thread(target=take_away, daemon=True)
    thread.start()
    return thread
