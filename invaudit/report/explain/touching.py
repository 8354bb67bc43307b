"""The second part of the page: which classes touch."""

from invaudit.records.explain import BorderRow
from invaudit.report.explain.content import Content
from invaudit.report.sections import Grid, GridColumn, GridPart, GridRow, Section


def touching(content: Content) -> Section:
    """Return the atlas: which classes touch, and the pictures between the nearest ones."""
    found = content.found.borders
    title = "Which classes touch"
    if not found.pairs:
        return Section(title, missing=f"Not looked for: {found.reason}.")
    return Section(
        title,
        notes=[
            "A border picture lies between two classes: the network gives both the same probability, and every other "
            "class less. The nearer it is to where the search began, the less it takes to turn one into the other.",
        ],
        lines=[_reached(found.borders, "pixels"), _reached(found.borders, "generator")],
        grid=_grid(content),
        remarks=["Distances are Euclidean, over all pixels in [0, 1]; a click on a heading sorts the table."],
    )


def _reached(rows: tuple[BorderRow, ...], by: str) -> str:
    own = [row for row in rows if row.by == by]
    if not own:
        return ""
    reached = [row for row in own if row.status == "reached"]
    text = f"By {by}: {len(reached)} of {len(own)} pairs have one"
    undecided = [row for row in reached if row.second_model_p is not None and row.second_model_p <= 0.8]
    if any(row.second_model_p is not None for row in reached):
        text += f"; the second network is undecided, too, of {len(undecided)} of them"
    return f"{text}."


def _grid(content: Content) -> Grid:
    attacks = {
        (row.first, row.second): row.attack_distance for row in content.found.borders.borders if row.by == "pixels"
    }
    rows = []
    for row in content.found.borders.pairs:
        attack = attacks.get((row.first, row.second))
        cells = [
            content.name(row.first),
            content.name(row.second),
            "yes" if row.touches else "no",
            "" if row.distance is None else f"{row.distance:.3g}",
            "" if attack is None else f"{attack:.3g}",
            "" if row.confused is None else f"{100 * row.confused:.1f}",
        ]
        rows.append(GridRow(cells))
    columns = [
        GridColumn("from", wraps=False),
        GridColumn("to", wraps=False),
        GridColumn("touch", wraps=False),
        GridColumn("distance to the border", is_numeric=True),
        GridColumn("smallest change that fools it", is_numeric=True),
        GridColumn("confused (%)", is_numeric=True),
    ]
    return Grid(columns, [GridPart(rows)], is_sortable=True)
