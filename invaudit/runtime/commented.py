"""A config to start from: every key with what it means, those that are not set as comments.

Lines with ``##`` explain. A key behind one ``#`` is not set; with that and the space after it taken away, it is.
"""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any, NamedTuple

import yaml

from invaudit.runtime.describing import plain_value, sentence
from invaudit.runtime.settings import Settings

WIDTH = 100
"""Columns of a line."""
SAID, UNSET, DEEPER = "## ", "# ", "  "
"""What an explanation, a line that is not set, and a line inside a group begin with."""
EXAMPLE = "Example: "
"""How the words above an example begin."""


class Example(NamedTuple):
    """What a user may want in place of the default of a key, or beside the entries that a config sets.

    Attributes:
        words: What it shows.
        value: Value of the key; of a mapping that is set, further entries.
    """

    words: str
    value: Any


def commented_config(settings: Settings, heading: Iterable[str], examples: Mapping[str, Sequence[Example]]) -> str:
    """Return settings as YAML that reads back to them, with every key of their class in its order.

    A class of settings inside is explained where it comes first; after that only what is set is written.

    Args:
        settings: What the config sets; a key that has its default is a comment.
        heading: Lines at the beginning, printable.
        examples: Key -> examples, which stand below it as comments.
    """
    writer = _Writer()
    blocks = [[(SAID + line).rstrip() for line in heading]]
    for key in type(settings).model_fields:
        lines = writer.key(settings, key, WIDTH)
        for example in examples.get(key, ()):
            lines += _example(key, example, add=key in _set_keys(settings))
        blocks.append(lines)
    return "\n\n".join("\n".join(lines) for lines in blocks) + "\n"


class _Writer:
    """Writes the keys of one file, and knows which classes of settings it has explained."""

    def __init__(self) -> None:
        self.explained: set[type[Settings]] = set()

    def key(self, settings: Settings, key: str, width: int, *, whole: bool = False) -> list[str]:
        """Return the lines of one key; ``whole``: below a key that is a comment, where all are values."""
        said, value = _said(sentence(type(settings), key), width), getattr(settings, key)
        if whole or key in _set_keys(settings):
            return said + self._entry(key, value, width, whole=whole)
        return said + _unset(self._entry(key, value, width - len(UNSET), whole=True))

    def _entry(self, name: str, value: Any, width: int, *, whole: bool) -> list[str]:
        inner = width - len(DEEPER)
        lines = []
        if isinstance(value, Settings) and type(value) not in self.explained and (whole or _set_keys(value)):
            self.explained.add(type(value))
            for key in type(value).model_fields:
                lines += self.key(value, key, inner, whole=whole)
        elif isinstance(value, Mapping) and any(isinstance(entry, Settings) for entry in value.values()):
            for key, entry in value.items():
                lines += self._entry(key, entry, inner, whole=whole)
        else:
            return _yaml(name, plain_value(value), width)
        return [f"{name}:", *_deeper(lines)]


def _example(key: str, example: Example, *, add: bool) -> list[str]:
    """Return the lines of an example: of a key, or of entries that are added to it."""
    if not add:
        return _said(EXAMPLE + example.words, WIDTH) + _unset(_yaml(key, example.value, WIDTH - len(UNSET)))
    width = WIDTH - len(DEEPER)
    lines = _said(EXAMPLE + example.words, width)
    for name, entry in example.value.items():
        lines += _unset(_yaml(name, entry, width - len(UNSET)))
    return _deeper(lines)


def _set_keys(settings: Settings) -> set[str]:
    """Return the keys that have no default, or another value."""
    values = dict(settings)
    keys = set()
    for key, field in type(settings).model_fields.items():
        if field.is_required() or values[key] != field.get_default(call_default_factory=True, validated_data=values):
            keys.add(key)
    return keys


def _said(text: str, width: int) -> list[str]:
    return wrap(
        text, width, initial_indent=SAID, subsequent_indent=SAID, break_on_hyphens=False, break_long_words=False
    )


def _unset(lines: Iterable[str]) -> list[str]:
    return [UNSET + line for line in lines]


def _deeper(lines: Iterable[str]) -> list[str]:
    return [DEEPER + line for line in lines]


def _yaml(key: str, value: Any, width: int) -> list[str]:
    """Return a key and its value as lines of YAML, a list or mapping of plain values in one line where it fits."""
    flow = None if isinstance(value, list | dict) else False
    text = yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=width)
    return text.splitlines()
