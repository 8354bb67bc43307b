import json
import logging
import os
import stat
from pathlib import Path

import pytest

from invaudit.runtime import (
    InputError,
    RunFolder,
    RunFolderError,
    Settings,
    child_seed,
    content_hash,
    describe_environment,
    read_json,
    runs,
    write_bytes,
)
from invaudit.runtime.errors import Interrupted
from invaudit.runtime.runs import RunKind


class Plain(Settings):
    n: int = 1


def test_folder_holds_config_environment_and_log(tmp_path):
    with RunFolder.open(tmp_path / "run", Plain(), threads=1) as run:
        run.finish("job", {"a": 1})
        assert run.record("job") == {"a": 1}
        assert run.record("other") is None
    names = {path.name for path in run.path.iterdir()}
    assert {"config.yaml", "environment.json", "records", "log.txt"} <= names
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o700
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["threads"] == 1
    assert environment["versions"]["torch"]


def test_resuming_with_other_code_is_noted_once(tmp_path, monkeypatch):
    def go_on(commit: str | None) -> dict:
        environment = describe_environment() | {"git": commit and {"commit": commit, "changed": False}}
        monkeypatch.setattr(runs, "describe_environment", lambda **extra: environment | extra)
        with RunFolder.open(tmp_path, Plain(), resume=True, threads=1):
            return read_json(tmp_path / "environment.json")

    first = go_on("one")
    assert (first["git"]["commit"], first["threads"]) == ("one", 1)
    assert go_on("one") == first
    for commit, noted in (("two", ["two"]), ("one", ["two"]), ("two", ["two"]), ("three", ["two", "three"])):
        found = go_on(commit)
        assert [one["git"]["commit"] for one in found["resumed_with"]] == noted
        assert found["git"]["commit"] == "one"


def test_a_second_run_is_refused_and_resume_continues(tmp_path):
    with RunFolder.open(tmp_path, Plain()) as run:
        run.finish("job", 1)
    with pytest.raises(RunFolderError, match="--resume"), RunFolder.open(tmp_path, Plain()):
        pass
    with RunFolder.open(tmp_path, Plain(), resume=True) as run:
        assert run.record("job") == 1


def test_resuming_with_other_settings_is_refused(tmp_path):
    with RunFolder.open(tmp_path, Plain()):
        pass
    with pytest.raises(RunFolderError, match="other settings"), RunFolder.open(tmp_path, Plain(n=2), resume=True):
        pass


def test_two_runs_in_one_folder_refuse_each_other(tmp_path):
    with (
        RunFolder.open(tmp_path, Plain()),
        pytest.raises(RunFolderError, match="another run"),
        RunFolder.open(tmp_path, Plain(), resume=True),
    ):
        pass


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="not empty"), RunFolder.open(tmp_path, Plain()):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(RunFolderError, match="is a file"), RunFolder.open(tmp_path / "out", Plain()):
        pass


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write_bytes(path, b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFolderError, match="No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_seeds_differ_by_every_argument_and_stay():
    seeds = {
        child_seed(seed, stage, index) for seed in range(3) for stage in ("a", "b", "a\x000") for index in range(3)
    }
    assert len(seeds) == 27
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert child_seed(0, "train") == 1801444143386010281


def test_hash_depends_on_the_boundaries_of_its_parts():
    assert content_hash("ab", "c") != content_hash("a", "bc")
    assert content_hash("ab") == content_hash(b"ab")


@pytest.mark.parametrize("existed", [True, False])
def test_a_run_that_is_refused_before_it_made_anything_leaves_nothing(existed, tmp_path):
    path = tmp_path / "run"
    if existed:
        path.mkdir()
    before = path.stat() if existed else None
    with pytest.raises(InputError, match="no"), RunFolder.open(path, Plain()):
        raise InputError("no")
    assert list(tmp_path.rglob("*")) == ([path] if existed else [])
    if before:
        after = path.stat()
        assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


def test_a_run_that_made_something_keeps_it(tmp_path):
    def refused(**how):
        with RunFolder.open(tmp_path, Plain(), **how) as run:
            run.finish("job", 1)
            raise InputError("no")

    for how in ({}, {"resume": True}):
        with pytest.raises(InputError, match="no"):
            refused(**how)
        assert RunFolder(tmp_path).record("job") == 1


def test_somebody_elses_config_is_no_run(tmp_path):
    (tmp_path / "config.yaml").write_text("mine: 1")
    for resume in (True, False):
        with (
            pytest.raises(RunFolderError, match="no run of ours"),
            RunFolder.open(tmp_path, Plain(), resume=resume),
        ):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_folder_says_what_kind_of_run_it_is_and_is_resumed_as_that_alone(tmp_path):
    with RunFolder.open(tmp_path, Plain(), kind=RunKind("ood", 2, (1, 2))):
        pass
    record = json.loads((tmp_path / "records" / "run.json").read_text(encoding="utf-8"))
    assert (record["kind"], record["schema"]) == ("ood", 2)
    with RunFolder.open(tmp_path, Plain(), kind=RunKind("ood", 2, (1, 2)), resume=True):
        pass
    refused = {
        "kind 'ood', expected 'leakage'": {"kind": RunKind("leakage", 2, (1, 2))},
        "kind 'ood', expected None": {},
        "in schema 2, and this version of invaudit writes 3": {"kind": RunKind("ood", 3, (3,))},
    }
    for words, other in refused.items():
        with pytest.raises(RunFolderError, match=words), RunFolder.open(tmp_path, Plain(), resume=True, **other):
            pass


def test_a_folder_of_an_older_version_is_not_resumed_by_a_newer_one(tmp_path):
    with RunFolder.open(tmp_path, Plain()):
        pass
    with RunFolder.open(tmp_path, Plain(), kind=RunKind("ood", 1, (1,)), resume=True):
        pass
    with (
        pytest.raises(RunFolderError, match="in schema 1, and this version of invaudit writes 2"),
        RunFolder.open(tmp_path, Plain(), kind=RunKind("ood", 2, (1, 2)), resume=True),
    ):
        pass


def test_what_a_killed_process_left_half_written_is_swept(tmp_path, monkeypatch):
    def killed(_descriptor):
        raise SystemExit

    with RunFolder.open(tmp_path, Plain()):
        monkeypatch.setattr(os, "fsync", killed)
        monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)  # a killed process takes nothing back
        for name in ("a.json", "scores/seed-0/b.npz"):
            with pytest.raises(SystemExit):
                write_bytes(tmp_path / name, b"half")
        monkeypatch.undo()
    assert len(list(tmp_path.rglob(".partial-*"))) == 2
    with RunFolder.open(tmp_path, Plain(), resume=True):
        assert not list(tmp_path.rglob(".partial-*"))


