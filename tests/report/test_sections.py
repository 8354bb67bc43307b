"""What a page is made of: sections within sections, tables in the form that their rows ask for."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from invaudit.records.columns import BadFraction, Text
from invaudit.records.ood import CostRow
from invaudit.report.page import provenance, write_page
from invaudit.report.sections import (
    Grid,
    GridColumn,
    GridPart,
    GridRow,
    PageFigure,
    Section,
    figures_in,
    make_sections,
    mean_grid,
    row_grid,
)

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8) + (320).to_bytes(4, "big") + bytes(4)
LEAD = {"title": "t", "headline": "h", "comparisons": [], "scope": "", "warnings": [], "cards": []}


class WiderRow(CostRow):
    """A row with two columns that no page knows."""

    share_of_time: BadFraction = None
    note: Text = None


ROW = WiderRow(id_set="digits", seed=0, network="full", seconds=2.5, share_of_time=0.93, note="0.5")


def _full(text: str) -> Section:
    """Return a section that has everything, each with a text."""
    grid = Grid([GridColumn(text), GridColumn(text, is_numeric=True)], [GridPart([GridRow([text, text])], text)])
    return Section(
        title=text,
        notes=(text,),
        terms=((text, text),),
        lines=(text,),
        bullets=(text,),
        figures=(PageFigure("figure", PNG, text, text),),
        grid=grid,
        verbatim=text,
        missing=text,
        remarks=(text,),
        parts=(Section(text, missing=text, is_detail=True),),
    )


def test_everything_in_a_section_is_on_the_page_and_escaped(
    tmp_path: Path, read: Callable[[Path], Any], hostile: str
) -> None:
    section = _full(hostile)
    assert all(getattr(section, field.name) for field in fields(section) if field.name != "is_detail")
    page = read(write_page(tmp_path, "ood.html", LEAD, [section]))
    page.assert_harmless()
    # Title, note, word and meaning, line, bullet, caption, two columns, part, two cells, verbatim, remark; then title
    # and missing of the part within. What is missing here is nothing, so that sentence of the section stays away.
    assert page.text.count("alert(1)") == 14 + 2


def test_folded_sections_come_last(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    sections = [Section("b", missing="B.", is_detail=True), Section("a", missing="A.")]
    text = read(write_page(tmp_path, "ood.html", LEAD, sections)).text
    assert "a A. Details b B." in text


def test_figures_of_parts_are_written_too(tmp_path: Path) -> None:
    section = Section("", figures=(PageFigure("a", PNG, ""),), parts=(_full("x"), Section("", parts=(_full("y"),))))
    assert [figure.name for figure in figures_in([section])] == ["a", "figure", "figure"]
    write_page(tmp_path, "ood.html", LEAD, [section])
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["a.png", "figure.png"]


def test_figures_have_their_size_in_inches() -> None:
    assert PageFigure("a", PNG, "").width == 192


def test_a_maker_may_leave_its_section_out() -> None:
    makers = (Section, lambda _: None, lambda title: Section(title * 2))
    assert [section.title for section in make_sections(makers, "a")] == ["a", "aa"]


@pytest.mark.parametrize(
    ("section", "is_empty"),
    [
        (Section("a", notes=("n",), terms=(("w", "m"),)), True),
        (Section("a", grid=Grid([GridColumn("c")], [GridPart([])])), True),
        (Section("a", verbatim="v"), False),
        (Section("a", figures=(PageFigure("f", PNG, ""),)), False),
        (_full("a"), False),
    ],
)
def test_empty_is_what_shows_neither_figure_nor_row_nor_text(section: Section, is_empty: bool) -> None:
    assert section.is_empty == is_empty


def test_a_new_column_is_shown_as_its_class_says() -> None:
    grid = row_grid(WiderRow, [ROW])
    cells = dict(zip((column.title for column in grid.columns), grid.parts[0].rows[0].cells, strict=True))
    assert (cells["share_of_time"], cells["seconds"], cells["note"], cells["steps"]) == ("93.00", "2.5", "0.5", "")
    assert [column.title for column in grid.columns if not column.is_numeric] == ["id_set", "network", "note"]


def test_some_columns_in_the_order_of_the_class() -> None:
    grid = row_grid(WiderRow, [ROW], only=("seconds", "network", "seed"), without=("seed",))
    assert [column.title for column in grid.columns] == ["network", "seconds"]
    assert [row.cells for row in grid.parts[0].rows] == [["full", "2.5"]]


def test_a_mean_is_of_all_seeds_or_none() -> None:
    second = ROW.model_copy(update={"seed": 1, "share_of_time": 0.43})
    mean = mean_grid(WiderRow, [ROW, second], "network")
    assert [row.cells for row in mean.parts[0].rows] == [["full", "", "2.5", "", "68.00"]]
    gap = mean_grid(WiderRow, [ROW, second.model_copy(update={"seconds": None})], "network")
    assert [row.cells for row in gap.parts[0].rows] == [["full", "", "", "", "68.00"]]


def test_provenance_names_what_is_missing() -> None:
    how, config = provenance([], None, None)
    assert how.terms == [("seeds", "not recorded"), ("command", "not recorded")]
    assert how.remarks
    assert config.is_empty
    environment = {"command": ["a", "b c"], "seeds": "no seeds", "versions": {"python": "3.11", "of": [1, 2]}}
    how, config = provenance([0, 1], "a: 1\n", environment)
    facts = [("seeds", "no seeds"), ("versions.of", "1, 2"), ("versions.python", "3.11")]
    assert how.terms == [("seeds", "0, 1"), ("command", "a 'b c'"), *facts]
    assert not how.remarks
    assert config.verbatim == "a: 1\n"
