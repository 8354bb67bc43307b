"""Claims for single records: definitions by brute force, and the promised share of false ones in simulated audits."""

import re

import numpy as np
import pytest

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats import Observational, Pairs, control_p_values, knockoff_q_values, make_claims

AUDITS = 200
N = 200
EXPOSED = 40


def observational(rng, n=N):
    return Observational(rng.permuted(np.arange(2 * n) < n), np.zeros(2 * n, dtype=int))


def pairs(rng, n=N):
    first = rng.integers(2, size=n).astype(bool)
    return Pairs(np.concatenate([first, ~first]), np.tile(np.arange(n), 2))


DESIGNS = {"observational": observational, "pairs": pairs}


def audit(design, rng, shift):
    """Return scores of a pool with some exposed members, and which those are."""
    exposed = np.zeros(len(design), dtype=bool)
    exposed[rng.choice(np.flatnonzero(design.member), EXPOSED, replace=False)] = True
    return rng.normal(size=len(design)) + shift * exposed, exposed


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("n_scores", [1, 3])
def test_false_claims_are_as_rare_as_promised_and_true_ones_are_made(name, n_scores):
    false_shares, found = [], []
    for seed in range(AUDITS):
        rng = np.random.default_rng(seed)
        design = DESIGNS[name](rng)
        first, exposed = audit(design, rng, 6.0)
        # The further scores know no member: they may only add false claims.
        scores = {"first": first} | {f"noise {i}": rng.normal(size=len(design)) for i in range(n_scores - 1)}
        result = make_claims(scores, design)
        assert result.attainable
        assert not result.claimed[~design.member].any()
        false_shares.append((result.claimed & ~exposed).sum() / max(result.claimed.sum(), 1))
        found.append(result.claimed[exposed].mean())
    error = np.std(false_shares) / np.sqrt(AUDITS)
    assert np.mean(false_shares) <= 0.1 + 2 * error
    assert np.mean(found) >= 0.5
    # The promise is kept by no wide margin: a procedure that claims nothing false would claim too little.
    assert n_scores > 1 or np.mean(false_shares) > 0.03


@pytest.mark.parametrize("name", DESIGNS)
def test_where_nobody_is_exposed_there_are_claims_in_at_most_a_tenth_of_the_audits(name):
    any_claim = []
    for seed in range(AUDITS):
        rng = np.random.default_rng(seed)
        design = DESIGNS[name](rng)
        any_claim.append(make_claims({"score": rng.normal(size=len(design))}, design).claimed.any())
    assert np.mean(any_claim) <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / AUDITS)


def test_groups_of_like_size_keep_the_promise_though_their_images_are_alike():
    false_shares = []
    for seed in range(AUDITS):
        rng = np.random.default_rng(seed)
        unit = np.repeat(np.arange(80), 5)
        member = rng.permuted(np.arange(80) < 40)
        exposed = member & (np.cumsum(member) <= 10)
        design = Observational(member[unit], np.zeros(400, dtype=int), unit)
        scores = rng.normal(size=80)[unit] + 0.3 * rng.normal(size=400) + 8.0 * exposed[unit]
        claimed = make_claims({"score": scores}, design).claimed
        false_shares.append((claimed & ~exposed[unit]).sum() / max(claimed.sum(), 1))
    assert np.mean(false_shares) <= 0.1 + 2 * np.std(false_shares) / np.sqrt(AUDITS)


@pytest.mark.parametrize("decimals", [0, 9])
def test_p_values_equal_the_definition(decimals):
    rng = np.random.default_rng(0)
    design = observational(rng, 30)
    scores = rng.normal(size=60).round(decimals)
    controls = np.flatnonzero(~design.member)
    expected = []
    for i, score in enumerate(scores):
        others = scores[controls[controls != i]]
        expected.append((1 + (others >= score).sum()) / (1 + len(others)))
    assert control_p_values(scores, design).tolist() == expected


@pytest.mark.parametrize("decimals", [0, 9])
def test_knockoff_claims_equal_the_definition_at_every_rate(decimals):
    rng = np.random.default_rng(1)
    design = pairs(rng, 60)
    scores = (rng.normal(size=120) + 1.5 * design.member).round(decimals)
    found = knockoff_q_values(scores, design)
    member, control = [np.flatnonzero(design.member == side) for side in (True, False)]
    partner = {design.pair[i]: i for i in control}
    gaps = np.array([scores[i] - scores[partner[design.pair[i]]] for i in member])
    for q in (0.05, 0.1, 0.2, 0.5, 0.9):
        tau = np.inf
        for level in sorted(set(np.abs(gaps[gaps != 0])), reverse=True):
            if (1 + (gaps <= -level).sum()) / max(1, (gaps >= level).sum()) <= q:
                tau = level
        assert np.array_equal(found[member] <= q, (gaps >= tau) & (gaps > 0))
    assert (found[control] == 1).all()


@pytest.mark.parametrize("name", DESIGNS)
def test_ties_count_against_a_claim(name):
    rng = np.random.default_rng(2)
    design = DESIGNS[name](rng)
    scores = np.where(design.member, 1.0, 0.0)
    assert make_claims({"score": scores}, design).claimed[design.member].all()
    assert not make_claims({"score": np.zeros(len(design))}, design).claimed.any()
    # One control in ten ties with the members' score, or beats it.
    scores[np.flatnonzero(~design.member)[::5]] = 1.0
    assert name == "pairs" or not make_claims({"score": scores}, design).claimed.any()


@pytest.mark.parametrize(
    ("design", "least"),
    [
        (Observational(np.arange(12) < 4, np.zeros(12, dtype=int)), "8 controls.*at least 9"),
        (Pairs(np.arange(18) < 9, np.tile(np.arange(9), 2)), "9 pairs.*at least 10"),
    ],
)
def test_what_is_not_attainable_is_said_and_not_claimed(design, least):
    result = make_claims({"score": design.member * 9.0 + np.arange(len(design)) / 99}, design)
    assert not result.attainable
    assert not result.claimed.any()
    assert re.search(least, result.reason)


def test_the_least_number_of_claims_is_the_one_that_is_said():
    design = Observational(np.arange(200) < 100, np.zeros(200, dtype=int))
    for outstanding, expected in ((9, 0), (10, 10)):
        # 99.0099: ten of a hundred members above a hundred controls is the first list at a rate of 0.1.
        scores = np.where(np.arange(200) < outstanding, 5.0, -np.arange(200.0))
        scores[100:] += 250
        scores[:outstanding] = 1000
        result = make_claims({"score": scores}, design)
        assert "at least 10 of 100 members" in result.reason
        assert result.claimed.sum() == expected


def test_bad_input_is_refused():
    design = observational(np.random.default_rng(0), 5)
    with pytest.raises(ShapeError, match="9 entries, expected 10"):
        make_claims({"loss": np.zeros(9)}, design)
    with pytest.raises(SettingError, match="q is 1"):
        make_claims({"loss": np.zeros(10)}, design, q=1.0)
    with pytest.raises(SettingError, match="no scores"):
        make_claims({}, design)
