"""What an audit saw before it began, and what it cost."""

from invaudit.records.model_audit import StageRow
from invaudit.report.audit.content import Content
from invaudit.report.audit.model import accuracy_sentence, gap_sentence
from invaudit.report.sections import Grid, GridColumn, GridPart, GridRow, Section


def preflight(content: Content) -> Section:
    """Return what was seen of model and images."""
    seen = content.audit.preflight
    if seen is None:
        return Section("Does it fit?", missing="Not recorded: preflight.json is missing.")
    near = "not compared" if seen.near_copies is None else f"{seen.near_copies} (SSIM {seen.near_similarity:g} or more)"
    both = "not compared" if content.run.by_answers else f"{seen.both_sides}, left out" if seen.both_sides else "none"
    terms = [
        ("accuracy", accuracy_sentence(content)),
        ("gap", gap_sentence(content)),
        ("preparation", seen.preparation),
        ("images on both sides", both),
        ("controls that are nearly a copy of a member", near),
    ]
    return Section("Does it fit?", terms=terms, bullets=seen.notes)


def cost(content: Content) -> Section:
    """Return what each stage was to take, what it took, and what was cut."""
    plan, stages = content.audit.plan, content.audit.stages
    if not stages and plan is not None:
        stages = [
            StageRow(stage=stage.name, settings=stage.settings, planned=stage.seconds, cut=stage.cut)
            for stage in plan.stages
        ]
    rows = []
    for row in stages:
        planned, taken = _seconds(row.planned), _seconds(row.seconds)
        rows.append(GridRow([row.stage, planned, taken, row.cut or "nothing", row.settings or ""]))
    columns = [
        GridColumn("stage", wraps=False),
        GridColumn("planned (s)", is_numeric=True),
        GridColumn("taken (s)", is_numeric=True),
        GridColumn("cut"),
        GridColumn("what it did"),
    ]
    return Section(
        "Cost",
        notes=_budget(content),
        grid=Grid(columns, [GridPart(rows)], is_long=False),
        missing="Not recorded: stages.csv is missing or empty.",
    )


def _budget(content: Content) -> list[str]:
    plan = content.audit.plan
    if plan is None:
        return []
    budget = f"{plan.budget_s:,.0f} s" if plan.budget_s else "as long as it takes"
    planned = sum(stage.seconds for stage in plan.stages)
    taken = sum(row.seconds or 0.0 for row in content.audit.stages)
    return [
        f"Budget: {budget}. Planned before the first stage: {planned:,.0f} s; taken: {taken:,.0f} s. An attack control "
        "that was at hand from an earlier audit takes no time."
    ]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
