"""Reference models: coins, what they were trained on, going on after a kill, and a network that is found to leak."""

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import nn

from invaudit.audit.reference_training import Trainings, usable_images
from invaudit.audit.references import confidences, given_references, reference_scores, train_references
from invaudit.data import ImageSet, seeded_rng
from invaudit.data.digits import digits
from invaudit.leakage import make_pool
from invaudit.leakage.membership_signals import loss
from invaudit.models import InputSpec, Target, TrainingSettings, build, checkpoints, load_model, save_target, train
from invaudit.models.devices import seed_torch
from invaudit.models.twins import untrained_twin
from invaudit.runtime import console
from invaudit.runtime.errors import DataError, InputError, ModelError, SettingError, ShapeError
from invaudit.stats import auroc

SPEC = InputSpec(1, 8, 8)
TRAINING = TrainingSettings(epochs=60, batch_size=32, weight_decay=0.0, learning_rate=1e-2, precision="float32")
SHORT = TRAINING.model_copy(update={"epochs": 3})


@pytest.fixture(scope="module")
def images():
    data = digits()
    return data.subset(torch.randperm(len(data), generator=seeded_rng(0, "references")))


@pytest.fixture(scope="module")
def pool(images):
    return make_pool(images.subset(slice(100)), images.subset(slice(100, 200)))


@pytest.fixture(scope="module")
def target(images):
    """A network that knows its hundred members by heart."""
    made = network(0)
    train(made, images.subset(slice(100)), TRAINING, seeded_rng(0, "trained"))
    return made


def network(seed, arch="mlp-50"):
    with seed_torch(seeded_rng(seed, "network")):
        return Target(build(arch, SPEC, 10), SPEC, 10, arch=f"invaudit:{arch}")


def trained(target, data, pool, n, folder, training=SHORT, **more):
    return train_references(target, data, pool.images, n, training, seed=0, folder=folder, **more)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("on", "names"),
    [("pool", ["lira-offline", "lira-online", "rmia"]), ("others", ["lira-offline", "rmia"])],
)
def test_a_network_that_knows_its_members_by_heart_is_found(images, pool, target, tmp_path, on, names):
    data = images.subset(slice(200) if on == "pool" else slice(1000, 1200))
    population = images.subset(slice(600, 1000))
    references = trained(target, data, pool, 4, tmp_path, TRAINING, population=population)
    own, member = confidences(target, pool.images), pool.design.member
    for of_population in (None, confidences(target, population)):
        scores = reference_scores(own, references, of_population)
        assert sorted(scores) == names
        for score in scores.values():
            # Well above the score without references, 0.637.
            assert auroc(score[~member], score[member]) > 0.67
    # What is asked for later adds to what is there, and does not change it.
    more = trained(target, data, pool, 5, tmp_path, TRAINING, population=population)
    assert np.array_equal(more.answers[:4], references.answers)


def test_confidences_are_log_odds(images, target):
    some = images.subset(slice(50))
    probability = -loss(target, some.floats(), some.labels)  # the cross-entropy
    odds = confidences(target, some)
    assert np.log1p(np.exp(-odds)) == pytest.approx(probability.numpy(), rel=1e-9)


def test_coins_are_fair_and_independent(images, tmp_path):
    data = images.subset(slice(200))
    trainings = Trainings(network(1), data, 1, SHORT, 0, tmp_path)
    hashes = data.image_hashes()
    coins = np.array([[one in trainings.trained_on(index) for one in hashes] for index in range(40)])
    low, high = binom.interval(0.9999, coins.size, 0.5)
    assert low <= coins.sum() <= high
    # Halves vary as coins do: exact halves would let the target's own membership be counted back.
    low, high = binom.interval(0.9999, 200, 0.5)
    assert ((low <= coins.sum(1)) & (coins.sum(1) <= high)).all()
    assert coins.sum(1).std() == pytest.approx(np.sqrt(50), rel=0.5)
    assert coins.sum(0).std() == pytest.approx(np.sqrt(10), rel=0.3)
    between = np.corrcoef(coins)[~np.eye(40, dtype=bool)]
    assert np.abs(between).max() < 5 / np.sqrt(200)


