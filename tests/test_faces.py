"""Every package face: its names are written once, resolve, and can be completed."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import invaudit

PACKAGE = Path(str(invaudit.__file__)).parent
FACES = sorted(
    ".".join((PACKAGE.name, *path.relative_to(PACKAGE).parts[:-1]))
    for path in PACKAGE.rglob("__init__.py")
    if "__all__" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", FACES)
def test_the_names_of_a_face_are_literal_and_resolve(name: str) -> None:
    face = importlib.import_module(name)
    statements = ast.parse(Path(str(face.__file__)).read_text(encoding="utf-8")).body
    written = [line.value for line in statements if isinstance(line, ast.Assign) and "__all__" in ast.unparse(line)]
    assert ast.literal_eval(written[0]) == face.__all__
    for public in face.__all__:
        assert getattr(face, public) is not None
        assert public in dir(face)


@pytest.mark.parametrize("name", FACES)
def test_a_face_lists_what_it_imports_and_nothing_else(name: str) -> None:
    source = Path(str(importlib.import_module(name).__file__)).read_text(encoding="utf-8")
    imported = {
        alias.asname or alias.name
        for line in ast.walk(ast.parse(source))
        if isinstance(line, ast.ImportFrom) and str(line.module).startswith("invaudit")
        for alias in line.names
    }
    assert set(importlib.import_module(name).__all__) == imported - {"attach"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'ImageSets'"):
        _ = invaudit.data.ImageSets  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("name", ["load", "load_model", "invert", "reconstruct", "nearest"])
def test_what_a_user_calls_first_has_an_example(name: str) -> None:
    assert ">>>" in str(getattr(invaudit, name).__doc__)


def test_importing_the_package_loads_nothing_heavy() -> None:
    command = (
        "import sys, invaudit; dir(invaudit); print([m for m in ('torch', 'numpy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_imported_from_a_face_is_on_it() -> None:
    # A face answers for any name, so that a type checker does not see one that it does not have.
    missing = []
    for path in sorted(PACKAGE.parent.glob("*/**/*.py")):
        if path.relative_to(PACKAGE.parent).parts[0] not in ("invaudit", "tests", "benchmarks"):
            continue
        for line in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(line, ast.ImportFrom) and line.module in FACES:
                known = dir(importlib.import_module(line.module))
                folder = PACKAGE.parent / line.module.replace(".", "/")
                for alias in line.names:
                    is_module = (folder / f"{alias.name}.py").is_file() or (folder / alias.name).is_dir()
                    if alias.name not in known and not is_module:
                        missing.append(f"{path.name}: {line.module}.{alias.name}")
    assert not missing


def test_importing_stats_loads_nothing_heavy() -> None:
    code = "import sys, invaudit.stats; print(*{'torch', 'scipy.stats', 'sklearn', 'pandas'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
