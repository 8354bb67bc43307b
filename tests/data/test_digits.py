"""The embedded benchmark: what DESIGN promises of its sets."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from invaudit.data import STATISTICS, Benchmark, Transform, digits_benchmark, load, refuse_duplicates, seeded_rng
from invaudit.data.digits import LETTERS, letters

LEVELS = set(np.rint(np.arange(17) / 16 * 255).astype(int).tolist())


@pytest.fixture(scope="module", params=range(4))
def embedded(request: pytest.FixtureRequest) -> Benchmark:
    return digits_benchmark(request.param)


def test_splits_are_large_enough_and_share_no_image(embedded: Benchmark) -> None:
    sets = embedded.splits.sets()
    assert len(sets["test"]) >= 250
    assert min(len(sets["fit"]), len(sets["calibrate"])) >= 140
    assert all(set(part.labels.tolist()) == set(range(7)) for part in sets.values())
    refuse_duplicates({**sets, **embedded.ood})


def test_all_sets_went_through_one_transform(embedded: Benchmark) -> None:
    assert embedded.transform == Transform(8, 1, levels=17)
    for images in (*embedded.splits.sets().values(), *embedded.ood.values()):
        assert images.transform == embedded.transform
        assert tuple(images.images.shape[1:]) == (1, 8, 8)
        assert set(images.images.unique().tolist()) <= LEVELS


def test_ood_sets_have_their_groups_sizes_and_no_class(embedded: Benchmark) -> None:
    expected = {"held-out-digits": "near", "letters": "near", "photos": "far", "gaussian": "seen", "uniform": "seen"}
    assert embedded.groups == expected
    assert list(embedded.ood) == list(expected)
    assert all(400 <= len(images) <= 600 and images.classes == 0 for images in embedded.ood.values())
    assert all(images.name == name for name, images in embedded.ood.items())


def test_labels_are_the_kept_digits_in_order(embedded: Benchmark) -> None:
    whole = load("digits")
    digit_of = {image.tobytes(): int(label) for image, label in zip(whole.images.numpy(), whole.labels, strict=True)}
    kept = [digit for digit in range(10) if digit not in embedded.held_out]
    for part in embedded.splits.sets().values():
        got = [digit_of[image.tobytes()] for image in part.images.numpy()]
        assert got == [kept[label] for label in part.labels.tolist()]
    held_out = {digit_of[image.tobytes()] for image in embedded.ood["held-out-digits"].images.numpy()}
    assert held_out == set(embedded.held_out)


def test_held_out_digits_rotate_over_all_ten() -> None:
    rotation = [digits_benchmark(seed).held_out for seed in range(4)]
    assert rotation == [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 1, 9)]


def test_same_seed_same_sets_and_other_seed_other_sets() -> None:
    first, again, other = digits_benchmark(5), digits_benchmark(5), digits_benchmark(15)
    assert first.held_out == other.held_out
    assert first.splits.record() == again.splits.record() != other.splits.record()
    for name, images in first.ood.items():
        assert images.hash == again.ood[name].hash
        assert name == "held-out-digits" or images.hash != other.ood[name].hash


def test_near_sets_are_not_told_apart_by_a_pixel_statistic(embedded: Benchmark) -> None:
    test = embedded.splits.test.images
    for name, bound in (("held-out-digits", 0.7), ("letters", 0.8)):
        images = embedded.ood[name].images
        is_ood = np.repeat([0, 1], [len(test), len(images)])
        for statistic in STATISTICS.values():
            auroc = roc_auc_score(is_ood, np.concatenate([statistic(test), statistic(images)]))
            assert max(auroc, 1 - auroc) < bound


def test_letters_look_like_themselves() -> None:
    # A nearest-mean classifier between letters needs letters that can be read.
    images = letters(110 * len(LETTERS), seeded_rng(0, "letters")).double().flatten(1)
    labels = torch.arange(len(images)) % len(LETTERS)
    half = len(images) // 2
    means = torch.stack([images[:half][labels[:half] == label].mean(0) for label in range(len(LETTERS))])
    accuracy = (torch.cdist(images[half:], means).argmin(1) == labels[half:]).double().mean()
    assert accuracy > 0.8
