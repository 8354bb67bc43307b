import numpy as np
import pytest
from scipy.stats import binomtest

from invaudit.runtime import SettingError
from invaudit.stats import counted_share


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 20), (20, 20), (3, 20), (17, 180), (999, 1000)])
def test_the_interval_is_that_of_scipy(hits, n):
    found = counted_share(hits, n)
    expected = binomtest(hits, n).proportion_ci(0.95, "exact")
    assert (found.value, found.n) == (hits / n, n)
    assert np.allclose((found.low, found.high), (expected.low, expected.high), rtol=1e-9)


@pytest.mark.parametrize(("hits", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(hits, n):
    with pytest.raises(SettingError, match="expected"):
        counted_share(hits, n)
