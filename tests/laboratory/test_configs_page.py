import ast
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from benchmarks.publish import configs_page
from benchmarks.publish.pages.settings_words import default_words, type_words
from invaudit.runtime.settings import Name, Settings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "configs.md"

Decay = Annotated[float, Field(ge=0, lt=1)]


class Inner(Settings):
    size: int = 1


class Outer(Settings):
    name: Name
    words: tuple[str, ...] = ()
    seeds: tuple[int, ...] = Field(default=(0, 1), min_length=1)
    whole: int = Field(default=1_000, ge=30)
    sides: int = Field(default=28, ge=8, le=4_096)
    share: float = Field(default=0.5, gt=0, le=1)
    decays: tuple[Decay, Decay] = (0.5, 0.9)
    precision: Literal["auto", "float32"] | None = "auto"
    names: bool | tuple[str, ...] = True
    one: Inner = Inner()
    other: Inner = Inner(size=2)
    none: Inner | None = None
    many: dict[Name, Inner] = Field(default_factory=dict)
    anything: dict[str, Any] = Field(default={"a": 0.1}, min_length=1)


WORDS = {
    "name": ("name", "*required*"),
    "words": ("list of texts", "`[]`"),
    "seeds": ("list of whole numbers, at least one", "`[0, 1]`"),
    "whole": ("whole number from 30", "`1000`"),
    "sides": ("whole number from 8 to 4,096", "`28`"),
    "share": ("number over 0, at most 1", "`0.5`"),
    "decays": ("list of 2 numbers from 0, under 1", "`[0.5, 0.9]`"),
    "precision": ("one of: `auto`, `float32`, or `null`", "`auto`"),
    "names": ("true or false or list of texts", "`true`"),
    "one": ("[Inner](#inner)", "its defaults"),
    "other": ("[Inner](#inner)", "`{size: 2}`"),
    "none": ("[Inner](#inner)", "unset"),
    "many": ("name -> [Inner](#inner)", "`{}`"),
    "anything": ("text -> value, at least one", "`{a: 0.1}`"),
}


@pytest.mark.parametrize("key", Outer.model_fields)
def test_types_and_defaults_in_plain_words(key):
    field = Outer.model_fields[key]
    assert (type_words(field), default_words(field)) == WORDS[key]


def test_the_page_in_the_repository_is_that_which_the_settings_give():
    assert PAGE.read_text(encoding="utf-8") == configs_page.page(), "run: python -m benchmarks.publish.configs_page"


def test_every_config_that_a_command_takes_is_on_the_page():
    taken = set()
    for file in (ROOT / "invaudit" / "cli").glob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "common.settings":
                taken.add(ast.unparse(call.args[0]))
    assert taken - {"kind"} == {command.settings.__name__ for command in configs_page.COMMANDS}


def test_every_class_of_settings_has_one_section():
    waiting, classes = [Settings], []
    while waiting:
        below = [kind for kind in waiting.pop().__subclasses__() if kind.__module__.startswith("invaudit.")]
        waiting += below
        classes += [kind.__name__ for kind in below if not kind.__subclasses__()]
    text = PAGE.read_text(encoding="utf-8")
    assert len(classes) > 10
    assert [name for name in classes if text.count(f"\n### {name}\n") != 1] == []


def test_the_page_is_written(tmp_path):
    configs_page.main(["--out", str(tmp_path / "configs.md")])
    assert (tmp_path / "configs.md").read_text(encoding="utf-8") == configs_page.page()
