"""Typed settings: one YAML file, validated, unknown keys refused with the nearest name."""

import difflib
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from invaudit.runtime.errors import ConfigError


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=Settings)


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
    if path.is_file():
        return path
    shipped: dict[str, Path] = {}
    for folder in config_folders():
        for file in sorted(folder.rglob("*.yaml")):
            shipped[str(file.relative_to(folder).with_suffix(""))] = file
    if name in shipped:
        return shipped[name]
    raise ConfigError(
        f"config {name!r} is neither a file nor a shipped config{_nearest(name, list(shipped))}; "
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
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{name or 'settings'}: {explain(model, error)}") from error


def dump_config(settings: Settings) -> str:
    """Return settings as YAML that ``load_config`` reads back to the same settings."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}, expected keys and values")
    return values


def _override(values: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ConfigError(f"--set {text!r}: expected key=value, e.g. --set training.epochs=5")
    *folders, last = key.split(".")
    for folder in folders:
        values = values.setdefault(folder, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {text!r}: {folder!r} is a value, not a group of settings")
    try:
        values[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text!r}: the value is not valid YAML") from error


def explain(model: type[BaseModel], error: ValidationError) -> str:
    """Return in one line what is wrong with some values: key, problem, what was got, the nearest name."""
    messages = []
    for problem in error.errors():
        keys = list(map(str, problem["loc"]))
        path = ".".join(keys)
        if problem["type"] == "extra_forbidden":
            *parents, key = keys
            messages.append(f"unknown key {path!r}{_nearest(key, _fields(model, parents))}")
        elif problem["type"] == "value_error":
            said = problem["msg"].removeprefix("Value error, ")
            messages.append(f"{path}: {said}" if path else said)
        else:
            messages.append(f"{path}: {problem['msg']} (got {problem['input']!r})")
    return "; ".join(messages)


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
    """Return the class of settings that an annotation names, by itself or as one of its arguments."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None


def _nearest(name: str, known: list[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""
