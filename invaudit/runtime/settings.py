"""Typed settings: one YAML file, validated, unknown keys refused with the nearest name."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from invaudit.runtime.boundary import foreign
from invaudit.runtime.errors import ConfigError
from invaudit.runtime.numbers import LARGEST
from invaudit.runtime.paths import is_file, read_text
from invaudit.runtime.problems import in_one_line
from invaudit.runtime.text import printable, shown
from invaudit.runtime.yaml_text import MOST_CHARACTERS, read_yaml

MOST_PROBLEMS = 10
"""Problems of a config that one message names."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
"""Name that becomes a part of file names: of a run, a network, a target, a method, an attack, an OOD set."""
Batch = Annotated[int, Field(ge=2, le=1_000_000)]
"""Images in a step of training."""
Images = Annotated[int, Field(ge=1, le=1_000_000)]
"""Images that are made and held at once."""
Rate = Annotated[float, Field(gt=0, le=1_000)]
"""Learning rate."""
Weight = Annotated[float, Field(ge=0, le=1_000_000)]
"""Weight of a term."""
Device = Annotated[str, Field(description="``auto``, ``cpu``, ``cuda`` or ``cuda:K``.")]
"""Where a run computes."""
OneSeed = Annotated[tuple[int], Field(description="The seed of all draws; a list, which holds one.")]
"""Seeds of a command that runs once."""


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys refused, numbers finite and not beyond `LARGEST`, texts of characters.

    Fields whose size costs memory have a narrower bound of their own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        for leaf in _leaves(value):
            if isinstance(leaf, int | float) and not -LARGEST <= leaf <= LARGEST:  # NaN is not, either
                raise ValueError(f"got {shown(leaf)}, expected a finite number of at most {LARGEST}")
            if isinstance(leaf, str | Path) and not _is_text(str(leaf)):
                raise ValueError(f"got {shown(str(leaf))}, expected text without NUL or bytes that are no characters")
        return value

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        found = list(self.problems())
        if found:
            raise ValueError("; ".join(found))
        return self

    def problems(self) -> Iterator[str]:
        """Yield what does not go together in settings whose fields are right one by one; a subclass says it."""
        yield from ()

    def code(self) -> list[str]:
        """Return the names of code, ``package.module:NAME``, that a run with these settings imports and executes."""
        names: list[str] = []
        for _, value in self:
            for leaf in _leaves(value):
                if isinstance(leaf, Settings):
                    names += leaf.code()
        return names