def test_the_price_is_said_beforehand_and_is_nothing_for_what_is_done(images, pool, tmp_path, capsys):
    data = images.subset(slice(200))
    trainings = Trainings(network(1), data, 2, SHORT, 0, tmp_path)
    assert trainings.missing == 2
    assert trainings.price_s() > 0
    console.configure(quiet=False)
    try:
        trained(network(1), data, pool, 2, tmp_path)
        said = capsys.readouterr().err
        trained(network(1), data, pool, 2, tmp_path)
        said_again = capsys.readouterr().err
    finally:
        console.configure(quiet=True)
    assert "training 2 reference model(s), each on about 100 images for 3 epochs: about 0.1 minutes" in said
    assert "training images right" in said
    assert said_again == ""
    assert trainings.price_s() == 0


def test_who_was_trained_on_what_is_found_by_content(images, pool, tmp_path):
    # The data hold the pool in another order, with further images and a copy.
    data = images.subset(torch.tensor([*range(250)[::-1], 7]))
    data = ImageSet("data", data.images.clone(), data.labels)
    references = trained(network(1), data, pool, 3, tmp_path)
    trainings = Trainings(network(1), data, 3, SHORT, 0, tmp_path)
    for index in range(3):
        expected = [one in trainings.trained_on(index) for one in pool.images.image_hashes()]
        assert references.trained_on[index].tolist() == expected
    assert 0.3 < references.trained_on.mean() < 0.7


def test_what_may_be_trained_on_does_not_tell_who_is_a_member(images, pool):
    net = network(1)
    with_members = usable_images(net, images.subset(torch.tensor([*range(100), *range(300, 400)])), pool.images, None)
    assert not set(with_members.image_hashes()) & set(pool.images.image_hashes())
    population = images.subset(slice(300, 350))
    whole = usable_images(net, images.subset(slice(400)), pool.images, population)
    assert set(pool.images.image_hashes()) <= set(whole.image_hashes())
    assert not set(whole.image_hashes()) & set(population.image_hashes())


@pytest.mark.parametrize("after", [1, 4, 5])
def test_a_killed_training_goes_on_to_the_same_bytes(images, pool, tmp_path, killed_after, after):
    data = images.subset(slice(200))
    whole = trained(network(1), data, pool, 2, tmp_path / "whole")
    killed_after(checkpoints, after)
    with pytest.raises(KeyboardInterrupt):
        trained(network(1), data, pool, 2, tmp_path / "killed")
    again = trained(network(1), data, pool, 2, tmp_path / "killed")
    assert again.answers.tobytes() == whole.answers.tobytes()
    assert again.a == whole.a
    files = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert len(files) == 2
    assert files == sorted(path.name for path in (tmp_path / "killed").iterdir())
    for name in files:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()


def test_what_is_done_is_read_from_its_files(images, pool, tmp_path, monkeypatch):
    data = images.subset(slice(200))
    first = trained(network(1), data, pool, 2, tmp_path)
    monkeypatch.setattr("invaudit.audit.reference_training.train", None)
    assert np.array_equal(trained(network(1), data, pool, 2, tmp_path).answers, first.answers)
    # Other settings, data or seeds are other networks.
    with pytest.raises(TypeError):
        trained(network(1), data, pool, 2, tmp_path, SHORT.model_copy(update={"epochs": 4}))


def test_references_are_independent_networks(images, pool, tmp_path):
    trained(network(1), images.subset(slice(200)), pool, 2, tmp_path)
    first, second = [load_model(path) for path in sorted(tmp_path.iterdir())]
    assert first.hash != second.hash


@pytest.mark.parametrize("files", ["ours", "plain"])
def test_given_models_are_taken_as_unseen(images, pool, target, tmp_path, files):
    paths = []
    for seed in (1, 2):
        path = tmp_path / f"{seed}.pth"
        if files == "ours":
            save_target(network(seed), path)
        else:
            torch.save(network(seed).module.state_dict(), path)
        paths.append(path)
    population = images.subset(slice(600, 700))
    references = given_references(paths, target, pool.images, population)
    assert references.answers.shape == (2, 200)
    assert not references.trained_on.any()
    assert references.answers[1] == pytest.approx(confidences(network(2), pool.images))
    joined = references.joined(references)
    assert joined.answers.shape == (4, 200)
    assert joined.population.shape == (4, 100)
    scores = reference_scores(confidences(target, pool.images), joined, confidences(target, population))
    assert sorted(scores) == ["lira-offline", "rmia"]


class Softmaxed(nn.Module):
    """A network of a user, whose last linear layer is followed by a softmax."""

    def __init__(self):
        super().__init__()
        self.body, self.last = nn.Linear(64, 20), nn.Linear(20, 10)

    def forward(self, inputs):
        return self.last(self.body(inputs.flatten(1)).relu()).softmax(1)


