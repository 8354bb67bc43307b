import subprocess
import sys

import pytest

from invaudit.cli import main


@pytest.fixture
def called(monkeypatch, capsys, tmp_path):
    """Run a command in this process, which has imported torch already."""

    def call(*words, cwd=tmp_path):
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["invaudit", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        output = capsys.readouterr()
        return subprocess.CompletedProcess(words, end.value.code or 0, output.out, output.err)

    return call
