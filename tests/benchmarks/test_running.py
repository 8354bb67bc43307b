import os
import select
import subprocess
import sys

SCRIPT = """
import sys
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from invaudit.benchmarks.running import run_jobs

def work(pipe):
    with open(pipe, "w") as alive:
        alive.write("x")
        alive.flush()
        Event().wait()

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run = SimpleNamespace(path=folder, record=lambda name: None)
    run_jobs(work, {name: (folder / "pipe",) for name in ("a", "b")}, run, 2, [])
"""


def test_workers_end_with_a_run_that_is_killed(tmp_path):
    (tmp_path / "run.py").write_text(SCRIPT)
    os.mkfifo(tmp_path / "pipe")
    process = subprocess.Popen([sys.executable, tmp_path / "run.py", tmp_path], stderr=subprocess.DEVNULL)
    with (tmp_path / "pipe").open("rb", buffering=0) as pipe:
        assert pipe.read(1) + pipe.read(1) == b"xx"
        process.kill()
        process.wait()
        # The end of the pipe comes when no worker holds it any more.
        assert select.select([pipe], [], [], 60)[0]
        assert pipe.read(1) == b""
