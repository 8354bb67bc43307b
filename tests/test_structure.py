"""The package as a drawing: no module imports itself by way of others."""

import ast
from functools import cache
from pathlib import Path

import invaudit

PACKAGE = Path(str(invaudit.__file__)).parent


@cache
def modules() -> dict[str, Path]:
    names = {}
    for path in PACKAGE.rglob("*.py"):
        parts = (PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts)
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imported_modules(name: str) -> set[str]:
    """Return the modules of the package that a module imports by name, also inside functions and for types alone.

    A name that a package's face gives is followed to the module that defines it.
    """
    found = set()
    for line in ast.walk(ast.parse(modules()[name].read_text(encoding="utf-8"))):
        if isinstance(line, ast.ImportFrom) and line.module:
            found |= {defining_module(line.module, alias.name) for alias in line.names}
        elif isinstance(line, ast.Import):
            found |= {alias.name for alias in line.names}
    return {module for module in found if module in modules() and module != name}


def defining_module(module: str, name: str) -> str:
    if f"{module}.{name}" in modules():
        return f"{module}.{name}"
    return public_names(module).get(name, module) if module in modules() else module


@cache
def public_names(package: str) -> dict[str, str]:
    """Return where a package's face takes its names from; empty for a module."""
    path = modules()[package]
    if path.name != "__init__.py":
        return {}
    places = {}
    for line in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(line, ast.ImportFrom) and line.module:
            places |= {alias.asname or alias.name: defining_module(line.module, alias.name) for alias in line.names}
    return places


def circle_from(start: str, edges: dict[str, set[str]]) -> list[str]:
    """Return a way from a module back to itself, empty where there is none."""
    waiting, seen = [[start]], set()
    while waiting:
        way = waiting.pop()
        for following in edges[way[-1]]:
            if following == start:
                return [*way, start]
            if following not in seen:
                seen.add(following)
                waiting.append([*way, following])
    return []


def test_no_module_imports_itself_by_way_of_others() -> None:
    # Faces import for type checkers only, and a runner's __main__ calls its command: neither is a step of a circle.
    code = {name for name, path in modules().items() if path.name not in ("__init__.py", "__main__.py")}
    edges = {name: imported_modules(name) & code for name in code}
    circles = [circle for name in sorted(code) if (circle := circle_from(name, edges))]
    assert not circles, " -> ".join(circles[0])


def test_a_circle_would_be_seen() -> None:
    assert circle_from("a", {"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert circle_from("a", {"a": {"b"}, "b": {"c"}, "c": {"b"}}) == []
