import runpy
from pathlib import Path

import numpy as np
import pytest

from invaudit.runtime import SettingError

lowest = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "worst_images.py"))["lowest"]


def test_the_worst_images_are_those_with_the_lowest_scores(finished, settings):
    found = lowest(finished, settings.model_copy(update={"seeds": (1,)}), "letters")
    with np.load(finished / "scores" / "seed-1" / "full.npz") as file:
        scores = file["joint::letters"]
    assert len(found) == 50
    assert scores[found].max() <= np.delete(scores, found).min()
    assert (np.diff(scores[found]) >= 0).all()


def test_a_mean_over_seeds_with_other_images_is_refused(finished, settings):
    with pytest.raises(SettingError, match="held-out-digits holds other images for each seed"):
        lowest(finished, settings, "held-out-digits")
