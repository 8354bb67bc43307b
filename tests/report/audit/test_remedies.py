"""What the page says of remedies is what the records hold."""

from itertools import chain
from pathlib import Path

import pandas as pd
import pytest

from invaudit.report.audit.remedies import RECORDED, Recorded

RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results"


@pytest.mark.parametrize("recorded", list(chain.from_iterable(RECORDED.values())), ids=lambda one: one.target)
def test_figures_are_those_of_the_record(recorded: Recorded) -> None:
    folder = RESULTS / recorded.record
    summary = pd.read_csv(folder / "summary.csv").set_index(["target", "score"])
    loss = summary.loc[(recorded.target, "loss")]
    assert loss["auroc"] == pytest.approx(recorded.auroc, abs=6e-4)
    assert loss["seeds"] == recorded.seeds
    tests = pd.read_csv(folder / "table.csv.gz")
    of_kkt = tests[(tests["target"] == recorded.target) & (tests["method"] == "kkt")]
    called = of_kkt.groupby("seed")["verdict"].agg(lambda verdicts: "leak" in set(verdicts))
    assert (int(called.sum()), len(called)) == (recorded.leaks, recorded.seeds)
