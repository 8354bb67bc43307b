"""The three answers of an audit in plain words: membership, reconstruction, and what the model does not know."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from invaudit.records.columns import distinct
from invaudit.records.leakage import ReadinessRow, Verdict
from invaudit.records.model_audit import Question
from invaudit.records.names import ID_TEST
from invaudit.report.audit.content import QUESTIONS, Content
from invaudit.report.audit.pictures import (
    nearest_picture,
    nearest_shares,
    own_detector,
    rejected_picture,
    standing_picture,
)
from invaudit.report.audit.wording import (
    HEADLINES,
    KNOWLEDGE_TITLE,
    MARKS,
    MEANINGS,
    TITLES,
    because,
    listed,
    of_hundred,
    sentence,
    share,
    words,
)
from invaudit.report.leakage.findings import NOT_TESTED, has_references, smallest_p
from invaudit.report.printing import level, p_text, span
from invaudit.report.sections import PageFigure
from invaudit.stats import counted_share

MEASURED = "\u25d0"
"""A sign beside what is a figure and no verdict."""


@dataclass(frozen=True)
class Answer:
    """An answer on the first screen.

    Attributes:
        title: The question.
        mark: A sign for the verdict, beside the word.
        word: The verdict, or a figure where there is no verdict, in few words.
        style: The verdict as a CSS class.
        meaning: What that means, in a sentence or two.
        sure: How sure it is, each line a sentence with its figures.
        untested: What was not tested, in a sentence.
    """

    title: str
    mark: str
    word: str
    style: str
    meaning: str
    sure: Sequence[str]
    untested: str


def headline(content: Content) -> str:
    """Return the two verdicts in a sentence."""
    return sentence([HEADLINES[question][content.verdict(question)] for question in QUESTIONS])


def answers(content: Content) -> list[Answer]:
    """Return the three answers."""
    return [membership(content), reconstruction(content), knowledge(content)]


def charts(content: Content) -> list[PageFigure | None]:
    """Return the chart of each answer; None where the folder does not hold what it takes."""
    return [standing_picture(content), nearest_picture(content), rejected_picture(content)]


def membership(content: Content) -> Answer:
    """Return whether one can tell who was trained on."""
    tests = content.membership_tests
    sure = []
    if tests and tests[0].p_adjusted is not None:
        sure.append(_p(content, tests[0].p_adjusted, [row.verdict for row in tests], "scores"))
    if tests:
        sure += _membership_figures(content, tests[0].score)
    sure += _named(content, "membership")
    gaps = [row.score for row in content.audit.membership_tests if row.verdict is None]
    if not has_references(row.score for row in tests):
        gaps.append("reference models (LiRA, RMIA)")
    gaps.append(
        "attackers who read the weights" if content.run.by_answers else "attackers who hold more than the weights"
    )
    return _answer(content, "membership", sure, f"Not tested: {listed(gaps)}.")


def _membership_figures(content: Content, score: str) -> list[str]:
    """Return what the score with the smallest p-value tells."""
    for row in content.run.membership:
        if row.score == score and row.auroc is not None:
            auroc = share(row.auroc, row.auroc_low, row.auroc_high)
            higher = of_hundred(row.auroc)
            lines = [f"AUROC {auroc} by {score}: of 100 pairs, the member scores higher in {higher}."]
            if row.tpr_at_fpr_1pct is not None:
                found = of_hundred(row.tpr_at_fpr_1pct)
                lines.append(f"Of 100 members {found} are recognised where 1 control of 100 is mistaken for one.")
            return lines
    return []


def reconstruction(content: Content) -> Answer:
    """Return whether training images can be made from the model."""
    tests = content.reconstruction.tests
    sure = []
    smallest = smallest_p(tests)
    if smallest is not None:
        sure.append(_p(content, smallest[0], [row.verdict for row in tests], "tests"))
    sure += _nearest(content, None if smallest is None else smallest[1].method)
    if tests and content.verdict("reconstruction") != "leak":
        sure.append(_limit(content))
    sure += _named(content, "reconstruction")
    return _answer(content, "reconstruction", sure, _reconstruction_untested(content))


def _nearest(content: Content, method: str | None) -> list[str]:
    """Return of how many reconstructions of a method, or of the first one, the nearest image is a member."""
    shares = nearest_shares(content)
    if not shares:
        return []
    name = method if method in shares else next(iter(shares))
    near, chance = of_hundred(shares[name].share), of_hundred(shares[name].expected)
    return [f"Of 100 images made by {name}, {near} are nearest to a member; by chance {chance}."]


def _p(content: Content, p: float, verdicts: list[Verdict | None], tests: str) -> str:
    n_leaks = verdicts.count("leak")
    return f"p {p_text(p)}, level {content.alpha:g}; {n_leaks} of {len(verdicts)} {tests} say leak."


def _limit(content: Content) -> str:
    limit = span([row.scoring_limit for row in content.reconstruction.tests], "{:.0f}".format)
    if limit:
        return f"Scoring limit: from {limit} reconstructed members on, these tests notice it."
    return "No scoring limit: these tests might miss it even if all members were reconstructed."


def _reconstruction_untested(content: Content) -> str:
    if content.run.by_answers:
        return "Not tested: the model itself was not at hand, only what it answers."
    plan = content.audit.plan
    gaps = [f"{row.method} by {row.metric}" for row in content.run.tests if row.verdict is None]
    gaps += [] if plan is None else [f"{name} (does not fit the model)" for name in plan.left_out]
    gaps += ["other attacks, longer runs, queries alone"]
    was_cut = plan is not None and any(stage.cut for stage in plan.stages)
    cut = " Work was cut for the budget, see Cost." if was_cut else ""
    return f"Not tested: {listed(distinct(gaps))}.{cut}"


def _named(content: Content, question: Question) -> list[str]:
    """Return how many members are named one by one; nothing where that is not recorded, or nothing was tested."""
    claims = content.audit.claims
    if claims is None or content.verdict(question) is None:
        return []
    if question in claims.notes:
        return ["No member can be picked out, see Single images."]
    measured = f"{question}_p"
    members = [row for row in content.audit.images if row.side == "member" and getattr(row, measured) is not None]
    of_all = f" of {len(members):,}" if members else ""
    count = getattr(claims, question)
    if not count:
        return [f"None{of_all} members can be picked out one by one."]
    wrong = f"of such picks at most {100 * claims.rate:.0f} % are wrong, on average"
    return [f"{count:,}{of_all} members can be picked out one by one; {wrong}."]


def _answer(content: Content, question: Question, sure: list[str], untested: str) -> Answer:
    verdict = content.verdict(question)
    meaning = "No test has a result, so nothing is known." if verdict is None else MEANINGS[question][verdict]
    reason = because(question, content.verdicts[question])
    return Answer(
        title=TITLES[question],
        mark=MARKS[verdict],
        word=words(verdict),
        style=verdict or "none",
        meaning=f"{meaning} {reason}".strip(),
        sure=sure,
        untested=untested,
    )


def knowledge(content: Content) -> Answer:
    """Return whether the model can be made to notice images of other kinds."""
    rows = own_detector(content)
    others = [row for row in rows if row.ood_set != ID_TEST and row.rejected is not None]
    if not others:
        reasons = distinct(row.reason for row in rows if row.reason)
        why = f" ({'; '.join(reasons)})" if reasons else ""
        meaning = f"What the model makes of images of other kinds was not measured{why}."
        return Answer(
            KNOWLEDGE_TITLE, MARKS[None], NOT_TESTED, "none", meaning, (), "Not tested: any other kind of image."
        )
    worst = min(others, key=lambda row: row.rejected or 0.0)
    rates = span([row.rejected for row in others], partial(level, decimals=0))
    meaning = (
        "As it is, it gives every image one of its classes. A detector on top of it, set for 5 % false alarms, rejects:"
    )
    sure = [f"Fewest of {worst.ood_set}: {_rate(worst)}{_auroc(worst)}."]
    if rows[0].ood_set == ID_TEST and rows[0].rejected is not None:
        sure.append(f"False alarms: {_rate(rows[0])} images of its own kind.")
    given = [row.ood_set for row in others if row.group == "given"]
    kinds = "kinds other than those listed" if given else "anything but noise (no set was given with --ood)"
    untested = f"Not tested: {kinds}. A guard, detector and model in one, is one command further, below."
    what = "other images" if given else "noise"
    word = f"with a detector: {rates} % of {what} rejected"
    return Answer(KNOWLEDGE_TITLE, MEASURED, word, "measured", meaning, sure, untested)


def _rate(row: ReadinessRow) -> str:
    """Return a share with its interval and the number of images."""
    rejected = row.rejected or 0.0
    if not row.n:
        return share(rejected)
    counted = counted_share(round(rejected * row.n), row.n)
    return f"{share(counted.value, counted.low, counted.high)} of {row.n:,}"


def _auroc(row: ReadinessRow) -> str:
    if row.auroc is None:
        return ""
    return f", AUROC {share(row.auroc, row.auroc_low, row.auroc_high)}"
