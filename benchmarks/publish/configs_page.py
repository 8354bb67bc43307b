"""Write docs/configs.md from the typed settings: every config that a command takes, every key with what it means.

python -m benchmarks.publish.configs_page [--out docs/configs.md]
"""

import argparse
import inspect
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.publish.pages.markdown import code, markdown_table
from benchmarks.publish.pages.settings_words import default_words, link, settings_in, type_words
from invaudit.audit import AttackControlSettings, ModelAuditSettings, ScoreSettings
from invaudit.audit.probabilities import ProbabilityAuditSettings
from invaudit.benchmarks.explain import ExplainBenchmark
from invaudit.benchmarks.leakage import LeakageBenchmark
from invaudit.benchmarks.ood import OODBenchmark
from invaudit.explain import ExplainSettings
from invaudit.explain.attacks import ATTACKS
from invaudit.inversion import InversionSettings, PixelInversionSettings
from invaudit.leakage import METHODS
from invaudit.ood import FitSettings
from invaudit.runtime import write_text
from invaudit.runtime.describing import one_line, sentence
from invaudit.runtime.settings import Settings

ROOT = Path(__file__).parents[2]
WORDS = Path(__file__).parent / "pages" / "words_configs.md"


class Command(NamedTuple):
    """A command that takes a config.

    Attributes:
        name: As it is typed.
        settings: What its config holds.
        shipped: Configs that it takes where none is named; without any, the defaults.
    """

    name: str
    settings: type[Settings]
    shipped: tuple[str, ...] = ()


COMMANDS = (
    Command("benchmark ood", OODBenchmark, ("ood/digits",)),
    Command("benchmark leakage", LeakageBenchmark, ("leakage/digits",)),
    Command("benchmark explain", ExplainBenchmark, ("explain/digits",)),
    Command("ood fit", FitSettings, ("fit/scratch", "fit/finetune")),
    Command("invert", InversionSettings, ("invert/default", "invert/grey")),
    Command("invert --by pixels", PixelInversionSettings, ("invert/pixels", "invert/grey-pixels")),
    Command("explain", ExplainSettings),
    Command("audit", ModelAuditSettings),
    Command("audit --probabilities", ProbabilityAuditSettings),
    Command("leakage score", ScoreSettings),
    Command("leakage attack-control", AttackControlSettings),
)
OF_METHODS = tuple(Command(f"leakage reconstruct --method {name}", METHODS[name].settings) for name in METHODS)


def page() -> str:
    """Return the page in Markdown."""
    kinds = [command.settings for command in COMMANDS]
    of_methods = [command.settings for command in OF_METHODS]
    inside = _settings_inside(kinds)
    parts = [
        "# Configs",
        WORDS.read_text(encoding="utf-8").strip(),
        markdown_table(("command", "its config", "without `--config`"), map(_line, COMMANDS + OF_METHODS)),
        "Made from the settings by `python -m benchmarks.publish.configs_page`.",
        "## What commands take",
        *_sections(kinds),
        "## Groups inside of them",
        *_sections(inside),
        "## Settings of attacks",
        "What `attacks` of [ExplainSettings](#explainsettings) hold for each of them, and `settings` of "
        "[ImageAttack](#imageattack).",
        *_sections([attack.settings for attack in ATTACKS.values()]),
        "## Settings of reconstruction methods",
        "What `settings` of [MethodChoice](#methodchoice) and of [AttackControlSettings](#attackcontrolsettings) hold, "
        "and what `invaudit leakage reconstruct` takes.",
        *_sections(of_methods),
    ]
    return "\n\n".join(parts) + "\n"


def _line(command: Command) -> tuple[str, str, str]:
    shipped = " or ".join(f"[`{name}`](../configs/{name}.yaml)" for name in command.shipped)
    return code(f"invaudit {command.name}"), link(command.settings), shipped or "the defaults"


def _settings_inside(kinds: Sequence[type[Settings]]) -> list[type[Settings]]:
    """Return the classes of settings that these hold, at any depth, in the order in which they are met."""
    waiting, met = list(kinds), list(kinds)
    while waiting:
        for field in waiting.pop(0).model_fields.values():
            new = [kind for kind in settings_in(field.annotation) if kind not in met]
            waiting += new
            met += new
    return met[len(kinds) :]


def _sections(kinds: Iterable[type[Settings]]) -> Iterator[str]:
    for kind in kinds:
        yield f"### {kind.__name__}"
        for paragraph in inspect.cleandoc(kind.__doc__ or "").split("\n\n"):
            yield one_line(paragraph)
        keys = list(kind.model_fields)
        if (base := _explained_base(kind)) is not None:
            keys = [key for key in keys if key in kind.__annotations__]
            yield f"It has all keys of {link(base)}; these are new, or have another default."
        yield markdown_table(("key", "takes", "default", "meaning"), (_row(kind, key) for key in keys))


def _explained_base(kind: type[Settings]) -> type[Settings] | None:
    """Return the nearest class that a class derives from and that has a section of its own."""
    explained = {command.settings for command in COMMANDS + OF_METHODS}
    return next((base for base in kind.__mro__[1:] if base in explained), None)


def _row(kind: type[Settings], key: str) -> tuple[str, str, str, str]:
    field = kind.model_fields[key]
    return code(key), type_words(field), default_words(field), sentence(kind, key)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "configs.md")
    write_text(parser.parse_args(arguments).out, page())


if __name__ == "__main__":
    main()
