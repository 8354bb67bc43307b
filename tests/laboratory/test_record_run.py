import shutil
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.publish import record_run
from benchmarks.publish.reading import compress, read_recorded
from invaudit.records import CalibrationRow
from invaudit.runtime import InputError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def assert_alike(run: Path, recorded: Path, name: str) -> None:
    """Check that a recorded table holds the figures of the run, without its rows of controls."""
    compressed = recorded / f"{name}.gz"
    whole = pd.read_csv(run / name)
    kept = pd.read_csv(compressed if compressed.is_file() else recorded / name)
    if "group" in whole:
        whole = whole[whole["group"] != "control"].reset_index(drop=True)
    pd.testing.assert_frame_equal(whole[kept.columns], kept, rtol=1e-4, check_dtype=False)


def copied(run: Path, to: Path) -> Path:
    return Path(shutil.copytree(run, to, ignore=shutil.ignore_patterns("scores", "figures", "report.html")))


def test_an_ood_record_holds_the_tables_with_five_digits(finished, tmp_path):
    folder = tmp_path / "ood-small"
    record_run.main([str(finished), str(folder)])
    names = {path.name for path in finished.glob("*.csv")} - {"table.csv", "attacks.csv"}
    beside = {"config.yaml", "environment.json", "run.json", "controls.json", "attacks.csv.gz"}
    assert {path.name for path in folder.iterdir()} == names | beside
    for name in names | {"attacks.csv"}:
        assert_alike(finished, folder, name)
    aurocs = pd.read_csv(folder / "summary.csv")["auroc"].dropna()
    assert all(value == float(f"{value:.5g}") for value in aurocs)


def test_an_ablation_is_recorded_with_its_table_by_seed(finished, tmp_path):
    run = copied(finished, tmp_path / "run")
    calibration = pd.read_csv(run / "calibration.csv")
    refilled = calibration[calibration["network"] == "full"].assign(network="refilled")
    pd.concat([calibration, refilled]).to_csv(run / "calibration.csv", index=False)
    record_run.main([str(run), str(tmp_path / "ood-small")])
    assert (tmp_path / "ood-small" / "table.csv.gz").is_file()
    assert not (tmp_path / "ood-small" / "attacks.csv.gz").exists()
    assert_alike(run, tmp_path / "ood-small", "table.csv")


def test_a_leakage_record_holds_all_tables(finished_leakage, tmp_path):
    folder = tmp_path / "leakage-small"
    record_run.main([str(finished_leakage), str(folder)])
    names = {path.name for path in finished_leakage.glob("*.csv")}
    compressed = {"table.csv", "membership.csv"}
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml",
        "environment.json",
        "run.json",
        *(names - compressed),
        *(f"{name}.gz" for name in compressed),
    }
    for name in names:
        assert_alike(finished_leakage, folder, name)


def test_recording_again_gives_the_same_bytes_and_leaves_nothing_of_before(finished, tmp_path):
    folder = tmp_path / "ood-small"
    record_run.main([str(finished), str(folder)])
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in ("table.csv", "table.csv.gz", "worst-letters.json", "without.json"):
        (folder / name).touch()
    record_run.main([str(finished), str(folder)])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


@pytest.mark.parametrize("failing", ["controls", "size"])
def test_nothing_is_recorded_of_a_bad_run_or_where_a_file_is_too_large(finished, tmp_path, failing):
    run = copied(finished, tmp_path / "run")
    if failing == "controls":
        (run / "records" / "controls.json").unlink()
    else:
        (run / "config.yaml").write_text("#" * 300_001, encoding="utf-8")
    with pytest.raises(SystemExit, match={"controls": "not finished", "size": "over 300000 bytes"}[failing]):
        record_run.main([str(run), str(tmp_path / "record")])
    assert not (tmp_path / "record").exists()


def test_a_leakage_run_that_is_not_finished_is_not_recorded(finished_leakage, tmp_path):
    run = copied(finished_leakage, tmp_path / "run")
    (run / "audit.json").unlink()
    with pytest.raises(SystemExit, match="not finished"):
        record_run.main([str(run), str(tmp_path / "record")])


def test_a_compressed_table_is_read_like_a_plain_one_and_does_not_depend_on_the_time(tmp_path):
    content = b"id_set,seed,network,n,ece\nmnist,0,none,,0.5\nmnist,1,007,3,\n"
    for name in ("plain", "compressed"):
        (tmp_path / name).mkdir()
    (tmp_path / "plain" / "calibration.csv").write_bytes(content)
    (tmp_path / "compressed" / "calibration.csv.gz").write_bytes(compress(content))
    plain, compressed = (read_recorded(tmp_path / name, "calibration.csv", CalibrationRow) for name in
                         ("plain", "compressed"))  # fmt: skip
    pd.testing.assert_frame_equal(plain, compressed)
    assert list(plain["network"]) == ["none", "007"]
    assert compress(content)[4:8] == bytes(4)  # the time of a gzip file


def test_a_table_that_is_not_recorded_is_asked_for(tmp_path):
    with pytest.raises(InputError, match=r"holds no table calibration\.csv"):
        read_recorded(tmp_path, "calibration.csv", CalibrationRow)


def test_no_recorded_file_is_over_300_kb():
    assert max(path.stat().st_size for path in (ROOT / "benchmarks" / "results").rglob("*")) <= 300_000
