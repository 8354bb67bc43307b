"""The command tree, and what becomes of an error."""

import os
import sys
import tempfile
import traceback
from pathlib import Path

from cyclopts import App

from invaudit.cli import benchmark, invert, leakage, ood
from invaudit.runtime.errors import ControlError, InputError
from invaudit.runtime.version import __version__

REPEATABLE = ("--set", "--detector", "--metric")

app = App(
    name="invaudit",
    help="Audit an image classifier: does it know what it does not know, and does it give away its training data?",
    version=__version__,
    # `main` says how to go on after an interruption.
    suppress_keyboard_interrupt=False,
)
app.command(ood.app)
app.command(leakage.app)
app.command(invert.app)
app.command(benchmark.app)


def main(*command: str) -> None:
    """Run the command line and exit.

    Args:
        command: Words in front of those of the command line, for runners that are one command.
    """
    words = [*command, *sys.argv[1:]]
    try:
        _refuse_repeats(words)
        app(words)
    except InputError as error:
        _say(f"error: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        _say("interrupted; what is finished is kept: the same command with --resume and the same --out continues")
        _exit_now(130)
    except ControlError as error:
        _say(f"control failed: {error}. The numbers of this run cannot be trusted.")
        sys.exit(1)
    except BrokenPipeError:
        _exit_now(0)
    except Exception as error:  # noqa: BLE001 - the last place: a bug becomes one line and a log
        _say(f"internal fault: {type(error).__name__}: {error}; please report it with {_log()}")
        sys.exit(1)


def _refuse_repeats(words: list[str]) -> None:
    options = []
    for word in words:
        if word.startswith("--") and word != "--":
            options.append(word.partition("=")[0])
    for option in options:
        if options.count(option) > 1 and option not in REPEATABLE:
            raise InputError(f"option {option} is given {options.count(option)} times, expected once")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _log() -> Path:
    descriptor, name = tempfile.mkstemp(prefix="invaudit-", suffix=".log")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(traceback.format_exc())
    return Path(name)


def _exit_now(code: int) -> None:
    # Without waiting for worker processes: they may be in the middle of minutes of work.
    sys.stderr.flush()
    os._exit(code)
