import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load as tensors_in
from safetensors.torch import save as bytes_of
from torch import nn
from torch.utils.data import TensorDataset

from invaudit.data import digits_benchmark, load, seeded_rng
from invaudit.inversion import InversionSettings
from invaudit.models import InputSpec, Target, TrainingSettings
from invaudit.models.suitability import CheckedImages
from invaudit.ood import (
    FitSettings,
    GarbageSettings,
    GuardedClassifier,
    Recipe,
    as_pytorch_ood,
    fit,
    fitting,
    guarded,
    joint,
)
from invaudit.runtime import DataError, ModelError, SettingError, load_config
from invaudit.runtime.files import content_hash
from invaudit.stats import auroc

pytestmark = pytest.mark.slow

RECIPE = Recipe(
    training=TrainingSettings(epochs=6, batch_size=64, precision="float32"),
    garbage=GarbageSettings(noise=0.5, derived=0.25, inversions=0.25, per_cycle=70),
    inversion=InversionSettings(steps=5, batch_size=16, eval_every=10),
)


@pytest.fixture(scope="module")
def images():
    return load("digits")


@pytest.fixture(scope="module")
def guard(images):
    return fit(images, RECIPE, seeded_rng(0, "guard"), arch="small-cnn")


@pytest.fixture(scope="module")
def noise():
    return torch.rand(100, 1, 8, 8, generator=seeded_rng(0, "noise"))


@pytest.fixture
def passes(monkeypatch):
    """Number of images of each pass through a network."""
    numbers, collect = [], guarded.collect

    def counting(target, some, **kinds):
        numbers.append(len(some))
        return collect(target, some, **kinds)

    for module in (fitting, guarded, joint):
        monkeypatch.setattr(module, "collect", counting)
    return numbers


def test_it_classifies_and_rejects(guard, images, noise):
    assert guard.about["held_out"]["id_accuracy"] > 0.8
    assert guard.about["held_out"]["false_alarms_at_5_percent"] < 0.2
    assert auroc(guard.score(images).numpy(), guard.score(noise).numpy()) > 0.99
    assert not guard.accept(noise).any()
    assert guard.predict(images).max() < 10


def test_accepting_is_a_p_value_above_alpha(guard, images):
    scores = guard.score(images)
    for alpha in (0.02, 0.05, 0.2):
        assert torch.equal(guard.accept(images, alpha), guard.p_values(scores) > alpha)


def test_a_judgement_is_score_p_value_decision_and_class_from_one_pass(guard, images, passes):
    expected = guard.score(images), guard.accept(images, 0.1), guard.predict(images)
    passes.clear()
    judgement = guard.judge(images, 0.1)
    assert sum(passes) == len(images) == len(judgement)
    assert max(passes) == guarded.AT_ONCE
    for values, same in zip((judgement.scores, judgement.accepted, judgement.predicted), expected, strict=True):
        assert torch.equal(values, same)
    assert torch.equal(judgement.p_values, guard.p_values(judgement.scores))


def test_fitting_passes_each_image_once(guard, images, passes):
    fit(images, rng=seeded_rng(0, "guard"), start=guard.target, as_it_is=True)
    outliers = passes.count(joint.OUTLIERS_PER_FAMILY) * joint.OUTLIERS_PER_FAMILY
    # Beside the pass that sees whether the network knows these images at all.
    assert sum(passes) - outliers == len(images)


def test_without_a_recipe_it_is_the_shipped_one_and_the_seed_of_the_command(images, monkeypatch):
    recipes = []

    class EnoughError(Exception):
        pass

    def stop(_target, _data, recipe, rng, **_):
        recipes.append((recipe, int(torch.randint(2**62, (), generator=rng))))
        raise EnoughError

    monkeypatch.setattr(fitting, "train_network", stop)
    for given in ((), (load_config(FitSettings, "fit/scratch").recipe, seeded_rng(7, "ood/fit"))):
        with pytest.raises(EnoughError):
            fit(images, *given, seed=7)
    assert recipes[0] == recipes[1]
    target = Target(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), InputSpec(1, 8, 8), 10)
    monkeypatch.setattr(fitting, "check_training_images", lambda train, *_, **__: CheckedImages(train))
    with pytest.raises(EnoughError):
        fit(images, start=target)
    assert recipes[2][0] == load_config(FitSettings, "fit/finetune").recipe


def test_with_delta_fewer_are_rejected(guard, images):
    assert guard.threshold(0.2, 0.1) > guard.threshold(0.2)
    assert torch.equal(guard.accept(images, 0.2, 0.1), guard.score(images) <= guard.threshold(0.2, 0.1))


def test_an_alpha_below_what_calibration_can_tell_is_refused_before_the_pass(guard, images, passes):
    for refuse in (guard.threshold, lambda alpha: guard.judge(images, alpha)):
        with pytest.raises(SettingError, match="alpha"):
            refuse(1e-4)
    assert not passes


def test_saved_and_loaded_it_gives_identical_scores(guard, images, noise, tmp_path):
    guard.save(tmp_path)
    again = GuardedClassifier.load(tmp_path)
    for some in (images, noise):
        assert torch.equal(again.score(some), guard.score(some))
    assert again.about == json.loads(json.dumps(guard.about))
    assert torch.equal(again.accept(images, 0.1), guard.accept(images, 0.1))


