import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", *(str(page.relative_to(ROOT)) for page in sorted(ROOT.glob("docs/**/*.md")))]
COMMANDS = [
    "pip install uv && uv run python -m invaudit.benchmarks.ood",
    "uv run python -m invaudit.benchmarks.leakage",
    "pip install uv && uv run pytest",
    'uv run pytest -m "not slow"',
]


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def prose_of(name):
    """The page without its blocks of code: neither links nor headings stand in them."""
    return re.sub(r"^```.*?^```", "", text_of(name), flags=re.DOTALL | re.MULTILINE)


def links_of(name):
    targets = re.findall(r"\]\(([^)\s]+)\)", prose_of(name))
    return [target for target in targets if "://" not in target]


def anchors_of(name):
    """Names of the headings, as GitHub makes them from their words."""
    headings = re.findall(r"^#+ (.+)$", prose_of(name), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.slow
def test_the_python_example_runs(capsys, tmp_path, monkeypatch):
    code, _ = re.findall(r"```python\n(.*?)```", text_of("README.md"), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 8
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102
    assert "tensor([" in capsys.readouterr().out
    assert (tmp_path / "guard" / "guard.json").is_file()


def test_the_readme_is_short():
    assert len(text_of("README.md").splitlines()) <= 120
    assert len(text_of("README.md").split()) < 700


def test_the_readme_has_no_long_sentence():
    prose = re.sub(r"!\[.*?\]\(.*?\)|\]\(.*?\)", "", prose_of("README.md"))
    lines = [line for line in prose.splitlines() if not line.startswith(("|", "#"))]
    sentences = re.split(r"[.:?]\W*\s|\n\n|\n- ", "\n".join(lines))
    assert [sentence for sentence in sentences if len(sentence.split()) > 25] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_shows_a_newcomers_commands(command):
    assert command in text_of("README.md")


@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_a_page_links_is_there(name):
    folder = (ROOT / name).parent
    files = [link.split("#")[0] for link in links_of(name)]
    assert [file for file in files if not (folder / file).exists()] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_heading_that_a_page_links_is_there(name):
    missing = []
    for link in links_of(name):
        file, _, anchor = link.partition("#")
        page = ((ROOT / name).parent / file).resolve() if file else ROOT / name
        if anchor and page.exists() and anchor not in anchors_of(page):
            missing.append(link)
    assert missing == []


@pytest.mark.parametrize("name", PAGES)
def test_every_row_of_a_table_has_as_many_cells_as_its_head(name):
    width = None
    uneven = []
    for line in prose_of(name).splitlines():
        if not line.startswith("|"):
            width = None
            continue
        cells = line.count("|") - line.count(r"\|")
        width = width or cells
        if cells != width:
            uneven.append(line)
    assert uneven == []
