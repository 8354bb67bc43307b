"""``audit.json``: follows its schema, and the schema refuses what is wrong."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest

from invaudit.report import audit_record, audit_schema
from invaudit.runtime import RunFolderError, content_hash, write_json

DATA = {"pool": content_hash("b")}
OOD = {
    "detector": "joint",
    "id_accuracy": 0.97,
    "sets": [{"ood_set": "letters", "group": "near", "n_id": 400, "n_ood": 300, "auroc": 0.9, "fpr95": 0.3, "x": 1}],
}
VALIDATOR = jsonschema.Draft202012Validator(audit_schema())


def _errors(record: Any) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(record)]


@pytest.fixture
def record(finished_leakage_run: Path) -> dict[str, Any]:
    return audit_record(finished_leakage_run, data=DATA, ood=OOD)


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(audit_schema())


def test_record_follows_the_schema_after_a_round_trip(record: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path / "audit.json", record)
    read = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert read == record
    assert not _errors(read)


def test_record_says_what_the_run_found(record: dict[str, Any], finished_leakage_run: Path) -> None:
    table = pd.read_csv(finished_leakage_run / "table.csv")
    found = {item["target"]: item for item in record["targets"]}
    verdicts = {name: (item["verdict"], item["reasons"]) for name, item in found.items()}
    assert verdicts == {
        "twin": ("no-evidence", []),
        "memorised": ("leak", []),
        "early-stopped": ("no-evidence", []),
        "shifted": ("inconclusive", ["shift"]),
    }
    assert sum(len(item["tests"]) for item in found.values()) == len(table)
    p_values = [test["p_value"] for item in found.values() for test in item["tests"] if test["status"] == "ok"]
    assert sorted(p_values) == sorted(table["p_value"].dropna())
    networks = found["memorised"]["networks"]
    assert [network["hash"] for network in networks] == [content_hash("memorised", str(seed)) for seed in (0, 1)]
    assert [name for name, item in found.items() if item["negative_control"]] == ["twin"]
    assert record["data"] == DATA
    assert len(record["membership"]) == len(pd.read_csv(finished_leakage_run / "membership.csv"))
    assert len(record["controls"]) == len(pd.read_csv(finished_leakage_run / "controls.csv"))
    assert record["ood"]["sets"][0]["auroc_low"] is None
    assert record["command"] == ["invaudit", "leak", "a b"]
    assert record["versions"]["invaudit"] == "0.1"
    assert record["settings"]["images"] == "full"
    assert any("deepinversion ssim on memorised: failed" in text for text in record["not_tested"])


def test_ood_that_was_not_measured_is_said(finished_leakage_run: Path) -> None:
    record = audit_record(finished_leakage_run, data=DATA)
    assert not _errors(record)
    assert record["ood"] is None
    assert any("OOD" in text for text in record["not_tested"])


def test_a_bare_folder_is_enough(leakage_folder: Path, tmp_path: Path) -> None:
    shutil.copy(leakage_folder / "table.csv", tmp_path / "table.csv")
    record = audit_record(tmp_path, data={})
    assert not _errors(record)
    assert record["membership"] == record["controls"] == record["command"] == []
    with pytest.raises(RunFolderError, match=r"table\.csv"):
        audit_record(tmp_path / "none", data={})


WRONG: list[tuple[tuple[str | int, ...], Any]] = [
    (("schema_version",), 2),
    (("targets",), {}),
    (("targets", 0, "verdict"), "safe"),
    (("targets", 0, "networks", 0, "hash"), "abc"),
    (("targets", 0, "negative_control"), "no"),
    (("targets", 0, "tests", 0, "p_value"), "0.1"),
    (("targets", 0, "tests", 0, "p_adjusted"), 1.5),
    (("targets", 0, "tests", 0, "distinct_hits"), 2.5),
    (("targets", 0, "tests", 0, "status"), "fine"),
    (("targets", 0, "tests", 0, "unknown"), 1),
    (("data", "pool"), "abc"),
    (("membership", 0, "auroc"), 88.0),
    (("membership", 0, "epsilon_lower"), -1),
    (("controls", 0, "kind"), "blind"),
    (("ood",), []),
    (("ood", "sets", 0, "auroc"), "0.9"),
    (("not_tested",), []),
    (("limits",), None),
    (("settings",), "x"),
    (("command",), "invaudit leak"),
    (("versions", "torch"), 2),
    (("surplus",), 1),
]


@pytest.mark.parametrize(("path", "value"), WRONG, ids=[".".join(map(str, path)) for path, _ in WRONG])
def test_what_is_wrong_is_refused(record: dict[str, Any], path: tuple[str | int, ...], value: Any) -> None:
    spoilt: Any = copy.deepcopy(record)
    place = spoilt
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert _errors(spoilt)


@pytest.mark.parametrize("name", audit_schema()["required"])
def test_every_part_is_required(record: dict[str, Any], name: str) -> None:
    assert _errors({key: value for key, value in record.items() if key != name})


def test_the_schema_names_every_part(record: dict[str, Any]) -> None:
    assert record.keys() == audit_schema()["properties"].keys() == set(audit_schema()["required"])
