"""The short table: which rows, in which order, in which words."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from invaudit.records import OodRun, OodSummaryRow, read_ood_run
from invaudit.report import short_table, terminal_table
from invaudit.report.ood.tables import LEVELS, ShortLine


@pytest.fixture
def run(run_folder: Path) -> OodRun:
    return read_ood_run(run_folder)


def _auroc(run: OodRun, network: str, detector: str, ood_set: str) -> float | None:
    key = (network, detector, ood_set)
    (auroc,) = (row.auroc for row in run.summary if (row.network, row.detector, row.ood_set) == key)
    return auroc


def test_ours_first_then_ablations_then_baselines(run: OodRun) -> None:
    short = short_table(run)
    assert (short[0].part, short[0].network, short[0].detector) == ("ours", "full", "joint")
    assert list(dict.fromkeys(line.part for line in short)) == ["ours", "ablation", "best near", "best far", "pixels"]
    assert (short[-1].network, short[-1].detector) == ("none", "pixel-neighbour")
    ablations = [line for line in short if line.part == "ablation"]
    networks = ["full", "derived", "inversion", "noise", "plain", "random"]
    assert list(dict.fromkeys(line.network for line in ablations)) == networks
    assert {line.detector for line in ablations} == {"joint", "garbage-logit"}


def test_levels_are_those_of_the_summary(run: OodRun) -> None:
    for line in short_table(run):
        for name in LEVELS:
            assert line.auroc(name) == _auroc(run, line.network, line.detector, name)
            assert line.record()[name] == line.auroc(name)


@pytest.mark.parametrize("group", ["near", "far"])
@pytest.mark.parametrize("n_best", [1, 3, 5])
def test_best_baselines_by_brute_force(run: OodRun, group: str, n_best: int) -> None:
    theirs: dict[bool, list[float]] = {True: [], False: []}
    for row in run.summary:
        is_own = row.detector.startswith(("joint", "garbage-logit", "pixel-"))
        if row.ood_set == f"mean-{group}" and row.status == "ok" and not is_own:
            theirs[row.network == "full"].append(row.auroc or 0)
    best = [*sorted(theirs[False])[-n_best:], *sorted(theirs[True])[-n_best:]]
    lines = [line for line in short_table(run, n_best=n_best) if line.part == f"best {group}"]
    assert [line.auroc(f"mean-{group}") for line in lines] == sorted(best, reverse=True)


def test_controls_and_failures_are_no_baselines(run: OodRun) -> None:
    baselines = [line for line in short_table(run, n_best=100) if line.part.startswith("best")]
    assert not {line.network for line in baselines} & {"none", "random"}
    assert not {line.detector for line in baselines} & {"MCD", "joint/distance"}


def test_a_run_of_the_past_has_no_line_of_the_nearest_training_image(run: OodRun) -> None:
    past = replace(run, summary=[row for row in run.summary if row.detector != "pixel-neighbour"])
    assert short_table(past) == short_table(run)[:-1]
    assert "pix." in _printed(run, 120)
    assert "pix." not in _printed(past, 120)


def test_order_of_rows_changes_nothing(run: OodRun) -> None:
    def sorted_lines(run: OodRun) -> list[ShortLine]:
        return sorted(short_table(run), key=lambda line: (line.part, line.network, line.detector))

    order = np.random.default_rng(0).permutation(len(run.summary))
    shuffled = replace(run, summary=[run.summary[number] for number in order])
    assert sorted_lines(run) == sorted_lines(shuffled)


def test_text_is_in_per_cent() -> None:
    near = OodSummaryRow(
        id_set="digits", network="plain", detector="KNN", ood_set="mean-near", group="near", trivial=False,
        auroc=0.9876, auroc_sd=0.0123, fpr95=0.25, difference=-0.0215, difference_low=-0.03, difference_high=0.001,
        status="ok",
    )  # fmt: skip
    worst = near.model_copy(update={"ood_set": "worst", "auroc_sd": None})
    line = ShortLine("best near", "plain", "KNN", {"mean-near": near, "worst-near": near, "worst": worst})
    difference = "\u22122.15 [\u22123.00, +0.10]"
    levels = ["98.76 ± 1.23", "98.76 ± 1.23", "\u2013", "98.76"]
    assert line.cells() == ["plain", "KNN", *levels, "25.00", difference]
    assert replace(line, levels={"worst": worst}).cells()[2:] == ["\u2013"] * 3 + ["98.76", "\u2013", "\u2013"]


def test_a_summary_without_results_gives_an_empty_table(run: OodRun) -> None:
    failed = [row for row in run.summary if row.status == "failed"]
    assert failed
    assert short_table(replace(run, summary=failed)) == []


def _printed(run: OodRun, width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(terminal_table(run))
    return stream.getvalue()


def test_printed_table_cuts_no_figure(run: OodRun) -> None:
    wide, narrow = _printed(run, 120), _printed(run, 80)
    assert "\u22122.15 [\u22122.75, \u22121.55]" in wide
    assert "94.65±0.21" in wide
    for word in ("94.65", "garbage-logit", "[\u22122.75,", "\u22121.55]", "KNN@tuned"):
        assert word in narrow


def test_names_are_no_markup(run: OodRun) -> None:
    summary = []
    for row in run.summary:
        name = "[red]plain[/nothing]" if row.network == "plain" else row.network
        summary.append(row.model_copy(update={"network": name}))
    assert "[red]plain[/nothing]" in _printed(replace(run, summary=summary), 160)


def test_names_stay_text(make_run: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    path = folder / "summary.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("letters", "2024").replace("photos", "None"), "utf-8")
    assert {"2024", "None"} < {row.ood_set for row in read_ood_run(folder).summary}
