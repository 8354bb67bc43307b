import numpy as np
import pytest
import torch

from invaudit.benchmarks.ood import OODBenchmark, run, sets
from invaudit.benchmarks.ood.sets import load_sets, read_sets, write_sets
from invaudit.data import ImageSet, Transform, load
from invaudit.runtime.errors import DataError, MissingDataError
from invaudit.runtime.executor import ExecutorChoice
from tests.conftest import SMALL

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path, monkeypatch):
    draws = np.random.default_rng(0)
    for name, n in (("shapes", 400), ("others", 60)):
        arrays = {}
        for part in ("train", "test"):
            arrays[f"{part}_images"] = draws.integers(0, 256, (n, 12, 12), dtype=np.uint8)
            arrays[f"{part}_labels"] = np.arange(n) % 6
        np.savez(tmp_path / f"{name}.npz", **arrays)
    monkeypatch.setenv("INVAUDIT_DATA", str(tmp_path))
    return tmp_path


def chosen(without=None, **change):
    near = {"name": "others", "data": "others:test", "group": "near", "without": without or {}}
    absent = {"name": "absent", "data": "absent:test", "group": "far"}
    sizes = {"side": 12, "fit": 50, "calibrate": 30, "test": 70}
    return OODBenchmark.model_validate(SMALL | {"id": "shapes", "ood": [near, absent], **sizes, **change})


@pytest.mark.usefixtures("folder")
def test_splits_have_the_sizes_asked_for_and_a_missing_set_is_noted():
    loaded = load_sets(chosen(), 0)
    assert {name: len(images) for name, images in loaded.splits.sets().items()} == {
        "train": 320, "fit": 50, "calibrate": 30, "test": 70,
    }  # fmt: skip
    assert set(loaded.missing) == {"absent"}
    assert len(loaded.ood["others"]) == 60


def test_classes_that_show_an_id_class_are_left_out(folder):
    with np.load(folder / "others.npz") as file:
        kept = file["test_images"][~np.isin(file["test_labels"], (1, 4))]
    images = load_sets(chosen(without={"one": 1, "four": 4}), 0).ood["others"].images
    np.testing.assert_array_equal(images[:, 0].numpy(), kept)
    with pytest.raises(DataError, match="no image of nine"):
        load_sets(chosen(without={"one": 1, "nine": 99}), 0)


@pytest.mark.usefixtures("folder")
def test_the_test_images_are_the_same_for_all_seeds_and_the_splits_are_not():
    first, second = (load_sets(chosen(), seed).splits for seed in (0, 1))
    assert first.test.hash == second.test.hash
    assert first.train.hash != second.train.hash


@pytest.mark.usefixtures("folder")
def test_more_test_images_than_there_are_is_refused():
    with pytest.raises(DataError, match="test is 500, and shapes:test has 400 images"):
        load_sets(chosen().model_copy(update={"test": 500}), 0)


@pytest.mark.usefixtures("folder")
def test_held_out_images_of_their_own_leave_all_training_images_to_the_networks():
    settings = chosen(id="shapes:train", held_out="shapes:test@0:150", id_test="shapes:test@150:")
    splits = load_sets(settings, 0).splits
    assert {name: len(images) for name, images in splits.sets().items()} == {
        "train": 400, "fit": 50, "calibrate": 30, "test": 70,
    }  # fmt: skip
    held_out = load("shapes:test@0:150").image_hashes()
    assert set(splits.fit.image_hashes()) | set(splits.calibrate.image_hashes()) <= set(held_out)
    with pytest.raises(DataError, match=r"shapes:test@0:60 has 60 images, and fit \(50\) and calibrate"):
        load_sets(settings.model_copy(update={"held_out": "shapes:test@0:60"}), 0)


@pytest.mark.usefixtures("folder")
def test_an_open_set_knows_some_classes_and_the_test_images_of_the_others_are_near():
    settings = chosen(known_classes=4, ood=[], fit=40, test=None)
    known_of_seeds = set()
    for seed in range(4):
        loaded = load_sets(settings, seed)
        names = loaded.splits.train.class_names
        known_of_seeds.add(names)
        known = torch.tensor([int(name) for name in names])
        for data, images in (("shapes:test", loaded.splits.test), ("shapes:train", loaded.splits.train)):
            whole = load(data)
            kept = set(whole.subset(torch.isin(whole.labels, known)).image_hashes())
            assert set(images.image_hashes()) <= kept
            assert sorted(images.labels.unique().tolist()) == [0, 1, 2, 3]
            label_of = dict(zip(whole.image_hashes(), whole.labels.tolist(), strict=True))
            assert [label_of[one] for one in images.image_hashes()] == known[images.labels].tolist()
        unknown = loaded.ood["unknown-classes"]
        whole = load("shapes:test")
        assert set(unknown.image_hashes()) == set(whole.subset(~torch.isin(whole.labels, known)).image_hashes())
        assert loaded.groups == {"unknown-classes": "near"}
    assert len(known_of_seeds) > 1
    with pytest.raises(DataError, match=r"known_classes is 6, and .* has 6; leave at least one"):
        load_sets(settings.model_copy(update={"known_classes": 6}), 0)


