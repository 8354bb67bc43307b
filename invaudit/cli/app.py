"""The command tree, and what becomes of an error."""

import logging
import os
import shlex
import sys
import tempfile
import traceback
from contextlib import suppress
from multiprocessing.util import _run_finalizers  # pyright: ignore[reportAttributeAccessIssue]
from pathlib import Path
from typing import NoReturn

from cyclopts import App, CycloptsError

from invaudit.cli import audit, benchmark, compare, demo, explain, invert, leakage, ood, verify
from invaudit.runtime.boundary import is_interruption, lacks_memory, reason
from invaudit.runtime.console import say
from invaudit.runtime.errors import ControlError, InputError, Interrupted
from invaudit.runtime.streams import flush_results, prepare_streams
from invaudit.runtime.version import __version__

REPEATABLE = ("--set", "--detector", "--metric", "--allow-code")

app = App(
    name="invaudit",
    help="Audit an image classifier: does it know what it does not know, and does it give away its training data?",
    version=__version__,
)
app.command(demo.demo)
app.command(audit.audit)
app.command(compare.compare)
app.command(ood.app)
app.command(leakage.app)
app.command(explain.explain)
app.command(invert.app)
app.command(benchmark.app)
app.command(verify.verify)
for _tree in (app, ood.app, leakage.app, invert.app, benchmark.app):
    _tree.suppress_keyboard_interrupt = False  # `main` says how to go on after an interruption
    _tree.result_action = "return_value"  # it also ends the process


def main(*command: str) -> None:
    """Run the command line and exit.

    Args:
        command: Words in front of those of the command line, for runners that are one command.
    """
    prepare_streams()
    # What libraries warn of goes to the log of a run: on the terminal it would stand beside the one message.
    logging.captureWarnings(True)
    # Without any handler Python itself prints what they log there.
    unheard = logging.NullHandler()
    logging.getLogger().addHandler(unheard)
    try:
        code = _run([*command, *sys.argv[1:]])
    finally:
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(unheard)
    sys.exit(code)


def _run(words: list[str]) -> int:
    """Run a command, say what went wrong, and return the exit code."""
    try:
        _refuse_repeats(words)
        code = app(words, exit_on_error=False, print_error=False)
        flush_results()
    except CycloptsError as error:
        say(f"error: {error}")
    except InputError as error:
        say(f"error: {error}")
    except KeyboardInterrupt as error:
        _interrupted(words, error.folder if isinstance(error, Interrupted) else None)
    except ControlError as error:
        say(f"control failed: {error}. The numbers of this run cannot be trusted.")
        return 1
    except BrokenPipeError:
        _exit_now(0)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # what rich makes of it
            _exit_now(0)
        raise
    except OSError as error:
        return _refused_by_system(error)
    except Exception as error:  # noqa: BLE001 - the last place: a bug becomes one line and a log
        if is_interruption(error):
            _interrupted(words, None)
        if not lacks_memory(error):
            say(f"internal fault: {reason(error)}; please report it with {_log()}")
            return 1
        say(f"error: too little memory ({reason(error)}); give fewer images, a smaller network or smaller batches")
    else:
        return int(code or 0)
    return 2


def _refused_by_system(error: OSError) -> int:
    """Say what the system refused where nobody expected it: of stdout if it is that, else of the file."""
    try:
        flush_results()
    except (InputError, BrokenPipeError) as of_stdout:
        say(f"error: {of_stdout}")
    else:
        place = f" {error.filename}" if error.filename else ""
        say(f"error: the system refused to read or write{place}: {error.strerror or error}; {_log()} says where")
    return 2


def _refuse_repeats(words: list[str]) -> None:
    options = []
    for word in words:
        if word.startswith("--") and word != "--":
            options.append(word.partition("=")[0])
    for option in options:
        if options.count(option) > 1 and option not in REPEATABLE:
            raise InputError(f"option {option} is given {options.count(option)} times, expected once")


def _interrupted(words: list[str], folder: Path | None) -> NoReturn:
    """Say how to go on, and end the process."""
    say(_how_to_go_on(words, folder))
    _exit_now(130)


def _how_to_go_on(words: list[str], folder: Path | None) -> str:
    """Say what an interruption has left, and the command that goes on from there."""
    if folder is None:
        return "interrupted before anything was written; the same command begins again"
    again = list(words)
    if not any(word == "--out" or word.startswith("--out=") for word in words):
        again += ["--out", str(folder)]
    if "--resume" not in words:
        again.append("--resume")
    return f"interrupted; what is finished is kept. To go on: invaudit {shlex.join(again)}"


def _log() -> Path:
    descriptor, name = tempfile.mkstemp(prefix="invaudit-", suffix=".log")
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(traceback.format_exc())
    return Path(name)


def _exit_now(code: int) -> NoReturn:
    # Without waiting: threads, and libraries at their end, may be in the middle of something. What was shared with
    # workers is given back, or the process that keeps account of it would say so beside the one message.
    _run_finalizers(0)
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(code)
