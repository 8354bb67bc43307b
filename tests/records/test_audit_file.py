"""The model of ``audit.json``, its shipped schema, and what that refuses."""

import copy
import json
from importlib import resources
from typing import Any, get_args

import jsonschema
import pytest
from pydantic import ValidationError

from invaudit.records import AuditFile, MembershipRow, TestRow, audit_schema
from invaudit.records.audit_file import AuditMembership, AuditMembershipTest, AuditTest
from invaudit.records.leakage import Reason, Verdict
from invaudit.records.model_audit import MembershipTestRow
from invaudit.runtime import content_hash
from invaudit.stats import verdicts

SHIPPED = resources.files("invaudit.records").joinpath("schemas/audit.schema.json")
VALIDATOR = jsonschema.Draft202012Validator(audit_schema())
TEST = TestRow(target="mlp", method="kkt", metric="ssim", seed=0, distinct_hits=7, p_value=0.001, p_adjusted=0.004,
               verdict="leak", status="ok")  # fmt: skip
SCORE = MembershipRow(target="mlp", score="loss", auroc=0.8, epsilon_lower=1.2, status="ok")
SCORED = MembershipTestRow(target="mlp", score="loss", p_value=0.001, p_adjusted=0.004, verdict="leak", status="ok")
ADDED = {"gallery"}
"""Fields that only some audits have: they came later, and what was written without them still follows the schema."""
SHARE = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 40}
RECORD: dict[str, Any] = {
    "schema_version": 2,
    "date": None,
    "targets": [
        {
            "target": "mlp",
            "negative_control": False,
            "networks": [{"seed": 0, "hash": content_hash("mlp"), "description": None, "n_members": 40,
                          "train_accuracy": 1.0, "control_accuracy": 0.9}],
            "verdict": "leak",
            "reasons": [],
            "tests": [AuditTest.of(TEST).model_dump(mode="json")],
            "membership": {"verdict": "leak", "reasons": [], "tests": [AuditMembershipTest.of(SCORED).model_dump()]},
        }
    ],
    "data": {"pool": content_hash("pool")},
    "scope": {"attacker": "white box"},
    "membership": [AuditMembership.of(SCORE).model_dump(mode="json")],
    "controls": [{"kind": "attack", "target": "attack-control", "method": "kkt", "metric": "ssim", "seed": 0,
                  "p_value": 0.001, "verdict": "leak"}],
    "ood": {
        "detector": "joint",
        "id_accuracy": 0.97,
        "sets": [{"ood_set": "letters", "group": "near", "n_id": 400, "n_ood": 300, "auroc": 0.9, "auroc_low": None,
                  "auroc_high": None, "fpr95": 0.3}],
    },
    "repeats": [{"question": "membership", "halves": 20, "halves_called": 1, "order_p": 0.5, "null_p": 0.36,
                 "draws": 20, "draws_called": 20, "draws_alike": True}],
    "claims": {"rate": 0.1, "membership": 3, "reconstruction": 0, "notes": {"reconstruction": "too few controls"}},
    "preflight": {"model": "mine.pth", "members": SHARE, "controls": SHARE, "gap": 0.1, "gap_low": -0.1,
                  "gap_high": 0.2, "preparation": "none", "both_sides": 0, "near_copies": None,
                  "near_similarity": 0.95, "notes": []},
    "plan": {"budget_s": 600.0, "left_out": {"kkt": "batch norm"}, "stages": [
        {"stage": "attacks", "settings": None, "planned": 20.0, "seconds": None, "cut": None}]},
    "not_tested": ["Access by queries alone."],
    "limits": "It says nothing of other attacks.",
    "settings": {"images": "full"},
    "command": ["invaudit", "leakage"],
    "versions": {"python": "3.11.9", "timm": None},
}  # fmt: skip


def _errors(record: Any) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(record)]


def test_the_shipped_schema_is_that_of_the_model() -> None:
    shipped = SHIPPED.read_text(encoding="utf-8")
    again = "write json.dumps(audit_schema(), indent=2) and a line end into it"
    assert shipped == json.dumps(audit_schema(), indent=2) + "\n", again
    jsonschema.Draft202012Validator.check_schema(json.loads(shipped))


def test_a_record_follows_the_schema_and_is_the_same_after_the_model() -> None:
    assert not _errors(RECORD)
    assert AuditFile.model_validate(RECORD).model_dump(mode="json") == RECORD
    assert not _errors(RECORD | dict.fromkeys(("ood", "repeats", "claims", "preflight", "plan")))


WRONG: list[tuple[tuple[str | int, ...], Any]] = [
    (("schema_version",), 1),
    (("targets",), {}),
    (("targets", 0, "verdict"), "safe"),
    (("targets", 0, "reasons"), ["bad luck"]),
    (("targets", 0, "networks", 0, "hash"), "abc"),
    (("targets", 0, "networks", 0, "train_accuracy"), 97.0),
    (("targets", 0, "negative_control"), "perhaps"),
    (("targets", 0, "tests", 0, "p_value"), "small"),
    (("targets", 0, "tests", 0, "p_adjusted"), 1.5),
    (("targets", 0, "tests", 0, "distinct_hits"), 2.5),
    (("targets", 0, "tests", 0, "distinct_hits"), -1),
    (("targets", 0, "tests", 0, "status"), "fine"),
    (("targets", 0, "tests", 0, "unknown"), 1),
    (("data", "pool"), "abc"),
    (("membership", 0, "auroc"), 88.0),
    (("membership", 0, "epsilon_lower"), -1),
    (("controls", 0, "kind"), "blind"),
    (("ood",), []),
    (("ood", "sets", 0, "auroc"), "good"),
    (("targets", 0, "membership", "verdict"), "safe"),
    (("targets", 0, "membership", "tests", 0, "p_adjusted"), -0.1),
    (("repeats", 0, "question"), "anything"),
    (("claims", "membership"), -1),
    (("preflight", "members", "value"), 97.0),
    (("plan", "stages", 0, "planned"), "soon"),
    (("not_tested",), []),
    (("limits",), None),
    (("settings",), "x"),
    (("command",), "invaudit leak"),
    (("versions", "torch"), 2),
    (("surplus",), 1),
]


@pytest.mark.parametrize(("path", "value"), WRONG, ids=[".".join(map(str, path)) for path, _ in WRONG])
def test_what_is_wrong_is_refused_by_schema_and_model(path: tuple[str | int, ...], value: Any) -> None:
    spoilt: Any = copy.deepcopy(RECORD)
    place = spoilt
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert _errors(spoilt)
    with pytest.raises(ValidationError):
        AuditFile.model_validate(spoilt)


def test_numbers_in_words_are_refused_by_the_schema() -> None:
    spoilt = copy.deepcopy(RECORD)
    spoilt["targets"][0]["tests"][0]["p_value"] = "0.1"
    assert _errors(spoilt)


def _objects(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [schema, *schema["$defs"].values()]


def test_every_field_is_required_and_described_and_no_other_is_allowed() -> None:
    for part in _objects(audit_schema()):
        missing = part["properties"].keys() - set(part["required"])
        assert missing == (ADDED if part["title"] == "AuditFile" else set()), part["title"]
        assert part["additionalProperties"] is False
        assert part["description"]
        for name, field in part["properties"].items():
            assert field.get("description"), f"{part['title']}.{name}"


def test_verdicts_and_reasons_are_those_that_stats_decides() -> None:
    assert get_args(Verdict) == get_args(verdicts.Word)
    assert set(get_args(Reason)) == set(get_args(verdicts.Reason))
