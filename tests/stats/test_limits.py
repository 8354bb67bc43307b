"""The scoring limit against audits simulated independently of it, with the full test."""

import numpy as np
import pytest

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats import Observational, Pairs, decide, nearest_lists, scoring_limit, verdict_test
from invaudit.stats.limits import CONFIRM, _allowed

N_PAIRS, N = 30, 60


def world(noise, rng):
    """Similarities of 60 unrelated reconstructions, and of noisy copies of the pool, to the pool."""
    pool = rng.normal(size=(2 * N_PAIRS, 16))
    copies = pool + noise * rng.normal(size=pool.shape)
    return [-np.linalg.norm(made[:, None] - pool[None], axis=2) for made in (rng.normal(size=(N, 16)), copies)]


def coins(rng):
    first = rng.integers(2, size=N_PAIRS).astype(bool)
    return Pairs(np.concatenate([first, ~first]), np.tile(np.arange(N_PAIRS), 2))


def observed(rng):
    return Observational(rng.permuted(np.arange(2 * N_PAIRS) < N_PAIRS), np.zeros(2 * N_PAIRS, dtype=int))


@pytest.mark.parametrize(("design", "family"), [(coins, 1), (observed, 3)])
def test_that_many_copies_are_called_and_half_of_them_are_not(design, family):
    rng = np.random.default_rng(0)
    unrelated, copies = world(0.8, rng)
    limit = scoring_limit(unrelated, copies, design(rng), rng, family=family)
    assert limit.members is not None
    assert limit.power > 0.95
    assert limit.n_reconstructions == N
    assert limit.similarity == pytest.approx(np.diagonal(copies).mean())

    def called(members):
        made = design(rng)
        planted = rng.choice(np.flatnonzero(made.member), members, replace=False)
        similarity = np.concatenate([unrelated[rng.permutation(N)[members:]], copies[planted]])
        test = verdict_test(*nearest_lists(similarity), made, rng, draws=999)
        return decide(min(1, test.p_value * family), test.attainable_p, design="pairs", family=family).verdict == "leak"

    audits = 100
    assert sum(called(limit.members) for _ in range(audits)) >= 0.95 * audits - 4 * np.sqrt(0.0475 * audits)
    assert sum(called(limit.members // 2) for _ in range(audits)) < 0.95 * audits


def test_better_copies_need_fewer_members():
    limits = []
    for noise in (0.2, 0.6, 0.9):
        rng = np.random.default_rng(1)
        limits.append(scoring_limit(*world(noise, rng), coins(rng), rng).members)
    assert limits == sorted(limits)
    assert limits[0] < limits[-1]


def test_exact_copies_need_as_many_as_the_level_has_coins():
    rng = np.random.default_rng(2)
    found = scoring_limit(*world(0.0, rng), coins(rng), rng)
    # 7 pairs have one chance in 128 to fall one way.
    assert 5 <= found.members <= 14


def test_copies_that_show_nothing_have_no_limit():
    rng = np.random.default_rng(3)
    unrelated, _ = world(1.0, rng)
    found = scoring_limit(unrelated, unrelated[rng.integers(N, size=60)], coins(rng), rng)
    assert found.members is None
    assert found.power < 0.5


def test_two_seeds_agree_and_one_seed_repeats():
    unrelated, copies = world(0.8, np.random.default_rng(4))
    design = coins(np.random.default_rng(5))
    found = [scoring_limit(unrelated, copies, design, np.random.default_rng(seed)) for seed in (6, 6, 7)]
    assert found[0] == found[1]
    assert abs(found[0].members - found[2].members) <= 3


def test_confirmation_is_a_confidence_bound():
    misses = np.random.default_rng(0).binomial(CONFIRM, 0.05, size=100_000)
    share = np.mean(misses <= _allowed(CONFIRM))
    assert 0.02 < share <= 0.052


def test_refusals():
    rng = np.random.default_rng(0)
    unrelated, copies = world(1.0, rng)
    with pytest.raises(ShapeError, match=r"expected \(R, 60\) and \(60, 60\)"):
        scoring_limit(unrelated[:, :50], copies, coins(rng), rng)
    with pytest.raises(SettingError, match="draws is 99, expected at least 299"):
        scoring_limit(unrelated, copies, coins(rng), rng, family=3, draws=99)
    with pytest.raises(SettingError, match="NaN"):
        scoring_limit(unrelated * np.nan, copies, coins(rng), rng)
