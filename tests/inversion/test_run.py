"""What the command `invert` does, from Python."""

import pytest
import torch

from invaudit.data import seeded_rng
from invaudit.inversion import InversionSettings, invert, inverting, run_inversion
from invaudit.runtime import SettingError, load_config
from invaudit.runtime.files import read_json

pytestmark = pytest.mark.slow

SHORT = InversionSettings(steps=4, batch_size=20, eval_images=4, noise=8)
LABELS = torch.arange(10)


def images_of(inversion) -> torch.Tensor:
    return inversion.sample(LABELS, seeded_rng(0, "tests/sample"))


def test_the_folder_holds_picture_and_diagnosis(trained, tmp_path):
    run = run_inversion(trained, SHORT, tmp_path / "out", seed=3, images=2)
    assert read_json(run.folder / "diagnosis.json") == run.report()
    assert run.report()["outcome"] == run.inversion.outcome
    assert (run.folder / "figures" / "gallery.png").stat().st_size > 1000
    assert torch.equal(images_of(run.inversion), images_of(invert(trained, SHORT, seed=3)))


def test_a_gallery_of_nothing_is_refused(trained, tmp_path):
    with pytest.raises(SettingError, match="images is 0"):
        run_inversion(trained, SHORT, tmp_path / "out", images=0)
    assert not (tmp_path / "out").exists()


def test_a_seed_stands_for_the_generator_of_the_command(trained):
    assert torch.equal(
        images_of(invert(trained, SHORT, seed=1)), images_of(invert(trained, SHORT, seeded_rng(1, "invert")))
    )


def test_without_settings_the_shipped_ones_are_taken(trained, monkeypatch):
    taken = []

    def stop(settings, *_, **__):
        taken.append(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(inverting, "Inverter", stop)
    with pytest.raises(KeyboardInterrupt):
        invert(trained)
    assert taken == [load_config(InversionSettings, "invert/grey")]
