import subprocess
import sys

SCRIPT = """
import sys
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from invaudit.benchmarks.running import run_jobs

def work():
    print("x", end="", flush=True)
    Event().wait(120)

if __name__ == "__main__":
    run = SimpleNamespace(path=Path(sys.argv[1]), record=lambda name: None)
    run_jobs(work, {"a": (), "b": ()}, run, 2, [])
"""


def test_workers_end_with_a_run_that_is_killed(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, script, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(2) == b"xx"
        process.kill()
        # The end of the output comes when no worker holds it any more.
        assert process.communicate(timeout=60)[0] == b""


FAILING = """
import sys
from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock
from pathlib import Path
from types import SimpleNamespace
from invaudit.benchmarks import running

def work(folder, number):
    if number == 0:
        raise ValueError("no luck")
    with (folder / "gate").open() as gate:
        flock(gate, LOCK_SH)
    if number == 1:
        raise ValueError("no luck either")
    (folder / f"done-{number}").touch()

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run = SimpleNamespace(path=folder, record=lambda name: None)
    gate = (folder / "gate").open("w")
    flock(gate, LOCK_EX)

    def notice(text):
        print(text)
        if "a job failed" in text:
            flock(gate, LOCK_UN)

    running.notice = notice
    running.run_jobs(work, {str(k): (folder, k) for k in range(30)}, run, 2, [])
"""


def test_after_a_failure_the_jobs_that_run_are_finished_and_no_other_is_begun(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(FAILING)
    found = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, timeout=60, check=False)
    assert "ValueError: no luck" in found.stderr
    assert "another job failed: no luck either" in found.stdout
    # One that runs, and what the pool has already handed to its workers.
    assert 1 <= len(list(tmp_path.glob("done-*"))) <= 4
