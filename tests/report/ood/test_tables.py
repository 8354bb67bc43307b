"""The short table: which rows, in which order, in which words."""

import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from invaudit.benchmarks.ood.settings import OURS, PIXELS, UNTRAINED
from invaudit.report import format_table, read_ood_run, short_table, terminal_table
from invaudit.report.ood import tables


@pytest.fixture
def summary(run_folder: Path) -> pd.DataFrame:
    return read_ood_run(run_folder).summary


def _mean(summary: pd.DataFrame, network: str, detector: str, ood_set: str) -> float:
    rows = summary[(summary["network"] == network) & (summary["detector"] == detector)]
    return rows.set_index("ood_set").loc[ood_set, "auroc"]


def test_ours_first_then_ablations_then_baselines(summary: pd.DataFrame) -> None:
    short = short_table(summary)
    assert short.iloc[0][["part", "network", "detector"]].tolist() == ["ours", "full", "joint"]
    assert list(dict.fromkeys(short["part"])) == ["ours", "ablation", "best near", "best far"]
    ablations = short[short["part"] == "ablation"]
    assert list(dict.fromkeys(ablations["network"])) == ["full", "derived", "inversion", "noise", "plain", "random"]
    assert set(ablations["detector"]) == {"joint", "garbage-logit"}


def test_levels_are_those_of_the_summary(summary: pd.DataFrame) -> None:
    for row in short_table(summary).to_dict("records"):
        for name in ("mean-near", "worst-near", "mean-far", "worst"):
            assert row[name] == _mean(summary, row["network"], row["detector"], name)


@pytest.mark.parametrize("group", ["near", "far"])
@pytest.mark.parametrize("n_best", [1, 3, 5])
def test_best_baselines_by_brute_force(summary: pd.DataFrame, group: str, n_best: int) -> None:
    rows = summary[(summary["ood_set"] == f"mean-{group}") & (summary["status"] == "ok")]
    own = rows["detector"].isin(["joint", "garbage-logit"]) | rows["detector"].str.startswith(("joint/", "pixel-"))
    baselines = rows[~own].sort_values("auroc", ascending=False)
    ours = baselines["network"] == "full"
    best = pd.concat([baselines[~ours].head(n_best), baselines[ours].head(n_best)])
    expected = sorted(best["auroc"], reverse=True)
    short = short_table(summary, n_best=n_best)
    assert short.loc[short["part"] == f"best {group}", f"mean-{group}"].tolist() == expected


def test_controls_and_failures_are_no_baselines(summary: pd.DataFrame) -> None:
    short = short_table(summary, n_best=100)
    baselines = short[short["part"].str.startswith("best")]
    assert not baselines["network"].isin(["none", "random"]).any()
    assert "MCD" not in set(baselines["detector"])
    assert "joint/distance" not in set(baselines["detector"])


def test_order_of_rows_changes_nothing(summary: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(
        short_table(summary).sort_values(["part", "network", "detector"], ignore_index=True),
        short_table(summary.sample(frac=1, random_state=0)).sort_values(
            ["part", "network", "detector"], ignore_index=True
        ),
    )


def test_text_is_in_per_cent() -> None:
    row = {"part": "best near", "network": "plain", "detector": "KNN", "fpr95": 0.25, "difference": -0.0215}
    row |= {"difference_low": -0.03, "difference_high": 0.001}
    for name in ("mean-near", "worst-near", "mean-far", "worst"):
        row |= {name: 0.9876, f"{name}_sd": 0.0123}
    row |= {"worst_sd": None, "mean-far": None}
    text = format_table(pd.DataFrame([row])).iloc[0]
    assert text["mean-near"] == "98.76 ± 1.23"
    assert text["worst"] == "98.76"
    assert text["mean-far"] == "\u2013"
    assert text["FPR95 near"] == "25.00"
    assert text["difference"] == "\u22122.15 [\u22123.00, +0.10]"


def test_a_summary_without_results_gives_an_empty_table(summary: pd.DataFrame) -> None:
    failed = summary[summary["status"] == "failed"]
    assert short_table(failed).empty
    assert format_table(short_table(failed)).empty


def _printed(summary: pd.DataFrame, width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(terminal_table(summary))
    return stream.getvalue()


def test_printed_table_cuts_no_figure(summary: pd.DataFrame) -> None:
    wide, narrow = _printed(summary, 120), _printed(summary, 80)
    assert "\u22122.15 [\u22122.75, \u22121.55]" in wide
    assert "94.65±0.21" in wide
    for word in ("94.65", "garbage-logit", "[\u22122.75,", "\u22121.55]", "KNN@tuned"):
        assert word in narrow


def test_names_are_no_markup(summary: pd.DataFrame) -> None:
    summary["network"] = summary["network"].replace("plain", "[red]plain[/nothing]")
    assert "[red]plain[/nothing]" in _printed(summary, 160)


def test_names_stay_text(make_run: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    path = folder / "summary.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("letters", "2024").replace("photos", "None"), "utf-8")
    assert {"2024", "None"} < set(read_ood_run(folder).summary["ood_set"])


def test_a_mean_over_seeds_is_of_all_seeds() -> None:
    rows = [("plain", "a", 0, 0.5, True), ("plain", "a", 1, 0.25, False), ("full", "b", 0, None, True)]
    found = pd.DataFrame(rows, columns=["network", "detector", "seed", "accepted", "passed"])
    means = tables.over_seeds(found, "network")
    assert means is not None
    expected = pd.DataFrame({"network": ["plain", "full"], "accepted": [0.375, float("nan")], "passed": [0.5, 1.0]})
    pd.testing.assert_frame_equal(means, expected)


def test_the_names_of_networks_are_those_of_the_benchmark() -> None:
    assert tables.OURS == OURS
    assert tables.CONTROL_NETWORKS == (PIXELS, UNTRAINED)
