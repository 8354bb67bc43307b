"""The four controls of an audit in full, as a section of its page."""

from invaudit.records.model_audit import RepeatRow
from invaudit.report.audit.content import QUESTIONS, Content
from invaudit.report.audit.controls import known_scores
from invaudit.report.audit.wording import share
from invaudit.report.leakage.sections import Content as LeakageContent
from invaudit.report.leakage.sections import attack_controls, blind_baseline
from invaudit.report.printing import p_text
from invaudit.report.sections import Grid, GridColumn, GridPart, GridRow, Section, row_grid


def controls(content: Content) -> Section:
    """Return the four controls in full."""
    of_leakage = LeakageContent(content.run, [])
    every = Section(
        "Every repeat",
        grid=row_grid(RepeatRow, content.audit.repeats),
        missing="Not recorded: repeats.csv is missing or empty.",
        is_detail=True,
    )
    parts = (
        attack_controls(of_leakage),
        _known_scores(content),
        _null(content),
        _draws(content),
        blind_baseline(of_leakage),
        every,
    )
    return Section("Controls", parts=parts)


def _known_scores(content: Content) -> Section:
    known = content.audit.known_leak
    rows = []
    for name, is_found in known_scores(content).items():
        result = known.membership[name] if known else None
        if result is None or result.auroc is None or result.p_value is None:
            continue
        auroc = share(result.auroc, result.auroc_low, result.auroc_high)
        rows.append(GridRow([name, "found" if is_found else "missed", auroc, p_text(result.p_value)]))
    columns = [GridColumn("score"), GridColumn("its members"), _number("AUROC"), _number("p")]
    return Section(
        "Membership scores on the attack control",
        notes=("Where a score misses the members of a network that is known to leak, its silence says nothing.",),
        grid=Grid(columns, [GridPart(rows)]),
        missing="No score was measured on an attack control.",
    )


def _null(content: Content) -> Section:
    rows = []
    for question in QUESTIONS:
        repeats = content.repeats[question]
        if repeats.null_p is not None:
            order = "" if repeats.order_p is None else p_text(repeats.order_p)
            called = f"{repeats.halves_called} of {repeats.halves}"
            rows.append(GridRow([question, called, order, p_text(repeats.null_p)]))
    columns = [GridColumn("question"), _number("halves called a leak"), _number("first half, p"), _number("p of both")]
    return Section(
        "Own null",
        notes=(
            "The same tests with controls in the place of members: random halves of the controls, and their first half "
            f"as they were given. Nothing can leak there. A p of {content.alpha:g} or less says that the tests, or the "
            "controls, are not to be trusted.",
        ),
        grid=Grid(columns, [GridPart(rows)]),
        missing="No null was run.",
    )


def _draws(content: Content) -> Section:
    rows = []
    for question in QUESTIONS:
        repeats = content.repeats[question]
        if repeats.draws_alike is not None:
            called = f"{repeats.draws_called} of {repeats.draws}"
            rows.append(GridRow([question, called, "yes" if repeats.draws_alike else "no"]))
    columns = [GridColumn("question"), _number("draws called a leak"), GridColumn("alike, but for one in twenty")]
    return Section(
        "Draws of controls",
        notes=("The same tests with a random half of the controls each time. A verdict should not hang on the draw.",),
        grid=Grid(columns, [GridPart(rows)]),
        missing="The tests were not repeated with other draws.",
    )


def _number(title: str) -> GridColumn:
    return GridColumn(title, is_numeric=True)
