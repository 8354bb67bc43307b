"""Standard streams as they may be: closed, full, ASCII alone, a pipe that nobody reads any more."""

import codecs
import io
import os
import sys

from invaudit.runtime.errors import InputError

PLAIN = "invaudit-plain"
"""Name of what is done with characters that an encoding lacks."""
_LIKE = str.maketrans({"\u2013": "-", "\u2212": "-", "\u00b1": "+-", "\u00d7": "x", "\u2026": "."})
"""Characters of our tables, and what stands for them in ASCII."""


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Put a plain character, or an escape, in place of each that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].translate(_LIKE)
    return lacking.encode("ascii", "backslashreplace").decode("ascii"), error.end


codecs.register_error(PLAIN, _plain)


def prepare_streams() -> None:
    """Make stdout and stderr fit to be written to, whatever they are.

    A stream that was closed leads nowhere: else the next file that is opened would take its number, and its content
    would be what is printed. What the encoding of a stream lacks is printed as plain characters or escapes.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            stream = os.fdopen(number, "w", encoding="utf-8", errors=PLAIN, closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        elif isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors=PLAIN)


def flush_results() -> None:
    """Write out what was printed on stdout, which may be the moment that it fails.

    Raises:
        BrokenPipeError: Nobody reads it.
        InputError: It cannot be written, as on a full disk.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _lead_nowhere()
        raise InputError(
            f"cannot write the results to stdout: {error.strerror}; free the disk, or print to another place "
            "(what a run has made is in its folder)"
        ) from error


def _lead_nowhere() -> None:
    """Let what was printed on stdout go nowhere, or Python would fail on it again at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
