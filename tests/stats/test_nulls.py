"""The null band against its closed form and against simulation."""

import numpy as np
import pytest
from scipy import stats

from invaudit.runtime.errors import SettingError
from invaudit.stats import auroc, control_half_width, null_standard_error


def null_aurocs(n_id, n_ood, n_repeats, decimals):
    rng = np.random.default_rng(n_id)
    samples = rng.normal(size=(n_repeats, n_id + n_ood)).round(decimals)
    return np.array([auroc(row[:n_id], row[n_id:]) for row in samples])


@pytest.mark.parametrize(("n_id", "n_ood"), [(20, 20), (60, 200)])
def test_standard_error_equals_simulation(n_id, n_ood):
    values = null_aurocs(n_id, n_ood, 4000, decimals=12)
    assert values.mean() == pytest.approx(0.5, abs=4 * null_standard_error(n_id, n_ood) / np.sqrt(4000))
    assert values.std(ddof=1) == pytest.approx(null_standard_error(n_id, n_ood), rel=0.05)


def test_standard_error_equals_the_rank_sum_variance():
    values = [auroc(np.delete(np.arange(5), pair), pair) for pair in ((i, j) for i in range(5) for j in range(i))]
    assert np.std(values) == pytest.approx(null_standard_error(3, 2))


@pytest.mark.parametrize("n", [4, 6, 12, 40])
@pytest.mark.parametrize("decimals", [0, 12])
def test_small_and_tied_samples_stay_inside(n, decimals):
    values = null_aurocs(n, n, 3000, decimals)
    for level in (0.05, 0.01):
        outside = np.mean(np.abs(values - 0.5) > control_half_width(n, n, 1, family_wise=level))
        assert outside <= level + 3 * np.sqrt(level / 3000)


def test_tails_are_lighter_than_normal():
    # The exact distribution of U for 8 + 8 at the level of one control row.
    exact = stats.mannwhitneyu(np.arange(8), np.arange(8) + 7.5, method="exact")
    distance = auroc(np.arange(8), np.arange(8) + 7.5) - 0.5
    normal = 2 * stats.norm.sf(distance / null_standard_error(8, 8))
    assert exact.pvalue < normal


def test_family_of_rows():
    values = null_aurocs(50, 50, 6000, decimals=12).reshape(600, 10)
    outside = (np.abs(values - 0.5) > control_half_width(50, 50, 10, family_wise=0.1)).any(axis=1)
    assert outside.mean() == pytest.approx(0.1, abs=0.035)


def test_known_half_widths():
    assert control_half_width(1000, 1000, 1, family_wise=0.05) == pytest.approx(0.025, abs=5e-4)
    assert control_half_width(500, 500, 40, family_wise=0.05) == pytest.approx(0.059, abs=5e-4)
    assert control_half_width(500, 500, 40) > control_half_width(500, 500, 1) > 0


@pytest.mark.parametrize(
    ("args", "family_wise", "word"),
    [
        ((0, 5, 1), 0.001, "n_id"),
        ((5, 0, 1), 0.001, "n_ood"),
        ((5, 5, 0), 0.001, "n_rows"),
        ((5, 5, 1), 0.0, "family_wise"),
        ((5, 5, 1), 1.0, "family_wise"),
    ],
)
def test_refuses(args, family_wise, word):
    with pytest.raises(SettingError, match=word):
        control_half_width(*args, family_wise=family_wise)
