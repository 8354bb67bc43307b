"""The score without references: a case with known answer, images that say nothing, and bad input."""

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from invaudit.leakage import image_features, quantile_score
from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats import auroc

GAP = 1.0


def case(seed, images, *, known):
    """Answers of a difficulty and a spread that the first two features tell, and members that stand out by the gap."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(images, 5))
    member = (rng.random(images) < 0.5) & (not known)
    spread = np.where(features[:, 1] > 0, 2.0, 0.5)
    noise = rng.normal(size=images) + GAP * member
    return 6 * (features[:, 0] > 0) + spread * noise, features, member


def test_what_images_look_like_takes_the_difficulty_out():
    unseen, unseen_features, _ = case(0, 2_000, known=True)
    target, features, member = case(1, 2_000, known=False)
    score = quantile_score(target, features, unseen, unseen_features)
    best = ndtr(GAP / np.sqrt(2))
    assert auroc(target[~member], target[member]) < best - 0.1
    assert auroc(score[~member], score[member]) == pytest.approx(best, abs=0.03)
    # In units of the spread: images whose answers spread four times as wide do not stand out more.
    wide = features[:, 1] > 0
    widths = [np.diff(np.quantile(score[~member & kind], [0.16, 0.84])) for kind in (wide, ~wide)]
    assert widths[0] / widths[1] == pytest.approx(1, abs=0.5)


def test_the_same_call_gives_the_same_score_and_no_member_is_told_where_none_is():
    unseen, unseen_features, _ = case(2, 1_000, known=True)
    target, features, _ = case(3, 2_000, known=True)
    score = quantile_score(target, features, unseen, unseen_features)
    assert np.array_equal(score, quantile_score(target, features, unseen, unseen_features))
    chosen = np.random.default_rng(4).random(2_000) < 0.5
    assert auroc(score[~chosen], score[chosen]) == pytest.approx(0.5, abs=0.03)


def test_equal_answers_give_finite_scores():
    features = np.random.default_rng(5).normal(size=(200, 5))
    score = quantile_score(np.arange(200.0), features, np.zeros(200), features)
    assert np.isfinite(score).all()
    assert (np.diff(score) > 0).all()


def test_features_are_of_the_image_and_its_class():
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    features = image_features(images, labels, 3)
    assert np.array_equal(features[:, -3:], np.eye(3)[labels])
    assert np.isfinite(features).all()
    assert np.array_equal(image_features(images[2:3], labels[2:3], 3)[0], features[2])


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"unseen": np.zeros(99), "unseen_features": np.zeros((99, 5))}, SettingError, "99 unseen images"),
        ({"features": np.zeros((10, 4))}, ShapeError, "features have shape"),
        ({"target": np.full(10, np.nan)}, SettingError, "NaN"),
    ],
)
def test_bad_input_is_refused(changes, error, words):
    unseen, unseen_features, _ = case(6, 200, known=True)
    given = {
        "target": np.zeros(10),
        "features": np.zeros((10, 5)),
        "unseen": unseen,
        "unseen_features": unseen_features,
    }
    with pytest.raises(error, match=words):
        quantile_score(**(given | changes))
