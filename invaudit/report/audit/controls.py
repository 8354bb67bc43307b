"""The four controls of an audit in a line each: attack control, own null, agreement over draws, blind baseline."""

from collections.abc import Callable

from invaudit.records.model_audit import Question
from invaudit.report.audit.content import QUESTIONS, Content
from invaudit.report.audit.wording import sentence, share
from invaudit.report.leakage.findings import NOT_TESTED, attack_findings, found_and_missed
from invaudit.report.printing import p_text
from invaudit.stats import known_leak_found

TRIED: dict[Question, str] = {"membership": "scores", "reconstruction": "methods"}
NOT_RUN = "not run, so this is not known"


def control_lines(content: Content) -> list[tuple[str, str]]:
    """Return the four controls, each with what it says in a line."""
    return [
        ("known leak (attack control)", _by_question(content, _attack)),
        ("false alarms (own null)", _by_question(content, _null)),
        ("other draws of controls", _by_question(content, _draws)),
        ("without the model (blind)", _blind(content)),
    ]


def _attack(content: Content, question: Question) -> str:
    found = known_scores(content) if question == "membership" else attack_findings(content.run)
    if not found:
        return NOT_RUN
    return (
        f"found by all {len(found)} {TRIED[question]} that were tried on it"
        if all(found.values())
        else found_and_missed(found)
    )


def known_scores(content: Content) -> dict[str, bool]:
    """Return for each declared membership score whether it finds the leak of the network that is known to leak."""
    known = content.audit.known_leak
    if known is None:
        return {}
    return known_leak_found(known.membership_family, design=known.target.design, alpha=content.alpha)


def _by_question(content: Content, say: Callable[[Content, Question], str]) -> str:
    """Return what a control says of both questions; once where it says the same of both."""
    said = {}
    for question in QUESTIONS:
        tested = content.verdict(question) is not None
        said[question] = say(content, question) if tested else NOT_TESTED
    if len(set(said.values())) == 1:
        return sentence([f"both questions: {said[QUESTIONS[0]]}"])
    return " ".join(sentence([f"{question}: {text}"]) for question, text in said.items())


def _null(content: Content, question: Question) -> str:
    repeats = content.repeats[question]
    if repeats.null_p is None:
        return NOT_RUN
    called = f"{repeats.halves_called} of {repeats.halves} splits of controls called a leak"
    return f"{called} (p {p_text(repeats.null_p)})"


def _draws(content: Content, question: Question) -> str:
    repeats = content.repeats[question]
    if repeats.draws_alike is None:
        return NOT_RUN
    hangs = "" if repeats.draws_alike else "; the verdict hangs on the draw"
    return f"{repeats.most_alike} of {repeats.draws} draws called alike ({repeats.draws_called} a leak){hangs}"


def _blind(content: Content) -> str:
    for row in content.run.tests:
        if row.blind_auroc is not None and row.blind_p is not None:
            figures = f"AUROC {share(row.blind_auroc)} (p {p_text(row.blind_p)})"
            return f"{figures} of a classifier that never sees the model; 50 % is as it should be."
    return sentence([NOT_RUN])
