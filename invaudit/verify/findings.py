"""What a verification finds: what was checked, what differs and where, what could not be checked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from invaudit.runtime.boundary import foreign
from invaudit.runtime.errors import ControlError, InputError, RunFolderError


@dataclass(frozen=True)
class Difference:
    """One value that is not what the folder itself gives.

    Attributes:
        file: The file, from the run folder on.
        place: The row, or the keys that lead to the value; empty where the file as a whole differs.
        column: The column; empty where there is none.
        stored: What the file says; None: it says nothing.
        recomputed: What it should say; None: nothing.
        words: What is wrong, where the two values do not tell.
        of_newer: Whether the file has no such column or key at all, as files that an older version wrote.
    """

    file: str
    place: str = ""
    column: str = ""
    stored: str | None = None
    recomputed: str | None = None
    words: str = ""
    of_newer: bool = False

    @property
    def sentence(self) -> str:
        """Where it is, what is stored, and what was recomputed."""
        where = ", ".join(part for part in (self.file, self.place, self.column) if part)
        if self.words:
            return f"{where}: {self.words}"
        return f"{where}: stored {_shown(self.stored)}, recomputed {_shown(self.recomputed)}"


def _shown(value: str | None) -> str:
    return "nothing" if value is None else repr(value) if len(value) <= 100 else f"{value[:100]!r}..."


@dataclass
class Compared:
    """How a file compares.

    Attributes:
        file: The file.
        part: What of it is compared, in words; empty: all of it.
        exact: Values that are the same.
        close: Numbers that are the same but for rounding.
        differences: The others.
    """

    file: str
    part: str = ""
    exact: int = 0
    close: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def words(self) -> str:
        """How many values agree."""
        within = f", {self.close} of them within rounding" if self.close else ""
        return f"{self.exact + self.close} values agree{within}"


@dataclass
class Findings:
    """What is found on the way.

    Attributes:
        folder: The run folder.
        checked: What agrees, in words.
        differences: What differs, in the order in which it was found.
        unchecked: What could not be checked, and why.
    """

    folder: Path
    checked: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    def note(self, compared: Compared, words: str | None = None) -> None:
        """Take up how a file compares; ``words`` say what agrees, in place of a count of values."""
        self.differences += compared.differences
        if not compared.differences and compared.exact + compared.close:
            part = f", {compared.part}" if compared.part else ""
            self.checked.append(f"{compared.file}{part}: {words or compared.words}")

    @contextmanager
    def noted(self, file: str, instead_of: Path | None = None) -> Iterator[None]:
        """Take what is refused meanwhile for a difference in a file, and so any error: what is stored may be anything.

        Args:
            file: The file, where the message does not name it.
            instead_of: The folder that stands for the run folder in messages.
        """
        try:
            with foreign("what is stored does not fit together", RunFolderError, remedy="make the run again"):
                yield
        except (InputError, ControlError) as error:
            words = str(error)
            if instead_of is not None:
                words = words.replace(str(instead_of), str(self.folder))
            self.differences.append(Difference(file, words=words))


@dataclass(frozen=True)
class Verification:
    """What the verification of a folder says.

    Attributes:
        folder: The run folder.
        kind: What kind of run it is, in words.
        checked: What agrees.
        differences: What differs, the first one first.
        unchecked: What could not be checked, and why.
    """

    folder: Path
    kind: str
    checked: tuple[str, ...]
    differences: tuple[Difference, ...]
    unchecked: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def refuse_differences(self) -> None:
        """Raise if anything differs.

        Raises:
            ControlError: Names the first difference, and how many there are.
        """
        if self.differences:
            many = len(self.differences)
            more = f" (and {many - 1} more)" if many > 1 else ""
            raise ControlError(f"{self.folder} is not what its own scores give: {self.differences[0].sentence}{more}")
