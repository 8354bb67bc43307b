"""What a section of the page is made of; ``templates/leakage.html`` has a macro for each kind of block."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from invaudit.report.page import PageFigure


class Heading(NamedTuple):
    """A heading below that of the section."""

    text: str
    kind = "heading"


class Paragraph(NamedTuple):
    """A paragraph."""

    text: str
    kind = "paragraph"


class Note(NamedTuple):
    """A paragraph in small print."""

    text: str
    kind = "note"


class Remarks(NamedTuple):
    """Remarks below a table."""

    texts: list[str]
    kind = "remarks"


class Bullets(NamedTuple):
    """A list."""

    texts: list[str]
    kind = "bullets"


class Definitions(NamedTuple):
    """Names, each with a text."""

    pairs: list[tuple[str, str]]
    kind = "definitions"


class Table(NamedTuple):
    """A table: ``columns`` and ``rows`` of text, and what is said in its place where there are no rows."""

    grid: Any
    missing: str
    kind = "table"


class Line(NamedTuple):
    """A line of the results: whether any seed leaks, and its cells."""

    leaks: bool
    cells: list[str]


class Results(NamedTuple):
    """The table of results: the titles of its columns, and the lines of each target."""

    columns: list[str]
    targets: dict[str, list[Line]]
    kind = "results"


class Picture(NamedTuple):
    """A figure, with what it shows for those who do not see it."""

    figure: PageFigure
    alt: str
    kind = "picture"


class Folded(NamedTuple):
    """Blocks that are shown when their summary is clicked."""

    summary: str
    blocks: "list[Block]"
    kind = "folded"


class Provenance(NamedTuple):
    """Seeds, versions, command and config."""

    seeds: str
    command: str
    facts: list[tuple[str, str]]
    config: str | None
    kind = "provenance"


Block = Heading | Paragraph | Note | Remarks | Bullets | Definitions | Table | Results | Picture | Folded | Provenance


class Section(NamedTuple):
    """A section of the page."""

    title: str
    blocks: list[Block]


def figures_in(blocks: Iterable[Block]) -> Iterator[PageFigure]:
    """Yield the figures in some blocks, in their order."""
    for block in blocks:
        if isinstance(block, Picture):
            yield block.figure
        elif isinstance(block, Folded):
            yield from figures_in(block.blocks)
