import pytest


@pytest.mark.parametrize(("words", "kind"), [((), "ood"), (("leakage",), "leakage")])
def test_a_config_is_written_and_the_command_is_said(called, tmp_path, words, kind):
    result = called("benchmark", "init", *words)
    assert (result.returncode, result.stdout) == (0, "")
    command = f"invaudit benchmark {kind} --config benchmark.yaml"
    assert f"benchmark.yaml. Run it: {command}\n" in result.stderr
    assert (tmp_path / "benchmark.yaml").read_text(encoding="utf-8").startswith(f"## Run it: {command}\n")


def test_what_is_there_is_not_replaced(called, tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    result = called("benchmark", "init", "--out", "mine.yaml")
    assert (result.returncode, result.stdout) == (2, "")
    assert "mine.yaml exists already; choose another --out" in result.stderr
    assert (tmp_path / "mine.yaml").read_text() == "name: mine\n"


def test_a_place_that_cannot_be_written_is_named(called, tmp_path):
    (tmp_path / "file").touch()
    result = called("benchmark", "init", "--out", "file/mine.yaml")
    assert result.returncode == 2
    assert "file/mine.yaml" in result.stderr
    assert "--out" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_name_that_is_no_line_stays_one_comment(called, tmp_path):
    result = called("benchmark", "init", "--out", "a\nname: b")
    assert result.returncode == 0
    first, second = (tmp_path / "a\nname: b").read_text(encoding="utf-8").splitlines()[:2]
    assert "a\\nname: b" in first
    assert second.startswith("## It runs")
