"""The sections of the page of an audit; one more is one more function in `SECTIONS`."""

import shlex
from collections.abc import Callable

from invaudit.records.columns import distinct
from invaudit.records.leakage import TestRow
from invaudit.records.model_audit import MembershipTestRow
from invaudit.report.audit.content import QUESTIONS, Content
from invaudit.report.audit.control_sections import controls
from invaudit.report.audit.exposed import single_images
from invaudit.report.audit.gallery import gallery
from invaudit.report.audit.opinion import opinion
from invaudit.report.audit.pictures import auroc_picture
from invaudit.report.audit.remedies import what_now
from invaudit.report.audit.samples import images
from invaudit.report.audit.seen import cost, preflight
from invaudit.report.audit.wording import FULLER, MEANINGS, TITLES, because, words
from invaudit.report.leakage import sections as leakage
from invaudit.report.leakage.findings import LIMITS, findings, not_tested
from invaudit.report.leakage.readiness import readiness_section
from invaudit.report.leakage.remarks import remarks_on_scores
from invaudit.report.leakage.scope import scope
from invaudit.report.leakage.tables import MEMBERSHIP, TARGETS, over_seeds
from invaudit.report.printing import p_text
from invaudit.report.sections import Grid, GridColumn, GridPart, GridRow, Section, row_grid

KEPT = (
    "The two verdicts answer different questions and are never merged. Each has its own declared family of tests, "
    "corrected for all of them (Holm)."
)


ASSUMED = (
    "Members and controls were given. That they differ in nothing but membership is an assumption; the blind baseline "
    "and the null can shake it, not prove it."
)
DRAWN = (
    "Members and controls were drawn at random from one pool, says who gave them; all of it rests on that, since "
    "without images nothing else shows whether they differ by themselves."
)


def meaning(content: Content) -> Section:
    """Return what the verdicts mean, and what they do not."""
    terms = []
    for question in QUESTIONS:
        verdict = content.verdict(question)
        text = "No test has a result."
        if verdict is not None:
            text = f"{MEANINGS[question][verdict]} {FULLER[question][verdict]}"
        answer = f"{words(verdict)}. {text} {because(question, content.verdicts[question])}".strip()
        terms.append((TITLES[question], f"{answer[:1].upper()}{answer[1:]}"))
    design = content.audit.network.design if content.audit.network else None
    lines = (
        KEPT,
        LIMITS,
        DRAWN if design == "random-split" else ASSUMED,
        "A verdict speaks of the pool as a whole. Some images are more exposed than others, and a person with many "
        "images more than any of them.",
    )
    return Section("What it means, and what it does not", terms=terms, lines=lines)


def reconstruction_tests(content: Content) -> Section:
    """Return every method and metric."""
    section = leakage.results(_of_leakage(content))
    sizes = [(row.n_members, row.n_control) for row in content.run.tests if row.n_members != row.n_control]
    notes = []
    if sizes:
        notes.append(
            f"With {sizes[0][0]} members and {sizes[0][1]} controls the nearest of the larger side is more similar by "
            "numbers alone, so the columns to member and to control do not compare; the test keeps the numbers."
        )
    return Section("Tests of reconstructions", notes=notes, grid=section.grid, remarks=section.remarks)


def membership_scores(content: Content) -> Section:
    """Return the declared membership scores with their verdicts, and every score with what it tells."""
    rows = []
    for row in content.audit.membership_tests:
        verdict = row.status if row.verdict is None else row.verdict
        reason = f" ({row.verdict_reason})" if row.verdict_reason else ""
        p_adjusted = "" if row.p_adjusted is None else p_text(row.p_adjusted)
        style = "leak" if row.verdict == "leak" else ""
        rows.append(GridRow([row.score, f"{verdict}{reason}", p_adjusted, row.reason or ""], style))
    columns = [
        GridColumn("score"),
        GridColumn("verdict"),
        GridColumn("Holm p", is_numeric=True),
        GridColumn("why without"),
    ]
    picture = auroc_picture(content)
    declared = Section(
        "",
        notes=("The declared family, which the verdict rests on.",),
        grid=Grid(columns, [GridPart(rows)]),
        missing="Not recorded: membership_tests.csv is missing or empty.",
    )
    every = Section(
        "Every score",
        notes=("Scores by reconstructions (METHOD:METRIC) stand beside the others and enter no membership verdict.",),
        figures=() if picture is None else (picture,),
        grid=over_seeds(content.run.membership, ("score",), MEMBERSHIP),
        missing="Not recorded: membership.csv is missing or empty.",
        remarks=remarks_on_scores(content.run.membership),
    )
    return Section("Membership scores", parts=(declared, every))


