"""Package faces that import their modules only when a name is used."""

import ast
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


def attach(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package that imports its public names under ``TYPE_CHECKING``.

    What type checkers and readers see is what a program gets: the imports are read from the package's own source, at
    the first use of a name, and each is done when its name is used.

    Args:
        package: ``__name__`` of the package.

    Returns:
        The two module-level functions.
    """

    def getter(name: str) -> Any:
        places = _places(package)
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, original = places[name]
        if module == package:
            return import_module(f"{package}.{original}")
        return getattr(import_module(module), original)

    def names() -> list[str]:
        hidden = {"TYPE_CHECKING", "attach"}
        return sorted({*vars(sys.modules[package]), *_places(package)} - hidden)

    return getter, names


@cache
def _places(package: str) -> dict[str, tuple[str, str]]:
    """Return where each public name of a package comes from: module, and its name there."""
    source = Path(str(sys.modules[package].__file__)).read_text(encoding="utf-8")
    places: dict[str, tuple[str, str]] = {}
    for statement in ast.parse(source).body:
        if not (isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"):
            continue
        for line in statement.body:
            if isinstance(line, ast.ImportFrom):
                for alias in line.names:
                    places[alias.asname or alias.name] = (str(line.module), alias.name)
    return places
