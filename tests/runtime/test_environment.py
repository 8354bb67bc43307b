import subprocess

import pytest

from invaudit.runtime.environment import git_state


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "invaudit").mkdir()
    (tmp_path / "invaudit/one.py").write_text("A = 1\n", encoding="utf-8")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", tmp_path, *identity, *words], check=True)  # noqa: S607
    return tmp_path


def test_notes_and_outputs_are_no_change_of_the_sources(checkout):
    first = git_state(checkout)
    assert len(first["commit"]) == 40
    assert first["changed"] is False
    for name in ("notes.txt", "benchmarks/results/table.csv"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("what came out", encoding="utf-8")
    assert git_state(checkout) == first


@pytest.mark.parametrize("name", ["invaudit/one.py", "invaudit/new.py", "configs/new.yaml", "benchmarks/speed/x.py"])
def test_an_edited_or_new_source_is_a_change(checkout, name):
    (checkout / name).parent.mkdir(parents=True, exist_ok=True)
    (checkout / name).write_text("A = 2\n", encoding="utf-8")
    assert git_state(checkout)["changed"] is True


def test_outside_of_a_checkout_there_is_no_state(tmp_path):
    assert git_state(tmp_path) is None
