"""Diagnostics against brute force, and on samplers whose answer is known."""

import itertools
import json

import numpy as np
import pytest
import torch

from invaudit.data import ImageSet, seeded_rng
from invaudit.inversion import InversionSettings, Inverter, diagnose
from invaudit.inversion.diagnostics import SAME_IMAGE, distinct, distinct_nearest, pair_cosine, spread
from invaudit.runtime.errors import SettingError, ShapeError


class Replay:
    """Gives real images of the wanted class, from the first on; ``copies`` gives the first alone."""

    def __init__(self, images: ImageSet, *, copies: bool = False) -> None:
        self.images, self.copies = images, copies

    def sample(self, wanted, _rng):
        """Return images."""
        taken = [0] * 10
        rows = []
        for label in wanted.tolist():
            members = (self.images.labels == label).nonzero()[:, 0]
            rows.append(int(members[0 if self.copies else taken[label]]))
            taken[label] += 1
        return self.images.floats(torch.tensor(rows))


@pytest.fixture
def groups(rng):
    base = torch.rand((3, 6, 8), generator=rng)
    base[0, 1] = base[0, 0]
    base[1, 2] = base[1, 3] + SAME_IMAGE / 2
    return base


def test_real_images_are_accurate_sure_and_distinct(trained, digit_images):
    diagnosis = diagnose(Replay(digit_images), trained, seeded_rng(0, "tests"), per_class=20, reference=digit_images)
    assert diagnosis.accuracy > 0.9
    assert diagnosis.accuracy == pytest.approx(np.mean(diagnosis.accuracy_per_class))
    assert diagnosis.confidence > 0.7
    assert diagnosis.distinct == 1
    assert diagnosis.spread > 0.1
    assert diagnosis.reference == "digits"


def test_copies_are_found_out(trained, digit_images):
    for reference in (None, digit_images):
        diagnosis = diagnose(
            Replay(digit_images, copies=True), trained, seeded_rng(0, "tests"), per_class=20, reference=reference
        )
        assert diagnosis.distinct == (0 if reference is None else pytest.approx(1 / 20))
        assert diagnosis.feature_cosine == pytest.approx(1, abs=1e-6)
        assert diagnosis.spread_per_class == pytest.approx([0] * 10, abs=1e-7)


def test_accuracy_and_confidence_equal_the_target_by_hand(trained, digit_images):
    diagnosis = diagnose(Replay(digit_images), trained, seeded_rng(0, "tests"), per_class=7)
    images = Replay(digit_images).sample(torch.arange(10).repeat_interleave(7), None)
    with torch.no_grad():
        probabilities = trained(images).double().softmax(1).numpy()
    labels = np.repeat(np.arange(10), 7)
    assert diagnosis.confidence == pytest.approx(np.mean([p[k] for p, k in zip(probabilities, labels, strict=True)]))
    by_class = [np.mean(probabilities[labels == k].argmax(1) == k) for k in range(10)]
    assert diagnosis.accuracy_per_class == pytest.approx(by_class)


def test_colour_and_oblong_inversions_are_described(new_target):
    target = new_target("cnn", classes=3, shape=(3, 9, 12))
    inverter = Inverter(InversionSettings(steps=2, batch_size=12, eval_images=4), target, seeded_rng(0, "tests"))
    inverter.run(target)
    images = inverter.sample(torch.arange(3), seeded_rng(0, "tests"))
    assert images.shape == (3, 3, 9, 12)
    assert images.is_contiguous()
    diagnosis = diagnose(inverter, target, seeded_rng(0, "tests"), per_class=4)
    assert len(diagnosis.accuracy_per_class) == 3


def test_record_is_plain(trained, digit_images):
    record = diagnose(Replay(digit_images), trained, seeded_rng(0, "tests"), per_class=3).as_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_spread_by_loops(groups):
    labels = torch.arange(3).repeat_interleave(6)
    spreads = spread(groups.view(18, 1, 2, 4), labels, 3)
    for group, value in zip(groups.double().numpy(), spreads.tolist(), strict=True):
        mean = np.mean(group, axis=0)
        assert value == pytest.approx(np.sqrt(np.mean([np.mean((row - mean) ** 2) for row in group])))


def test_pair_cosine_by_loops(groups):
    values = [
        a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        for group in groups.double().numpy()
        for a, b in itertools.permutations(group, 2)
    ]
    assert pair_cosine(groups) == pytest.approx(np.mean(values))


def test_distinct_by_loops(groups):
    count = 0
    for group in groups.double().numpy():
        for i, row in enumerate(group):
            nearest = min(np.sqrt(np.mean((row - other) ** 2)) for j, other in enumerate(group) if j != i)
            count += nearest > SAME_IMAGE
    assert count == 18 - 4
    assert distinct(groups) == pytest.approx(count / 18)


def test_distinct_nearest_by_loops(rng):
    images = torch.randint(256, (30, 1, 2, 4), generator=rng, dtype=torch.uint8)
    reference = ImageSet("reference", images, torch.arange(30) % 3)
    queries = torch.rand((3, 6, 8), generator=rng)
    shares = []
    for label in range(3):
        gallery = images[torch.arange(30) % 3 == label].flatten(1).double().numpy() / 255
        nearest = {int(np.argmin(((gallery - query.double().numpy()) ** 2).sum(1))) for query in queries[label]}
        shares.append(len(nearest) / 6)
    assert distinct_nearest(queries, reference) == pytest.approx(np.mean(shares))


def test_refusals(trained, digit_images):
    with pytest.raises(SettingError, match="at least 2"):
        diagnose(Replay(digit_images), trained, seeded_rng(0, "tests"), per_class=1)
    lacking = digit_images.subset(digit_images.labels != 4)
    with pytest.raises(SettingError, match="no image of class 4"):
        diagnose(Replay(digit_images), trained, seeded_rng(0, "tests"), per_class=2, reference=lacking)
    large = ImageSet("large", torch.zeros((10, 1, 9, 9), dtype=torch.uint8), torch.arange(10))
    with pytest.raises(ShapeError, match="same transform"):
        diagnose(Replay(digit_images), trained, seeded_rng(0, "tests"), per_class=2, reference=large)
