"""``audit.json`` of the audit of a model: both verdicts, its controls, claims, preflight and plan."""

from pathlib import Path

import jsonschema

from invaudit.records import AuditFile, TestRow, audit_schema, write_rows
from invaudit.records.model_audit_run import read_model_audit
from invaudit.report import audit_record

OF_AN_AUDIT = ("repeats", "claims", "preflight", "plan", "gallery")


def test_it_holds_what_the_page_says(finished_audit: Path) -> None:
    record = audit_record(finished_audit, data={})
    jsonschema.validate(record.model_dump(mode="json"), audit_schema())
    (target,) = record.targets
    assert target.verdict == "leak"
    assert target.membership is not None
    assert target.membership.verdict == "leak"
    assert [test.score for test in target.membership.tests] == ["loss", "margin"]
    assert record.repeats is not None
    assert [(one.question, one.halves_called, one.draws_called) for one in record.repeats] == [
        ("membership", 1, 19),
        ("reconstruction", 1, 19),
    ]
    assert record.claims is not None
    assert record.claims.membership == 5
    assert record.preflight is not None
    assert record.preflight.model == "leaky.safetensors"
    assert record.plan is not None
    assert record.plan.stages[0].cut == "12% of the steps"


def test_a_gallery_is_there_with_images_alone_and_numbers_are_those_of_the_model(
    finished_audit: Path, picture_audit: Path
) -> None:
    assert "gallery" not in audit_record(finished_audit, data={}).model_dump(mode="json")
    written = audit_record(picture_audit, data={}).model_dump(mode="json")
    jsonschema.validate(written, audit_schema())
    assert AuditFile.model_validate(written).model_dump(mode="json") == written
    gallery = written["gallery"]
    assert (gallery["status"], gallery["by"], gallery["outcome"]) == ("ok", "generator", "uninformative")
    assert gallery["classes"][1] == {"label": 1, "name": "one", "accuracy": 0.5}
    assert [(row["first"], row["second"], row["distance"]) for row in gallery["touching"]] == [
        (0, 2, 0.5),
        (0, 1, None),
    ]


def test_target_and_seed_are_those_of_the_settings_where_no_attack_ran(audit_folder: Path) -> None:
    write_rows(audit_folder / "table.csv", TestRow, [])
    config = audit_folder / "config.yaml"
    config.write_text(config.read_text().replace("seeds:\n- 0", "seeds:\n- 7"))
    known = audit_folder / "records"
    (known / "seed-0-attack-control.json").rename(known / "seed-7-attack-control.json")
    (target,) = audit_record(audit_folder, data={}).targets
    assert (target.target, target.verdict, len(target.tests), len(target.networks)) == ("target", None, 0, 1)
    assert target.membership is not None
    assert target.membership.verdict == "leak"
    audit = read_model_audit(audit_folder)
    assert audit.seed == 7
    assert audit.known_leak is not None


def test_another_run_has_none_of_it(finished_leakage_run: Path) -> None:
    record = audit_record(finished_leakage_run, data={})
    assert [getattr(record, name) for name in OF_AN_AUDIT] == [None] * 5
    assert {target.membership for target in record.targets} == {None}