@pytest.mark.parametrize("left", [(), ("records/run.json",), ("records/run.json", "environment.json", ".partial-x")])
def test_a_run_that_was_killed_before_it_began_is_begun_anew(left, tmp_path):
    (tmp_path / "records").mkdir()
    for name in (".lock", *left):
        (tmp_path / name).write_text("{}")
    with RunFolder.open(tmp_path, Plain()) as run:
        run.finish("job", 1)
    with RunFolder.open(tmp_path, Plain(), resume=True) as run:
        assert run.record("job") == 1


def test_an_interruption_knows_the_folder_and_keeps_it(tmp_path):
    with pytest.raises(Interrupted) as caught, RunFolder.open(tmp_path / "run", Plain()):
        raise KeyboardInterrupt
    assert caught.value.folder == tmp_path / "run"
    with RunFolder.open(tmp_path / "run", Plain(), resume=True):
        pass


def interrupted_in_the_middle():
    try:
        raise KeyboardInterrupt
    finally:
        [].pop()


def test_an_interruption_that_makes_a_library_fail_is_an_interruption(tmp_path):
    with pytest.raises(Interrupted) as caught, RunFolder.open(tmp_path / "run", Plain()):
        interrupted_in_the_middle()
    assert caught.value.folder == tmp_path / "run"


def refused_in_the_middle(path, error):
    with RunFolder.open(path, Plain()):
        write_bytes(path / "work.pt", b"state")
        write_bytes(path / "work" / "search.pt", b"state")
        raise error


def test_unfinished_work_goes_with_bad_input_and_stays_on_a_full_disk(tmp_path):
    for error, left in ((InputError("no"), False), (RunFolderError("disk full"), True)):
        path = tmp_path / type(error).__name__
        with pytest.raises(type(error)):
            refused_in_the_middle(path, error)
        assert path.exists() == left


def test_a_damaged_record_is_named_with_the_remedy(tmp_path):
    with RunFolder.open(tmp_path, Plain()) as run:
        run.finish("job", 1)
        (tmp_path / "records" / "job.json").write_text('{"a": ')
        with pytest.raises(RunFolderError, match=r"job\.json is damaged .*remove it and give --resume: job is"):
            run.record("job")


def test_warnings_of_libraries_go_to_the_log(tmp_path):
    with RunFolder.open(tmp_path, Plain()):
        logging.getLogger("py.warnings").warning("of a library")
    assert "of a library" in (tmp_path / "log.txt").read_text()
