"""Findings of a leakage run and the table on the terminal."""

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from invaudit.records import TestRow, read_leakage_run
from invaudit.records.columns import distinct
from invaudit.report import leakage_table
from invaudit.report.leakage.findings import FIRED, NO_LIMIT, REASONS, Finding, findings, headline_sentence
from invaudit.report.leakage.scope import scope
from invaudit.stats import verdicts


def _tests(*texts: str) -> list[TestRow]:
    rows = []
    for text in texts:
        verdict, _, reason = text.partition("/")
        cells = {"verdict": verdict, "verdict_reason": reason or None, "p_adjusted": 0.5}
        rows.append(TestRow.model_validate({"target": "t", "method": "m", "status": "ok", **cells}))
    return rows


@pytest.mark.parametrize(
    ("tests", "verdict", "reasons"),
    [
        (["leak", "no-evidence", "inconclusive/control-invalid"], "leak", []),
        (["no-evidence", "no-evidence"], "no-evidence", []),
        (["no-evidence", "inconclusive/attack-failed", "inconclusive/underpowered"], "no-evidence", []),
        (["no-evidence", "inconclusive/control-invalid"], "inconclusive", ["control-invalid"]),
        (["no-evidence", "inconclusive/shift"], "inconclusive", ["shift"]),
        (
            ["inconclusive/attack-failed", "inconclusive/underpowered"],
            "inconclusive",
            ["attack-failed", "underpowered"],
        ),
        ([], None, []),
    ],
)
def test_verdict_on_a_target(tests: list[str], verdict: str | None, reasons: list[str]) -> None:
    for order in (tests, tests[::-1]):
        finding = Finding("t", _tests(*order))
        assert finding.verdict == verdict
        assert sorted(finding.reasons) == reasons
        assert finding.sentence.endswith(".")


def test_every_reason_has_words() -> None:
    assert REASONS.keys() == set(verdicts.Reason.__args__)


def test_one_target_names_the_reason() -> None:
    text = headline_sentence([Finding("t", _tests("inconclusive/underpowered"))])
    assert text == f"t: inconclusive, because {REASONS['underpowered']}."


def test_an_unknown_limit_is_said() -> None:
    assert NO_LIMIT in Finding("t", _tests("no-evidence")).sentence


def test_reconstructions_of_several_metrics_cost_once(leakage_folder: Path) -> None:
    effort = dict(scope(read_leakage_run(leakage_folder)))["effort"]
    methods, failed = 4 * 3 * 2 * 4.5, 2 * 1.0
    assert effort == f"30 reconstructions per target and method, {methods + failed:.0f} s in all"


def test_findings_follow_the_table(leakage_folder: Path) -> None:
    verdict_by_target = {item.target: item.verdict for item in findings(read_leakage_run(leakage_folder))}
    assert list(verdict_by_target)[-1] == "twin"
    assert findings(read_leakage_run(leakage_folder))[-1].negative
    assert verdict_by_target == {
        "twin": "no-evidence",
        "memorised": "leak",
        "early-stopped": "no-evidence",
        "shifted": "inconclusive",
    }


def _printed(folder: Path, width: int = 120) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(leakage_table(folder))
    return stream.getvalue()


def test_printed_table(leakage_folder: Path) -> None:
    text = _printed(leakage_folder)
    lines = [line.split() for line in text.splitlines()]
    assert ["memorised", "generator", "leak", "4/4", "0.0004", "25", "7\u20139"] in lines
    assert ["shifted", "tldr", "inconclusive", "(shift)", "0/4", "0.48", "3", "7\u20139"] in lines
    assert "failed: the inversions collapsed" in text
    assert "missed by tldr" in " ".join(text.split())
    assert "not evidence of anonymity" in text
    assert "twin (negative control) " in text
    targets = [line[0] for line in lines if line and line[0] in ("twin", "memorised", "early-stopped", "shifted")]
    assert targets == ["twin"] * 3 + ["memorised"] * 4 + ["early-stopped"] * 3 + ["shifted"] * 3


def test_a_fired_negative_control_is_printed(leakage_folder: Path) -> None:
    assert FIRED not in _printed(leakage_folder)
    frame = pd.read_csv(leakage_folder / "controls.csv").replace({"verdict": {"no-evidence": "leak"}})
    frame.to_csv(leakage_folder / "controls.csv", index=False)
    assert FIRED in " ".join(_printed(leakage_folder).split())


def test_narrow_table_cuts_no_figure(leakage_folder: Path) -> None:
    narrow = _printed(leakage_folder, width=60)
    for word in ("0.0004", "7\u20139", "4/4"):
        assert word in narrow


def test_names_are_no_markup_and_stay_text(leakage_folder: Path) -> None:
    frame = pd.read_csv(leakage_folder / "table.csv").replace({"memorised": "[red]007[/nothing]", "kkt": "007"})
    frame.to_csv(leakage_folder / "table.csv", index=False)
    text = _printed(leakage_folder)
    assert "[red]007[/nothing]" in text
    assert "007" in distinct(row.method for row in read_leakage_run(leakage_folder).tests)
