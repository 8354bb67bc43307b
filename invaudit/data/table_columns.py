"""Which column of a table holds the pictures, which one their classes, and what the classes are called."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from invaudit.data.arrays import MOST_CLASSES
from invaudit.data.tables import Leaf, TableFile, import_pyarrow
from invaudit.runtime.boundary import foreign
from invaudit.runtime.errors import DataError
from invaudit.runtime.paths import short
from invaudit.runtime.text import printable, shown

LABELS = ("label", "labels")
"""Names of a column of classes that nobody declares to be one."""


@dataclass(frozen=True)
class Columns:
    """The columns of a table that make it a set of images.

    Attributes:
        pictures: The encoded pictures.
        paths: The name of the file that each picture was; None where there is none.
        labels: The class of each, a whole number; None where there is none.
        class_names: Name of each class.
    """

    pictures: Leaf
    paths: Leaf | None
    labels: str | None
    class_names: tuple[str, ...]


def choose_columns(table: TableFile) -> Columns:
    """Choose by what the file declares, as the package datasets writes it, else by the types of the columns.

    Raises:
        DataError: No column holds pictures, or several could, or classes are not whole numbers.
    """
    # Names in a file may be anything, even no text: whatever pyarrow or json say of them is one error.
    with foreign(
        f"the columns of {short(table.path)} cannot be read", DataError, remedy="it is damaged: fetch it again"
    ):
        types = {field.name: field.type for field in table.schema}
        features = _features(table)
        pictures, paths = _pictures(table, types, features)
        labels = _labels(table, types, features)
        names = _class_names(features[labels], labels, table) if labels in features else ()
        return Columns(pictures, paths, labels, names)


def _features(table: TableFile) -> dict[str, Mapping[str, Any]]:
    """Return what is declared of each column that is there: column -> its feature."""
    declared = (table.schema.metadata or {}).get(b"huggingface")
    if declared is None:
        return {}
    features = (json.loads(declared).get("info") or {}).get("features") or {}
    return {name: features[name] for name in table.schema.names if isinstance(features.get(name), dict)}


def _pictures(
    table: TableFile, types: Mapping[str, Any], features: Mapping[str, Mapping[str, Any]]
) -> tuple[Leaf, Leaf | None]:
    found = _declared("Image", features) or [name for name in types if _leaf(name, types[name])]
    name = _only(found, "pictures", table)
    leaf = None if name is None else _leaf(name, types[name])
    if name is None or leaf is None:
        held = ", ".join(f"{column} ({kind})" for column, kind in list(types.items())[:10])
        raise DataError(
            f"{short(table.path)} holds no column of encoded pictures but {printable(held, 400)}; expected PNG or JPEG "
            "files as binary values, alone or as bytes of a struct; store arrays as pictures (Image of datasets)"
        )
    texts = len(leaf) == 2 and "path" in _fields(types[name]) and _is_text(types[name].field("path").type)
    return leaf, (name, "path") if texts else None


def _labels(table: TableFile, types: Mapping[str, Any], features: Mapping[str, Mapping[str, Any]]) -> str | None:
    found = _declared("ClassLabel", features) or [name for name in LABELS if name in types]
    name = _only(found, "classes", table)
    if name is not None and not import_pyarrow().types.is_integer(types[name]):
        raise DataError(
            f"column {shown(name)} of {short(table.path)} is of type {str(types[name])[:100]}, expected whole numbers: "
            "one class for each picture; number the classes (class_encode_column of datasets), or remove the column"
        )
    return name


def _class_names(feature: Mapping[str, Any], column: str | None, table: TableFile) -> tuple[str, ...]:
    names = feature.get("names") if feature.get("_type") == "ClassLabel" else None
    if names is None:
        return ()
    texts = isinstance(names, list) and len(names) < MOST_CLASSES and all(isinstance(name, str) for name in names)
    if not texts or len(set(names)) < len(names):
        got = f"the names of the classes in column {shown(column)} of {short(table.path)} are {shown(names)}"
        raise DataError(f"{got}, expected a list of different texts; fetch the file again")
    return tuple(names)


def _declared(kind: str, features: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [name for name, feature in features.items() if feature.get("_type") == kind]


def _only(names: list[str], what: str, table: TableFile) -> str | None:
    """Return the only name; None where there is none."""
    if len(names) > 1:
        got = f"{short(table.path)} has several columns of {what}: {', '.join(map(shown, names[:10]))}"
        raise DataError(f"{got}, expected one; keep one of them (select_columns of datasets) and write the file again")
    return names[0] if names else None


def _leaf(name: str, kind: Any) -> Leaf | None:
    """Return where the encoded pictures of a column are; None where its type says that it holds none."""
    if _is_binary(kind):
        return (name,)
    return (name, "bytes") if "bytes" in _fields(kind) and _is_binary(kind.field("bytes").type) else None


def _fields(kind: Any) -> list[str]:
    return [kind.field(number).name for number in range(kind.num_fields)] if _types().is_struct(kind) else []


def _is_binary(kind: Any) -> bool:
    return _types().is_binary(kind) or _types().is_large_binary(kind)


def _is_text(kind: Any) -> bool:
    return _types().is_string(kind) or _types().is_large_string(kind)


def _types() -> Any:
    return import_pyarrow().types
