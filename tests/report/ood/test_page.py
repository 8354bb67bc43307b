"""The page: offline, escaped, reproducible, honest about what is missing."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from invaudit.records import DetectorInfo, OodRun, read_ood_run, write_rows
from invaudit.records.names import DETECTORS
from invaudit.report import ood_page
from invaudit.report.sections import Section
from invaudit.runtime import RunFolderError

pytestmark = pytest.mark.slow

REASON = "the network has no dropout"


@pytest.fixture
def page(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Return what writes the page of a run and reads it."""
    return lambda folder: read(ood_page(folder))


def _edit(folder: Path, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_csv(folder / name)).to_csv(folder / name, index=False)


BEATS_BOTH = "beats the best of 9 baselines on other networks and of 2 baselines on our network"


@pytest.mark.usefixtures("undrawn")
def test_page_tells_the_result(run_folder: Path, page: Callable[[Path], Any]) -> None:
    text = page(run_folder).text
    assert f"digits: by the mean over near and over far OOD sets ours {BEATS_BOTH}." in text
    near = (
        "near mean AUROC 94.65 % for ours, 92.00 % for the best of 9 baselines on other networks (KNN@tuned on plain)"
    )
    assert f"{near}: 2.65 points ahead (95 % interval 2.05 to 3.25, Holm p 0.004)." in text
    own = "near mean AUROC 94.65 % for ours, 92.50 % for the best of 2 baselines on our network (KNN on full)"
    assert f"{own}: 2.15 points ahead" in text
    assert "3 seeds: under 5" in text
    assert "passed" in text
    assert "python -m x 'a b'" in text
    assert not [words for words in MISSING.values() if words in text]
    assert REASON in text
    assert "Passed: control-same: all alike." in text


def test_page_makes_no_request_and_figures_lie_beside_it(run_folder: Path, page: Callable[[Path], Any]) -> None:
    names = ["attacks", "headline", "histograms", "inversions-full", "inversions-inversion", "resistance"]
    page(run_folder).assert_offline(names)


def test_same_bytes_twice(make_run: Callable[[Path], Path], tmp_path: Path) -> None:
    first, second = (ood_page(make_run(tmp_path / name)).parent for name in ("a", "b"))
    written = [path.relative_to(first) for path in [first / "report.html", *(first / "figures").iterdir()]]
    assert len(written) == 7
    assert all((first / path).read_bytes() == (second / path).read_bytes() for path in written)


def test_hostile_names_are_escaped(run_folder: Path, page: Callable[[Path], Any], hostile: str) -> None:
    victims = {"id_set": "digits", "network": "plain", "detector": "KNN", "ood_set": "letters", "reason": REASON}
    for name in ("summary.csv", "table.csv", "resistance.csv"):
        _edit(run_folder, name, lambda frame: frame.replace(dict.fromkeys(victims.values(), hostile)))
    archive = run_folder / "scores/seed-0/full.npz"
    with np.load(archive) as arrays:
        np.savez(archive, allow_pickle=False, **{key.replace("letters", hostile): arrays[key] for key in arrays.files})
    page(run_folder).assert_harmless()


@pytest.mark.usefixtures("undrawn")
def test_hostile_config_and_environment_are_escaped(
    run_folder: Path, page: Callable[[Path], Any], hostile: str
) -> None:
    (run_folder / "config.yaml").write_text(f"name: x\n# {hostile}\n# </pre>", encoding="utf-8")
    (run_folder / "environment.json").write_text('{"<b>": ["</dd><img src=x onerror=y>"], "command": ["<i>"]}', "utf-8")
    rendered = page(run_folder)
    rendered.assert_harmless()
    assert not [tag for tag, _ in rendered.elements if tag == "i"]


MISSING = {
    "cost.csv": "cost.csv is missing",
    "calibration.csv": "calibration.csv is missing",
    "resistance.csv": "resistance.csv is missing",
    "attacks.csv": "attacks.csv is missing",
    "decisions.csv": "decisions.csv is missing",
    "weights.csv": "weights.csv is missing",
    "config.yaml": "config.yaml is missing",
    "environment.json": "environment.json is missing",
    "records/controls.json": "holds no record of passed controls",
    "scores": "holds no inversions",
    "scores/seed-0/full-attacks.npz": "holds no attack images",
    "scores/seed-0/full.npz": "holds no scores of joint on full",
}


@pytest.mark.parametrize("name", MISSING)
@pytest.mark.usefixtures("undrawn")
def test_missing_parts_are_named(run_folder: Path, name: str, page: Callable[[Path], Any]) -> None:
    path = run_folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    text = page(run_folder).text
    assert MISSING[name] in text


