"""The verdict test against brute force over all relabellings, its level under the null, and the rule behind it."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats import Observational, Pairs, Verdict, VerdictTest, decide, holm, overall, verdict_test
from invaudit.stats.relabelling import NearestLists, min_p, top_count, totals, upper_p
from invaudit.stats.verdicts import SPOILING, Reason


def lists(similarity, k=None):
    index = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return index, np.take_along_axis(similarity, index, axis=1)


def pairs(n, rng):
    first = rng.integers(2, size=n).astype(bool)
    return Pairs(np.concatenate([first, ~first]), np.tile(np.arange(n), 2))


def naive_totals(similarity, labels):
    """T_all and T_top of one labelling from the full similarities."""
    d = np.array([row[labels].max() - row[~labels].max() for row in similarity])
    return d.sum(), np.sort(d)[::-1][: max(5, int(np.ceil(len(d) / 20)))].sum()


def enumerated(design):
    if design.name == "pairs":
        sides = np.argsort(design.pair, kind="stable").reshape(-1, 2)
        for coins in itertools.product([False, True], repeat=len(sides)):
            labels = np.empty(len(design), dtype=bool)
            labels[sides[:, 0]], labels[sides[:, 1]] = coins, ~np.array(coins)
            yield labels
    else:
        strata = np.unique(design.stratum)
        options = [
            itertools.combinations(np.flatnonzero(design.stratum == s), design.member[design.stratum == s].sum())
            for s in strata
        ]
        for chosen in itertools.product(*options):
            labels = np.zeros(len(design), dtype=bool)
            labels[[i for part in chosen for i in part]] = True
            yield labels


DESIGNS = {
    "pairs": lambda rng: pairs(5, rng),
    "observational": lambda rng: Observational(rng.permuted(np.arange(8) < 4), [0, 0, 0, 0, 0, 1, 1, 1]),
}


class Enumerated:
    """A design whose relabellings are all the others that there are, each once."""

    def __init__(self, design):
        self.design, self.member, self.units = design, design.member, design.units
        self.others = np.array([labels for labels in enumerated(design) if not np.array_equal(labels, self.member)])

    def __len__(self):
        return len(self.design)

    def relabellings(self, _rng, n):
        assert n == len(self.others)
        return self.others

    def attainable_p(self, hits):
        return self.design.attainable_p(hits)


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("decimals", [1, 12])
@pytest.mark.parametrize("n", [3, 30])
def test_p_values_are_those_of_brute_force_over_all_relabellings(name, decimals, n):
    rng = np.random.default_rng(n + decimals)
    design = DESIGNS[name](rng)
    similarity = rng.normal(size=(n, len(design))).round(decimals) + 0.5 * design.member
    every = np.array([naive_totals(similarity, labels) for labels in enumerated(design)]).round(9)
    observed = np.array(naive_totals(similarity, design.member)).round(9)
    exact = (every >= observed).mean(axis=0)
    smaller = (every[None] >= every[:, None]).mean(axis=1).min(axis=1)
    combined = (smaller <= exact.min()).mean()

    every_one = Enumerated(design)
    found = verdict_test(*lists(similarity), every_one, rng, draws=len(every_one.others))
    assert (found.p_all, found.p_top, found.p_value) == pytest.approx((*exact, combined))
    assert (found.t_all, found.t_top) == pytest.approx(tuple(observed), abs=1e-8)
    np.testing.assert_allclose(found.similarity_member, similarity[:, design.member].max(axis=1), atol=1e-9)
    np.testing.assert_allclose(found.similarity_control, similarity[:, ~design.member].max(axis=1), atol=1e-9)
    assert found.distinct_hits == len(np.unique(design.units[similarity.argmax(axis=1)]))

    draws = 20_000
    drawn = verdict_test(*lists(similarity), design, rng, draws=draws)
    for value, share in zip((drawn.p_all, drawn.p_top), exact, strict=True):
        assert value == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / draws) + 2 / draws)


@pytest.mark.parametrize("k", [16, 30, 60])
def test_lists_give_what_the_full_matrix_gives(k):
    rng = np.random.default_rng(k)
    design = pairs(30, rng)
    similarity = rng.normal(size=(50, 60)).round(1)
    table = NearestLists.of(*lists(similarity, k), 60)
    labels = design.relabellings(rng, 200)
    quick = totals(table.differences(labels), top_count(50))
    np.testing.assert_allclose(quick.T, [naive_totals(similarity, row) for row in labels], atol=1e-9)


def test_ties_count_against_a_finding():
    design = pairs(6, np.random.default_rng(0))
    equal = np.full((9, 12), 0.3)
    found = verdict_test(*lists(equal), design, np.random.default_rng(0), draws=99)
    assert (found.t_all, found.t_top) == (0, 0)
    assert found.p_all == found.p_top == found.p_value == 1
    # A member and a control that are copies of one another say nothing, whatever else they are.
    twins = np.repeat(np.random.default_rng(1).normal(size=(9, 6)), 2, axis=1)
    copies = Pairs(np.tile([True, False], 6), np.repeat(np.arange(6), 2))
    assert verdict_test(*lists(twins), copies, np.random.default_rng(0), draws=99).p_value == 1


def test_order_of_reconstructions_and_units_of_similarity_change_nothing():
    rng = np.random.default_rng(2)
    design, similarity = pairs(12, rng), rng.normal(size=(33, 24))
    base = verdict_test(*lists(similarity), design, np.random.default_rng(0), draws=400)
    for other in (similarity[::-1], 1000 * similarity - 7):
        found = verdict_test(*lists(other), design, np.random.default_rng(0), draws=400)
        assert (found.p_all, found.p_top, found.p_value) == (base.p_all, base.p_top, base.p_value)


def test_one_and_no_spread():
    design = pairs(3, np.random.default_rng(0))
    one = verdict_test([[0, 3]], [[0.5, 0.2]], design, np.random.default_rng(0), draws=50)
    assert one.n_reconstructions == 1
    assert one.distinct_hits == 1
    assert one.attainable_p == 0.5


def simulated(kind, n_pairs, n, rng):
    """Similarities of reconstructions that know nothing of the coins."""
    pool = rng.normal(size=(2 * n_pairs, 8))
    made = rng.normal(size=(5 if kind == "collapsed" else n, 8))
    made = made[rng.integers(len(made), size=n)] if kind == "collapsed" else made
    return -((made[:, None] - pool[None]) ** 2).sum(axis=2)


@pytest.mark.parametrize("kind", ["distinct", "collapsed", "one image"])
def test_level_holds_under_the_null_where_counting_fails(kind):
    rng = np.random.default_rng(11)
    n_pairs, n, repeats = 15, 60, 400
    rejected = counted = 0
    for _ in range(20):
        similarity = simulated("collapsed" if kind == "one image" else kind, n_pairs, n, rng)
        similarity = np.tile(similarity[:1], (n, 1)) if kind == "one image" else similarity
        index, values = lists(similarity)
        for _ in range(repeats // 20):
            design = pairs(n_pairs, rng)
            found = verdict_test(index, values, design, rng, draws=99)
            rejected += found.p_value <= 0.05
            wins = (found.similarity_member > found.similarity_control).sum()
            counted += wins >= 38  # P(Bin(60, 1/2) >= 38) = 0.026
    assert rejected <= 35  # 99.9 % limit of Bin(400, 0.05)
    assert counted > (60 if kind != "distinct" else 20)  # the per-reconstruction count is wrong


def test_p_values_are_uniform_under_the_null():
    rng = np.random.default_rng(3)
    index, values = lists(simulated("distinct", 20, 40, rng))
    p = np.array([verdict_test(index, values, pairs(20, rng), rng, draws=99).p_value for _ in range(500)])
    for level in np.arange(0.1, 1, 0.1):
        assert np.mean(p <= level) <= level + 4 * np.sqrt(level * (1 - level) / 500)
        assert np.mean(p <= level) >= level - 4 * np.sqrt(level * (1 - level) / 500) - 0.02


@pytest.mark.parametrize("design", ["pairs", "observational"])
def test_planted_copies_are_found(design):
    rng = np.random.default_rng(7)
    pool = pairs(40, rng)
    pool = pool if design == "pairs" else Observational(pool.member, np.tile(np.arange(40) % 4, 2))
    similarity = rng.uniform(0, 0.5, size=(80, 80))
    copied = rng.choice(np.flatnonzero(pool.member), 12, replace=False)
    similarity[np.arange(12), copied] = 0.9
    found = verdict_test(*lists(similarity), pool, rng)
    assert found.p_value < 0.001
    assert decide(found.p_value, found.attainable_p, design=design, blind="no-shift") == ("leak", None)


def test_copies_of_two_images_are_two_coins():
    # The member-mean trick: every reconstruction falls on the same two members.
    rng = np.random.default_rng(0)
    design = pairs(40, rng)
    similarity = rng.uniform(0, 0.3, size=(100, 80))
    two = np.flatnonzero(design.member)[:2]
    similarity[:, two] = rng.uniform(0.4, 0.5, size=(100, 2))
    found = verdict_test(*lists(similarity), design, rng)
    assert found.distinct_hits == 2
    assert found.attainable_p == 0.25
    assert decide(found.p_value, found.attainable_p, design="pairs") == ("inconclusive", "underpowered")


def test_min_p_on_a_small_example():
    p = upper_p(np.array([[3.0, 1, 2, 2], [1, 5, 1, 4]]))
    np.testing.assert_array_equal(p, [[0.25, 1, 0.75, 0.75], [1, 0.25, 1, 0.5]])
    np.testing.assert_array_equal(min_p(p), [0.5, 0.5, 1, 0.75])


def test_top_count():
    assert [top_count(n) for n in (1, 4, 5, 80, 100, 101, 2000)] == [1, 4, 5, 5, 5, 6, 100]


def test_refusals():
    rng = np.random.default_rng(0)
    design = pairs(3, rng)
    index, values = lists(rng.normal(size=(4, 6)))
    with pytest.raises(ShapeError, match=r"index is float64"):
        verdict_test(index.astype(float), values, design, rng)
    with pytest.raises(ShapeError, match="expected integers of shape"):
        verdict_test(index[:, :3], values, design, rng)
    with pytest.raises(SettingError, match="expected 0 to 5"):
        verdict_test(index + 1, values, design, rng)
    with pytest.raises(SettingError, match="twice"):
        verdict_test(np.zeros_like(index), values, design, rng)
    with pytest.raises(SettingError, match="minus the distance"):
        verdict_test(index, -values, design, rng)
    with pytest.raises(SettingError, match="NaN"):
        verdict_test(index, values * np.nan, design, rng)
    with pytest.raises(ShapeError, match=r"k = 6.*which is always enough"):
        verdict_test(index[:, :2], values[:, :2], design, rng, draws=500)
    with pytest.raises(ShapeError, match="label is unknown"):
        verdict_test(index[:, :1], values[:, :1], design, rng)
    with pytest.raises(SettingError, match="draws is 0"):
        verdict_test(index, values, design, rng, draws=0)


def outcome(p_value, *, hits=20):
    return VerdictTest(
        1.0, 1.0, p_value, p_value, p_value, max(0.5**hits, 1e-4), hits, 80, 9999, np.ones(80), np.ones(80)
    )


WELL = {"design": "pairs", "attack_control_called": True}
SEEN = {**WELL, "design": "observational", "blind": "no-shift"}


@pytest.mark.parametrize(
    ("p", "changes", "expected"),
    [
        (0.0001, WELL, ("leak", None)),
        (0.01, WELL, ("leak", None)),
        (0.0101, WELL, ("no-evidence", None)),
        (0.0001, SEEN, ("leak", None)),
        (0.5, SEEN, ("no-evidence", None)),
        (0.0001, {**WELL, "exploratory": True}, ("inconclusive", "exploratory")),
        (0.0001, {**SEEN, "blind": None}, ("inconclusive", "no-control")),
        (0.0001, {**SEEN, "blind": "shift"}, ("inconclusive", "shift")),
        (0.5, {**SEEN, "blind": "shift"}, ("inconclusive", "shift")),
        (0.0001, {**SEEN, "blind": "too-small"}, ("inconclusive", "underpowered")),
        (0.0001, {**WELL, "blind": "shift"}, ("leak", None)),  # reported only
        (0.0001, {**WELL, "blind": "too-small"}, ("leak", None)),
        (0.0001, {**WELL, "negative_control_p": 0.01}, ("inconclusive", "control-invalid")),
        (0.5, {**WELL, "negative_control_p": 0.02}, ("no-evidence", None)),
        (0.0001, {**WELL, "attack_control_called": False}, ("leak", None)),
        (0.0001, {**WELL, "attack_control_called": None}, ("leak", None)),
        (0.5, {**WELL, "attack_control_called": False}, ("inconclusive", "attack-failed")),
        (0.5, {**WELL, "attack_control_called": None}, ("inconclusive", "no-control")),
        (0.02, {**WELL, "alpha": 0.05}, ("leak", None)),
    ],
)
def test_rule(p, changes, expected):
    assert decide(p, outcome(p).attainable_p, **changes) == expected


@pytest.mark.parametrize(("hits", "family", "enough"), [(6, 1, False), (7, 1, True), (7, 2, False), (8, 2, True)])
def test_few_hits_decide_nothing(hits, family, enough):
    for p in (0.0001, 0.9):
        found = decide(p, outcome(p, hits=hits).attainable_p, family=family, **WELL)
        assert (found.reason == "underpowered") is not enough


def test_no_test_without_controls():
    assert decide(None, None, design="observational") == ("inconclusive", "no-control")
    with pytest.raises(ShapeError, match="go together"):
        decide(0.5, None, design="pairs")


def test_settings_of_the_rule_are_checked():
    with pytest.raises(SettingError, match="'coins'"):
        decide(0.5, outcome(0.5).attainable_p, design="coins")
    with pytest.raises(SettingError, match="alpha is 1"):
        decide(0.5, outcome(0.5).attainable_p, design="pairs", alpha=1)
    with pytest.raises(SettingError, match=r"p_adjusted is 1\.5"):
        decide(1.5, outcome(0.5).attainable_p, design="pairs")


def test_a_whole_family_at_the_limit_of_the_draws():
    # 12 tests at B = 9,999: the first Holm step multiplies 0.0001 by 12.
    p = np.array([1e-4] + [0.5] * 11)
    adjusted = holm(p)
    assert decide(adjusted[0], outcome(p[0]).attainable_p, family=12, **WELL) == ("leak", None)
    assert decide(adjusted[1], outcome(p[1]).attainable_p, family=12, **WELL) == ("no-evidence", None)


REASONS = Reason.__args__
VERDICTS = [Verdict("leak"), Verdict("no-evidence"), *(Verdict("inconclusive", reason) for reason in REASONS)]
some_verdicts = st.lists(st.sampled_from(VERDICTS), min_size=1, max_size=8)


def by_table(verdicts):
    """The same rule from what stands for and against, one verdict after the other."""
    leaks = silent = spoilt = False
    for word, reason in verdicts:
        leaks |= word == "leak"
        silent |= word == "no-evidence"
        spoilt |= reason in ("control-invalid", "shift")
    return {(False, True, False): "no-evidence"}.get((leaks, silent, spoilt), "leak" if leaks else "inconclusive")


@given(some_verdicts)
def test_the_verdict_on_a_target_against_a_table(verdicts):
    assert overall(verdicts).verdict == by_table(verdicts)


@given(some_verdicts, st.randoms(use_true_random=False))
def test_neither_order_nor_copies_of_tests_change_the_verdict_on_a_target(verdicts, random):
    shuffled = random.sample(verdicts, len(verdicts)) + random.sample(verdicts, 1)
    before, after = overall(verdicts), overall(shuffled)
    assert after.verdict == before.verdict
    assert set(after.reasons) == set(before.reasons)


@given(some_verdicts)
def test_reasons_are_those_of_the_tests_once_each_and_only_of_an_inconclusive_target(verdicts):
    verdict, reasons = overall(verdicts)
    in_order = [reason for _, reason in verdicts if reason is not None]
    assert list(reasons) == (list(dict.fromkeys(in_order)) if verdict == "inconclusive" else [])


@given(some_verdicts)
def test_one_more_leak_makes_a_leak(verdicts):
    assert overall([*verdicts, Verdict("leak")]) == ("leak", ())


@given(some_verdicts, st.sampled_from(REASONS))
def test_one_more_inconclusive_test_never_makes_a_target_look_safer(verdicts, reason):
    before, after = overall(verdicts).verdict, overall([*verdicts, Verdict("inconclusive", reason)]).verdict
    spoils = before == "no-evidence" and reason in SPOILING
    assert after == ("inconclusive" if spoils else before)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_one_test_alone_is_the_verdict(verdict):
    word, reasons = overall([verdict])
    assert (word, *reasons) == tuple(part for part in verdict if part is not None)


def test_no_test_no_verdict():
    assert overall([]) is None
