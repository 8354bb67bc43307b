"""The atlas: counts and medians by hand, confusion against scikit-learn, which pairs are chosen."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from invaudit.explain.atlas import Confusion, atlas_of, confusion_of, most_confused, pairs_to_try
from invaudit.explain.borders import Border, Borders, all_pairs
from invaudit.runtime.errors import DataError, SettingError
from tests.explain.flat_targets import level_target


def borders_of(*rows: Border) -> Borders:
    nothing = np.zeros((len(rows), 1, 4, 4), np.float32)
    return Borders("pixels", rows, nothing, nothing)


def row(a: int, b: int, distance: float, *, first: float = 0.5, third: float = 0.0, status: str = "reached") -> Border:
    return Border((a, b), first, 1 - first - third, 3, third, distance, status)


def test_both_orders_of_a_pair_are_one():
    atlas = atlas_of(borders_of(row(0, 1, 1.0), row(1, 0, 4.0), row(0, 1, 2.0), row(2, 1, 0.5)), 4)
    assert atlas.tried[0, 1] == atlas.tried[1, 0] == 3
    assert atlas.distance[0, 1] == atlas.distance[1, 0] == 2
    assert atlas.neighbours == ((1, 2), (0, 1))
    assert np.isnan(atlas.distance[0, 2])
    assert not atlas.touches[0, 2]
    np.testing.assert_array_equal(atlas.touches, atlas.touches.T)


def test_a_border_with_a_likely_third_class_touches_and_has_no_distance():
    near_a_third = row(0, 1, 1.0, first=0.36, third=0.28, status="both at 0.36")
    above = row(0, 2, 1.0, first=0.3, third=0.4, status="both at 0.3")
    apart = row(1, 2, 1.0, first=0.9, status="gap 0.8")
    atlas = atlas_of(borders_of(near_a_third, above, apart), 4)
    assert atlas.touches[0, 1]
    assert not atlas.touches[0, 2]
    assert not atlas.touches[1, 2]
    assert np.isnan(atlas.distance).all()
    assert atlas.neighbours == ()


def test_pairs_of_other_classes_are_refused():
    with pytest.raises(SettingError, match="two different classes from 0 to 1"):
        atlas_of(borders_of(row(0, 2, 1.0)), 2)


def test_confusion_is_that_of_scikit_learn():
    rng = torch.Generator().manual_seed(0)
    target = level_target(torch.randn(4, 16, generator=rng), level=(0.0, 0.3, 0.0, 0.1))
    images, labels = torch.rand(60, 1, 4, 4, generator=rng), torch.arange(60) % 3
    with torch.no_grad():
        logits = target(images).double()
    confusion = confusion_of(target, images, labels)
    np.testing.assert_array_equal(confusion.counts, confusion_matrix(labels, logits.argmax(1), labels=range(4)))
    np.testing.assert_allclose(confusion.probability[1], logits.softmax(1)[labels == 1].mean(0))
    assert confusion.n.tolist() == [20, 20, 20, 0]
    assert np.isnan(confusion.probability[3]).all()
    shares = confusion.counts / 20
    assert confusion.mutual[0, 1] == pytest.approx((shares[0, 1] + shares[1, 0]) / 2)
    assert np.isnan(confusion.mutual[:, 3]).all()
    assert np.isnan(np.diag(confusion.mutual)).all()


def test_labels_outside_their_range_are_refused():
    target = level_target(torch.eye(3, 16), level=(0.0, 0.0, 0.0))
    for labels in ([3], [-1], []):
        with pytest.raises(DataError, match="labels from 0 to 2"):
            confusion_of(target, torch.zeros(len(labels), 1, 4, 4), torch.tensor(labels, dtype=torch.int64))


def confusion_with(classes: int, **shares: float) -> Confusion:
    probability = np.eye(classes)
    for place, share in shares.items():
        a, b = map(int, place[1:].split("_"))
        probability[a, b] = share
    return Confusion(np.eye(classes, dtype=np.int64), probability)


def test_pairs_to_try():
    assert pairs_to_try(10) == all_pairs(10)
    assert len(all_pairs(10)) == 45
    assert pairs_to_try(10, named=[(3, 1), (3, 1), (0, 2)]) == ((3, 1), (0, 2))
    with pytest.raises(SettingError, match="55 pairs; name some"):
        pairs_to_try(11)
    with pytest.raises(SettingError, match="two different classes"):
        pairs_to_try(11, named=[(1, 11)])
    confusion = confusion_with(11, p2_7=0.1, p7_2=0.2, p4_5=0.4, p9_10=0.1)
    assert pairs_to_try(11, confusion=confusion, most=3) == ((4, 5), (2, 7), (9, 10))
    assert len(pairs_to_try(11, confusion=confusion)) == 45


def test_a_class_without_images_is_confused_with_none():
    confusion = confusion_with(3, p0_1=0.1)
    confusion.probability[2] = np.nan
    assert most_confused(confusion) == ((0, 1),)