@pytest.mark.parametrize("part", ["network", "detector"])
def test_a_file_of_another_guard_in_the_folder_is_noticed(guard, images, tmp_path, part):
    guard.save(tmp_path)
    other = fit(images, RECIPE, seeded_rng(1, "guard"), arch="small-cnn")
    other.save(tmp_path / "other")
    (tmp_path / "other" / f"{part}.safetensors").replace(tmp_path / f"{part}.safetensors")
    with pytest.raises(ModelError, match=f"not the {part}"):
        GuardedClassifier.load(tmp_path)


def test_a_guard_of_another_version_is_refused(guard, tmp_path):
    guard.save(tmp_path)
    about = json.loads((tmp_path / "guard.json").read_text())
    (tmp_path / "guard.json").write_text(json.dumps({**about, "schema": 2}))
    with pytest.raises(ModelError, match="has schema 2"):
        GuardedClassifier.load(tmp_path)


@pytest.mark.parametrize("content", ["[]", "3", "{"])
def test_a_damaged_description_is_refused(guard, tmp_path, content):
    guard.save(tmp_path)
    (tmp_path / "guard.json").write_text(content)
    with pytest.raises(ModelError, match=r"guard\.json is damaged"):
        GuardedClassifier.load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"target_hash": 5},
        {"detector_hash": None},
        {"data": []},
        {"data": {"class_names": 5}},
        {"data": {"class_names": ["a"]}},
        {"splits": [1]},
        {"earlier": 5},
        {"more": float("nan")},
        {"more": float("inf")},
    ],
)
def test_a_description_that_no_guard_could_have_is_refused(guard, tmp_path, change):
    guard.save(tmp_path)
    about = json.loads((tmp_path / "guard.json").read_text())
    (tmp_path / "guard.json").write_text(json.dumps(about | change))
    with pytest.raises(ModelError, match=r"guard\.json.*fit it again"):
        GuardedClassifier.load(tmp_path)


@pytest.mark.parametrize("field", ["calibration", "gradient-norm.weight", "nearest-head.bank", "density-last.own"])
@pytest.mark.parametrize(
    "change",
    [None, lambda value: value.reshape(-1)[:0].clone(), lambda value: value.float() * torch.nan],
    ids=["missing", "empty", "nan"],
)
def test_a_detector_whose_tensors_are_not_its_own_is_refused(guard, tmp_path, field, change):
    guard.save(tmp_path)
    state = tensors_in((tmp_path / "detector.safetensors").read_bytes())
    value = state.pop(field)
    content = bytes_of(state if change is None else {**state, field: change(value)})
    (tmp_path / "detector.safetensors").write_bytes(content)
    about = json.loads((tmp_path / "guard.json").read_text())
    (tmp_path / "guard.json").write_text(json.dumps({**about, "detector_hash": content_hash(content)}))
    with pytest.raises(ModelError, match=r"detector\.safetensors.*fit it again"):
        GuardedClassifier.load(tmp_path)


def test_a_damaged_detector_is_refused(guard, tmp_path):
    guard.save(tmp_path)
    (tmp_path / "detector.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="damaged"):
        GuardedClassifier.load(tmp_path)


def test_a_users_own_module_is_scored_as_it_is(images, noise):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images.floats()), images.labels).backward()
        optimizer.step()
    target = Target(module, InputSpec(1, 8, 8), 10)
    before = target.hash
    guard = fit(images, RECIPE, seeded_rng(0, "own"), start=target, as_it_is=True)
    assert guard.target.hash == before
    assert "garbage" not in guard.joint.state
    assert auroc(guard.score(images).numpy(), guard.score(noise).numpy()) > 0.95
    tuned = fit(images, RECIPE, seeded_rng(0, "own"), start=target)
    assert tuned.target.has_garbage
    assert target.hash == before
    plain = fit(images, RECIPE.model_copy(update={"garbage": None}), seeded_rng(0, "own"), start=target)
    assert plain.target.hash != before
    assert target.hash == before


def test_labels_that_are_no_classes_are_refused(images):
    with pytest.raises(DataError, match="images without a class"):
        fit(replace(images, labels=images.labels - 1), RECIPE, seeded_rng(0, "x"))


def test_a_network_at_chance_is_refused(guard, images):
    shuffled = replace(images, labels=(images.labels + 1) % 10)
    with pytest.raises(ModelError, match="no better than chance"):
        fit(shuffled, RECIPE, seeded_rng(0, "x"), start=guard.target, as_it_is=True)


def test_it_works_inside_pytorch_ood(guard):
    from pytorch_ood.benchmark import Benchmark
    from pytorch_ood.metrics import OODMetrics

    sets = digits_benchmark(0)
    test, letters = sets.splits.test, sets.ood["letters"]
    detector = as_pytorch_ood(guard.joint, guard.target)
    metrics = OODMetrics()
    for part in (test, letters):
        metrics.update(detector(part.floats()), part.labels)
    expected = auroc(guard.score(test).float().numpy(), guard.score(letters).float().numpy())
    assert metrics.compute()["AUROC"] == pytest.approx(expected, abs=1e-6)

    class Digits(Benchmark):
        ood_names = ["letters"]  # noqa: RUF012

        def train_set(self):
            raise NotImplementedError

        def test_sets(self, *_kind, **_kinds):
            both = [TensorDataset(part.floats(), part.labels) for part in (test, letters)]
            return [torch.utils.data.ConcatDataset(both)]

    (found,) = Digits().evaluate(detector, loader_kwargs={"batch_size": 64})
    assert found["AUROC"] == pytest.approx(expected, abs=1e-6)
