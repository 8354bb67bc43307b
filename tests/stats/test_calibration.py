"""Expected calibration error against its definition."""

import numpy as np
import pytest

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats import expected_calibration_error


def by_definition(confidence, correct, n_bins):
    total = 0.0
    for k in range(n_bins):
        low, high = k / n_bins, (k + 1) / n_bins
        inside = (confidence > low) & (confidence <= high) if k else confidence <= high
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return total


@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_equals_the_definition_also_on_bin_edges(n_bins):
    rng = np.random.default_rng(1)
    confidence = np.r_[rng.random(500), np.arange(n_bins + 1) / n_bins, rng.random(100).round(1)]
    # Gaps of both signs: of one sign they add up to the same wherever an edge falls.
    correct = rng.random(len(confidence)) < 0.5 + 0.5 * np.sin(40 * confidence)
    assert expected_calibration_error(confidence, correct, n_bins=n_bins) == pytest.approx(
        by_definition(confidence, correct, n_bins), abs=1e-12
    )


def test_known_values():
    assert expected_calibration_error([1.0, 1.0], [True, True]) == 0.0
    assert expected_calibration_error([1.0, 1.0], [False, False]) == 1.0
    assert expected_calibration_error([0.75] * 4, [1, 1, 1, 0]) == 0.0
    assert expected_calibration_error([0.9, 0.9, 0.1, 0.1], [1, 0, 0, 0]) == pytest.approx((0.4 + 0.1) / 2)


def test_a_calibrated_network_has_none():
    rng = np.random.default_rng(2)
    confidence = rng.random(200_000)
    assert expected_calibration_error(confidence, rng.random(200_000) < confidence) < 0.01


@pytest.mark.parametrize(
    ("confidence", "correct", "n_bins", "error", "word"),
    [
        ([0.5, 0.5], [1], 15, ShapeError, r"\(1,\)"),
        ([], [], 15, ShapeError, "empty"),
        ([1.2], [1], 15, SettingError, "confidence"),
        ([-0.1], [1], 15, SettingError, "confidence"),
        ([0.5], [2], 15, SettingError, "correct"),
        ([0.5], [1], 0, SettingError, "n_bins"),
    ],
)
def test_refuses(confidence, correct, n_bins, error, word):
    with pytest.raises(error, match=word):
        expected_calibration_error(confidence, correct, n_bins=n_bins)
