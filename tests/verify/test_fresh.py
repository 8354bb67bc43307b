"""A run that nobody has touched agrees with itself, whatever its kind; so does what is recorded of one."""

import shutil
from pathlib import Path

import pytest

from invaudit.runtime import InputError
from invaudit.runtime.files import read_object, write_json
from invaudit.verify import verify

RECORDED = sorted(Path(__file__).parents[2].glob("benchmarks/results/*/config.yaml"))
KINDS = {
    "leakage_run": "leakage benchmark",
    "ood_run": "OOD benchmark",
    "score_run": "scoring of reconstructions",
    "audit_run": "audit of a model",
    "control_run": "attack control",
}
pytestmark = pytest.mark.xdist_group("verify")


@pytest.mark.slow
@pytest.mark.parametrize("run", KINDS)
def test_a_run_agrees_with_itself(run, request):
    found = verify(request.getfixturevalue(run))
    assert found.kind == KINDS[run]
    assert [difference.sentence for difference in found.differences] == []
    checked = " ".join(found.checked)
    assert "settings and hashes of inputs" in checked
    assert "data and models at hand have their hashes" in checked or run == "control_run"
    if run != "control_run":
        assert "report.html: the same bytes" in checked
        assert "table.csv: " in checked


@pytest.mark.slow
def test_neither_model_nor_images_are_needed(score_run, tmp_path):
    folder = shutil.copytree(score_run, tmp_path / "run")
    config = (folder / "config.yaml").read_text()
    place = next(line for line in config.splitlines() if line.startswith("members:")).split()[1]
    moved = Path(place).rename(tmp_path / "elsewhere.npz")
    try:
        found = verify(folder)
    finally:
        moved.rename(place)
    assert found.agrees
    assert any("not at hand" in words and "members" in words for words in found.unchecked)


@pytest.mark.slow
def test_other_images_of_the_same_name_are_a_difference(score_run, digits, tmp_path):
    folder = shutil.copytree(score_run, tmp_path / "run")
    kept = (digits / "members.npz").read_bytes()
    shutil.copyfile(digits / "reference.npz", digits / "members.npz")
    try:
        found = verify(folder)
    finally:
        (digits / "members.npz").write_bytes(kept)
    assert [(one.file, one.place) for one in found.differences] == [("audit.json", "hash of members")]


@pytest.mark.slow
def test_numbers_of_other_versions_may_differ_in_the_last_digits(leakage_run, tmp_path):
    folder = shutil.copytree(leakage_run, tmp_path / "run")
    name = "seed-3-mlp.json"
    record = read_object(folder / "records" / name)
    value = record["membership"]["loss"]["auroc_low"]
    record["membership"]["loss"]["auroc_low"] = value * (1 + 1e-12)
    write_json(folder / "records" / name, record)
    assert verify(folder).agrees
    record["membership"]["loss"]["auroc_low"] = value * (1 + 1e-6)
    write_json(folder / "records" / name, record)
    assert not verify(folder).agrees


@pytest.mark.slow
def test_a_page_by_other_code_is_not_compared_and_named(leakage_run, tmp_path):
    folder = shutil.copytree(leakage_run, tmp_path / "run")
    environment = read_object(folder / "environment.json")
    environment["versions"]["invaudit"] = "0.0.1"
    write_json(folder / "environment.json", environment)
    found = verify(folder)
    assert {one.file for one in found.differences} == {"audit.json"}
    assert any(words.startswith("report.html: made by another version") for words in found.unchecked)
    assert any("made with invaudit 0.0.1" in words for words in found.unchecked)


@pytest.mark.slow
def test_scores_of_readiness_that_an_older_run_does_not_hold_are_named(audit_run, tmp_path):
    folder = shutil.copytree(audit_run, tmp_path / "run")
    (folder / "scores/seed-0/target/readiness.npz").unlink()
    (folder / "records/scores.json").unlink()
    found = verify(folder)
    assert found.agrees
    assert any(words.startswith("readiness.csv") for words in found.unchecked)
    assert any(words.startswith("scores against their hashes") for words in found.unchecked)


@pytest.mark.parametrize("config", RECORDED, ids=lambda path: path.parent.name)
def test_what_is_kept_of_a_recorded_run_agrees(config):
    found = verify(config.parent)
    assert [difference.sentence for difference in found.differences] == []
    assert found.kind.startswith("what is kept of ")
    assert sum("values agree" in words for words in found.checked) >= 3
    assert any("are not kept here" in words for words in found.unchecked)


def test_recorded_runs_are_there():
    assert len(RECORDED) >= 15


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (None, "is no folder"),
        ({}, "no run with tables"),
        ({"records/run.json": '{"config_hash": "", "schema": 1}', "config.yaml": "a: 1"}, "no run with tables"),
        ({"records/run.json": '{"kind": "ood", "schema": 2}', "config.yaml": "a: 1"}, "finish it first"),
        ({"records/run.json": "{"}, "damaged"),
    ],
)
def test_a_folder_that_holds_no_finished_run_is_refused(files, words, tmp_path):
    folder = tmp_path / "run"
    for name, content in (files or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    if files == {}:
        folder.mkdir()
    with pytest.raises(InputError, match=words):
        verify(folder)
