from pathlib import Path

import pytest

from benchmarks.publish import results_pages

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.name for path in (ROOT / "docs" / "results").iterdir())

pytestmark = pytest.mark.xdist_group("results-pages")


@pytest.fixture(scope="module")
def texts():
    """The pages that the records give, by name."""
    return results_pages.pages(ROOT / "benchmarks" / "results")


def test_every_record_has_a_page_and_a_line_of_the_index(texts):
    records = [path.name for path in (ROOT / "benchmarks" / "results").iterdir() if path.is_dir()]
    assert set(texts) == {"README.md", *(f"{name}.md" for name in records)}
    assert set(PAGES) == set(texts)
    for name in records:
        assert texts["README.md"].count(f"[{name}]({name}.md)") == 1


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_in_the_repository_are_those_that_the_records_give(name, texts):
    assert (ROOT / "docs" / "results" / name).read_text(encoding="utf-8") == texts[name]


def test_writing_removes_a_page_whose_record_is_gone(tmp_path):
    (tmp_path / "ood-gone.md").touch()
    (tmp_path / "results").mkdir()
    results_pages.main(["--results", str(tmp_path / "results"), "--out", str(tmp_path)])
    assert [path.name for path in tmp_path.glob("*.md")] == ["README.md"]
