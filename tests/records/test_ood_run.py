"""The folder of an OOD run: read with what each detector is, another kind or an unknown schema refused by name."""

import numpy as np
import pytest

from invaudit.records import (
    CalibrationRow,
    CostRow,
    DetectorInfo,
    OodRow,
    OodSummaryRow,
    read_ood_run,
    scores_key,
    split_scores_key,
    write_rows,
)
from invaudit.records.ood_run import detector_of_schema_1
from invaudit.runtime import RunFolderError
from invaudit.runtime.files import write_json

NAMES = {"joint": "ours", "joint/distance": "ours", "garbage-logit": "ours", "pixel-mean": "statistic",
         "KNN@tuned": "library", "fDBD": "library", "package.module:detector": "user"}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    place = {"network": "plain", "ood_set": "letters", "group": "near", "trivial": False, "status": "ok"}
    write_rows(
        tmp_path / "summary.csv",
        OodSummaryRow,
        [OodSummaryRow(id_set="007", detector=name, auroc=0.5, **place) for name in NAMES],
    )
    write_rows(
        tmp_path / "table.csv",
        OodRow,
        [OodRow(id_set="007", seed=3, detector=name, auroc=0.5, **place) for name in NAMES],
    )
    write_rows(tmp_path / "calibration.csv", CalibrationRow, [CalibrationRow(id_set="007", seed=1, network="plain")])
    return tmp_path


def test_a_run_of_schema_1_is_read_by_the_rule_for_names(folder):
    run = read_ood_run(folder)
    assert {name: info.role for name, info in run.detectors.items()} == NAMES
    assert (run.id_set, run.seeds, run.config, run.environment, run.controls_passed) == ("007", [1, 3], None, None, [])
    assert len(run.rows(CalibrationRow)) == 1
    assert run.rows(CostRow) == []


def test_rows_that_no_side_file_holds_are_refused_by_name(folder):
    with pytest.raises(LookupError, match=r"no side file holds OodRow; give it a line in SIDE_TABLES"):
        read_ood_run(folder).rows(OodRow)


def test_what_a_run_says_of_its_detectors_holds(folder):
    infos = [DetectorInfo(name=name, role="user", consumes="maps+images", cost="high") for name in NAMES]
    write_rows(folder / "detectors.csv", DetectorInfo, infos)
    write_json(folder / "records/run.json", {"kind": "ood", "schema": 2, "config_hash": ""})
    assert list(read_ood_run(folder).detectors.values()) == infos


def test_columns_that_a_record_left_out_are_taken_from_the_summary(folder):
    (folder / "table.csv").write_text("seed,network,detector,ood_set,group,auroc,fpr95,status,reason\n"
                                      "0,plain,KNN,letters,near,0.75,0.5,ok,\n")  # fmt: skip
    (row,) = read_ood_run(folder).table
    assert (row.id_set, row.trivial, row.auroc, row.reason) == ("007", False, 0.75, None)


def test_without_the_table_the_summary_serves(folder):
    (folder / "table.csv").unlink()
    run = read_ood_run(folder)
    assert (run.measurements, run.seeds) == (run.summary, [1])


@pytest.mark.parametrize("at", ["records/controls.json", "controls.json"])
def test_controls_are_found_in_a_run_and_in_a_record(folder, at):
    write_json(folder / at, {"passed": ["all"]})
    assert read_ood_run(folder).controls_passed == ["all"]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"kind": "ood", "schema": 3}, r"kind 'ood' in schema 3; this version of invaudit reads 1 and 2"),
        ({"kind": "ood"}, "schema None"),
        ({"kind": "leakage", "schema": 2}, r"kind 'leakage', expected 'ood'"),
    ],
)
def test_another_kind_or_an_unknown_schema_is_refused_by_name(folder, record, words):
    write_json(folder / "records/run.json", record)
    with pytest.raises(RunFolderError, match=words):
        read_ood_run(folder)


def test_what_is_recorded_of_an_unknown_schema_is_refused_by_name(folder):
    write_json(folder / "run.json", {"kind": "ood", "schema": 9})
    with pytest.raises(RunFolderError, match="schema 9"):
        read_ood_run(folder)


@pytest.mark.parametrize("text", ["{", "[1]"])
@pytest.mark.parametrize("name", ["run.json", "environment.json", "controls.json"])
def test_a_damaged_record_of_the_run_is_bad_input(folder, name, text):
    (folder / name).write_text(text)
    with pytest.raises(RunFolderError, match=rf"{name} is damaged"):
        read_ood_run(folder)


def test_a_detector_that_a_present_run_does_not_describe_is_refused(folder):
    write_json(folder / "run.json", {"kind": "ood", "schema": 2})
    (folder / "detectors.csv").write_text("name,role,consumes,cost,paper\n")
    with pytest.raises(RunFolderError, match="does not say what the detector"):
        read_ood_run(folder)


def test_a_folder_without_summary_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match=r"summary\.csv"):
        read_ood_run(tmp_path)


def test_arrays_are_read_by_name(folder):
    (folder / "scores/seed-3").mkdir(parents=True)
    arrays = {scores_key(name, "id-test"): np.arange(3.0) + n for n, name in enumerate(("a:b", "a", "joint"))}
    np.savez(folder / "scores/seed-3/full.npz", allow_pickle=False, **arrays, half=np.zeros(3))
    np.savez(
        folder / "scores/seed-3/full-attacks.npz",
        allow_pickle=False,
        **{
            "attack-a::images": np.zeros((2, 1, 4, 4)),
            "attack-a::accepted": np.zeros(2),
            "attack-b::images": np.ones(1),
        },
    )
    run = read_ood_run(folder)
    assert run.scores(3, "full", "a:b")["id-test"].tolist() == [0, 1, 2]
    assert run.scores(3, "full", "a")["id-test"].tolist() == [1, 2, 3]
    assert run.scores(3, "full", "b") == run.scores(4, "full", "a") == {}
    attacks = run.attack_images(3, "full")
    assert list(attacks) == ["a", "b"]
    assert attacks["a"].accepted is not None
    assert attacks["b"].accepted is None
    assert run.inverted_networks(3) == []


@pytest.mark.parametrize("detector", ["joint", "package.module:Class", "KNN@k=5", "a::b"])
def test_keys_of_scores_come_apart_as_they_were_put_together(detector):
    assert split_scores_key(scores_key(detector, "letters")) == (detector, "letters")


def test_the_rule_of_schema_1_names_no_input():
    assert detector_of_schema_1("KNN").consumes == "not recorded"
