"""The sections of the page of a leakage run; one more is one more function in `SECTIONS`."""

from collections.abc import Callable
from typing import NamedTuple

from invaudit.records.leakage import ControlRow, TestRow
from invaudit.records.leakage_run import LeakageRun
from invaudit.report.leakage.findings import LIMITS, MEANINGS, REASONS, WORDS, Finding, gaps_of, not_tested
from invaudit.report.leakage.pictures import image_pictures, membership_picture, quantiles_picture
from invaudit.report.leakage.readiness import readiness_section
from invaudit.report.leakage.remarks import directions, remarks_on_gaps, remarks_on_scores, remarks_on_tests
from invaudit.report.leakage.scope import scope
from invaudit.report.leakage.tables import (
    BLIND,
    CONTROLS,
    MEMBERSHIP,
    PAPERS_COUNT,
    TARGETS,
    TESTS,
    figure_cells,
    figure_columns,
    grouped,
    over_seeds,
    verdicts,
    with_verdicts,
)
from invaudit.report.sections import Grid, GridPart, GridRow, Section, row_grid
from invaudit.stats.blind import SHIFT_LEVEL, SHIFT_LIMIT
from invaudit.stats.verdicts import ALPHA

KEYS = ("target", "method", "metric")
GAPS = ("target", "method", "metric", "seed", "status", "reason")


class Content(NamedTuple):
    """What a section may speak of: the run, and the verdict on each target."""

    run: LeakageRun
    findings: list[Finding]


def meaning(content: Content) -> Section:
    """Return what the verdicts of this run mean, and why some are inconclusive."""
    terms: dict[str, str] = {}
    for finding in content.findings:
        if finding.verdict is not None and not finding.negative:
            terms[WORDS[finding.verdict]] = MEANINGS[finding.verdict]
    if not terms:
        return Section("What it means", lines=("No test has a result, so nothing is known.", LIMITS))
    for finding in content.findings:
        for reason in finding.reasons:
            terms[reason] = REASONS[reason]
    return Section("What it means", terms=tuple(terms.items()), lines=(LIMITS,))


def results(content: Content) -> Section:
    """Return every target, method and metric, over seeds."""
    run = content.run
    parts: dict[str, list[GridRow]] = {}
    for (target, method, metric), tests in grouped(run.tests, KEYS).items():
        has_leak = "leak" in [row.verdict for row in tests]
        cells = [method, metric, verdicts(tests), *figure_cells(tests, TESTS)]
        parts.setdefault(run.label(target), []).append(GridRow(cells, style="leak" if has_leak else ""))
    columns = figure_columns(("method", "metric", "verdict"), TESTS)
    grid_parts = []
    for title, rows in parts.items():
        grid_parts.append(GridPart(rows, title))
    remarks = [*remarks_on_tests(run.tests), *directions(run), *remarks_on_gaps(gaps_of(run.tests))]
    return Section("Results", grid=Grid(columns, grid_parts, is_long=False), remarks=remarks)


def members_against_controls(content: Content) -> Section:
    """Return the similarities to members over those to controls."""
    picture = quantiles_picture(content.run)
    return Section(
        "Members against controls",
        figures=() if picture is None else (picture,),
        missing="The run folder holds no similarities.",
    )


def images(content: Content) -> Section | None:
    """Return reconstructions beside their nearest images; None if the run does not allow images."""
    if not content.run.shows_images:
        return None
    pictures = list(image_pictures(content.run))
    parts = []
    if len(pictures) > 1:
        title = "Reconstructions of the other targets and methods"
        parts.append(Section(title, figures=pictures[1:], is_detail=True))
    return Section(
        "Reconstructions beside their nearest images",
        notes=(
            "Chosen without knowing who is a member: first those whose nearest pool image stands out most from the "
            "second nearest (margin), each pool image once before any comes twice; then some at random.",
        ),
        figures=pictures[:1],
        missing="The run folder holds no images.",
        parts=parts,
    )


def membership_scores(content: Content) -> Section:
    """Return how well each score tells members from controls."""
    rows = content.run.membership
    picture = membership_picture(content.run)
    return Section(
        "Membership scores",
        figures=() if picture is None else (picture,),
        grid=over_seeds(rows, ("target", "score"), MEMBERSHIP),
        missing="Not recorded: membership.csv is missing or empty.",
        remarks=remarks_on_scores(rows),
    )


def papers_count(content: Content) -> Section:
    """Return what the KKT papers count."""
    counted = [row for row in content.run.papers_count if row.members is not None]
    return Section(
        "The count of the KKT papers",
        notes=(
            "Pool images whose most correlated reconstruction, stretched to [0, 1], has an SSIM above 0.4 with a "
            "window of 3. Unrelated images pass it as well, so it is no evidence and enters no verdict; compare "
            "members with controls.",
        ),
        grid=over_seeds(counted, ("target", "method"), PAPERS_COUNT),
        missing="Not recorded.",
    )


def readiness(content: Content) -> Section | None:
    """Return what the model makes of images of other kinds; None for a run that does not ask."""
    return readiness_section(content.run.readiness) if content.run.readiness else None


