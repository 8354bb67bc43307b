"""Tests on other draws of a pool: the null holds, and each control fires when its cause is planted."""

import numpy as np
import pytest
from scipy.stats import binom

from invaudit.audit.repeats import membership_family, reconstruction_family, repeated
from invaudit.stats import (
    Observational,
    decide,
    draws_agree,
    nearest_lists,
    null_p_value,
    repeats_of,
    restricted_lists,
    verdict_test,
)

N_MEMBERS, N_CONTROLS = 60, 120
MEMBER = np.arange(N_MEMBERS + N_CONTROLS) < N_MEMBERS
DESIGN = Observational(MEMBER, np.arange(len(MEMBER)) % 4)
GIVEN = np.concatenate([np.arange(N_MEMBERS), np.arange(N_CONTROLS)])


def scores(seed, *, of_members=0.0, of_first_controls=0.0):
    values = np.random.default_rng(seed).normal(size=len(MEMBER))
    values[MEMBER] += of_members
    values[~MEMBER & (GIVEN < N_CONTROLS // 2)] += of_first_controls
    return {"loss": values}


def rows_of(given, kind, *, repeats=20):
    family = membership_family(given, DESIGN, GIVEN, 1)
    return [row for row in repeated(family, seed=0, repeats=repeats) if row.kind == kind]


def test_controls_in_the_place_of_members_are_no_leak():
    rows = rows_of(scores(0, of_members=2.0), "null-halves", repeats=100)
    assert {row.n_members for row in rows} | {row.n_control for row in rows} == {60}
    n_leaks = sum(row.leak for row in rows)
    assert n_leaks <= binom.isf(0.001, len(rows), 0.01)
    p = [row.p_adjusted for row in rows]
    assert 0.3 < np.mean(np.array(p) <= 0.5) < 0.7
    assert len(set(p)) > 50  # other halves each time


def test_controls_of_two_sources_make_the_null_fire():
    given = scores(0, of_members=2.0, of_first_controls=2.0)
    (row,) = rows_of(given, "null-order")
    assert row.leak
    rows = repeated(membership_family(given, DESIGN, GIVEN, 1), seed=0)
    null = repeats_of(rows, "membership", 0.01).null_p
    assert null <= 0.01
    verdict = decide(0.001, 1e-4, design="observational", blind="no-shift", negative_control_p=null)
    assert verdict == ("inconclusive", "control-invalid")
    (row,) = rows_of(scores(0, of_members=2.0), "null-order")
    assert not row.leak


@pytest.mark.parametrize(("of_members", "agree", "leak"), [(3.0, True, True), (0.0, True, False), (0.47, False, None)])
def test_draws_of_controls_agree_but_where_the_verdict_hangs_on_them(of_members, agree, leak):
    rows = rows_of(scores(3, of_members=of_members), "draw")
    n_leaks = sum(row.leak for row in rows)
    assert draws_agree(n_leaks, len(rows)) == agree
    if leak is not None:
        assert n_leaks == (len(rows) if leak else 0)
    assert {(row.n_members, row.n_control) for row in rows} == {(60, 60)}


def test_lists_of_a_part_are_those_of_a_search_in_it():
    rng = np.random.default_rng(0)
    similarity = rng.normal(size=(9, 50))
    index, value = nearest_lists(similarity)
    part = np.sort(rng.permutation(50)[:20])
    restricted = restricted_lists(index, value, part, 50)
    expected = nearest_lists(similarity[:, part])
    np.testing.assert_array_equal(restricted[0], expected[0])
    np.testing.assert_array_equal(restricted[1], expected[1])
    shorter = restricted_lists(index[:, :12], value[:, :12], part, 50)
    length = shorter[0].shape[1]
    np.testing.assert_array_equal(shorter[0], expected[0][:, :length])


def test_a_draw_of_reconstructions_is_the_test_on_its_images():
    rng = np.random.default_rng(0)
    similarity = rng.normal(size=(40, len(MEMBER)))
    similarity[np.arange(20), np.arange(20)] = 5.0  # copies of members
    lists = {"kkt:ssim": nearest_lists(similarity)}
    family = reconstruction_family(lists, DESIGN, GIVEN, 1)
    draws = [row for row in repeated(family, seed=0, repeats=5) if row.kind == "draw"]
    assert all(row.leak for row in draws)
    part = np.arange(len(MEMBER))
    ((p, attainable),) = family.test(part, DESIGN, 7, 999)
    alone = verdict_test(*nearest_lists(similarity), DESIGN, np.random.default_rng(0), draws=999)
    assert p == pytest.approx(alone.p_value, abs=0.01)
    assert attainable == alone.attainable_p


def test_families_of_few_images_say_why_they_cannot_be_repeated():
    member = np.array([True, True, False])
    family = membership_family({"loss": np.arange(3.0)}, Observational(member, np.zeros(3, int)), np.arange(3), 1)
    rows = repeated(family, seed=0, repeats=2)
    assert {row.status for row in rows if row.kind != "draw"} == {"failed"}
    assert all(row.reason for row in rows if row.status == "failed")


@pytest.mark.parametrize(
    ("leaks", "order_p", "expected"),
    [(0, None, 1.0), (0, 0.004, 0.008), (1, 0.9, 2 * binom.sf(0, 20, 0.01)), (3, None, 2 * binom.sf(2, 20, 0.01))],
)
def test_the_null_is_a_binomial_tail_and_a_p_value(leaks, order_p, expected):
    assert null_p_value(leaks, 20, order_p, 0.01) == pytest.approx(min(expected, 1.0))
