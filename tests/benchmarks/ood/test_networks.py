"""Networks of one's own in a benchmark: trained elsewhere, or code that is trained; compared with a named row."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from invaudit.benchmarks.ood import OODBenchmark, run
from invaudit.benchmarks.ood.check import check_benchmark
from invaudit.benchmarks.ood.networks import new_network, numbered_as, train_new
from invaudit.benchmarks.ood.sets import _wanted, load_sets
from invaudit.data import Preparation, Transform, load
from invaudit.data.folders import PictureInput
from invaudit.models import save_target
from invaudit.models.training import accuracy
from invaudit.ood import with_garbage
from invaudit.runtime import ConfigError, ModelError, RunFolderError
from invaudit.runtime.executor import ExecutorChoice
from invaudit.runtime.settings import load_config

pytestmark = pytest.mark.xdist_group("own-networks")
ARCH = f"{__name__}:Small"


class Small(nn.Module):
    """A network of somebody's: ten classes of images of 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()
        )
        self.fc = nn.Linear(128, 10)

    def forward(self, images):
        return self.fc(self.body(images))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two sets, and the weights of a network that was trained on one of them with pixels from -1 to 1."""
    folder = tmp_path_factory.mktemp("own")
    whole = load("digits")
    images, labels = whole.images.numpy(), whole.labels.numpy()
    train, test = slice(0, 1200), slice(1200, None)
    np.savez(
        folder / "mine.npz",
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
    )
    noise = np.random.default_rng(0).integers(0, 256, (150, 8, 8), dtype=np.uint8)
    np.savez(folder / "noise.npz", images=noise)
    torch.manual_seed(0)
    network = Small()
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    inputs, classes = torch.from_numpy(images[train]).float() / 127.5 - 1, torch.from_numpy(labels[train])
    for _ in range(8):
        for batch in torch.randperm(len(inputs)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(inputs[batch]), classes[batch]).backward()
            optimiser.step()
    torch.save(network.state_dict(), folder / "mine.pth")
    return folder


@pytest.fixture(scope="module")
def fields(folder):
    mine = {"model": str(folder / "mine.pth"), "arch": ARCH, "mean": [0.5], "std": [0.5]}
    return {
        "name": "mine",
        "id": str(folder / "mine.npz"),
        "side": 8,
        "fit": 60,
        "calibrate": 60,
        "ood": [{"name": "noise", "data": str(folder / "noise.npz"), "group": "near"}],
        "networks": {
            "mine": {**mine, "baselines": ["EnergyBased", "MaxSoftmax"]},
            "again": {"arch": ARCH, "baselines": ["MaxSoftmax"]},
        },
        "compare_with": {"network": "mine", "detector": "EnergyBased"},
        "training": {"epochs": 1, "precision": "float32"},
        "slow_images": 20,
        "seeds": [0],
        "draws": 400,
    }


@pytest.fixture(scope="module")
def finished(fields, tmp_path_factory):
    return run(
        OODBenchmark.model_validate(fields), tmp_path_factory.mktemp("runs") / "own", executor=ExecutorChoice("serial")
    ).folder


@pytest.mark.slow
def test_a_network_trained_elsewhere_is_scored_as_it_is(folder, finished):
    network = Small().eval()
    network.load_state_dict(torch.load(folder / "mine.pth", weights_only=True))
    images = torch.from_numpy(np.load(folder / "mine.npz")["test_images"]).float()
    with torch.no_grad():
        logits = network(images / 127.5 - 1)
    with np.load(finished / "scores" / "seed-0" / "mine.npz") as arrays:
        np.testing.assert_array_equal(arrays["predictions"], logits.argmax(1))
        np.testing.assert_allclose(arrays["EnergyBased::id-test"], -logits.logsumexp(1), rtol=1e-4)
        scored = -logits.softmax(1).max(1).values
        np.testing.assert_allclose(arrays["MaxSoftmax::id-test"], scored, atol=1e-5)


@pytest.mark.slow
def test_differences_are_to_the_named_row_and_ours_is_compared_with_it(finished):
    summary = pd.read_csv(finished / "summary.csv")
    near = summary[summary["ood_set"] == "mean-near"].set_index(["network", "detector"])
    reference = near.loc[("mine", "EnergyBased")]
    assert np.isnan(reference["difference"])
    others = near.drop(("mine", "EnergyBased"))
    np.testing.assert_allclose(others["difference"], others["auroc"] - reference["auroc"], atol=1e-12)
    tested = set(others.index[others["p_adjusted"].notna()])
    assert {("mine", "joint"), ("again", "joint"), ("again", "MaxSoftmax")} <= tested
    # Parts of a detector, and statistics of pixels, are no baselines.
    assert not any("/" in detector or detector.startswith("pixel-") for _, detector in tested)


@pytest.mark.slow
def test_the_report_names_the_row_that_all_are_compared_with(finished):
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "EnergyBased on mine" in page
    assert not (finished / "attacks.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert (finished / "figures" / "headline.png").is_file()


@pytest.mark.slow
def test_a_run_without_any_reference_is_a_table_of_detectors(fields, tmp_path):
    networks = {"mine": {**fields["networks"]["mine"], "baselines": ["MaxSoftmax"]}}
    settings = OODBenchmark.model_validate(fields | {"networks": networks, "compare_with": None})
    finished = run(settings, tmp_path / "run", executor=ExecutorChoice("serial")).folder
    summary = pd.read_csv(finished / "summary.csv")
    assert summary["difference"].isna().all()
    assert summary["p_adjusted"].isna().all()
    assert (summary["status"] == "ok").all()
    assert "a table of detectors" in (finished / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_run_is_not_resumed_with_another_network_of_the_same_name(fields, folder, finished, tmp_path):
    other = {name: value + 0.01 for name, value in torch.load(folder / "mine.pth", weights_only=True).items()}
    torch.save(other, tmp_path / "mine.pth")
    weights = (folder / "mine.pth").read_bytes()
    (folder / "mine.pth").write_bytes((tmp_path / "mine.pth").read_bytes())
    try:
        with pytest.raises(RunFolderError, match="other"):
            run(OODBenchmark.model_validate(fields), finished, resume=True, executor=ExecutorChoice("serial"))
    finally:
        (folder / "mine.pth").write_bytes(weights)


def test_code_with_as_many_outputs_as_classes_gets_a_garbage_class(fields):
    garbage = {"garbage": {"noise": 1.0}, "arch": ARCH}
    settings = OODBenchmark.model_validate(fields | {"networks": {"full": garbage}, "compare_with": None})
    sets = load_sets(settings, 0)
    target = new_network(settings, 0, "full", sets)
    assert (target.outputs, target.classes, target.has_garbage) == (11, 10, True)
    again = new_network(settings, 0, "full", sets)
    assert again.hash == target.hash
    trained = train_new(settings, 0, "full", sets, target)
    assert trained.target.hash != again.hash
    assert new_network(settings, 1, "full", sets).hash != again.hash


def test_a_network_trained_elsewhere_can_be_trained_on(fields, folder):
    mine = fields["networks"]["mine"]
    networks = {
        "on": {**mine, "training": {"epochs": 2, "learning_rate": 1e-3}},
        "garbage": {**mine, "training": {"epochs": 1, "learning_rate": 1e-3}, "garbage": {"noise": 1.0}},
    }
    settings = OODBenchmark.model_validate(fields | {"networks": networks, "compare_with": None})
    sets = load_sets(settings, 0)
    before = torch.load(folder / "mine.pth", weights_only=True)
    for name, steps in (("on", 18), ("garbage", 9)):
        target = new_network(settings, 0, name, sets)
        assert target.has_garbage == (name == "garbage")
        torch.testing.assert_close(target.head.weight[:10].detach(), before["fc.weight"])
        trained = train_new(settings, 0, name, sets, target)
        assert trained.steps == steps
        assert not torch.equal(target.head.weight[:10], before["fc.weight"])
        images = sets.splits.test
        assert accuracy(target(images.floats()).argmax(1), images.labels) > 0.8


def test_a_garbage_class_that_training_would_not_feed_is_refused(fields, tmp_path):
    settings = OODBenchmark.model_validate(fields)
    sets = load_sets(settings, 0)
    save_target(with_garbage(new_network(settings, 0, "mine", sets)), tmp_path / "with.safetensors")
    network = {"model": str(tmp_path / "with.safetensors"), "arch": ARCH, "training": {"epochs": 1}}
    settings = OODBenchmark.model_validate(fields | {"networks": {"on": network}, "compare_with": None})
    with pytest.raises(ModelError, match="has a garbage class, and its training feeds none"):
        new_network(settings, 0, "on", sets)


def test_classes_are_numbered_as_those_of_the_network_by_their_names(fields):
    settings = OODBenchmark.model_validate(fields)
    sets = load_sets(settings, 0)
    names = tuple("abcdefghij")
    named = {}
    for name, images in sets.splits.sets().items():
        named[name] = type(images)(images.name, images.pixels, images.labels, images.transform, names)
    sets = type(sets)(type(sets.splits)(**named), sets.ood, sets.groups, sets.missing, sets.transform)
    target = new_network(settings, 0, "mine", sets)
    target.class_names = names[::-1]
    numbered = numbered_as(target, sets)
    assert torch.equal(numbered.splits.test.labels, 9 - sets.splits.test.labels)
    assert numbered.ood is sets.ood


def test_all_that_would_stop_a_benchmark_is_told_at_once(fields, tmp_path):
    networks = {
        "gone": {"model": str(tmp_path / "gone.pth"), "arch": ARCH},
        "odd": {"arch": "no-such-net"},
        "mine": {**fields["networks"]["mine"], "mean": [100.0]},
    }
    change = {"networks": networks, "compare_with": None, "detectors": ("nowhere:Detector",), "draws": 100}
    networks["mine"]["baselines"] = ["MaxSoftmax"]
    with pytest.raises(ConfigError) as told:
        run(OODBenchmark.model_validate(fields | change), tmp_path / "run")
    for part in ("nowhere:Detector", "network gone: ", "network odd: ", "network mine: "):
        assert part in str(told.value)
    assert not (tmp_path / "run").exists()


def test_a_network_that_guesses_on_the_id_images_is_refused(fields, tmp_path):
    torch.manual_seed(0)
    network = Small()
    nn.init.zeros_(network.fc.weight)  # the same class for all images
    torch.save(network.state_dict(), tmp_path / "new.pth")
    networks = {"mine": {**fields["networks"]["mine"], "model": str(tmp_path / "new.pth")}}
    with pytest.raises(ModelError, match="no better than chance"):
        run(OODBenchmark.model_validate(fields | {"networks": networks}), tmp_path / "run")


def test_problems_of_a_config_are_told_with_its_unknown_keys(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(
        "name: own\nid: mnist\nsides: 28\nseeds: [0, 0]\nnetworks:\n"
        "  mine: {model: a.pth, garbage: {noise: 1.0}, tuned: true}\n  other: {mean: [0.5]}\n"
    )
    with pytest.raises(ConfigError) as told:
        load_config(OODBenchmark, str(file))
    for part in (
        "unknown key 'sides'; did you mean 'side'?",
        "garbage says how",
        "tuned is set",
        "networks.other: mean",
    ):
        assert part in str(told.value)


def test_the_default_reference_is_ours_where_it_is_there(fields):
    networks = {"full": {"garbage": {"noise": 1.0}}, "plain": {}}
    whole = {key: value for key, value in fields.items() if key != "compare_with"}
    assert OODBenchmark.model_validate(whole | {"networks": networks}).compare_with.row == ("full", "joint")
    assert OODBenchmark.model_validate(whole).compare_with.row == ("mine", "joint")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"compare_with": {"network": "nobody"}}, "names the network 'nobody', expected one of mine, again"),
        ({"compare_with": {"network": "again", "detector": "EnergyBased"}}, "expected one that runs on 'again'"),
        ({"id": "digits", "ood": [], "id_test": "x.npz"}, "id_test is set, but digits bring sets of their own"),
        ({"pictures": {"squash": True, "resize": 9}}, "squash scales the whole picture"),
    ],
)
def test_what_does_not_go_together_is_refused(fields, change, said):
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        OODBenchmark.model_validate(fields | change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "digits", "ood": [], "seeds": [0, 1]}, "rotate with the seed"),
        ({"compare_with": {"network": "again", "detector": "garbage-logit"}}, "expected one that runs on 'again'"),
        ({"compare_with": {"network": "again", "detector": "joint/nonsense"}}, "expected one that runs on 'again'"),
    ],
)
def test_what_would_give_no_figures_is_refused(fields, change, said):
    with pytest.raises(ValueError, match=said):
        OODBenchmark.model_validate(fields | change)


def test_published_weights_are_not_dropped_from_a_network_that_is_trained(fields, tmp_path):
    networks = {"plain": {"arch": "torchvision:resnet18@IMAGENET1K_V1"}}
    with pytest.raises(ModelError, match="names published weights, and this network is trained anew"):
        run(OODBenchmark.model_validate(fields | {"networks": networks, "compare_with": None}), tmp_path / "run")


def test_changed_code_of_a_trained_network_is_another_input(fields, monkeypatch):
    settings = OODBenchmark.model_validate(fields)
    before = check_benchmark(settings).inputs
    monkeypatch.setattr("invaudit.models.settings.source_code", lambda _: b"other code")
    after = check_benchmark(settings).inputs
    assert len(before) == len(after)
    assert before != after


def test_pictures_of_all_sets_are_prepared_alike(fields, tmp_path):
    rng = np.random.default_rng(0)
    for name, sizes in (("one", [(24, 16)]), ("many", [(24, 16), (25, 16)])):
        for number in range(40):
            place = tmp_path / name / str(number % 2)
            place.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, sizes[number % len(sizes)], dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{number}.png")
    for data, other, expected in (("one", "many", Preparation(squash=True)), ("many", "one", Preparation(resize=9))):
        wanted = _wanted(OODBenchmark.model_validate(fields), Transform(8, 1), load_as_id(tmp_path / data))
        assert load(str(tmp_path / other), wanted=wanted).preparation == expected


def load_as_id(folder):
    return load(str(folder), wanted=PictureInput((1, 8, 8), keeps_one_size=True))
