"""What every part of the page of an explanation may speak of."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from invaudit.records.explain import EXPLAIN, EXPLAIN_RUN, Explanation, Figure
from invaudit.records.folder import read_config, read_environment, schema_of
from invaudit.report.drawing import LONGEST_CLASS
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import StoredArrays, read_arrays, read_object
from invaudit.runtime.settings import explain
from invaudit.runtime.text import printable


@dataclass(frozen=True)
class Content:
    """An explanation that lies in a folder.

    Attributes:
        folder: The run folder.
        found: What ``explain.json`` holds.
        config: Text of ``config.yaml``; None where it is missing.
        environment: Content of ``environment.json``; None where it is missing.
    """

    folder: Path
    found: Explanation
    config: str | None
    environment: dict[str, Any] | None

    @classmethod
    def of(cls, folder: Path) -> "Content":
        """Return it from the folder of a run.

        Raises:
            RunFolderError: The folder holds no finished explanation, or a damaged one.
        """
        schema_of(folder, EXPLAIN_RUN)
        path = folder / EXPLAIN
        remedy = "remove it and give --resume: it is written again then"
        try:
            found = Explanation.model_validate(read_object(path, remedy))
        except ValidationError as error:
            raise RunFolderError(f"{path} is damaged: {explain(Explanation, error)}; {remedy}") from error
        return cls(folder, found, read_config(folder), read_environment(folder))

    def arrays(self, stage: str) -> StoredArrays:
        """Return the arrays of a stage by name."""
        return read_arrays(self.folder / "scores" / f"{stage}.npz")

    def name(self, label: int) -> str:
        """Return the name of a class, short enough for a title; what is no class that was explained is another one."""
        names = self.found.model.class_names
        return printable(names[label], LONGEST_CLASS) if 0 <= label < len(names) else "another class"

    @cached_property
    def measures(self) -> dict[tuple[str, int | None], Figure]:
        """The figures that there are, by name and class."""
        return {(row.name, row.label): row.figure for row in self.found.measures.measures if row.figure is not None}

    def share(self, name: str, label: int | None = None) -> str:
        """Return a share in per cent, without its interval; empty where there is none."""
        figure = self.measures.get((name, label))
        return "" if figure is None else f"{100 * figure.value:.0f} %"


def interval(figure: Figure | None, *, per_cent: bool = True) -> str:
    """Return a figure with its interval; empty where there is none."""
    if figure is None:
        return ""
    if per_cent:
        return f"{100 * figure.value:.0f} % ({100 * figure.low:.0f} to {100 * figure.high:.0f})"
    return f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f})"
