"""The record of an explanation: its shipped schema is that of the code."""

import json
from importlib import resources

import jsonschema

from invaudit.records.explain import explain_schema


def test_the_shipped_schema_is_that_of_the_code():
    shipped = resources.files("invaudit.records").joinpath("schemas/explain.schema.json").read_text(encoding="utf-8")
    assert json.loads(shipped) == explain_schema()
    jsonschema.Draft202012Validator.check_schema(explain_schema())
