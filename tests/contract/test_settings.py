"""Every number of every settings class: finite, with two ends; every name that becomes part of a path."""

import math
from importlib import import_module

import pytest
from pydantic import ValidationError

from invaudit.runtime.describing import one_line
from invaudit.runtime.settings import Settings

MODULES = (
    "audit.settings", "audit.reconstructions", "audit.attack_control", "benchmarks.explain.settings",
    "benchmarks.leakage.settings", "benchmarks.ood.settings", "explain.settings", "explain.adversary",
    "explain.attacks", "explain.masks", "inversion.settings", "leakage", "leakage.targets", "models.training",
    "ood.recipes",
)  # fmt: skip
for _module in MODULES:
    import_module(f"invaudit.{_module}")


def subclasses(kind):
    for inner in kind.__subclasses__():
        if inner.__module__.startswith("invaudit."):
            yield inner
            yield from subclasses(inner)


FIELDS = sorted({(kind, name) for kind in subclasses(Settings) for name in kind.model_fields}, key=str)


def refused(kind, name, value):
    """Return whether a value is refused of a field; that other fields are missing does not count."""
    try:
        kind.model_validate({name: value})
    except ValidationError as error:
        return any(problem["loc"][:1] == (name,) for problem in error.errors(include_url=False))
    return False


def test_there_are_fields_to_check():
    assert len(FIELDS) > 100


def test_every_field_says_what_it_means():
    silent = []
    for kind, name in FIELDS:
        said = one_line(kind.model_fields[name].description or "")
        if len(said.split()) < 2 or not said.endswith("."):
            silent.append(f"{kind.__name__}.{name}: {said}")
    assert silent == []


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=[f"{kind.__name__}.{name}" for kind, name in FIELDS])
def test_a_number_is_finite_and_has_two_ends(kind, name):
    for value in (math.inf, -math.inf, math.nan, 1e300, -1e300, 10**30, -(10**30), 10**5000):
        for wrapped in (value, [value], [value, value], {"a": value}):
            assert refused(kind, name, wrapped), (value, wrapped)


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=[f"{kind.__name__}.{name}" for kind, name in FIELDS])
def test_a_text_holds_characters_alone(kind, name):
    for value in ("a\0b", "a\udcffb"):
        for wrapped in (value, [value], {value: value}):
            assert refused(kind, name, wrapped), wrapped
