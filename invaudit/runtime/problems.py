"""What is wrong with an input, gathered so that all of it is told at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from invaudit.runtime.errors import ConfigError, InputError


def in_one_line(problems: Sequence[str], *, more: int = 0) -> str:
    """Return one problem as it is, several numbered, and how many more there are."""
    if len(problems) == 1 and not more:
        return problems[0]
    parts = [f"({number}) {problem}" for number, problem in enumerate(problems, 1)]
    if more:
        parts.append(f"and {more} more")
    return f"{len(problems) + more} problems: {'; '.join(parts)}"


class SeveralProblemsError(ConfigError):
    """Several things are wrong.

    Args:
        problems: What, each with its remedy.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__(in_one_line(problems))


class Problems:
    """Gathers what checks refuse, while the checks that follow go on.

    Example:
        >>> problems = Problems()
        >>> for name in ("mnist", "mnsit"):
        ...     with problems.noted():
        ...         if name != "mnist":
        ...             raise InputError(f"there is no {name}")
        >>> problems.refuse()
        Traceback (most recent call last):
        ...
        invaudit.runtime.errors.InputError: there is no mnsit
    """

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.first: InputError | None = None

    @contextmanager
    def noted(self, place: str = "") -> Iterator[None]:
        """Note what is refused inside, with the place where it is, and go on after it."""
        try:
            yield
        except InputError as error:
            told = error.problems if isinstance(error, SeveralProblemsError) else [str(error)]
            self.messages += [f"{place}: {message}" if place else message for message in told]
            self.first = self.first or error

    def refuse(self) -> None:
        """Refuse what was noted, if anything was.

        Raises:
            InputError: The one error, or one that tells them all.
        """
        messages = list(dict.fromkeys(self.messages))
        if len(messages) > 1:
            raise SeveralProblemsError(messages)
        if self.first is not None:
            kind = ConfigError if isinstance(self.first, SeveralProblemsError) else type(self.first)
            raise kind(messages[0])