REAL_NETWORKS = {"full": {"garbage": {"noise": 0.5, "real": 0.5, "per_cycle": 35}, "real": "others:train"}}
TRAINING = {"epochs": 1, "batch_size": 64, "precision": "float32"}
ATTACKS = {"sure": {"steps": 2, "batch_size": 16}}


@pytest.mark.usefixtures("folder")
def test_prepared_sets_are_the_loaded_ones_with_their_hashes(tmp_path, monkeypatch):
    settings = chosen(networks=REAL_NETWORKS)
    loaded = load_sets(settings, 0)
    write_sets(loaded, tmp_path / "sets.npz")
    expected = loaded.record()
    monkeypatch.setattr("invaudit.data.image_set.content_hash", lambda *_: pytest.fail("hashed again"))
    prepared = read_sets(tmp_path / "sets.npz")
    assert prepared.record() == expected
    assert set(prepared.all()) == set(loaded.all()) == {
        "split/train", "split/fit", "split/calibrate", "split/test", "ood/others", "real/others:train",
    }  # fmt: skip
    for name, images in loaded.all().items():
        same = prepared.all()[name]
        assert (same.name, same.transform, same.hash) == (images.name, images.transform, images.hash)
        assert same.images.equal(images.images)
        assert same.labels.equal(images.labels)


@pytest.mark.usefixtures("folder")
def test_real_outliers_that_are_not_there_are_refused(monkeypatch):
    monkeypatch.setitem(REAL_NETWORKS["full"], "real", "nowhere:train")
    with pytest.raises(MissingDataError, match="nowhere"):
        load_sets(chosen(networks=REAL_NETWORKS), 0)


@pytest.mark.usefixtures("folder")
def test_each_set_is_read_transformed_and_hashed_once_for_each_seed(tmp_path, monkeypatch):
    calls = {"read": [], "transformed": [], "each": [], "hashed": []}

    def count(place, name, what, of):
        function = getattr(place, name)

        def counting(*args, **kinds):
            calls[what].append(of(*args))
            return function(*args, **kinds)

        monkeypatch.setattr(place, name, counting)

    count(sets, "load", "read", lambda text: text)
    count(Transform, "apply", "transformed", lambda _, images: len(images))
    count(ImageSet, "image_hashes", "each", len)
    count(ImageSet.__dict__["hash"], "func", "hashed", lambda images: images.name)
    settings = chosen(seeds=[0, 1], networks={"plain": {}, **REAL_NETWORKS}, training=TRAINING, attacks=ATTACKS)
    run(settings, tmp_path / "run", executor=ExecutorChoice("serial"))
    # A set that is not there is looked for as well.
    texts = ["shapes:train", "shapes:test", "others:test", "absent:test", "others:train"]
    assert sorted(calls["read"]) == sorted(2 * texts)
    assert len(calls["transformed"]) == 2 * 4
    assert sorted(calls["each"]) == sorted(2 * [400, 70])
    assert len(calls["hashed"]) == 2 * 6


NEAR = {"name": "others", "data": "others:test", "group": "near"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ood": [NEAR, NEAR]}, "an OOD set is called 'others'"),
        *(({"ood": [NEAR | {"name": name}]}, f"an OOD set is called '{name}'")
          for name in ("id-test", "calibrate", "held-out", "control-same", "worst", "mean-near", "unknown-classes",
                       "attack-sure")),
        ({"ood": [NEAR | {"name": "a/b"}]}, "should match"),
        ({"networks": {"none": {}, "full": {}}}, "a network is called 'none'"),
        ({"networks": {"full": {}, "full-attacks": {}}}, "a network is called 'full-attacks'"),
        ({"networks": {"full": {}, "empty": {"trained": False}}}, "the one that is not trained is called 'random'"),
        ({"networks": {"full": {}, "random": {}}}, "network 'random' has trained True"),
        ({"networks": {"full": {"tuned": True}}}, "no baseline that can be tuned"),
        ({"networks": {"full": {"tuned": True, "baselines": ["MaxLogit"]}}}, "no baseline that can be tuned"),
        ({"id": "digits"}, "digits bring sets of their own"),
        ({"ood": []}, "name at least one OOD set, or set known_classes"),
        ({"held_out": "shapes:test", "known_classes": 4}, "leave one out"),
        ({"networks": {"full": {"model": "net.pt", "arch": "mlp-20"}}, "known_classes": 4}, "leave known_classes out"),
        ({"networks": {"full": {}}, "detectors": ["mine:Detector"]}, "no network has baselines"),
    ],
)  # fmt: skip
def test_names_that_are_taken_and_settings_that_change_nothing_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        OODBenchmark.model_validate(SMALL | {"id": "shapes", "ood": [NEAR]} | change)
