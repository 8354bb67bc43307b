"""The page of an audit in a real browser, at the width of a telephone and of a desk."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.audit.browser import Browser, started

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH"),
    pytest.mark.xdist_group("browser"),
]
WIDTHS = (390, 1280)
SMALLEST_LETTERS = 9
"""Pixels."""
POINTS_OF_LETTERS, DOTS_PER_INCH, POINTS_PER_INCH = 7.5, 160, 72
"""Of the smallest text in a figure, and of a figure."""
FIGURES = "[...document.querySelectorAll('img')].map(i => i.getBoundingClientRect().width / i.naturalWidth)"
COLUMN = "[...document.querySelectorAll('table.sortable tbody tr')].map(r => r.cells[4].textContent)"
CLIPPED = """[...document.querySelectorAll('h1, h2, p, dt, dd, .verdict')]
  .filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline')
  .map(e => e.textContent)"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started(str(CHROMIUM), tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_is_legible_and_asks_for_nothing(browser: Browser, picture_audit: Path, width: int) -> None:
    page = picture_audit / "report.html"
    browser.show(page, width)
    assert browser.errors == []
    assert [address for address in browser.requests if not address.startswith("data:")] == [page.as_uri()]
    assert browser.value("innerWidth") == width
    assert browser.value("document.scrollingElement.scrollWidth") <= width
    assert browser.value(CLIPPED) == []
    scales = browser.value(FIGURES)
    assert len(scales) == 9
    letters = [scale * POINTS_OF_LETTERS * DOTS_PER_INCH / POINTS_PER_INCH for scale in scales]
    assert min(letters) >= SMALLEST_LETTERS


def test_a_heading_sorts_its_table(browser: Browser, finished_audit: Path) -> None:
    browser.show(finished_audit / "report.html", WIDTHS[1])
    before = browser.value(COLUMN)
    click = "document.querySelectorAll('table.sortable th button')[{}].click()"
    browser.value(click.format(1))
    browser.value(click.format(4))
    assert browser.value(COLUMN) == sorted(before, key=float)
    browser.value(click.format(4))
    assert browser.value(COLUMN) == sorted(before, key=float, reverse=True)
    assert browser.value("document.querySelectorAll('table.sortable th')[4].getAttribute('aria-sort')") == "descending"
    assert browser.errors == []


def test_without_script_it_says_the_same(browser: Browser, finished_audit: Path) -> None:
    text = "document.querySelector('main').innerText"
    browser.show(finished_audit / "report.html", WIDTHS[1])
    with_script = browser.value(text)
    browser.show(finished_audit / "report.html", WIDTHS[1], scripts=False)
    assert browser.value(text) == with_script
    assert browser.value("document.querySelectorAll('button').length") == 0