S = TypeVar("S", bound=Settings)


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the plain values inside lists and mappings, their keys included."""
    if isinstance(value, Mapping):
        yield from value
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


def _is_text(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def config_folders() -> list[Path]:
    """Return the folders in which shipped configs are looked for: inside the wheel, or beside the package."""
    package = Path(__file__).resolve().parents[1]
    return [folder for folder in (package / "configs", package.parent / "configs") if folder.is_dir()]


def find_config(name: str) -> Path:
    """Return the file of a config given by path or by the name of a shipped one (``ood/digits``).

    Raises:
        ConfigError: There is no such file; the message lists the shipped names.
    """
    path = Path(name)
    if is_file(path, ConfigError):
        return path
    shipped: dict[str, Path] = {}
    for folder in config_folders():
        for file in sorted(folder.rglob("*.yaml")):
            shipped[str(file.relative_to(folder).with_suffix(""))] = file
    if name in shipped:
        return shipped[name]
    raise ConfigError(
        f"config {shown(name)} is neither a file nor a shipped config{_nearest(name, list(shipped))}; "
        f"shipped: {', '.join(shipped)}"
    )


def load_config(model: type[S], name: str | None, overrides: tuple[str, ...] = (), /, **fields: Any) -> S:
    """Build settings from a config file, ``key=value`` overrides and explicit fields, the later the stronger.

    Args:
        model: Settings class.
        name: File or shipped name; None for the defaults.
        overrides: Texts ``a.b=value``; the value is read as YAML.
        fields: Values of fields that have an option of their own; None means not given.

    Raises:
        ConfigError: Names the file, the key, what was got and the nearest known key.
    """
    values: dict[str, Any] = _read(find_config(name)) if name else {}
    for text in overrides:
        _override(values, text)
    for key, value in fields.items():
        if value is not None:
            values[key] = value
    source = name or "settings"
    with foreign(source, ConfigError, remedy="correct it"):
        try:
            return model.model_validate(values)
        except ValidationError as error:
            problems = _all_problems(model, values, error)
            raise ConfigError(f"{source}: {problems}") from error


def _all_problems(model: type[Settings], values: dict[str, Any], error: ValidationError) -> str:
    """Return what is wrong with a config in one line, also what pydantic looks at only where all keys are known."""
    problems = error.errors(include_url=False)
    unknown = [problem["loc"] for problem in problems if problem["type"] == "extra_forbidden"]
    if unknown and len(unknown) == len(problems):
        known = deepcopy(values)
        for keys in unknown:
            _remove(known, keys)
        try:
            model.model_validate(known)
        except ValidationError as more:
            problems += more.errors(include_url=False)
    return _explained(model, problems)


def _remove(values: Any, keys: tuple[int | str, ...]) -> None:
    """Remove what lies at the end of a path of keys; a path that pydantic writes may hold names of types, too."""
    *parents, last = keys
    for key in parents:
        try:
            values = values[key]
        except (KeyError, TypeError, IndexError):
            continue
    if isinstance(values, dict):
        values.pop(last, None)


def dump_config(settings: Settings) -> str:
    """Return settings as YAML that ``load_config`` reads back to the same settings."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read(path: Path) -> dict[str, Any]:
    # A character may take four bytes.
    values = read_yaml(read_text(path, ConfigError, most=4 * MOST_CHARACTERS), str(path))
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}, expected keys and values")
    return values


def _override(values: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ConfigError(f"--set {shown(text)}: expected key=value, e.g. --set training.epochs=5")
    *folders, last = key.split(".")
    for folder in folders:
        values = values.setdefault(folder, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {shown(text)}: {shown(folder)} is a value, not a group of settings")
    values[last] = read_yaml(value, f"--set {shown(text)}")


def explain(model: type[BaseModel], error: ValidationError) -> str:
    """Return in one line what is wrong with some values: key, problem, what was got, the nearest name."""
    return _explained(model, error.errors(include_url=False))


def _explained(model: type[BaseModel], problems: Sequence[ErrorDetails]) -> str:
    # What follows from another problem is none of its own.
    problems = [problem for problem in problems if problem["type"] != "default_factory_not_called"]
    messages = []
    for problem in problems[:MOST_PROBLEMS]:
        keys = list(map(str, problem["loc"]))
        path = printable(".".join(keys), 200)
        if problem["type"] == "extra_forbidden":
            *parents, key = keys
            messages.append(f"unknown key {path!r}{_nearest(key, _fields(model, parents))}")
        elif problem["type"] == "value_error":
            said = problem["msg"].removeprefix("Value error, ")
            messages.append(f"{path}: {said}" if path else said)
        elif problem["type"] == "missing":
            messages.append(f"{path} is missing")
        elif problem["type"] == "tuple_type":
            messages.append(f"{path}: expected a list, e.g. [{printable(str(problem['input']), 20)}]")
        else:
            messages.append(f"{path}: {problem['msg']} (got {shown(problem['input'])})")
    return in_one_line(messages, more=max(0, len(problems) - MOST_PROBLEMS))


def _fields(model: type[BaseModel], parents: list[str]) -> list[str]:
    """Return the names of the settings that lie below some keys; none where these hold no settings."""
    for parent in parents:
        field = model.model_fields.get(parent)
        if field is None:
            continue  # the key of a mapping of settings
        inner_model = _model_in(field.annotation)
        if inner_model is None:
            return []
        model = inner_model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the first class of settings that an annotation names, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)


def _nearest(name: str, known: list[str]) -> str:
    matches = difflib.get_close_matches(name[:100], known, n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""
