"""The sections of the page of a leakage run; one more is one more function in `SECTIONS`."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from invaudit.records.leakage import ControlRow, MembershipRow, TestRow
from invaudit.records.leakage_run import LeakageRun, distinct
from invaudit.report.leakage.blocks import (
    Block,
    Bullets,
    Definitions,
    Folded,
    Heading,
    Line,
    Note,
    Paragraph,
    Picture,
    Provenance,
    Remarks,
    Results,
    Section,
    Table,
)
from invaudit.report.leakage.findings import LIMITS, MEANINGS, REASONS, WORDS, Finding, not_tested
from invaudit.report.leakage.pictures import image_pictures, membership_picture, quantiles_picture
from invaudit.report.leakage.scope import scope
from invaudit.report.leakage.tables import (
    BLIND,
    CONTROLS,
    MEMBERSHIP,
    PAPERS_COUNT,
    TARGETS,
    TESTS,
    as_they_are,
    grouped,
    over_seeds,
    why_without,
    with_verdicts,
    without_empty,
)
from invaudit.report.page import provenance
from invaudit.stats.verdicts import ALPHA, BLIND_LIMIT

KEYS = ("target", "method", "metric")
GAPS = ("target", "method", "metric", "seed", "status", "reason")


class Content(NamedTuple):
    """What a section may speak of: the run, and the verdict on each target."""

    run: LeakageRun
    findings: list[Finding]


def meaning(content: Content) -> Section:
    """Return what the verdicts of this run mean, and why some are inconclusive."""
    pairs: dict[str, str] = {}
    for finding in content.findings:
        if finding.verdict is not None and not finding.negative:
            pairs[WORDS[finding.verdict]] = MEANINGS[finding.verdict]
    if not pairs:
        return Section("What it means", [Paragraph("No test has a result, so nothing is known."), Paragraph(LIMITS)])
    for finding in content.findings:
        for reason in finding.reasons:
            pairs[reason] = REASONS[reason]
    return Section("What it means", [Definitions(list(pairs.items())), Paragraph(LIMITS)])


def results(content: Content) -> Section:
    """Return every target, method and metric, over seeds."""
    run = content.run
    leaks = grouped((row for row in run.tests if row.verdict == "leak"), KEYS)
    columns, rows = with_verdicts(run.tests, KEYS, TESTS)
    targets: dict[str, list[Line]] = {}
    for target, *cells in rows:
        line = Line((target, *cells[:2]) in leaks, cells)
        targets.setdefault(run.label(target), []).append(line)
    titles = [title for title, _ in columns[1:]]
    remarks = _remarks_on_tests(run.tests) + _directions(run) + _gap_remarks(_gaps(run))
    return Section("Results", [Results(titles, targets), Remarks(remarks)])


def members_against_controls(content: Content) -> Section:
    """Return the similarities to members over those to controls."""
    title = "Members against controls"
    picture = quantiles_picture(content.run)
    if picture is None:
        return Section(title, [Note("The run folder holds no similarities.")])
    alt = "Quantiles of the similarity to members over those of the similarity to controls, per target"
    return Section(title, [Picture(picture, alt)])


def images(content: Content) -> Section | None:
    """Return reconstructions beside their nearest images; None if the run does not allow images."""
    if not content.run.shows_images:
        return None
    alt = "Reconstructions, nearest members and nearest controls"
    pictures: list[Block] = [Picture(picture, alt) for picture in image_pictures(content.run)]
    blocks: list[Block] = [
        Note(
            "Chosen without knowing who is a member: first those whose nearest pool image stands out most from the "
            "second nearest (margin), each pool image once before any comes twice; then some at random."
        )
    ]
    blocks += pictures[:1] or [Note("The run folder holds no images.")]
    if len(pictures) > 1:
        blocks.append(Folded("Reconstructions of the other targets and methods", pictures[1:]))
    return Section("Reconstructions beside their nearest images", blocks)


def membership_scores(content: Content) -> Section:
    """Return how well each score tells members from controls."""
    rows = content.run.membership
    picture = membership_picture(content.run)
    blocks: list[Block] = []
    if picture is not None:
        blocks.append(Picture(picture, "AUROC of each membership score with its interval, per target"))
    table = without_empty(over_seeds(rows, ("target", "score"), MEMBERSHIP))
    blocks.append(Table(table, "Not recorded: membership.csv is missing or empty."))
    blocks.append(Remarks(_remarks_on_scores(rows)))
    return Section("Membership scores", blocks)


def papers_count(content: Content) -> Section:
    """Return what the KKT papers count."""
    counted = [row for row in content.run.papers_count if row.members is not None]
    note = Note(
        "Pool images whose most correlated reconstruction, stretched to [0, 1], has an SSIM above 0.4 with a window of "
        "3. Unrelated images pass it as well, so it is no evidence and enters no verdict; compare members with "
        "controls."
    )
    table = without_empty(over_seeds(counted, ("target", "method"), PAPERS_COUNT))
    return Section("The count of the KKT papers", [note, Table(table, "Not recorded.")])


def controls(content: Content) -> Section:
    """Return negative controls, attack controls and the blind baseline."""
    rows = content.run.controls
    negative = [row for row in rows if row.kind == "negative"]
    attack = [row for row in rows if row.kind == "attack"]
    blind = [row for row in content.run.tests if row.status == "ok" and row.blind_auroc is not None]
    return Section(
        "Controls",
        [
            Heading("Negative controls"),
            Note("The same attack and tests where nothing can leak. None may be called a leak."),
            Table(without_empty(with_verdicts(negative, KEYS, CONTROLS)), "No negative control was run."),
            Heading("Attack controls"),
            Note(
                "The same attack and tests on a target that is known to leak. Where it is not called a leak, the "
                "silence of the attack elsewhere says nothing."
            ),
            Table(without_empty(with_verdicts(attack, KEYS, CONTROLS)), "No attack control was run."),
            Remarks(_gap_remarks([row for row in rows if row.status != "ok"])),
            Heading("Blind baseline"),
            Note(
                "A classifier between members and controls that never sees the target, AUROC in per cent. 50 is as it "
                f"should be; from {100 * BLIND_LIMIT:.0f} on, given pools (design observational) differ by themselves."
            ),
            Table(without_empty(over_seeds(blind, ("target", "design"), BLIND)), "No blind baseline was run."),
        ],
    )


def what_was_tested(content: Content) -> Section:
    """Return the audited networks and the scope of the audit."""
    table = without_empty(over_seeds(content.run.targets, ("target", "description"), TARGETS))
    missing = "Not recorded: targets.csv is missing or empty."
    return Section("What was tested", [Table(table, missing), Definitions(scope(content.run))])


def what_was_not_tested(content: Content) -> Section:
    """Return what did not run, and what no run of this kind covers."""
    return Section("What was not tested", [Bullets(not_tested(content.run))])


def how_to_read(content: Content) -> Section:
    """Return what the words and columns of the page mean."""
    alpha = ALPHA if content.run.alpha is None else content.run.alpha
    pairs = [
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
    return Section("How to read this page", [Definitions(pairs)])


def details(content: Content) -> Section:
    """Return all tests, what did not run, and how the run was made."""
    run = content.run
    ran = [row for row in run.tests if row.status == "ok"]
    columns = [name for name in TestRow.model_fields if name != "status"]
    tests = Table(as_they_are(TestRow, ran, columns), "No test has a result.")
    gaps = Table(as_they_are(TestRow, _gaps(run), GAPS), "Every row has a result.")
    return Section(
        "Details",
        [
            Folded("All tests", [tests]),
            Folded("What did not run, and why", [gaps]),
            Provenance(**provenance(run.seeds, run.config, run.environment)),
        ],
    )


SECTIONS: tuple[Callable[[Content], Section | None], ...] = (
    meaning,
    results,
    members_against_controls,
    images,
    membership_scores,
    papers_count,
    controls,
    what_was_tested,
    what_was_not_tested,
    how_to_read,
    details,
)
"""The sections in the order of the page; one that returns None is left out."""


def _gaps(run: LeakageRun) -> list[TestRow]:
    return [row for row in run.tests if row.status != "ok"]


def _directions(run: LeakageRun) -> list[str]:
    """Return of which metrics a lower value means more similar: the others are similarities already."""
    lower = []
    for metric in distinct(row.metric for row in run.tests):
        if metric in run.metrics and run.better(metric) == "lower":
            lower.append(metric)
    return [f"lower is more similar: {', '.join(lower)}"] if lower else []


def _remarks_on_tests(rows: Sequence[TestRow]) -> list[str]:
    reasons = []
    for row in rows:
        if row.status == "ok":
            reasons.append((f"{row.method} {row.metric} on {row.target}", row.reason))
    return _remarks(reasons, [name for name, _ in reasons])


def _remarks_on_scores(rows: Sequence[MembershipRow]) -> list[str]:
    names = [f"{row.score} on {row.target}" for row in rows]
    ran = [name for name, row in zip(names, rows, strict=True) if row.status == "ok"]
    return _remarks([(name, row.reason) for name, row in zip(names, rows, strict=True)], ran)


def _remarks(reasons: Sequence[tuple[str, str | None]], ran: Sequence[str]) -> list[str]:
    """Return each reason with the names of the rows that have it.

    Args:
        reasons: Name of each row, and its reason.
        ran: Names of the rows that have a result.
    """
    names_by_reason: dict[str, dict[str, None]] = {}
    for name, reason in reasons:
        if reason:
            names_by_reason.setdefault(reason, {})[name] = None
    remarks = []
    for reason, names in names_by_reason.items():
        remarks.append(f"{reason}: {'all that ran' if names.keys() == set(ran) else ', '.join(names)}")
    return remarks


def _gap_remarks(gaps: Sequence[TestRow | ControlRow]) -> list[str]:
    """Return why tests have no result, each reason with the number of them."""
    counts = Counter(map(why_without, gaps))
    return [f"{why} ({n} {'test' if n == 1 else 'tests'})" for why, n in counts.items()]
