import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.publish.worst_images import lowest, main, of_attack
from invaudit.runtime import SettingError

pytestmark = pytest.mark.slow


def test_the_worst_images_are_those_with_the_lowest_scores(finished, settings):
    positions = lowest(finished, settings.model_copy(update={"seeds": (1,)}), "letters")
    with np.load(finished / "scores" / "seed-1" / "full.npz") as file:
        scores = file["joint::letters"]
    assert len(positions) == 50
    assert scores[positions].max() <= np.delete(scores, positions).min()
    assert (np.diff(scores[positions]) >= 0).all()


def test_a_mean_over_seeds_with_other_images_is_refused(finished, settings):
    with pytest.raises(SettingError, match="held-out-digits holds other images for each seed"):
        lowest(finished, settings, "held-out-digits")


def test_the_images_of_an_attack_are_made_again(finished, settings, tmp_path):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    examined = of_attack(run, settings, "sure")
    assert examined.images.shape == (2 * 35, 1, 8, 8)
    resistance = pd.read_csv(finished / "resistance.csv").query("network == 'full' and attack == 'sure'")
    assert examined.accepted.double().mean() == pytest.approx(resistance["accepted"].mean(), abs=0.02)
    for seed in (0, 1):
        folder = finished / "scores" / f"seed-{seed}"
        with np.load(folder / "full.npz") as scores, np.load(folder / "full-attacks.npz") as kept:
            by_class = scores["joint::attack-sure"].reshape(5, 7)
            assert examined.drawn[seed].tolist() == [
                35 * seed + 7 * row + k for k, row in enumerate(by_class.argmin(0))
            ]
            again = examined.images[35 * seed :][:7].mul(255).round().byte().numpy()
            assert (again == kept["attack-sure::images"]).all()

    stored = run / "scores" / "seed-1" / "full.npz"
    with np.load(stored) as file:
        arrays = dict(file)
    arrays["garbage-logit::attack-sure"] += 0.01
    np.savez(stored, allow_pickle=False, **arrays)
    with pytest.raises(SettingError, match="seed-1-full: sure made other images than in the run"):
        of_attack(run, settings, "sure")


def test_networks_of_a_run_are_not_judged_by_their_own_kind(finished):
    with pytest.raises(SystemExit, match="small-cnn, as a judge is"):
        main([str(finished), "letters"])
