"""The third part of the page: what fools the network."""

import numpy as np

from invaudit.records.explain import ADVERSARIAL, AttackRow
from invaudit.report.drawing import png
from invaudit.report.explain.content import Content, interval
from invaudit.report.explain.galleries import IN_A_ROW, strips
from invaudit.report.sections import Grid, GridColumn, GridPart, GridRow, PageFigure, Section

WORDS = {
    "pgd": "PGD, every pixel a little",
    "ddn": "DDN, the smallest change",
    "fmn": "FMN, the smallest change",
    "inversion": "a generator, by inversion",
}
MOST_COUNTERFEITS = 5
"""Classes whose counterfeits are shown."""


def fooling(content: Content) -> Section:
    """Return attacks on real images, and counterfeits."""
    found = content.found.adversarial
    title = "What fools it"
    if not found.attacks and found.counterfeits is None:
        return Section(title, missing=f"Not looked for: {found.reason}.")
    return Section(
        title,
        notes=[
            "An attack changes a real image that the network answers rightly as little as it can, until the answer is "
            "another. To a person the image is what it was.",
        ],
        lines=_lines(content),
        figures=[*_attack_figures(content), *_counterfeit_figures(content)],
        grid=_grid(content) if found.attacks else None,
        remarks=[f"Left out: {found.reason}."] if found.reason else (),
    )


def _lines(content: Content) -> list[str]:
    row = content.found.adversarial.counterfeits
    if row is None:
        return []
    text = f"Counterfeits, made from nothing and asked to be no more than sure: {interval(row.success)} are given the "
    text += f"wanted class, {interval(row.sure)} with a probability of 99 % or more."
    if row.transfer is not None:
        text += f" The second network gives {interval(row.transfer)} of them that class."
    if row.accepted is not None:
        text += f" The guard accepts {interval(row.accepted)}."
    return [text]


def _grid(content: Content) -> Grid:
    rows = []
    for row in content.found.adversarial.attacks:
        cells = [
            WORDS.get(row.attack, row.attack),
            str(row.n),
            interval(row.success),
            _number(row.euclidean),
            _number(row.largest),
            interval(row.transfer),
            interval(row.accepted),
        ]
        rows.append(GridRow(cells))
    columns = [
        GridColumn("attack"),
        GridColumn("images", is_numeric=True),
        GridColumn("fooled"),
        GridColumn("median change (Euclidean)", is_numeric=True),
        GridColumn("median largest change of a pixel", is_numeric=True),
        GridColumn("fools the second network, too"),
        GridColumn("accepted by the guard"),
    ]
    return Grid(columns, [GridPart(rows)], is_long=False, is_sortable=True)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _attack_figures(content: Content) -> list[PageFigure]:
    attacks = content.found.adversarial.attacks
    if not attacks:
        return []
    arrays = content.arrays(ADVERSARIAL)
    photos = arrays["photos"]
    figures = []
    for row in attacks:
        samples, answers = arrays[f"{row.attack}-images"], arrays[f"{row.attack}-answers"]
        pictures = np.round(255 * samples).astype(np.uint8)
        rows = [
            ("before", photos),
            ("after", pictures),
            ("ten times the change, around grey", _change(photos, samples)),
        ]
        figures.append(
            PageFigure(f"attack-{row.attack}", png(strips(rows)), _caption(content, row, answers), row.attack)
        )
    return figures


def _caption(content: Content, row: AttackRow, answers: np.ndarray) -> str:
    names = ", ".join(content.name(int(answer)) for answer in answers[:IN_A_ROW])
    return f"{WORDS.get(row.attack, row.attack)}. The network's answers to the second row: {names}."


def _change(photos: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Return ten times the change of each pixel around grey, uint8."""
    change = samples - photos / 255
    return np.round(255 * np.clip(0.5 + 10 * change, 0, 1)).astype(np.uint8)


def _counterfeit_figures(content: Content) -> list[PageFigure]:
    if content.found.adversarial.counterfeits is None:
        return []
    pictures = content.arrays(ADVERSARIAL)["counterfeits"]
    rows = [(content.name(label), of_class) for label, of_class in enumerate(pictures[:MOST_COUNTERFEITS])]
    caption = "Counterfeits: the network is sure of what they are, and they are nothing."
    return [PageFigure("counterfeits", png(strips(rows)), caption, "Counterfeits of some classes")]
