"""Training-time baselines: every loss trains a network, repeats, resumes, and asks for outliers where it should."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch.nn import functional

from invaudit.benchmarks.ood.settings import Network
from invaudit.data import digits_benchmark, seeded_rng
from invaudit.models import TrainingSettings, accuracy, collect
from invaudit.ood import GarbageSettings, Recipe, cycle, train_network, untrained_target
from invaudit.ood.losses import LOSSES, QUEUE, TEMPERATURE, loss_of
from invaudit.ood.recipes import WITH_OUTLIERS, Loss
from invaudit.runtime import SettingError


@pytest.fixture(scope="module")
def splits():
    whole = digits_benchmark(0).splits
    return replace(whole, train=whole.train.subset(slice(0, 250)))


def recipe(loss, epochs=2):
    garbage = GarbageSettings(noise=0.5, derived=0.5) if loss in WITH_OUTLIERS else None
    training = TrainingSettings(epochs=epochs, batch_size=32, precision="float32")
    return Recipe(training=training, garbage=garbage, loss=loss)


def trained(splits, chosen, checkpoint=None):
    target = untrained_target("small-cnn", splits.train, 7, seeded_rng(0, "weights"), garbage=chosen.has_garbage_class)
    given = {"held_out": splits.fit, "checkpoint": checkpoint}
    return train_network(target, splits.train, chosen, seeded_rng(0, "training"), **given).target


def test_every_loss_has_a_name_in_the_settings():
    assert set(LOSSES) == set(get_args(Loss))


@pytest.mark.parametrize("name", LOSSES)
def test_it_trains_an_n_class_network_and_repeats(name, splits):
    first, second = (trained(splits, recipe(name, epochs=10)) for _ in range(2))
    assert first.outputs == first.classes == 7
    assert accuracy(collect(first, splits.test).logits.argmax(1), splits.test.labels) > 0.5
    assert first.hash == second.hash


@pytest.mark.parametrize("name", LOSSES)
def test_a_killed_training_resumes_to_the_same_bytes(name, splits, tmp_path, killed_after):
    chosen, path = recipe(name, epochs=6), tmp_path / "work.pt"
    expected = trained(splits, chosen).hash
    from invaudit.models import checkpoints

    killed_after(checkpoints, 5)
    assert 5 * splits.train.labels.bincount().min() > QUEUE, "vos must have begun to draw virtual outliers"
    with pytest.raises(KeyboardInterrupt):
        trained(splits, chosen, path)
    assert trained(splits, chosen, path).hash == expected


def test_vos_tells_the_energies_of_virtual_outliers_from_those_of_images(splits):
    target = untrained_target("small-cnn", splits.train, 7, seeded_rng(0, "weights"), garbage=False)
    loss = loss_of("vos", target, seeded_rng(0, "loss"))
    logits, features = torch.randn(7 * QUEUE, 7), torch.randn(7 * QUEUE, 64)
    labels = torch.arange(7 * QUEUE) % 7
    first = loss(logits, features, labels)
    assert first.item() == pytest.approx(functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert sum(loss.number_dict.values()) == 7 * QUEUE
    virtual = torch.randn(9, 64)
    found = loss._energy_regularization(logits, torch.ones(len(logits), dtype=torch.bool), virtual)
    weight = loss.weights_energy.weight.relu()
    energies = [-(weight * one.exp()).sum(1).log() for one in (logits, target.head(virtual))]
    said = loss.logistic_regression(torch.cat(energies)[:, None])
    wanted = torch.cat([torch.ones(len(logits)), torch.zeros(9)]).long()
    assert found.item() == pytest.approx(functional.cross_entropy(said, wanted).item(), rel=1e-4)
    copy = loss_of("vos", target, seeded_rng(1, "loss"))
    copy.load_state_dict(loss.state_dict())
    assert torch.equal(copy.data_dict, loss.data_dict)
    assert copy.number_dict == loss.number_dict


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"vos"}))
def test_it_is_the_loss_of_its_paper(name, splits):
    target = untrained_target("small-cnn", splits.train, 7, seeded_rng(0, "weights"), garbage=False)
    logits = 10 * torch.randn(12, 7, generator=seeded_rng(0, "logits"))
    labels = torch.tensor([0, 1, 2, 3, 4, 5, 6, 0, -1, -1, -1, -1])
    known, unknown = logits[:8], logits[8:]
    if name not in WITH_OUTLIERS:
        logits, labels = known, labels[:8]
    plain = functional.cross_entropy(known, labels[:8])
    expected = {
        "logit-norm": functional.cross_entropy(known / known.norm(dim=1, keepdim=True) / TEMPERATURE, labels[:8]),
        "outlier-exposure": (8 * plain - 4 * 0.5 * unknown.log_softmax(1).mean()) / 12,  # a mean over the batch
        "energy": plain
        + 0.1 * (known.logsumexp(1).neg() + 25).relu().square().mean()
        + 0.1 * (-7 + unknown.logsumexp(1)).relu().square().mean(),
    }[name]
    found = loss_of(name, target, seeded_rng(0, "loss"))(logits, torch.zeros(len(logits), 64), labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_outliers_are_asked_for_or_refused(name):
    garbage = None if name in WITH_OUTLIERS else GarbageSettings()
    with pytest.raises(ValueError, match="outliers"):
        Recipe(loss=name, garbage=garbage)
    with pytest.raises(ValueError, match="outliers"):
        Network(loss=name, garbage=garbage)
    right = GarbageSettings() if name in WITH_OUTLIERS else None
    with pytest.raises(ValueError, match="label_smoothing"):
        Recipe(loss=name, garbage=right, training=TrainingSettings(label_smoothing=0.1))


def test_a_network_with_a_garbage_class_does_not_fit(splits):
    target = untrained_target("small-cnn", splits.train, 7, seeded_rng(0, "weights"), garbage=True)
    with pytest.raises(SettingError, match="garbage class"):
        cycle.train_network(target, splits.train, recipe("energy"), seeded_rng(0, "t"), held_out=splits.fit)
