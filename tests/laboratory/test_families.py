"""The page of networks of torchvision and timm says what the script finds."""

from pathlib import Path

import pytest

from benchmarks.choices.families import SIDES, Outcome, table, try_network

PAGE = Path(__file__).parents[2] / "docs" / "families.md"


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "works"), [("timm:tinynet_e", True), ("torchvision:squeezenet1_1", False)])
def test_a_row_of_the_page_is_what_the_script_finds(arch, works):
    outcome = try_network(arch, 32)
    assert (outcome == Outcome("yes", "yes", "yes")) == works
    assert table({arch: outcome}).splitlines()[-1] in PAGE.read_text().splitlines()


def test_the_page_has_networks_of_the_script_alone():
    known = {f"{family}:{name}" for family, names in SIDES.items() for name in names}
    rows = [line.split("`")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert rows
    assert set(rows) <= known
