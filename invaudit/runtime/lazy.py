"""Package faces that import their modules only when a name is used."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def attach(package: str, names: dict[str, str]) -> tuple[Callable[[str], Any], list[str]]:
    """Return ``__getattr__`` and ``__all__`` of a package whose names live in submodules.

    Args:
        package: ``__name__`` of the package.
        names: Public name -> submodule that defines it.

    Returns:
        The module-level ``__getattr__`` and the sorted list of names.
    """

    def getter(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{names[name]}"), name)

    return getter, sorted(names)
