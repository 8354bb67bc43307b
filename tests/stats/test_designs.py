"""Designs: what they refuse, and that relabelling draws every allowed labelling equally often."""

import itertools

import numpy as np
import pytest

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats import DESIGNS, Observational, Pairs

MEMBER = np.array([1, 0, 0, 1, 1, 0], dtype=bool)
EXAMPLES = {
    "pairs": (Pairs(MEMBER, [7, 7, 2, 2, 5, 5]), 8),
    "observational": (Observational(MEMBER, [0, 0, 1, 1, 1, 1]), 12),
    "observational/groups": (Observational([1, 1, 0, 0, 1, 0], [0] * 6, [3, 3, 8, 8, 1, 4]), 4),
    "observational/groups across strata": (
        Observational([1, 1, 0, 0, 1, 0], [0, 1, 1, 0, 0, 1], [3, 3, 8, 8, 1, 4]),
        2,
    ),
}


def allowed(design):
    """Every labelling that the design's definition allows, by brute force over all labellings."""
    observed = design.member
    for bits in itertools.product([False, True], repeat=len(observed)):
        labels = np.array(bits)
        if design.name == "pairs":
            if all(labels[design.pair == p].sum() == 1 for p in np.unique(design.pair)):
                yield labels
            continue
        if any(len(set(labels[design.units == u])) > 1 for u in design.units):
            continue
        kinds = [tuple(sorted(design.stratum[design.units == u])) for u in design.units]
        same = [
            sorted(observed[[k == kind for k in kinds]]) == sorted(labels[[k == kind for k in kinds]]) for kind in kinds
        ]
        if all(same):
            yield labels


@pytest.mark.parametrize("name", EXAMPLES)
def test_relabelling_is_uniform_over_the_allowed_labellings(name):
    design, n = EXAMPLES[name]
    expected = {tuple(labels) for labels in allowed(design)}
    assert len(expected) == n
    found, counts = np.unique(design.relabellings(np.random.default_rng(0), 6000), axis=0, return_counts=True)
    assert {tuple(row) for row in found} == expected
    # Chi-square with n - 1 degrees of freedom: mean n - 1, variance 2 (n - 1).
    assert ((counts - 6000 / n) ** 2 / (6000 / n)).sum() < n - 1 + 5 * np.sqrt(2 * (n - 1))


@pytest.mark.parametrize("name", EXAMPLES)
def test_contract(name):
    design, _ = EXAMPLES[name]
    assert DESIGNS[design.name] is type(design)
    assert tuple(design.member) in {tuple(labels) for labels in allowed(design)}
    one = design.relabel(np.random.default_rng(4))
    assert one.dtype == bool
    assert one.shape == design.member.shape == design.units.shape == (len(design),)
    np.testing.assert_array_equal(one, design.relabel(np.random.default_rng(4)))
    with pytest.raises(ValueError, match="read-only"):
        design.member[0] = False


@pytest.mark.parametrize("name", EXAMPLES)
def test_attainable_p_is_the_share_of_labellings_with_most_hits_as_members(name):
    design, _ = EXAMPLES[name]
    labellings = list(allowed(design))
    for hits in itertools.chain.from_iterable(itertools.combinations(range(6), k) for k in (1, 2, 3)):
        units = np.unique(design.units[list(hits)])
        if design.name == "pairs":
            share = 0.5 ** len(units)
        else:
            images = [np.flatnonzero(design.units == u)[0] for u in units]
            counts = [labels[images].sum() for labels in labellings]
            share = np.mean(np.array(counts) == max(counts))
        assert design.attainable_p(np.array(hits)) == pytest.approx(share)


@pytest.mark.parametrize(
    ("member", "pair", "message"),
    [
        ([1, 0, 1], [0, 0, 1], r"pair 1 has 1 member\(s\) and 0 control"),
        ([1, 1, 0, 0], [0, 0, 1, 1], r"pair 0 has 2 member\(s\) and 0 control.*2 such"),
        ([1, 0, 1, 0], [3, 3, 3, 3], "pair 3 has 2"),
    ],
)
def test_broken_pairs_are_refused(member, pair, message):
    with pytest.raises(SettingError, match=message):
        Pairs(member, pair)


def test_shapes_are_refused():
    with pytest.raises(ShapeError, match="pair has 2 entries, expected 3"):
        Pairs([1, 0, 1], [0, 0])
    with pytest.raises(ShapeError, match="stratum is float64"):
        Observational([1, 0], [0.0, 0.5])
    with pytest.raises(ShapeError, match="member has shape"):
        Pairs([], [])
    with pytest.raises(SettingError, match="other than True and False"):
        Pairs([2, 0], [0, 0])


def test_observational_refusals():
    with pytest.raises(SettingError, match=r"0 member\(s\) and 3 control"):
        Observational([0, 0, 0], [0, 0, 0])
    with pytest.raises(SettingError, match="group 5 holds members and controls"):
        Observational([1, 0, 0], [0, 0, 0], [5, 5, 1])


def test_all_are_tested_or_so_many_of_each_side_in_whole_groups():
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], [30, 20, 12])
    member = np.concatenate([np.arange(30) < 6, np.arange(20) < 17, np.arange(12) < 6])
    plain = Observational(member, classes)
    np.testing.assert_array_equal(plain.drawn(classes, rng), np.arange(62))
    np.testing.assert_array_equal(plain.drawn(classes, rng, most=33), np.arange(62))
    kept = plain.drawn(classes, rng, most=20)
    assert (member[kept].sum(), (~member[kept]).sum()) == (20, 20)
    assert not np.array_equal(kept, plain.drawn(classes, rng, most=20))
    assert len(plain.drawn(classes, rng, most=30)) == 29 + 30
    grouped = Observational(member, classes, np.r_[np.arange(30) // 3, 10 + np.arange(20), 40 + np.arange(12) // 2])
    part = grouped.subset(grouped.drawn(classes, rng, most=20))
    for group in np.unique(part.group):
        assert (part.group == group).sum() == (grouped.group == group).sum()
    assert max(part.member.sum(), (~part.member).sum()) <= 20


def test_what_cannot_be_tested_is_refused():
    with pytest.raises(SettingError, match="several classes"):
        Observational([1, 0, 1], [0, 0, 0]).drawn([0, 0, 1], np.random.default_rng(0))
    with pytest.raises(SettingError, match="no class has both"):
        Observational([1, 0], [0, 1]).drawn([0, 1], np.random.default_rng(0))


def test_all_pairs_are_tested():
    design = EXAMPLES["pairs"][0]
    np.testing.assert_array_equal(design.drawn([0] * 6, np.random.default_rng(0), most=1), np.arange(6))
    with pytest.raises(SettingError, match="pair 7 has 1"):
        design.subset(np.array([0, 2, 3]))
