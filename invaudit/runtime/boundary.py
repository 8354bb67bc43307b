"""The border to code that is not ours: whatever a library or a user's code raises becomes one error of ours."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from invaudit.runtime.errors import InputError, InvauditError
from invaudit.runtime.text import printable

MOST_OF_A_REASON = 200
"""Characters of what a library says that go into a message of ours."""
_SAID_BY_TORCH = ("not enough memory", "can't allocate memory", "out of memory")


@contextmanager
def foreign(what: str, kind: type[InputError], *, remedy: str = "") -> Iterator[None]:
    """Turn whatever is raised inside into one error: which call, the last line of its traceback, the remedy.

    What a library raises on bad bytes is not listed anywhere, so nothing is listed here. Errors of ours pass as they
    are, and so does what is about the machine or its user and not about the input: KeyboardInterrupt and a lack of
    memory. ``sys.exit`` in foreign code is an error like others: it must not end our process as if all were done.

    Args:
        what: Whose call it is, with the file or name that it was given: the beginning of the message.
        kind: The error to raise.
        remedy: What to do; the end of the message.

    Example:
        >>> with foreign("net.pth cannot be read", InputError, remedy="fetch it again"):
        ...     {}["weights"]
        Traceback (most recent call last):
        invaudit.runtime.errors.InputError: net.pth cannot be read (KeyError: 'weights'); fetch it again
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        if is_ours_or_the_machines(error):
            raise
        raise kind(f"{what} ({reason(error)}){'; ' if remedy else ''}{remedy}") from error


def reason(error: BaseException) -> str:
    """Return the last line of a traceback, ``KeyError: 'weights'``, printable and not too long."""
    if isinstance(error, OSError) and error.strerror:
        return printable(error.strerror, MOST_OF_A_REASON)
    return printable(" ".join(traceback.format_exception_only(error)[-1].split()), MOST_OF_A_REASON)


def is_ours_or_the_machines(error: BaseException) -> bool:
    """Return whether an error passes as it is: one of ours, an interruption, or a lack of memory."""
    return isinstance(error, InvauditError) or is_interruption(error) or lacks_memory(error)


def is_interruption(error: BaseException) -> bool:
    """Return whether an error is an interruption, or came up while one was on its way out.

    An interruption can fall into the middle of a library's own bookkeeping, which then fails in its turn.
    """
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, KeyboardInterrupt):
            return True
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return False


def lacks_memory(error: BaseException) -> bool:
    """Return whether an error says that there is too little memory; torch says it in RuntimeErrors of its own."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID_BY_TORCH)
