import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from invaudit.runtime.jobs import Job, Serial, run_jobs
from invaudit.runtime.processes import Processes

pytestmark = pytest.mark.slow


def add(a, b, *, device):
    return a + b, device


def process(*, device):
    return os.getpid(), device


def say(text, *, device):
    logging.getLogger("invaudit.test").info("%s on %s", text, device)


def folder_of(path, done=()):
    return SimpleNamespace(path=path, record=lambda name: {} if name in done else None)


def two_processes(folder, devices=("cpu", "cpu")):
    return Processes(devices, {}, (), folder / "log.txt")


@pytest.fixture(params=["serial", "processes"])
def executor(request, tmp_path):
    return Serial("cpu", {}) if request.param == "serial" else two_processes(tmp_path)


def test_every_job_gives_its_result_under_its_key(executor):
    jobs = [Job(f"job-{k}", add, (k, 1)) for k in range(5)]
    assert dict(executor.run(jobs)) == {f"job-{k}": (k + 1, "cpu") for k in range(5)}


def test_no_jobs_are_no_work(executor):
    assert list(executor.run([])) == []


def test_the_parent_stores_what_jobs_return_and_skips_what_is_done(executor, tmp_path):
    stored = {}
    jobs = [Job(f"job-{k}", add, (k, 1)) for k in range(4)]
    run_jobs(jobs, executor, folder_of(tmp_path, {"job-1", "job-2"}), stored.__setitem__)
    assert stored == {"job-0": (1, "cpu"), "job-3": (4, "cpu")}


def test_each_worker_keeps_one_device_and_no_two_have_the_same(tmp_path):
    executor = two_processes(tmp_path, ("cuda:0", "cuda:1"))
    places = {result for _, result in executor.run([Job(str(k), process, ()) for k in range(12)])}
    assert os.getpid() not in {worker for worker, _ in places}
    assert len(places) == len({worker for worker, _ in places}) == len({device for _, device in places}) <= 2


def test_workers_write_to_the_log_of_the_run(tmp_path):
    list(two_processes(tmp_path).run([Job("a", say, ("hello",))]))
    assert "hello on cpu" in (tmp_path / "log.txt").read_text()


KILLED = """
import sys
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from invaudit.runtime.jobs import Job, run_jobs
from invaudit.runtime.processes import Processes

def work(*, device):
    print("x", end="", flush=True)
    Event().wait(120)

if __name__ == "__main__":
    folder = SimpleNamespace(path=Path(sys.argv[1]), record=lambda name: None)
    executor = Processes(("cpu", "cpu"), {}, (), folder.path / "log.txt")
    run_jobs([Job("a", work, ()), Job("b", work, ())], executor, folder, print)
"""


def test_workers_end_with_a_run_that_is_killed(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(KILLED)
    with subprocess.Popen([sys.executable, script, tmp_path], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.read(2) == b"xx"
        parent.kill()
        # The end of the output comes when no worker holds it any more.
        assert parent.communicate(timeout=60)[0] == b""


FAILING = """
import sys
from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock
from pathlib import Path
from types import SimpleNamespace
from invaudit.runtime import jobs
from invaudit.runtime.processes import Processes

def work(folder, number, *, device):
    (folder / f"begun-{number}").touch()
    if number == 0:
        raise ValueError("no luck")
    with (folder / "gate").open() as gate:
        flock(gate, LOCK_SH)
    if number == 1:
        raise ValueError("no luck either")
    return number

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run = SimpleNamespace(path=folder, record=lambda name: None)
    gate = (folder / "gate").open("w")
    flock(gate, LOCK_EX)

    def notice(text):
        print(text)
        if "a job failed" in text:
            flock(gate, LOCK_UN)

    jobs.notice = notice
    workers = Processes(("cpu",) * int(sys.argv[2]), {}, (), folder / "log.txt")
    todo = [jobs.Job(str(k), work, (folder, k)) for k in range(30)]
    jobs.run_jobs(todo, workers, run, lambda key, number: (folder / f"done-{number}").touch())
"""


def names(folder, pattern):
    return {path.name for path in folder.glob(pattern)}


@pytest.mark.parametrize("workers", [2, 3])
def test_after_a_failure_the_jobs_that_run_are_finished_and_stored_and_no_other_is_begun(tmp_path, workers):
    script = tmp_path / "run.py"
    script.write_text(FAILING)
    command = [sys.executable, script, tmp_path, str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "ValueError: no luck" in done.stderr
    assert "another job failed: no luck either" in done.stdout
    assert names(tmp_path, "begun-*") == {f"begun-{number}" for number in range(workers)}
    assert names(tmp_path, "done-*") == {f"done-{number}" for number in range(2, workers)}


def test_a_result_that_cannot_be_stored_stops_the_workers(tmp_path):
    def full(_key, _result):
        raise OSError("no space left")

    executor = two_processes(tmp_path)
    with pytest.raises(OSError, match="no space left"):
        run_jobs([Job(str(k), add, (k, k)) for k in range(4)], executor, folder_of(tmp_path), full)
