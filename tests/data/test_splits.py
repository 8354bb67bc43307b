"""Splitting: sizes, strata, copies, determinism."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from invaudit.data import ImageSet, refuse_duplicates, seeded_rng, split
from invaudit.runtime.errors import DataError, SettingError

SHARES = {"train": 0.55, "fit": 0.12, "calibrate": 0.12, "test": 0.21}
SHARES_BESIDE_TRAIN = {"fit": 0.4, "calibrate": 0.4, "test": 0.2}


def distinct(n: int, classes: int = 5) -> ImageSet:
    images = torch.arange(n, dtype=torch.int32).view(torch.uint8).view(n, 1, 2, 2)
    return ImageSet("x", images, torch.arange(n) ** 2 % classes)


def keys(images: ImageSet) -> list[bytes]:
    return [image.tobytes() for image in images.images.numpy()]


@settings(max_examples=40, deadline=None)
@given(st.integers(40, 300), st.integers(1, 9), st.integers(0, 5))
def test_parts_are_a_stratified_partition(n: int, classes: int, seed: int) -> None:
    images = distinct(n, classes)
    parts = split(images, SHARES, seeded_rng(seed, "split")).sets()
    assert sorted(key for part in parts.values() for key in keys(part)) == sorted(keys(images))
    for name, part in parts.items():
        assert abs(len(part) - SHARES[name] * n) <= 1
        for label in images.labels.unique():
            share = (images.labels == label).sum() * len(part) / n
            assert abs(int((part.labels == label).sum()) - share) <= 2


def test_counts_are_exact_and_may_leave_images_over() -> None:
    parts = split(distinct(100), {"train": 50, "fit": 10, "calibrate": 7, "test": 20}, seeded_rng(0, "split"))
    assert [len(part) for part in parts.sets().values()] == [50, 10, 7, 20]


def test_draws_follow_the_generator_only() -> None:
    images = distinct(90)
    records = [split(images, SHARES, seeded_rng(seed, "split")).record() for seed in (0, 0, 1)]
    assert records[0] == records[1]
    assert records[0] != records[2]
    assert records[0]["train"]["count"] == sum(records[0]["train"]["by_class"]) == 50
    assert set(records[0]) == set(SHARES)


def test_copies_stay_together() -> None:
    once = distinct(60)
    for seed in range(10):
        index = torch.randint(60, (150,), generator=seeded_rng(seed, "copies"))
        images = once.subset(index)
        parts = split(images, SHARES, seeded_rng(seed, "split")).sets()
        refuse_duplicates(parts)
        assert sum(len(part) for part in parts.values()) == 150


def test_a_given_test_set_is_kept_and_its_copies_refused() -> None:
    images = distinct(50)
    sizes = {"train": 30, "fit": 5, "calibrate": 5}
    apart = ImageSet("t", distinct(60).images[50:], torch.zeros(10).long())
    assert split(images, sizes, seeded_rng(0, "split"), test=apart).test is apart
    trained = distinct(400).subset(torch.arange(300, 400))
    held_out = split(images, {"fit": 0.5, "calibrate": 0.5}, seeded_rng(0, "split"), train=trained, test=apart)
    assert held_out.train is trained
    assert len(held_out.fit) + len(held_out.calibrate) == len(images)
    with pytest.raises(DataError, match="of train is the same as image"):
        split(images, SHARES_BESIDE_TRAIN, seeded_rng(0, "split"), train=images.subset(torch.arange(3)))
    everything = split(images, {"train": 0.6, "fit": 0.2, "calibrate": 0.2}, seeded_rng(0, "split"), test=apart)
    copied = ImageSet("t", torch.cat([apart.images, everything.fit.images[3:4]]), torch.zeros(11).long())
    with pytest.raises(
        DataError, match="image 10 of test is the same as image 3 of fit, expected every image in one set"
    ):
        split(images, {"train": 0.6, "fit": 0.2, "calibrate": 0.2}, seeded_rng(0, "split"), test=copied)


def test_refuse_duplicates_names_the_first_pair_and_allows_copies_within() -> None:
    images = distinct(6)
    a, b = images.subset(torch.tensor([0, 1, 1, 2])), images.subset(torch.tensor([3, 2, 0]))
    with pytest.raises(DataError, match="image 1 of b is the same as image 3 of a"):
        refuse_duplicates({"a": a, "b": b})
    refuse_duplicates({"a": a, "b": images.subset(torch.tensor([3, 4]))})


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"train": 10, "fit": 10}, "sizes are given for fit, train, expected calibrate, fit, test, train"),
        ({"train": 30, "fit": 10, "calibrate": 10, "test": 1}, "no more than there are"),
        ({"train": 30, "fit": 10, "calibrate": 10, "test": 0}, "at least 1"),
        ({"train": 1.2, "fit": 0.1, "calibrate": 0.1, "test": 0.1}, "no more than there are"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, int | float], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        split(distinct(50), sizes, seeded_rng(0, "split"))


def test_too_many_copies_are_refused() -> None:
    images = distinct(2).subset(torch.zeros(50).long())
    with pytest.raises(SettingError, match="are copies"):
        split(images, SHARES, seeded_rng(0, "split"))
