"""An explanation from end to end on a tiny network: stages, records, page, and what happens when it is stopped."""

import json
import re
import shutil
import stat
from importlib import resources

import jsonschema
import pytest
import torch

from invaudit.data import ImageSet, seeded_rng
from invaudit.explain import ExplainSettings, explain_model, run
from invaudit.explain.stages import STAGES
from invaudit.models import InputSpec, Target, TrainingSettings, build, limit_threads, train
from invaudit.models.devices import seed_torch
from invaudit.records.explain import Explanation
from invaudit.report import explain_page
from invaudit.report.explain import classes, deciding, fooling, touching
from invaudit.runtime.errors import Interrupted, RunFolderError, SettingError

QUICK = ExplainSettings.model_validate(
    {
        "inversion": {"steps": 40, "generator": "upsample", "noise": 8, "eval_every": 20, "batch_size": 32},
        "images": 3,
        "measured": 10,
        "borders": {"steps": 20},
        "generator_borders": {"candidates": 2, "noise_steps": 5},
        "planes": 1,
        "grid": 5,
        "attacks": {"pgd": {"steps": 5}, "ddn": {"steps": 10}},
        "attacked": 20,
        "adversary": {"steps": 5, "width": 4},
        "counterfeits": {"weights": {"cross-entropy": 1.0}, "hot": True, "steps": 20, "noise": 16},
        "masks": {"steps": 5, "levels": 8},
        "masked": 2,
    }
)
CLASSES = ("1", "4", "7")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def second(training_digits: ImageSet) -> Target:
    """Return another network of the digits."""
    spec = InputSpec(1, 8, 8, mean=(0.5,), std=(0.5,))
    with limit_threads(1), seed_torch(seeded_rng(1, "tests/weights")):
        target = Target(build("small-cnn", spec, 10), spec, arch="invaudit:small-cnn")
        train(target, training_digits, TrainingSettings(epochs=3), seeded_rng(1, "tests/training"))
    return target


@pytest.fixture(scope="module")
def explained(trained, second, held_out_digits, tmp_path_factory):
    """Return what explains a network into a folder."""

    def explain(out=None, **changes):
        folder = out or tmp_path_factory.mktemp("explained") / "run"
        given = {"data": held_out_digits, "second": second, "classes": CLASSES} | changes
        with limit_threads(1):
            return explain_model(trained, given.pop("settings", QUICK), folder, name="tiny.pth", **given)

    return explain


@pytest.fixture(scope="module")
def whole(explained):
    """Return a finished explanation, not to be changed."""
    return explained()


def test_every_stage_has_a_result(whole):
    found = whole.found
    assert [getattr(found, name).status for name in STAGES] == ["ok"] * len(STAGES)
    assert found.model.classes == (1, 4, 7)
    assert found.model.n_classes == 10
    assert len(found.inversion.accuracy) == len(found.nearest.similarity) == 3
    assert {(row.first, row.second) for row in found.borders.pairs} == {(0, 1), (0, 2), (1, 2)}
    assert [row.attack for row in found.adversarial.attacks] == ["pgd", "ddn", "inversion"]
    assert found.adversarial.counterfeits is not None
    assert len(found.masks.masks) == 2
    assert stat.S_IMODE(whole.folder.stat().st_mode) == 0o700
    assert not list(whole.folder.glob("work.pt*"))


