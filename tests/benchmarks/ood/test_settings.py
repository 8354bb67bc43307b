from pathlib import Path

import pytest

from invaudit.benchmarks.ood import OODBenchmark
from invaudit.inversion import InversionSettings
from invaudit.inversion.views import ViewSettings
from invaudit.runtime import ConfigError
from invaudit.runtime.files import content_hash
from invaudit.runtime.settings import load_config

CONFIGS = sorted((Path(__file__).parents[3] / "configs" / "ood").glob("*.yaml"))
WITHOUT_RECIPE = ("digits", "cifar10-released", "photos")
"""Configs with a recipe of their own, and without ``full``."""
FROZEN = "0bf032898a1f2dc880ca7f637baabd172b2057a1667ef64e475d093535ca7788"
"""Of the garbage and the inversion of ``full``, but for how often the cycle comes (docs/decisions/006)."""

LATER = {*ViewSettings.model_fields, "schedule"}
"""Settings that came after the recipe was frozen: it has their defaults, which change nothing."""


def recipe_hash(settings: OODBenchmark) -> str:
    full = settings.networks["full"]
    assert full.garbage is not None
    inversion = full.inversion or settings.inversion
    assert inversion.model_dump(include=LATER) == InversionSettings().model_dump(include=LATER)
    return content_hash(full.garbage.model_dump_json(exclude={"every"}), inversion.model_dump_json(exclude=LATER))


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if path.stem not in WITHOUT_RECIPE], ids=lambda path: path.stem
)
def test_the_recipe_is_the_one_that_was_frozen(path):
    assert recipe_hash(load_config(OODBenchmark, str(path))) == FROZEN


@pytest.mark.parametrize("change", ["networks.full.garbage.sharpen=4", "networks.full.inversion.steps=31"])
def test_a_recipe_that_differs_has_another_hash(change):
    path = next(path for path in CONFIGS if path.stem == "mnist")
    changed = load_config(OODBenchmark, str(path), (change,))
    assert recipe_hash(changed) != FROZEN


def test_inversion_without_inversions_in_the_garbage_is_refused():
    path = next(path for path in CONFIGS if path.stem == "mnist")
    with pytest.raises(ConfigError, match="garbage holds no inversions"):
        load_config(OODBenchmark, str(path), ("networks.noise.inversion.steps=1",))
