"""Rows of fusions: made of pytorch-ood's scores at their defaults, or a row that says why not."""

import numpy as np

from invaudit.benchmarks.ood.fusing import fused_scores
from invaudit.benchmarks.ood.scoring import Outcomes
from invaudit.ood.fusions import RULES, SIX
from invaudit.records import scores_key
from tests.ood.test_fusions import fuse


def stored(names, sets=("held-out", "id-test", "other")):
    rng = np.random.default_rng(0)
    return {scores_key(name, where): rng.normal(size=40 + len(where)) for name in names for where in sets}


def test_fusions_join_what_ran_at_its_defaults_and_is_not_of_high_cost():
    arrays = stored([*SIX, "MaxLogit", "KNN@tuned", "KNN@k=5", "GradNorm", "joint"])
    outcomes = Outcomes()
    found = fused_scores(arrays, ["id-test", "other"], outcomes)
    assert set(found) == {
        scores_key(f"fusion-{rule}-{names}", where)
        for rule in RULES for names in ("all", "six") for where in ("id-test", "other")
    }  # fmt: skip
    for list_name, names in (("six", SIX), ("all", ("MaxLogit", *SIX))):
        held_out, scores = ({n: arrays[scores_key(n, where)] for n in names} for where in ("held-out", "other"))
        expected = fuse("fisher", held_out, scores)
        np.testing.assert_allclose(found[scores_key(f"fusion-fisher-{list_name}", "other")], expected)
    assert {outcome.role for outcome in outcomes.by_name.values()} == {"library"}
    assert all(outcome.status == "ok" for outcome in outcomes.by_name.values())


def test_a_detector_of_the_list_that_failed_makes_the_row_not_applicable():
    arrays = stored([name for name in SIX if name != "ViM"])
    outcomes = Outcomes()
    found = fused_scores(arrays, ["id-test"], outcomes)
    assert scores_key("fusion-fisher-all", "id-test") in found
    outcome = outcomes.by_name["fusion-fisher-six"]
    assert (outcome.status, outcome.reason) == ("not-applicable", "needs the scores of ViM")


def test_a_set_on_which_one_of_them_failed_has_no_fused_scores():
    arrays = stored(SIX)
    del arrays[scores_key("KNN", "other")]
    found = fused_scores(arrays, ["id-test", "other"], Outcomes())
    assert scores_key("fusion-largest-six", "id-test") in found
    assert scores_key("fusion-largest-six", "other") not in found
