"""The folder of a leakage run as typed rows: whole, older, of another schema or kind, damaged."""

import gzip
import json
import shutil
from pathlib import Path

import pytest

from invaudit.records import MetricRow, TestRow, read_leakage_run, write_rows
from invaudit.records.columns import distinct
from invaudit.records.leakage_run import metrics_of_schema_1
from invaudit.runtime import RunFolderError
from invaudit.similarity import METRICS

RECORDED = Path(__file__).parents[2] / "benchmarks/results"
RUNS = sorted(path.parent.name for path in RECORDED.glob("leakage-*/table.csv.gz"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder with one test, of schema 2."""
    (tmp_path / "records").mkdir()
    _describe(tmp_path, kind="leakage", schema=2)
    write_rows(tmp_path / "table.csv", TestRow, [TestRow(target="mlp", method="kkt", metric="dists", status="ok")])
    write_rows(tmp_path / "metrics.csv", MetricRow, [MetricRow(metric="dists", better="lower", label="DISTS, 3")])
    return tmp_path


def _describe(folder: Path, **record: object) -> None:
    (folder / "records/run.json").write_text(json.dumps(record), encoding="utf-8")


def test_a_run_says_which_way_its_metrics_are_better(folder: Path) -> None:
    run = read_leakage_run(folder)
    assert run.better("dists") == "lower"
    with pytest.raises(RunFolderError, match=r"'ssim' is better, expected a row in metrics\.csv"):
        run.better("ssim")


def test_the_metrics_of_schema_1_are_not_guessed_for_schema_2(folder: Path) -> None:
    (folder / "metrics.csv").unlink()
    assert not read_leakage_run(folder).metrics
    _describe(folder, schema=1, config_hash="0")
    assert list(read_leakage_run(folder).metrics) == [row.metric for row in metrics_of_schema_1()]


def test_the_metrics_of_schema_1_are_as_they_were_computed() -> None:
    for row in metrics_of_schema_1():
        # lpips-alex and lpips-squeeze are one class with two trunks.
        assert row.better == ("lower" if row.metric.startswith("lpips-") else "higher")
        assert row.metric in METRICS


@pytest.mark.parametrize("record", [{"kind": "leakage", "schema": 3}, {"schema": "2"}, {"kind": "leakage"}])
def test_an_unknown_schema_is_refused_by_name(folder: Path, record: dict[str, object]) -> None:
    _describe(folder, **record)
    with pytest.raises(RunFolderError, match=f"in schema {record.get('schema')!r}; this version .* reads 1 and 2"):
        read_leakage_run(folder)


def test_the_folder_of_an_ood_run_is_refused(folder: Path) -> None:
    _describe(folder, kind="ood", schema=2)
    with pytest.raises(RunFolderError, match="of kind 'ood', expected 'leakage'"):
        read_leakage_run(folder)


@pytest.mark.parametrize("name", ["environment.json", "records/run.json"])
def test_a_damaged_file_of_the_run_is_bad_input(folder: Path, name: str) -> None:
    (folder / name).write_text("{", encoding="utf-8")
    with pytest.raises(RunFolderError, match=rf"{name} is damaged"):
        read_leakage_run(folder)


def test_a_folder_without_table_is_refused(folder: Path) -> None:
    (folder / "table.csv").write_text("", encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"holds no table\.csv"):
        read_leakage_run(folder)


def test_a_damaged_cell_is_named(folder: Path) -> None:
    table = folder / "table.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("kkt,dists,,", "kkt,dists,,zero"), encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"table\.csv, line 2, column seed"):
        read_leakage_run(folder)


@pytest.mark.parametrize("name", RUNS)
def test_recorded_runs_are_read(name: str) -> None:
    run = read_leakage_run(RECORDED / name)
    lines = gzip.decompress((RECORDED / name / "table.csv.gz").read_bytes()).splitlines()
    assert len(run.tests) == len(lines) - 1
    assert run.membership
    assert run.targets
    assert run.controls
    assert {row.status for row in run.summary} <= {"ok", "skipped", "failed", "not-applicable"}
    assert run.summary
    assert all(run.better(metric) for metric in distinct(row.metric for row in run.tests))
    assert run.alpha == 0.01
    assert run.seeds


def test_there_are_recorded_runs() -> None:
    assert RUNS


def test_a_bare_table_is_a_run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    bare = tmp_path_factory.mktemp("bare")
    shutil.copy(folder / "table.csv", bare)
    run = read_leakage_run(bare)
    assert [row.target for row in run.tests] == ["mlp"]
    assert (run.config, run.environment, run.alpha, run.settings, run.membership) == (None, None, None, {}, [])
