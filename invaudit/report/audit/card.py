"""The block of an audit for a model card, in Markdown."""

import re
from pathlib import Path

from invaudit.report.audit.answers import Answer, answers
from invaudit.report.audit.content import Content
from invaudit.report.audit.controls import control_lines
from invaudit.report.audit.model import model_lines
from invaudit.report.leakage.findings import LIMITS
from invaudit.runtime.text import printable
from invaudit.runtime.version import __version__

CARD = "card.md"
"""Its file in the folder of an audit."""
MARKUP = re.compile(r"([\\`*_<>|~&$]|\](?=[(\[:])|:(?=//))")


def model_card(folder: Path) -> str:
    """Return what an audit found as a block of Markdown for a model card.

    Args:
        folder: The folder of an audit.

    Raises:
        RunFolderError: It holds no ``table.csv``, or is damaged.
    """
    return card_text(Content.of(folder))


def card_text(content: Content) -> str:
    """Return the block."""
    environment = content.run.environment or {}
    lines = ["## Privacy and readiness audit", ""]
    lines += [f"- **{name}**: {_plain(text)}" for name, text in model_lines(content)]
    for answer in answers(content):
        lines += ["", f"### {answer.title}", "", *_answer(answer)]
    lines += ["", "### Controls of these verdicts", ""]
    lines += [f"- **{name}**: {_plain(text)}" for name, text in control_lines(content)]
    made = f"invaudit {__version__}, {environment.get('date') or 'date not recorded'}"
    lines += [
        "",
        _plain(LIMITS),
        "",
        f"{_plain(made)}. No statement of compliance. Check it: `invaudit verify FOLDER`.",
        "",
    ]
    return "\n".join(lines)


def _answer(answer: Answer) -> list[str]:
    lines = [f"**{_plain(answer.word)}**. {_plain(answer.meaning)}", ""]
    lines += [f"- {_plain(text)}" for text in answer.sure]
    return [*lines, f"- {_plain(answer.untested)}"]


def _plain(text: str) -> str:
    """Return text in one line that Markdown shows as it is: names come from outside."""
    return MARKUP.sub(r"\\\1", printable(text))
