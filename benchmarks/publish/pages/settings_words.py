"""What a field of some settings takes, and what it is where nothing is given, in plain words."""

import types
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import StringConstraints
from pydantic.fields import FieldInfo

from benchmarks.publish.pages.markdown import code
from invaudit.runtime.describing import plain_value
from invaudit.runtime.settings import Settings

NOUNS = {int: "whole number", float: "number", str: "text", Path: "path"}


def type_words(field: FieldInfo) -> str:
    """Return what a field takes, e.g. "number over 0, at most 1"; settings are links to the heading of their class."""
    words = _words(field.annotation, _flat(field.metadata))
    takes_null = type(None) in get_args(field.annotation)
    return f"{words}, or `null`" if takes_null and field.default is not None and not field.default_factory else words


def default_words(field: FieldInfo) -> str:
    """Return the default of a field as a config would hold it."""
    if field.is_required():
        return "*required*"
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is None:
        return "unset"
    value = plain_value(default)
    if isinstance(default, Settings) and not value:
        return "its defaults"
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return code(text.removesuffix("...\n").strip())


def settings_in(annotation: Any) -> list[type[Settings]]:
    """Return the classes of settings that an annotation names, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [kind for part in get_args(annotation) for kind in settings_in(part)]


def link(kind: type[Settings]) -> str:
    """Return a link to the section of a class of settings."""
    return f"[{kind.__name__}](#{kind.__name__.lower()})"


def _words(annotation: Any, metadata: list[Any], *, many: bool = False) -> str:
    kind, parts = get_origin(annotation), get_args(annotation)
    if kind is Annotated:
        return _words(parts[0], metadata + _flat(parts[1:]), many=many)
    if kind in (Union, types.UnionType):
        return " or ".join(_words(part, metadata, many=many) for part in parts if part is not type(None))
    if kind is Literal:
        return f"one of: {', '.join(map(code, map(str, parts)))}"
    if kind is tuple:
        return _list_words(parts) + _least(metadata)
    if kind is dict:
        return f"{_words(parts[0], [])} -> {_words(parts[1], [])}" + _least(metadata)
    if annotation is Any:
        return "value"
    if annotation is bool:
        return "true or false"
    if issubclass(annotation, Settings):
        return link(annotation)
    is_name = any(isinstance(part, StringConstraints) for part in metadata)
    noun = "name" if is_name else NOUNS[annotation]
    return noun + "s" * many + _bounds(metadata)


def _list_words(parts: tuple[Any, ...]) -> str:
    if parts[-1] is Ellipsis:
        return f"list of {_words(parts[0], [], many=True)}"
    return f"list of {len(parts)} {_words(parts[0], [], many=len(parts) > 1)}"


def _flat(metadata: Iterable[Any]) -> list[Any]:
    """Return constraints one by one; a field among them holds its own."""
    found = []
    for part in metadata:
        found += part.metadata if isinstance(part, FieldInfo) else [part]
    return found


def _least(metadata: list[Any]) -> str:
    return ", at least one" if any(isinstance(part, MinLen) for part in metadata) else ""


def _bounds(metadata: list[Any]) -> str:
    words = ""
    for part in metadata:
        match part:
            case Ge(ge=low):
                words += f" from {low:,.15g}"
            case Gt(gt=low):
                words += f" over {low:,.15g}"
            case Le(le=high):
                words += f" to {high:,.15g}" if " from " in words else f", at most {high:,.15g}"
            case Lt(lt=high):
                words += f", under {high:,.15g}"
            case _:
                pass
    return words
