"""``audit.json`` says what the run says, follows its schema, and is refused where a file is damaged."""

import json
import shutil
from pathlib import Path

import jsonschema
import pandas as pd
import pytest

from invaudit.records import AuditFile, audit_schema
from invaudit.report import audit_record
from invaudit.runtime import RunFolderError, content_hash, read_json, write_json

DATA = {"pool": content_hash("b")}
VALIDATOR = jsonschema.Draft202012Validator(audit_schema())


@pytest.fixture(scope="module")
def record(finished_leakage_run: Path) -> AuditFile:
    return audit_record(finished_leakage_run, data=DATA)


def test_record_follows_the_schema_and_is_read_back(record: AuditFile, tmp_path: Path) -> None:
    write_json(tmp_path / "audit.json", record.model_dump(mode="json"))
    content = read_json(tmp_path / "audit.json")
    assert not list(VALIDATOR.iter_errors(content))
    assert AuditFile.model_validate(content) == record
    assert AuditFile.model_validate_json(json.dumps(content)) == record


def test_record_says_what_the_run_found(record: AuditFile, finished_leakage_run: Path) -> None:
    table = pd.read_csv(finished_leakage_run / "table.csv")
    targets = {target.target: target for target in record.targets}
    assert {name: (target.verdict, target.reasons) for name, target in targets.items()} == {
        "twin": ("no-evidence", ()),
        "memorised": ("leak", ()),
        "early-stopped": ("no-evidence", ()),
        "shifted": ("inconclusive", ("shift",)),
    }
    tests = [test for target in record.targets for test in target.tests]
    assert len(tests) == len(table)
    assert sorted(test.p_value for test in tests if test.p_value is not None) == sorted(table["p_value"].dropna())
    hashes = [network.hash for network in targets["memorised"].networks]
    assert hashes == [content_hash("memorised", str(seed)) for seed in (0, 1)]
    assert [name for name, target in targets.items() if target.negative_control] == ["twin"]
    assert record.data == DATA
    assert len(record.membership) == len(pd.read_csv(finished_leakage_run / "membership.csv"))
    assert len(record.controls) == len(pd.read_csv(finished_leakage_run / "controls.csv"))
    assert record.ood is None
    assert record.command == ("invaudit", "leak", "a b")
    assert record.versions["invaudit"] == "0.1"
    assert record.settings["images"] == "full"
    assert any("deepinversion ssim on memorised: failed" in text for text in record.not_tested)
    assert any("OOD" in text for text in record.not_tested)


def test_a_bare_folder_is_enough(leakage_folder: Path, tmp_path: Path) -> None:
    shutil.copy(leakage_folder / "table.csv", tmp_path / "table.csv")
    record = audit_record(tmp_path, data={})
    assert not list(VALIDATOR.iter_errors(record.model_dump(mode="json")))
    assert record.membership == record.controls == record.command == ()
    with pytest.raises(RunFolderError, match=r"table\.csv"):
        audit_record(tmp_path / "none", data={})


def test_a_value_out_of_range_is_refused_by_name(leakage_folder: Path) -> None:
    frame = pd.read_csv(leakage_folder / "table.csv")
    frame.loc[3, "p_adjusted"] = 1.5
    frame.to_csv(leakage_folder / "table.csv", index=False)
    with pytest.raises(RunFolderError, match=r"p_adjusted: .*got 1\.5"):
        audit_record(leakage_folder, data=DATA)
