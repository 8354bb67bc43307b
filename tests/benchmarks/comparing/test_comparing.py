"""Two audits compared: known differences, what does not pair, and what is refused."""

import numpy as np
import pytest

from invaudit.benchmarks.comparing import compare
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import write_json
from invaudit.stats import Observational, membership_difference
from tests.benchmarks.comparing.folders import HASHES, MEMBER, check_rows, only, save_audit

RNG = np.random.default_rng(0)
LOSS = RNG.normal(size=60) + 2 * MEMBER
REPAIRED = 0.3 * LOSS + RNG.normal(size=60)


@pytest.fixture
def audits(tmp_path):
    return save_audit(tmp_path / "before", {"loss": LOSS}), save_audit(tmp_path / "after", {"loss": REPAIRED})


def test_membership_scores_of_the_same_pool_are_paired(audits):
    row = only(compare(*audits).rows, part="membership")
    expected = membership_difference(LOSS, REPAIRED, Observational(MEMBER, np.arange(60) % 3))
    assert (row.compared, row.name, row.better) == ("paired", "loss", "lower")
    assert (row.difference, row.difference_low, row.difference_high) == (expected.value, expected.low, expected.high)
    assert row.difference == pytest.approx(row.after - row.before)
    assert row.difference_high < 0


def test_of_tests_and_accuracies_both_values_stand_side_by_side(audits):
    rows = compare(*audits).rows
    test = only(rows, part="reconstruction", figure="p_adjusted")
    assert (test.verdict_before, test.verdict_after, test.difference) == ("no-evidence", "no-evidence", None)
    gap = only(rows, part="accuracy", name="gap")
    assert (gap.before, gap.difference, gap.difference_low, gap.better) == (0.25, 0.0, None, "lower")
    assert {row.figure for row in rows if row.part == "readiness"} == {"auroc", "rejected"}
    assert {row.compared for row in rows if row.part != "membership"} == {"beside"}
    assert "not kept" in gap.reason


def test_networks_of_two_single_audits_are_paired_whatever_they_are_called(tmp_path):
    before = save_audit(tmp_path / "before", {"loss": LOSS}, name="old")
    after = save_audit(tmp_path / "after", {"loss": REPAIRED}, name="new")
    assert only(compare(before, after).rows, part="membership").target == "old / new"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"data": HASHES | {"controls": "e" * 64}}, "controls: bbbbbbbbbbbb and eeeeeeeeeeee"),
        ({"data": {"digits": "a" * 64}}, "digits: none and aaaaaaaaaaaa"),
        ({"seed": 1}, "seeds [0]"),
        ({"config": "drawn_at_random: true\n"}, "audit both in one way"),
    ],
)
def test_audits_of_other_images_or_seeds_are_refused(tmp_path, other, said):
    before = save_audit(tmp_path / "before", {"loss": LOSS})
    after = save_audit(tmp_path / "after", {"loss": LOSS}, **other)
    with pytest.raises(RunFolderError) as error:
        compare(before, after)
    assert said in str(error.value)


def test_what_does_not_pair_is_named_with_its_reason(tmp_path):
    before = save_audit(tmp_path / "before", {"loss": LOSS, "margin": LOSS, "gradient-norm": LOSS})
    after = save_audit(
        tmp_path / "after",
        {"loss": LOSS, "attribution": LOSS, "gradient-norm": None},
        methods=("tldr",),
        data=HASHES | {"ood/cats": "e" * 64},
    )
    rows = compare(before, after).rows
    assert only(rows, name="margin").reason == "only in the first run"
    assert only(rows, name="attribution").reason == "only in the second run"
    assert only(rows, name="gradient-norm").reason == "failed: no gradient"
    assert only(rows, name="tldr:ssim").reason == "only in the second run"
    assert only(rows, part="readiness").reason == "the set holds other images in the second run"
    for row in rows:
        if row.name in ("margin", "attribution", "gradient-norm", "tldr:ssim") or row.part == "readiness":
            assert (row.compared, row.difference) == ("not-paired", None)


@pytest.mark.parametrize(
    ("other", "said"),
    [({"keep": False}, "not kept"), ({"member": ~MEMBER}, "other images of the members and controls")],
)
def test_scores_of_other_pools_have_no_interval(tmp_path, other, said):
    before = save_audit(tmp_path / "before", {"loss": LOSS})
    row = only(compare(before, save_audit(tmp_path / "after", {"loss": LOSS}, **other)).rows, part="membership")
    assert (row.compared, row.difference) == ("beside", None)
    assert said in row.reason


def test_every_row_says_how_its_values_stand_to_one_another(audits, tmp_path):
    check_rows(compare(*audits), tmp_path)
    itself = [row for row in compare(audits[0], audits[0]).rows if row.compared == "paired"]
    assert {(row.difference, row.difference_low, row.difference_high) for row in itself} == {(0.0, 0.0, 0.0)}


def test_two_kinds_of_run_are_no_pair(audits):
    write_json(audits[1] / "records/run.json", {"kind": "ood", "schema": 2})
    with pytest.raises(RunFolderError, match="expected two of one kind"):
        compare(*audits)


@pytest.mark.parametrize(("record", "said"), [({"kind": "fit"}, "kind 'fit'"), ({"schema": 1}, "kind None")])
def test_a_folder_without_tables_is_refused(audits, record, said):
    write_json(audits[1] / "records/run.json", record)
    with pytest.raises(RunFolderError, match=said):
        compare(*audits)