def test_the_file_follows_its_schema_and_reads_as_it_was_written(whole):
    text = (whole.folder / "explain.json").read_text()
    schema = json.loads(resources.files("invaudit.records").joinpath("schemas/explain.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))
    assert Explanation.model_validate_json(text) == whole.found


def test_the_page_is_one_file_that_asks_for_nothing(whole):
    html = (whole.folder / "report.html").read_text()
    shown = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", html).lower()
    assert not [word for word in ("http:", "https:", "//cdn", "@import", "url(", "<link", "<iframe") if word in shown]
    assert all(source.startswith("data:image/png") for source in re.findall(r'<img src="([^"]*)', html))
    for title in ("What each class looks like", "Which classes touch", "What fools it", "What a decision rests on"):
        assert title in html
    assert "upper bound" in html


def test_names_from_outside_are_text_on_the_page(whole, tmp_path, monkeypatch):
    folder = shutil.copytree(whole.folder, tmp_path / "run")
    content = json.loads((folder / "explain.json").read_text())
    content["model"]["class_names"] = [f"<script src=//evil.example>{label}$x_{{" for label in range(3)]
    (folder / "explain.json").write_text(json.dumps(content))
    for module in (classes, touching, fooling, deciding):
        monkeypatch.setattr(module, "png", lambda _: b"\x89PNG\r\n\x1a\n" + bytes(16))
    explain_page(folder)
    html = (folder / "report.html").read_text()
    assert "<script src" not in html
    assert "&lt;script src" in html


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(explained, whole, tmp_path, monkeypatch):
    def stop(_work):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "explain_page", lambda _: None)  # what the page shows is tested above
    with monkeypatch.context() as patch:
        patch.setitem(STAGES, "adversarial", STAGES["adversarial"]._replace(make=stop))
        with pytest.raises(Interrupted):
            explained(tmp_path / "run")
    assert not (tmp_path / "run/explain.json").exists()
    done = [name for name in STAGES if name not in ("adversarial", "masks")]
    for name in done:
        monkeypatch.setitem(STAGES, name, STAGES[name]._replace(make=stop))
    with pytest.raises(RunFolderError, match="--resume"):
        explained(tmp_path / "run")
    explained(tmp_path / "run", resume=True)
    for name in ("explain.json", *(f"scores/{stage}.npz" for stage in STAGES)):
        assert (tmp_path / "run" / name).read_bytes() == (whole.folder / name).read_bytes(), name


def test_without_real_images_what_needs_them_has_a_reason(explained):
    quick = QUICK.model_copy(update={"by": "pixels", "inversion": {"steps": 3, "per_class": 2}, "images": 2})
    found = explained(data=None, second=None, settings=quick, classes=2).found
    assert found.model.classes == (0, 1)
    assert found.data is None
    for name in ("nearest", "adversarial", "masks"):
        record = getattr(found, name)
        assert record.status == "skipped"
        assert "--data" in record.reason
    missing = {row.name: row.reason for row in found.measures.measures if row.figure is None}
    assert "--second-model" in missing["second_accuracy"]
    assert found.borders.starts == "inversions"


def test_a_budget_cuts_all_searches_by_one_share(explained):
    quick = QUICK.model_copy(update={"by": "pixels", "inversion": {"steps": 30, "per_class": 2}, "images": 2})
    found = explained(data=None, second=None, settings=quick.model_copy(update={"budget": 1e-6}), classes=2)
    assert 0 < found.found.share_of_steps < 1
    assert "after 10 steps" in found.found.inversion.message
    assert "of the steps of every search were done" in (found.folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("wanted", "said"),
    [(1, "expected 2 to 10"), (("3",), "two different"), (("3", "3"), "two"), (("cat", "1"), "'cat'")],
)
def test_classes_that_are_none_are_refused(trained, tmp_path, wanted, said):
    with pytest.raises(SettingError, match=said):
        explain_model(trained, QUICK, tmp_path / "run", classes=wanted)
    assert not (tmp_path / "run").exists()


def test_a_folder_without_an_explanation_has_no_page(tmp_path):
    with pytest.raises(RunFolderError):
        explain_page(tmp_path)


def test_images_are_those_of_the_network(trained, tmp_path):
    images = ImageSet("nine", torch.zeros(4, 1, 9, 9, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]))
    with pytest.raises(Exception, match="resize"):
        explain_model(trained, QUICK, tmp_path / "run", data=images)