def controls(content: Content) -> Section:
    """Return negative controls, attack controls and the blind baseline."""
    return Section("Controls", parts=(_negative_controls(content), attack_controls(content), blind_baseline(content)))


def _of_kind(run: LeakageRun, kind: str) -> list[ControlRow]:
    return [row for row in run.controls if row.kind == kind]


def _negative_controls(content: Content) -> Section:
    return Section(
        "Negative controls",
        notes=("The same attack and tests where nothing can leak. None may be called a leak.",),
        grid=with_verdicts(_of_kind(content.run, "negative"), KEYS, CONTROLS),
        missing="No negative control was run.",
    )


def attack_controls(content: Content) -> Section:
    """Return what the same attacks made of a target that is known to leak."""
    return Section(
        "Attack controls",
        notes=(
            "The same attack and tests on a target that is known to leak. Where it is not called a leak, the silence "
            "of the attack elsewhere says nothing.",
        ),
        grid=with_verdicts(_of_kind(content.run, "attack"), KEYS, CONTROLS),
        missing="No attack control was run.",
        # Of both kinds of controls: the tables above say where.
        remarks=remarks_on_gaps(gaps_of(content.run.controls)),
    )


def blind_baseline(content: Content) -> Section:
    """Return what a classifier that never sees the target makes of the pool."""
    blind = [row for row in content.run.tests if row.status == "ok" and row.blind_auroc is not None]
    return Section(
        "Blind baseline",
        notes=(
            "A classifier between members and controls that never sees the target, AUROC in per cent. 50 is as it "
            f"should be; with p at most {SHIFT_LEVEL:g} and from {100 * SHIFT_LIMIT:.0f} on, given pools (design "
            "observational) differ by themselves.",
        ),
        grid=over_seeds(blind, ("target", "design"), BLIND),
        missing="No blind baseline was run.",
    )


def what_was_tested(content: Content) -> Section:
    """Return the audited networks and the scope of the audit."""
    return Section(
        "What was tested",
        grid=over_seeds(content.run.targets, ("target", "description"), TARGETS),
        missing="No network is recorded (targets.csv is missing), as where reconstructions were given.",
        parts=(Section("", terms=scope(content.run)),),
    )


def what_was_not_tested(content: Content) -> Section:
    """Return what did not run, and what no run of this kind covers."""
    return Section("What was not tested", bullets=not_tested(content.run))


def how_to_read(content: Content) -> Section:
    """Return what the words and columns of the page mean."""
    alpha = ALPHA if content.run.alpha is None else content.run.alpha
    terms = [
        (
            "member, control",
            "A member is an image that the target was trained on; a control comes from the same source and is not. "
            "Together they are the pool.",
        ),
        ("reconstruction", "An image made from the target alone that is meant to resemble a member."),
        (
            "verdict",
            "leak: reconstructions are nearer to members than swapping members and controls at random explains. "
            "no-evidence: not so, though the test could have seen it. inconclusive: the test cannot tell, for the "
            "reason given.",
        ),
        (
            "Holm p",
            "How often swapped labels look at least as leaky, corrected for all methods and metrics of the target. At "
            f"most {alpha} is a leak.",
        ),
        (
            "distinct hits",
            "Pool units (images or pairs) that are nearest to at least one reconstruction. Few hits mean copies of few "
            "images, and a weak test.",
        ),
        (
            "to member, to control",
            "Mean similarity of a reconstruction to its nearest member, and to its nearest control, in the units of "
            "the metric. A high figure alone is no leak: images of one class resemble one another.",
        ),
        (
            "scoring limit",
            "The smallest number of distinct members, reconstructed at a stated similarity, that these tests call a "
            "leak with probability 0.95. It speaks of the tests, not of the attack.",
        ),
        (
            "AUROC, from, to",
            "How often a member scores higher than a control, with its 95 % interval. 50 is guessing, 100 is perfect.",
        ),
        (
            "TPR at 1 % FPR",
            "Members recognised when one control in a hundred is mistaken for one; needs 1,000 controls.",
        ),
        (
            "epsilon at least",
            "A claim of differential privacy below this value is refuted, with 95 % confidence, for replacing one "
            "image by another. It is no upper bound on what leaks.",
        ),
        ("2/3, 0.1\u20130.4", "Over several seeds: a verdict in two of three; lowest and highest of a figure."),
    ]
    return Section("How to read this page", terms=terms)


def all_tests(content: Content) -> Section:
    """Return every test that ran."""
    ran = [row for row in content.run.tests if row.status == "ok"]
    grid = row_grid(TestRow, ran, without=("status",))
    return Section("All tests", grid=grid, missing="No test has a result.", is_detail=True)


def gaps(content: Content) -> Section:
    """Return every test without a result, and why."""
    grid = row_grid(TestRow, gaps_of(content.run.tests), only=GAPS)
    return Section("What did not run, and why", grid=grid, missing="Every row has a result.", is_detail=True)


SECTIONS: tuple[Callable[[Content], Section | None], ...] = (
    meaning,
    results,
    members_against_controls,
    images,
    membership_scores,
    readiness,
    papers_count,
    controls,
    what_was_tested,
    what_was_not_tested,
    how_to_read,
    all_tests,
    gaps,
)
"""The sections in the order of the page; one that returns None is left out."""
