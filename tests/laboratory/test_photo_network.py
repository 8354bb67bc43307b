import copy

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.choices.photo_network import STRENGTHS, photo_network
from invaudit.data import load, seeded_rng
from invaudit.models import collect
from invaudit.ood import untrained_target


@pytest.mark.parametrize("classes", [2, 4])
def test_the_head_is_that_of_a_logistic_regression_on_the_features(classes):
    photos = load("digits")
    photos = photos.subset(torch.nonzero(photos.labels < classes)[:240, 0])
    released = untrained_target("small-cnn", photos, 10, seeded_rng(0, "network"), garbage=False)
    features = collect(released, photos, keep_maps=False).features.double().numpy()
    target = photo_network(copy.deepcopy(released), photos)
    assert (target.classes, target.outputs, target.has_garbage) == (classes, classes, False)
    regression = make_pipeline(
        StandardScaler(),
        GridSearchCV(LogisticRegression(max_iter=2_000), {"C": STRENGTHS}, cv=5, scoring="neg_log_loss"),
    )
    expected = regression.fit(features, photos.labels.numpy()).predict_proba(features)
    found = collect(target, photos, keep_maps=False)
    np.testing.assert_allclose(found.logits.softmax(1), expected, atol=2e-3)
    np.testing.assert_array_equal(found.features, features.astype(np.float32))
