"""Standard streams that are closed, full, ASCII alone, or read by nobody any more."""

import io
import os
import subprocess
import sys

import pytest

from invaudit.runtime import console
from invaudit.runtime.streams import prepare_streams

COMMAND = [sys.executable, "-m", "invaudit"]


def run(*words, **streams):
    return subprocess.run([*COMMAND, *words], check=False, timeout=120, **streams)


def test_a_full_disk_behind_stdout_is_one_message():
    with open("/dev/full", "w") as full:  # noqa: PTH123
        result = run("--help", stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 2
    assert "No space left on device" in result.stderr
    assert result.stderr.count("\n") == 1


def test_closed_streams_are_no_fault():
    words = " ".join(COMMAND)
    for closed in (">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"):
        assert os.waitstatus_to_exitcode(os.system(f"{words} --version {closed} > /dev/null")) == 0  # noqa: S605
    script = f"exec >&-; {words} --version; echo $? >&2"
    result = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert result.stderr == "0\n"


def test_nobody_reads_any_more():
    reading, writing = os.pipe()
    os.close(reading)
    result = run("--help", stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding_takes_any_text(encoding, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    prepare_streams()
    text = "95.1 ± 0.2 \u2013 3 \u2212 \udcff 中"
    print(text, file=sys.stdout, flush=True)
    written = sys.stdout.buffer.getvalue().decode(encoding)
    expected = {
        "ascii": "95.1 +- 0.2 - 3 - \\udcff \\u4e2d\n",
        "latin-1": "95.1 ± 0.2 - 3 - \\udcff \\u4e2d\n",
        "utf-8": "95.1 ± 0.2 \u2013 3 \u2212 \\udcff 中\n",
    }
    assert written == expected[encoding]
    console.say("\x1b[31m\u2013")
    assert sys.stderr.buffer.getvalue().decode(encoding).startswith("\\x1b[31m")


def test_a_terminal_that_has_gone_away_stops_no_work(monkeypatch):
    class Gone(io.StringIO):
        def write(self, _):
            raise BrokenPipeError

    for stream in (Gone(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        console.configure(quiet=False)
        try:
            assert list(console.progress(range(3), total=3, label="jobs")) == [0, 1, 2]
            console.notice("done")
        finally:
            console.configure(quiet=True)


def test_a_table_is_printed_in_ascii(monkeypatch, tmp_path):
    from invaudit.cli.printing import print_table
    from invaudit.report.printing import plain_table

    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    prepare_streams()
    table = plain_table("Tïtle", "below")
    table.add_column("column")
    table.add_row("95.1 ± 0.2")
    print_table(table, f"Results: {tmp_path}")
    stream.flush()
    printed = stream.buffer.getvalue().decode("ascii")
    assert "95.1 +- 0.2" in printed
    assert "T\\xeftle" in printed
