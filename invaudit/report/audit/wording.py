"""The words of the page of an audit: the two questions about leaks, their verdicts and reasons."""

from collections.abc import Sequence

from invaudit.records.leakage import Reason, Verdict
from invaudit.records.model_audit import Question
from invaudit.report.leakage.findings import NOT_TESTED, REASONS, WORDS
from invaudit.report.printing import level
from invaudit.stats import OverallVerdict

TITLES: dict[Question, str] = {
    "membership": "Can one tell which images it was trained on?",
    "reconstruction": "Can training images be made from it?",
}
KNOWLEDGE_TITLE = "Does it know what it does not know?"
MARKS: dict[Verdict | None, str] = {"leak": "\u25b2", "no-evidence": "\u25cb", "inconclusive": "?", None: "\u2013"}
"""A sign beside each verdict, for those who see no colours; the word says the same."""
HEADLINES: dict[Question, dict[Verdict | None, str]] = {
    "membership": {
        "leak": "one can tell which images it was trained on",
        "no-evidence": "no evidence that one can tell which images it was trained on",
        "inconclusive": "whether one can tell which images it was trained on stays open",
        None: "whether one can tell which images it was trained on was not tested",
    },
    "reconstruction": {
        "leak": "images made from it come nearer to training images than chance explains",
        "no-evidence": "no evidence that training images can be made from it",
        "inconclusive": "whether training images can be made from it stays open",
        None: "whether training images can be made from it was not tested",
    },
}
MEANINGS: dict[Question, dict[Verdict, str]] = {
    "membership": {
        "leak": "Of an image one can tell, better than by chance, whether the model was trained on it.",
        "no-evidence": "No score told members from controls. A weaker leak is possible.",
        "inconclusive": "The tests can say neither that members can be told from controls nor that they found nothing.",
    },
    "reconstruction": {
        "leak": "Images made from the model alone are nearer to its training images than chance explains.",
        "no-evidence": "Images made from it are no nearer to members than chance explains. A weaker leak is possible.",
        "inconclusive": "The tests can say neither that images can be made from it nor that they found nothing.",
    },
}
FULLER: dict[Question, dict[Verdict, str]] = {
    "membership": {
        "leak": "It takes the model, the image and its class. Members are told from controls on average over the pool; "
        "which single images can be named stands under Single images.",
        "no-evidence": "The same scores do tell the members of a network that is known to leak. Another attack, with "
        "reference models for example, may find more.",
        "inconclusive": "That is no good news and no bad news.",
    },
    "reconstruction": {
        "leak": "It takes the weights and no image. Comparable images that it was not trained on do not come out as "
        "near; that the pictures look good is not said.",
        "no-evidence": "The same attacks do find the leak of a network that is known to leak. A leak below the scoring "
        "limit, or by another attack, stays possible.",
        "inconclusive": "That is no good news and no bad news.",
    },
}
"""What a verdict means beyond `MEANINGS`."""
REASONS_OF: dict[Question, dict[Reason, str]] = {
    "membership": {
        **REASONS,
        "underpowered": "there are too few images for any result to reach the level, or to see whether members and "
        "controls differ by themselves",
        "attack-failed": "the same score does not find the leak of a network that is known to leak",
        "no-control": "a control is missing",
    },
    "reconstruction": {**REASONS, "no-control": "a control is missing"},
}


def words(verdict: Verdict | None) -> str:
    """Return a verdict in words."""
    return NOT_TESTED if verdict is None else WORDS[verdict]


def because(question: Question, overall: OverallVerdict | None) -> str:
    """Return why a verdict is inconclusive, as a sentence; empty where it is not."""
    reasons = () if overall is None else overall.reasons
    texts = [REASONS_OF[question][reason] for reason in reasons]
    return f"The reason: {'; '.join(texts)}." if texts else ""


def share(value: float, low: float | None = None, high: float | None = None) -> str:
    """Return a fraction in per cent, with its interval where it is known."""
    interval = "" if low is None or high is None else f" [{level(low)}, {level(high)}]"
    return f"{level(value)} %{interval}"


def of_hundred(value: float) -> str:
    """Return a fraction as a number of a hundred, without ever rounding to none or all."""
    count = round(100 * value)
    if count == 0 and value > 0:
        return "fewer than 1"
    if count == 100 and value < 1:
        return "more than 99"
    return str(count)


def listed(names: Sequence[str]) -> str:
    """Return names as they are read out: with commas, and an "and" before the last."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def sentence(clauses: Sequence[str]) -> str:
    """Return clauses as one sentence that begins with a capital."""
    text = "; ".join(clauses)
    return f"{text[:1].upper()}{text[1:]}."
