"""How long lists of nearest pool images have to be."""

import numpy as np
import pytest

from invaudit.stats import Observational, ShortListError, list_length, verdict_test


def member_of(n_members, n_controls):
    return np.arange(n_members + n_controls) < n_members


def test_a_list_has_room_for_the_rarer_label():
    assert list_length(member_of(500, 500), 200, 9_999) == 64
    assert list_length(member_of(5, 5), 200, 9_999) == 10
    length = list_length(member_of(9_000, 1_000), 200, 9_999)
    assert 200 * 9_999 * 0.9**length <= 1e-6 < 200 * 9_999 * 0.9 ** (length - 1)
    assert list_length(member_of(9_000, 1_000), 200, 9_999, together=3) == 3 * length


def test_a_list_that_ends_too_early_is_an_error_of_its_own():
    rng = np.random.default_rng(0)
    design = Observational(member_of(300, 3), np.zeros(303, int))
    index = np.stack([rng.permutation(303) for _ in range(5)])
    similarity = -np.tile(np.arange(303.0), (5, 1))
    with pytest.raises(ShortListError, match="pass longer lists"):
        verdict_test(index[:, :20], similarity[:, :20], design, rng, draws=99)
    verdict_test(index, similarity, design, rng, draws=99)
