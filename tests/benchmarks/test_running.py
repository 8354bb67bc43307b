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
