from pathlib import Path

import pytest

from invaudit.benchmarks.ood import OODBenchmark
from invaudit.runtime.files import content_hash
from invaudit.runtime.settings import load_config

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "ood").glob("*.yaml"))
FROZEN = "7846aeb8687b66fb5e5ebc9a0d3ff584b1e444c69d145ed307a7f0e952a44be4"
"""Of the garbage and the inversion of ``full``, but for how often the cycle comes (docs/decisions/006)."""


def recipe_hash(settings: OODBenchmark) -> str:
    garbage = settings.networks["full"].garbage
    assert garbage is not None
    return content_hash(garbage.model_dump_json(exclude={"every"}), settings.inversion.model_dump_json())


@pytest.mark.parametrize("path", [path for path in CONFIGS if path.stem != "digits"], ids=lambda path: path.stem)
def test_the_recipe_is_the_one_that_was_frozen(path):
    assert recipe_hash(load_config(OODBenchmark, str(path))) == FROZEN


def test_a_recipe_that_differs_has_another_hash():
    path = next(path for path in CONFIGS if path.stem == "mnist")
    changed = load_config(OODBenchmark, str(path), ("networks.full.garbage.sharpen=4",))
    assert recipe_hash(changed) != FROZEN
