"""Objects that a user names as text."""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def import_named(module: str, name: str) -> Any:
    """Return an attribute of a module; a module of the current folder is found too, after all installed ones.

    Raises:
        ImportError: There is no such module, or it cannot be imported.
        AttributeError: It has no such attribute.
        ValueError: The name of the module is empty.
        SyntaxError: It is not Python.
    """
    # Only meanwhile: what else is imported must not come from the folder in which a command happens to be given.
    here = os.getcwd()  # noqa: PTH109 - sys.path holds texts
    added = [here] if here not in sys.path else []
    sys.path.extend(added)
    try:
        return getattr(import_module(module), name)
    finally:
        for path in added:
            sys.path.remove(path)


def source_code(thing: Any) -> bytes:
    """Return the content of the file in which a class or function was written, by which a run knows a change of it.

    Returns:
        The bytes; none where it was written in no file, as in a notebook.
    """
    file = getattr(sys.modules.get(getattr(thing, "__module__", "")), "__file__", None)
    return Path(file).read_bytes() if file else b""
