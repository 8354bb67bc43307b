"""What the command `leakage reconstruct` does, from Python."""

import numpy as np
import pytest
import torch

from invaudit.data import load, seeded_rng
from invaudit.leakage import METHODS, TargetRecipe, reconstruct, run_reconstruction, train_target
from invaudit.models import limit_threads
from invaudit.runtime import SettingError
from invaudit.runtime.files import read_json

pytestmark = pytest.mark.slow

SHORT = {"images": 20, "restarts": 1, "steps": 5}


@pytest.fixture(scope="module")
def target():
    members = load("digits@0:40")
    recipe = TargetRecipe(arch="invaudit:mlp-20", steps=50)
    with limit_threads(1):
        return train_target(recipe, members.floats(), members.labels, 10, seeded_rng(0, "tests/target"))


def test_the_folder_holds_the_images_of_the_method(target, tmp_path):
    settings = METHODS["kkt"].settings.model_validate(SHORT)
    run = run_reconstruction(target, "kkt", settings, tmp_path / "out", seed=2)
    again = reconstruct(target, "kkt", SHORT, seed=2)
    assert torch.equal(run.reconstructions.images, again.images)
    with np.load(run.folder / "reconstructions.npz") as file:
        assert np.array_equal(file["images"], (again.images * 255).round().byte().numpy())
        assert np.array_equal(file["labels"], again.labels.numpy())
    assert read_json(run.folder / "reconstructions.json") == run.report()
    assert not (run.folder / "work").exists()


def test_a_seed_stands_for_the_generator_of_the_command(target):
    rng = seeded_rng(1, "reconstruct/kkt")
    assert torch.equal(
        reconstruct(target, settings=SHORT, seed=1).images, reconstruct(target, "kkt", SHORT, rng).images
    )


def test_an_unknown_method_leaves_no_folder(target, tmp_path):
    with pytest.raises(SettingError, match="ktk"):
        run_reconstruction(target, "ktk", METHODS["kkt"].settings(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_architecture_is_the_same_with_and_without_its_family(target):
    assert target.arch == "invaudit:mlp-20"
