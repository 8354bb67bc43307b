"""Two runs of the same benchmark are compared: what existed stays, times and what is new apart."""

import shutil

import pytest

from benchmarks.publish import compare_runs

pytestmark = pytest.mark.slow


@pytest.fixture
def compared(finished, tmp_path, monkeypatch, capsys):
    """Compare the finished run with a copy that a function has changed; gives the exit code and the output."""

    def compare(change):
        after = tmp_path / "after"
        shutil.copytree(finished, after)
        change(after)
        monkeypatch.setattr("sys.argv", ["compare_runs", str(finished), str(after)])
        return compare_runs.main(), capsys.readouterr().out

    return compare


def test_equal_runs_and_new_files_are_no_difference(compared):
    code, output = compared(lambda folder: (folder / "new.csv").write_text("a\n1\n"))
    assert code == 0
    assert "new file new.csv" in output
    assert " 0 differences" in output


def test_a_changed_cell_is_named(compared):
    def change(folder):
        text = (folder / "table.csv").read_text()
        (folder / "table.csv").write_text(text.replace(",near,", ",far,", 1))

    code, output = compared(change)
    assert code == 1
    assert "group: 'far', was 'near'" in output


def test_a_missing_array_file_is_named(compared):
    code, output = compared(lambda folder: (folder / "scores/seed-0/plain.npz").unlink())
    assert code == 1
    assert "plain.npz is missing" in output


def test_nothing_to_compare_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["compare_runs", str(tmp_path / "a"), str(tmp_path / "b")])
    assert compare_runs.main() == 2
    assert "nothing was compared" in capsys.readouterr().out
