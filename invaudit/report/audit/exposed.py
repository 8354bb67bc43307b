"""A row for every image of the pool, the most exposed first."""

from invaudit.records.model_audit import ImageRow, Question
from invaudit.records.names import IMAGES_TABLE
from invaudit.report.audit.content import QUESTIONS, Content
from invaudit.report.printing import p_text
from invaudit.report.sections import Grid, GridColumn, GridPart, GridRow, Section

MOST_ROWS = 200
HOW: dict[Question, str] = {"membership": "by a membership score", "reconstruction": "by their reconstructions"}
COLUMNS = (
    GridColumn("side", wraps=False),
    GridColumn("image", is_numeric=True),
    GridColumn("file"),
    GridColumn("class", wraps=False),
    GridColumn("membership p", is_numeric=True),
    GridColumn("score", wraps=False),
    GridColumn("named", wraps=False),
    GridColumn("reconstruction p", is_numeric=True),
    GridColumn("by", wraps=False),
    GridColumn("reconstruction", is_numeric=True),
    GridColumn("similarity", is_numeric=True),
    GridColumn("rank", is_numeric=True),
    GridColumn("named", wraps=False),
)


def single_images(content: Content) -> Section:
    """Return the claims in words, and the most exposed images."""
    rows = sorted(content.audit.images, key=_exposure)
    shown = rows[:MOST_ROWS]
    notes = ()
    if rows:
        which = f"The {len(shown):,} most exposed" if len(shown) < len(rows) else f"All {len(rows):,}"
        notes = (
            f"{which} images of the pool, smallest p-value first; {IMAGES_TABLE} beside this page has all of them. A p "
            "is the share of controls that score as high. Where there are many images, small p-values are to be "
            "expected by chance alone; what is named allows for that. No control is ever named. Numbers count from 0, "
            "in the order in which images were given.",
        )
    lines = [GridRow(_cells(row), style="leak" if _is_named(row) else "") for row in shown]
    return Section(
        "Single images",
        lines=_claims(content),
        notes=notes,
        grid=_without_empty(Grid(list(COLUMNS), [GridPart(lines)], is_sortable=True)),
        missing=f"Not recorded: {IMAGES_TABLE} is missing or empty.",
    )


def _claims(content: Content) -> list[str]:
    claims = content.audit.claims
    if claims is None:
        return ["How many images can be named as members is not recorded: claims.json is missing."]
    lines = []
    for question in QUESTIONS:
        if content.verdict(question) is None:
            continue
        count = getattr(claims, question)
        if question in claims.notes:
            lines.append(f"No member can be named {HOW[question]}: {claims.notes[question]}.")
        elif count:
            lines.append(
                f"{count:,} members are named {HOW[question]}. Of images named in this way at most "
                f"{100 * claims.rate:.0f} % are no members, on average over audits."
            )
        else:
            lines.append(
                f"No member is named {HOW[question]}: none stands out so far that at most {100 * claims.rate:.0f} % of "
                "such names would be wrong."
            )
    return lines


def _exposure(row: ImageRow) -> float:
    p_values = [p for p in (row.membership_p, row.reconstruction_p) if p is not None]
    return min(p_values, default=2.0)


def _is_named(row: ImageRow) -> bool:
    return bool(row.membership_claimed or row.reconstruction_claimed)


def _cells(row: ImageRow) -> list[str]:
    return [
        row.side,
        str(row.index),
        row.file or "",
        row.class_name or str(row.label),
        "" if row.membership_p is None else p_text(row.membership_p),
        row.membership_score or "",
        _yes(row.membership_claimed),
        "" if row.reconstruction_p is None else p_text(row.reconstruction_p),
        row.reconstruction_score or "",
        "" if row.reconstruction is None else str(row.reconstruction),
        "" if row.similarity is None else f"{row.similarity:.3f}",
        "" if row.rank is None else str(row.rank),
        _yes(row.reconstruction_claimed),
    ]


def _yes(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"


def _without_empty(grid: Grid) -> Grid:
    """Return the table without columns that no row has."""
    rows = grid.parts[0].rows
    kept = [position for position in range(len(grid.columns)) if any(row.cells[position] for row in rows)]
    lines = [GridRow([row.cells[position] for position in kept], row.style) for row in rows]
    return Grid([grid.columns[position] for position in kept], [GridPart(lines)], is_sortable=True)