@pytest.mark.parametrize("arch", ["invaudit:small-cnn", "torchvision:resnet18", f"{__name__}:Softmaxed"])
def test_twins_are_of_the_same_architecture_and_seed(arch):
    spec = InputSpec(3, 32, 32) if "torchvision" in arch else SPEC
    if arch.startswith("invaudit:"):
        module = build("small-cnn", spec, 11)
    elif arch.startswith("torchvision:"):
        from torchvision.models import resnet18

        module = resnet18(num_classes=11)
    else:
        module = Softmaxed()
    original = Target(module.eval(), spec, 10, arch=arch)
    before = torch.random.get_rng_state()
    twins = [untrained_twin(original, seeded_rng(seed, "twin")) for seed in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert twins[0].hash == twins[1].hash
    assert len({twins[0].hash, twins[2].hash, original.hash}) == 3
    assert twins[0].layers == original.layers
    assert twins[0].has_garbage == original.has_garbage
    x = torch.rand(2, *spec.shape)
    assert twins[0].eval()(x).shape == original(x).shape


def test_bad_input_is_refused(images, pool, target, tmp_path):
    data = images.subset(slice(200))
    unnamed = Target(build("mlp-50", SPEC, 10), SPEC, 10)
    wrongly_named = Target(build("mlp-50", SPEC, 10), SPEC, 10, arch="invaudit:mlp-60")
    large = ImageSet("large", torch.zeros(30, 1, 16, 16, dtype=torch.uint8), torch.zeros(30, dtype=torch.int64))
    unlabelled = ImageSet("unlabelled", data.images, torch.full((200,), -1))
    asked = [
        (unnamed, data, 1, ModelError, "no architecture name"),
        (wrongly_named, data, 1, ModelError, "does not build the network"),
        (target, data, 0, SettingError, "0 references"),
        (target, large, 1, ShapeError, "resize them"),
        (target, unlabelled, 1, DataError, "labels from -1"),
        (target, images.subset(slice(50)), 1, DataError, "beside the tested ones"),
        (target, images.subset(slice(300, 310)), 1, DataError, "10 different images"),
    ]
    for net, given, n, error, words in asked:
        with pytest.raises(error, match=words):
            trained(net, given, pool, n, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_training_that_learns_nothing_is_refused_and_not_kept(images, pool, tmp_path):
    settings = SHORT.model_copy(update={"learning_rate": 1e-12, "epochs": 1})
    with pytest.raises(ModelError, match="no better than guessing; change learning_rate"):
        trained(network(1), images.subset(slice(200)), pool, 1, tmp_path, settings)
    assert not list(tmp_path.iterdir())


def test_given_models_that_do_not_fit_are_refused(pool, target, tmp_path):
    for name, made in {"same": target, "one": network(1), "wide": network(1, "mlp-60")}.items():
        save_target(made, tmp_path / f"{name}.safetensors")
    other = Target(build("mlp-50", SPEC, 5), SPEC, 5, arch="invaudit:mlp-50")
    save_target(other, tmp_path / "five.safetensors")
    torch.save(network(1, "mlp-60").module.state_dict(), tmp_path / "plain.pth")
    asked = [
        (["same.safetensors"], "the same as the audited model"),
        (["one.safetensors", "one.safetensors"], "the same as .*one.safetensors"),
        (["five.safetensors"], "knows 5 classes, the model .* knows 10"),
        (["plain.pth"], "does not fit"),
        (["nowhere.pth"], "does not exist"),
        ([], "got no reference models"),
    ]
    for names, words in asked:
        with pytest.raises(InputError, match=words):
            given_references([tmp_path / name for name in names], target, pool.images)
    # A file of ours may be of another architecture: only what it answers counts.
    assert given_references([tmp_path / "wide.safetensors"], target, pool.images).answers.shape == (1, 200)


@pytest.mark.parametrize("download", [False, True])
def test_published_weights_of_a_reference_are_fetched_where_that_is_allowed(pool, target, monkeypatch, download):
    asked = []

    def load(model, *, download):
        asked.append((model, download))
        return network(1)

    monkeypatch.setattr("invaudit.models.alike.load_model", load)
    name = "torchvision:resnet18@IMAGENET1K_V1"
    given_references([name], target, pool.images, download=download)
    assert asked == [(name, download)]