def knowledge(content: Content) -> Section:
    """Return what the model makes of images of other kinds, and the command that makes a guard."""
    section = readiness_section(content.run.readiness)
    if content.run.by_answers:
        return Section(section.title, missing="Not tested.", remarks=section.remarks)
    data = shlex.quote(str(content.run.settings.get("controls", "DATA")))
    command = f"invaudit ood fit {data} --out guard --model {shlex.quote(content.audit.model)} --as-it-is"
    guard = Section(
        "What a guard would bring",
        lines=(
            "A guard is the model with a detector and a threshold that keeps its promise: it says of an image that it "
            "is none of its classes. One command further, with --arch and --input as here; leave --as-it-is out "
            "for a short fine-tuning, which as a rule rejects more:",
        ),
        verbatim=command,
    )
    return Section(
        section.title,
        notes=section.notes,
        grid=section.grid,
        missing=section.missing,
        remarks=section.remarks,
        parts=(guard,),
    )


def what_was_tested(content: Content) -> Section:
    """Return the model and the scope of the audit."""
    return Section(
        "What was tested",
        grid=over_seeds(content.run.targets, ("target", "description"), TARGETS),
        missing="No network is recorded: targets.csv is missing.",
        parts=(Section("Methods and settings", terms=scope(content.run)),),
    )


def what_was_not_tested(content: Content) -> Section:
    """Return what did not run, and what no audit of this kind covers."""
    plan = content.audit.plan
    left_out = [] if plan is None else [f"{name}: {why}." for name, why in plan.left_out.items()]
    return Section("What was not tested", bullets=distinct([*left_out, *not_tested(content.run)]))


def check_it(content: Content) -> Section:
    """Return how to check the figures, and how to do the audit again."""
    command = shlex.join(map(str, (content.run.environment or {}).get("command", [])))
    parts = [
        Section(
            "Without the model",
            lines=("Makes every figure of this folder once more from its scores, and names the first difference:",),
            verbatim="invaudit verify FOLDER",
        ),
        Section(
            "Do it again",
            lines=("With the same files and versions (below) the same command gives the same figures, times apart:",),
            verbatim=command,
            missing="The command is not recorded: environment.json is missing.",
        ),
    ]
    return Section("Check it, and do it again", parts=parts)


def how_to_read(content: Content) -> Section:
    """Return what words and columns mean."""
    return leakage.how_to_read(_of_leakage(content))


def all_tests(content: Content) -> Section:
    """Return every test with all its figures."""
    reconstructions = Section(
        "Of reconstructions", grid=row_grid(TestRow, content.run.tests), missing="table.csv has no row."
    )
    membership = Section(
        "Of membership", grid=row_grid(MembershipTestRow, content.audit.membership_tests), missing="Not recorded."
    )
    return Section("All tests", parts=(reconstructions, membership), is_detail=True)


def _of_leakage(content: Content) -> leakage.Content:
    return leakage.Content(content.run, findings(content.run))


SECTIONS: tuple[Callable[[Content], Section | None], ...] = (
    meaning,
    images,
    what_now,
    controls,
    membership_scores,
    reconstruction_tests,
    single_images,
    knowledge,
    gallery,
    preflight,
    what_was_tested,
    what_was_not_tested,
    cost,
    opinion,
    check_it,
    how_to_read,
    all_tests,
)
"""The sections in the order of the page; one that returns None is left out."""
