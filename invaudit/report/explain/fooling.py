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
SHORT = {"pgd": "PGD", "ddn": "DDN", "fmn": "FMN", "inversion": "generator"}
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
            "another. Whether a person still sees what it was, the pictures show. A generator is trained to do the "
            "same in one pass, and changes more.",
        ],
        lines=_lines(content),
        figures=[*_attack_figures(content), *_counterfeit_figures(content)],
        grid=_grid(content) if found.attacks else None,
        remarks=_remarks(content),
    )


def _remarks(content: Content) -> list[str]:
    found = content.found.adversarial
    remarks = [f"Left out: {found.reason}."] if found.reason else []
    if found.attacks:
        remarks.append(
            f"{found.attacks[0].n} images that the network answers rightly were attacked. Changes: medians over the "
            "successes, of pixels in [0, 1]. Fools the second, too: share of the successes whose image the second "
            "network answers rightly. In brackets: 95 % intervals."
        )
    return remarks


def _lines(content: Content) -> list[str]:
    row = content.found.adversarial.counterfeits
    if row is None:
        return []
    text = f"Counterfeits, made from nothing and for nothing else than the answer: {interval(row.success)} are given "
    text += f"the wanted class, {interval(row.sure)} with a probability of 99 % or more."
    if row.transfer is not None:
        text += f" The second network gives {interval(row.transfer)} of them that class."
    if row.accepted is not None:
        text += f" The guard accepts {interval(row.accepted)}."
    return [text]


def _grid(content: Content) -> Grid:
    """Return a row for each attack, without columns that nobody was asked for."""
    attacks = content.found.adversarial.attacks
    columns: list[tuple[GridColumn, list[str]]] = [
        (GridColumn("attack"), [SHORT.get(row.attack, row.attack) for row in attacks]),
        (GridColumn("fooled"), [interval(row.success) for row in attacks]),
        (GridColumn("change, Euclidean", is_numeric=True), [_number(row.euclidean) for row in attacks]),
        (GridColumn("change, largest", is_numeric=True), [_number(row.largest) for row in attacks]),
    ]
    for title, shares in (
        ("fools the second, too", [row.transfer for row in attacks]),
        ("guard accepts", [row.accepted for row in attacks]),
    ):
        if any(share is not None for share in shares):
            columns.append((GridColumn(title), list(map(interval, shares))))
    rows = [GridRow(list(cells)) for cells in zip(*(cells for _, cells in columns), strict=True)]
    return Grid([column for column, _ in columns], [GridPart(rows)], is_long=False, is_sortable=True)


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
    caption = "Counterfeits: made to be taken for the class above them, from nothing."
    return [PageFigure("counterfeits", png(strips(rows)), caption, "Counterfeits of some classes")]
