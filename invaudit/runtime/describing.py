"""What a key of a config means and holds, in the words that its settings say it in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel


@dataclass(frozen=True)
class Known:
    """Says of a field which names it takes; that others are refused is the work of its validator.

    ``mode: Annotated[str, Known(MODES)]``
    """

    names: Iterable[str]


def sentence(kind: type[BaseModel], key: str) -> str:
    """Return what a key of some settings means: its docstring, and the names that it takes."""
    field = kind.model_fields[key]
    said = one_line(field.description or "")
    for part in field.metadata:
        if isinstance(part, Known):
            said += f" Known: {', '.join(f'`{name}`' for name in part.names)}."
    return said


def one_line(docstring: str) -> str:
    """Return a docstring in one line, code in single backticks, as Markdown has it."""
    return " ".join(docstring.split()).replace("``", "`")


def plain_value(value: Any) -> Any:
    """Return a value of a field as a config holds it; of settings inside only what differs from their defaults."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, Mapping):
        return {name: plain_value(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(inner) for inner in value]
    return value
