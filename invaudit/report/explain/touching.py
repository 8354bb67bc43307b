"""The second part of the page: which classes touch."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from invaudit.records.explain import BORDERS, BorderRow, BordersRecord, PairRow
from invaudit.report.drawing import png
from invaudit.report.explain.content import Content
from invaudit.report.explain.figures import (
    BorderPicture,
    PlaneMap,
    atlas,
    border_caption,
    border_gallery,
    plane_map,
)
from invaudit.report.sections import Grid, GridColumn, GridPart, GridRow, PageFigure, Section

SHOWN = 3
"""Border pictures of each search that are shown, the nearest."""
TITLE = "Which classes touch"
BORDER = (
    "A border picture lies between two classes: the network gives both the same probability, and every other class "
    "less. The nearer it is to where the search began, the less it takes to turn one into the other."
)
UNIT = "Distances are Euclidean, over all pixels in [0, 1]; a click on a heading sorts the table."


def touching(content: Content) -> Section:
    """Return the atlas: which classes touch, and the pictures between the nearest ones."""
    found = content.found.borders
    if not found.pairs:
        return Section(TITLE, missing=f"Not looked for: {found.reason}.")
    names = content.found.model.class_names
    drawn = atlas_figure(names, found.pairs, has_data=content.found.data is not None)
    return Section(
        TITLE,
        notes=[BORDER],
        lines=[line for by in ("pixels", "generator") if (line := reached(found.borders, by))],
        figures=[drawn, *_borders(content), *_planes(content)],
        grid=pair_grid(content.name, found),
        remarks=[UNIT],
    )


def reached(rows: tuple[BorderRow, ...], by: str) -> str:
    """Return for how many pairs a search found a border picture; empty where there was no such search."""
    own = [row for row in rows if row.by == by]
    if not own:
        return ""
    there = [row for row in own if row.status == "reached"]
    text = f"By {by}: {len(there)} of {len(own)} pairs have one"
    undecided = [row for row in there if row.second_model_p is not None and row.second_model_p <= 0.8]
    if any(row.second_model_p is not None for row in there):
        text += f"; the second network is undecided, too, of {len(undecided)} of them"
    return f"{text}."


def atlas_figure(names: Sequence[str], pairs: Sequence[PairRow], *, has_data: bool) -> PageFigure:
    """Return which of some classes touch, and how far apart they are; with data also which are confused."""
    n = len(names)
    tried, touches = np.zeros((n, n), np.int64), np.zeros((n, n), bool)
    distance, confused = np.full((n, n), np.nan), np.full((n, n), np.nan)
    for row in pairs:
        for place in ((row.first, row.second), (row.second, row.first)):
            tried[place], touches[place] = 1, row.touches
            distance[place] = np.nan if row.distance is None else row.distance
            confused[place] = np.nan if row.confused is None else row.confused
    drawn = atlas(names, tried, touches, distance, confused if has_data else None)
    caption = "Distances from the start to the border, by pixels: the smaller, the nearer the two classes."
    return PageFigure("atlas", png(drawn), caption, "Which classes touch, and how far apart they are")


def _borders(content: Content) -> list[PageFigure]:
    """Return the borders by the generator with the smallest distances; by pixels they look like their starts."""
    arrays = content.arrays(BORDERS)
    figures = []
    for by, words in (("generator", "drawn by the generator"), ("pixels", "found by pixels")):
        rows = [row for row in content.found.borders.borders if row.by == by]
        reached = [place for place, row in enumerate(rows) if row.status == "reached"]
        nearest = sorted(reached, key=lambda place: rows[place].distance or 0.0)[:SHOWN]
        pictures = [_picture(content, rows[place], arrays, place) for place in nearest]
        if pictures:
            caption = f"Border pictures {words}: the nearest {len(pictures)} of {len(reached)}."
            figures.append(PageFigure(f"borders-{by}", png(border_gallery(pictures)), caption, caption))
    return figures


def _picture(content: Content, row: BorderRow, arrays: Mapping[str, np.ndarray], place: int) -> BorderPicture:
    kinds = ("starts", "images", "goals")
    images = [arrays[f"{row.by}-{kind}"][place] for kind in kinds if f"{row.by}-{kind}" in arrays]
    pair = (content.name(row.first), content.name(row.second))
    second = None
    if row.second_model_class is not None and row.second_model_p is not None:
        second = (content.name(row.second_model_class), row.second_model_p)
    caption = border_caption(
        pair,
        (row.p_first or 0.0, row.p_second or 0.0),
        row.distance or 0.0,
        attack_distance=row.attack_distance,
        second_model=second,
    )
    return BorderPicture(pair, np.round(255 * np.stack(images)).astype(np.uint8), caption)


def _planes(content: Content) -> list[PageFigure]:
    found, arrays = content.found.borders, content.arrays(BORDERS)
    by_pixels = [row for row in found.borders if row.by == "pixels"]
    figures = []
    for number, place in enumerate(found.planes):
        row = by_pixels[place]
        parts = [arrays[f"plane-{number}-{part}"] for part in ("across", "up", "probabilities", "points")]
        plane = PlaneMap(*parts)
        n_outputs = plane.probabilities.shape[2]
        names = [content.name(label) for label in range(n_outputs)]
        first, second = content.name(row.first), content.name(row.second)
        caption = (
            f"The plane through the start ({first}), the border picture and the goal ({second}): the class that the "
            "network gives each point, paler where it is less sure."
        )
        drawn = plane_map(plane, (row.first, row.second), names)
        figures.append(PageFigure(f"plane-{number}", png(drawn), caption, f"Classes between {first} and {second}"))
    return figures


def pair_grid(name: Callable[[int], str], found: BordersRecord) -> Grid:
    """Return what is known of each pair as a table; ``name`` gives a class its name."""
    attacks = {(row.first, row.second): row.attack_distance for row in found.borders if row.by == "pixels"}
    rows = []
    for row in found.pairs:
        attack = attacks.get((row.first, row.second))
        cells = [
            name(row.first),
            name(row.second),
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