@pytest.mark.usefixtures("undrawn")
def test_without_the_table_the_summary_serves(run_folder: Path, page: Callable[[Path], Any]) -> None:
    (run_folder / "table.csv").unlink()
    text = page(run_folder).text
    assert "3 seeds" in text
    assert REASON in text


def test_a_folder_without_summary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"summary\.csv"):
        ood_page(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_empty_tables_are_missing_tables(run_folder: Path, page: Callable[[Path], Any]) -> None:
    (run_folder / "cost.csv").write_text("\n", encoding="utf-8")
    (run_folder / "resistance.csv").write_text("id_set,seed,network,attack,n,resistance,accepted\n", encoding="utf-8")
    text = page(run_folder).text
    assert "cost.csv is missing or empty" in text
    assert "resistance.csv is missing or empty" in text


@pytest.mark.usefixtures("undrawn")
def test_rates_of_every_table_are_in_per_cent(run_folder: Path, page: Callable[[Path], Any]) -> None:
    text = page(run_folder).text
    # ID accuracy and its error, false alarms and their band; attack images and hard decisions, means over three seeds.
    assert all(value in text for value in ("97.00", "2.10", "4.75", "6.13", "2.71", "8.37", "37.50", "50.00"))


@pytest.mark.usefixtures("undrawn")
def test_weights_of_the_parts_are_means_over_seeds(run_folder: Path, page: Callable[[Path], Any]) -> None:
    text = " ".join(page(run_folder).text.split())
    assert "network part weight" in text
    assert "full nearest 3.25" in text
    assert "full garbage 6.25" in text


@pytest.mark.usefixtures("undrawn")
def test_nothing_ran(run_folder: Path, page: Callable[[Path], Any]) -> None:
    for name in ("summary.csv", "table.csv"):
        _edit(run_folder, name, lambda frame: frame[frame["status"] == "failed"])
    text = page(run_folder).text
    assert "holds no comparison of ours with a baseline" in text
    assert "No detector has a result" in text
    assert "no comparison is drawn" in text
    assert "0 control rows" in text


@pytest.mark.usefixtures("undrawn")
def test_skipped_sets_are_named_at_the_top(run_folder: Path, page: Callable[[Path], Any]) -> None:
    row = {"id_set": "digits", "seed": 0, "network": "plain", "detector": "KNN", "ood_set": "svhn", "group": "far"}
    row |= {"trivial": False, "status": "skipped", "reason": "not found"}
    _edit(run_folder, "table.csv", lambda frame: pd.concat([frame, pd.DataFrame([row])]))
    assert "the data were not found: svhn" in page(run_folder).text


@pytest.mark.parametrize(
    ("ood_set", "change"), [("control-same", {"auroc": 0.501}), ("control-split", {"status": "failed"})]
)
@pytest.mark.usefixtures("undrawn")
def test_a_failed_control_is_shouted(
    run_folder: Path, ood_set: str, change: dict[str, object], page: Callable[[Path], Any]
) -> None:
    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        first = frame.index[frame["ood_set"] == ood_set][0]
        for name, value in change.items():
            frame.loc[first, name] = value
        return frame

    assert "A control failed" not in page(run_folder).text
    _edit(run_folder, "table.csv", spoil)
    text = page(run_folder).text
    assert "A control failed: do not trust" in text
    assert "1 failed" in text


@pytest.mark.usefixtures("undrawn")
def test_a_detector_that_cannot_run_is_no_failed_control(run_folder: Path, page: Callable[[Path], Any]) -> None:
    row = {"id_set": "digits", "seed": 0, "network": "plain", "detector": "MCD", "ood_set": "control-same"}
    row |= {"group": "control", "trivial": False, "status": "failed", "reason": "no dropout"}
    _edit(run_folder, "table.csv", lambda frame: pd.concat([frame, pd.DataFrame([row])]))
    assert "A control failed" not in page(run_folder).text


VERDICTS = {
    "behind": ({"difference": 0.02, "difference_low": 0.01, "difference_high": 0.03}, "stays behind the best"),
    "unclear": ({"difference": -0.02, "difference_low": -0.05, "difference_high": 0.01}, "does not differ clearly"),
    "corrected": (
        {"difference": -0.02, "difference_low": -0.03, "difference_high": -0.01, "p_adjusted": 0.3},
        "does not differ clearly",
    ),
    "untested": ({"difference": -0.02, "difference_low": np.nan, "difference_high": np.nan}, "was not tested"),
}


@pytest.mark.parametrize("name", VERDICTS)
@pytest.mark.usefixtures("undrawn")
def test_the_headline_follows_interval_and_p(run_folder: Path, name: str, page: Callable[[Path], Any]) -> None:
    change, words = VERDICTS[name]
    _edit(run_folder, "summary.csv", lambda frame: frame.assign(**change))
    text = page(run_folder).text
    assert words in text
    assert "beats" not in text


@pytest.mark.usefixtures("undrawn")
def test_what_only_our_network_has_stays_in_the_headline(run_folder: Path, page: Callable[[Path], Any]) -> None:
    def without_others_on_far(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[(frame["ood_set"] != "mean-far") | (frame["network"] == "full")]

    _edit(run_folder, "summary.csv", without_others_on_far)
    text = page(run_folder).text
    assert f"by the mean over near OOD sets ours {BEATS_BOTH}; " in text
    assert "by the mean over far OOD sets ours beats the best of 2 baselines on our network." in text


@pytest.mark.usefixtures("undrawn")
def test_near_and_far_may_differ(run_folder: Path, page: Callable[[Path], Any]) -> None:
    def turn(frame: pd.DataFrame) -> pd.DataFrame:
        far = (frame["ood_set"] == "mean-far") & (frame["network"] != "full")
        frame.loc[far, ["difference", "difference_low", "difference_high"]] = [0.02, 0.01, 0.03]
        return frame

    _edit(run_folder, "summary.csv", turn)
    text = page(run_folder).text
    parts = "stays behind the best of 9 baselines on other networks, and beats the best of 2 baselines on our network"
    assert f"by the mean over near OOD sets ours {BEATS_BOTH}; by the mean over far OOD sets ours {parts}." in text
    assert "2.00 points behind (95 % interval 1.00 to 3.00" in text


@pytest.mark.usefixtures("undrawn")
def test_a_detector_of_the_user_is_a_baseline_under_any_name(run_folder: Path, page: Callable[[Path], Any]) -> None:
    def best_of_all(frame: pd.DataFrame) -> pd.DataFrame:
        theirs = frame[(frame["network"] == "plain") & (frame["detector"] == "ODIN")]
        return pd.concat([frame, theirs.assign(detector="my-detector", auroc=0.955)])

    _edit(run_folder, "summary.csv", best_of_all)
    assert "for the best of 9 baselines on other networks (KNN@tuned on plain)" in page(run_folder).text
    write_rows(run_folder / DETECTORS, DetectorInfo, [DetectorInfo(name="my-detector", role="user", consumes="maps")])
    text = page(run_folder).text
    assert "for the best of 10 baselines on other networks (my-detector on plain)" in text
    assert "plain my-detector 95.50" in text


def test_a_section_is_a_function_in_a_list(
    monkeypatch: pytest.MonkeyPatch, run_folder: Path, page: Callable[[Path], Any], hostile: str
) -> None:
    def more(run: OodRun) -> Section:
        return Section("More", notes=(hostile,), terms=[("id", run.id_set)], missing="Nothing more.", remarks=("End.",))

    monkeypatch.setattr("invaudit.report.ood.page.SECTIONS", (more,))
    rendered = page(run_folder)
    rendered.assert_harmless()
    assert " ".join(("More", " ".join(hostile.split()), "id digits Nothing more. End. Details")) in rendered.text


RECORDED = sorted((Path(__file__).parents[3] / "benchmarks/results").glob("ood-*"))


@pytest.mark.parametrize("record", RECORDED, ids=lambda path: path.name)
def test_a_recorded_run_is_read(record: Path) -> None:
    run = read_ood_run(record)
    assert run.seeds
    assert len(run.summary) > 500
    assert run.controls_passed
    roles = {info.role for info in run.detectors.values()}
    assert {"ours", "statistic"} <= roles <= {"ours", "statistic", "library"}


def test_a_recorded_run_is_rendered(tmp_path: Path, page: Callable[[Path], Any]) -> None:
    (record,) = (path for path in RECORDED if path.name == "ood-mnist")
    rendered = page(Path(shutil.copytree(record, tmp_path / "run")))
    rendered.assert_offline(["headline", "resistance"])
    words = "the best of 104 baselines on other networks, and beats the best of 52 baselines on our network"
    assert f"mnist: by the mean over near OOD sets ours does not differ clearly from {words}; " in rendered.text
    assert "5 seeds; the intervals cover" in rendered.text
    assert "Passed: control-same" in rendered.text
    assert "The run recorded no control." in rendered.text
