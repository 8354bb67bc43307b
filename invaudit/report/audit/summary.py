"""The three answers of an audit for the terminal."""

from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from invaudit.report.audit.answers import answers, headline
from invaudit.report.audit.content import Content
from invaudit.report.audit.controls import control_lines
from invaudit.report.audit.model import accuracy_sentence
from invaudit.runtime.text import printable

STYLES = {"leak": "bold red", "no-evidence": "bold", "inconclusive": "bold yellow", "measured": "bold"}


def audit_summary(folder: Path) -> RenderableType:
    """Return what an audit found, ready to print: three answers and the four controls.

    Args:
        folder: The folder of an audit.

    Raises:
        RunFolderError: It holds no ``table.csv``, or is damaged.
    """
    content = Content.of(folder)
    lines = [Text(printable(f"{content.audit.model}: {headline(content)}"), style="bold")]
    lines.append(Text(printable(f"accuracy {accuracy_sentence(content)}")))
    for answer in answers(content):
        lines.append(Text())
        verdict = Text(f"{answer.mark} {printable(answer.word)}", style=STYLES.get(answer.style, ""))
        lines.append(Text.assemble(f"{answer.title} ", verdict))
        lines.append(Text(printable(answer.meaning)))
        lines += [Text(printable(f"  {text}")) for text in answer.sure]
        lines.append(Text(printable(f"  {answer.untested}"), style="dim"))
    lines += [Text(), Text("Four checks of these verdicts")]
    lines += [Text(printable(f"  {name}: {text}")) for name, text in control_lines(content)]
    return Group(*lines)
