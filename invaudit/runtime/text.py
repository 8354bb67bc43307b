"""Text that may come from anywhere, made fit for a terminal: no control characters, bounded length."""

import reprlib
from typing import Any

MOST = 2_000
"""Characters of a message."""
MOST_OF_A_VALUE = 400
"""Characters of a value in a message."""


def printable(text: str, most: int = MOST) -> str:
    """Return a text in one line: control characters as escapes, of a long one the beginning and the end.

    Example:
        >>> printable("a\\x1b[31m\\nb")
        'a\\\\x1b[31m\\\\nb'
    """
    if len(text) > most:
        end = most // 4
        text = f"{text[: most - end]} ... {text[-end:]}"
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def shown(value: Any) -> str:
    """Return the repr of any value, shortened without ever making all of it."""
    text = _SHORT.repr(value)
    return text if len(text) <= MOST_OF_A_VALUE else f"{text[:MOST_OF_A_VALUE]}..."


class _Short(reprlib.Repr):
    """Limits for values in messages; those of the standard library are for debugging and shorter."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 2, 200, 200
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = 8

    def repr_int(self, x: int, level: int) -> str:  # noqa: ARG002 - given by the standard library
        """Return a whole number, of a long one how long it is: Python refuses to write one of over 4300 digits."""
        if x.bit_length() > 200:
            return f"a whole number of about {x.bit_length() * 0.30103:.0f} digits"
        return repr(x)


_SHORT = _Short()
