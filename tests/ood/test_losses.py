"""Training-time baselines: each loss is the one of its paper; what all promise is in the contract."""

import pytest
import torch
from torch.nn import functional

from invaudit.data import seeded_rng
from invaudit.ood import cycle, untrained_target
from invaudit.ood.losses import LOSSES, QUEUE, TEMPERATURE, loss_of
from invaudit.ood.recipes import WITH_OUTLIERS
from invaudit.runtime import SettingError
from tests.ood.small_trainings import recipe


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
    }
    assert name in expected, f"write the formula of {name} into `expected`"
    found = loss_of(name, target, seeded_rng(0, "loss"))(logits, torch.zeros(len(logits), 64), labels)
    assert found.item() == pytest.approx(expected[name].item(), rel=1e-5)


def test_a_network_with_a_garbage_class_does_not_fit(splits):
    target = untrained_target("small-cnn", splits.train, 7, seeded_rng(0, "weights"), garbage=True)
    with pytest.raises(SettingError, match="garbage class"):
        cycle.train_network(target, splits.train, recipe("energy"), seeded_rng(0, "t"), held_out=splits.fit)
