import json
import re
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from benchmarks.publish import record_run, results_pages
from invaudit.benchmarks.explain import ExplainBenchmark, run
from invaudit.benchmarks.explain.jobs import inversion_jobs
from invaudit.benchmarks.explain.tables import summary_rows
from invaudit.cli import main
from invaudit.data import load
from invaudit.explain.borders import LARGEST_GAP
from invaudit.explain.measures import MEANINGS
from invaudit.models import collect, load_model
from invaudit.records import read_rows
from invaudit.records.explain_table import ExplainRow, ExplainSummaryRow
from invaudit.runtime import RunFolderError, load_config
from invaudit.runtime.executor import ExecutorChoice
from invaudit.verify import verify

pytestmark = [pytest.mark.xdist_group("explain-benchmark"), pytest.mark.slow]
TRAINING = {"epochs": 2, "batch_size": 64, "precision": "float32"}
SMALL = {
    "name": "small",
    "data": "digits@0:600",
    "held_out": "digits@600:800",
    "targets": {"small": {"arch": "small-cnn", "training": TRAINING}},
    "released": {"absent": {"model": "absent.safetensors"}},
    "second": {"arch": "small-cnn", "training": TRAINING},
    "variants": {
        "default": {"settings": {"steps": 10, "generator": "upsample"}},
        "pixels": {"engine": "pixels", "settings": {"steps": 5, "per_class": 5}},
        "later": {"settings": {"steps": 5, "generator": "upsample"}},
    },
    "only": ["default", "pixels"],
    "students": ["default"],
    "borders": ["pixels"],
    "student": {"inversions": 100, "training": TRAINING},
    "images": 6,
    "seeds": [3, 4],
    "device": "cpu",
}


def small(**changes):
    return ExplainBenchmark.model_validate(SMALL | changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(small(), tmp_path_factory.mktemp("explain") / "run", executor=ExecutorChoice("serial"))


@pytest.fixture(scope="module")
def table(finished):
    return pd.read_csv(finished / "table.csv", keep_default_na=False, na_values=[""])


def test_every_file_and_column_is_there(finished, table):
    names = {path.name for path in finished.iterdir()}
    assert names >= {"config.yaml", "environment.json", "table.csv", "summary.csv", "log.txt", "records", "networks"}
    assert names >= {"jobs.csv", "networks.csv", "variants.csv"}
    columns = "target engine mode variant seed measure value low high n status reason"
    assert list(table.columns) == columns.split()
    assert load_config(ExplainBenchmark, str(finished / "config.yaml")) == small()


def test_borders_between_all_pairs_of_classes_are_measured(table):
    values = table[table["target"] == "small"].pivot_table(index="seed", columns="measure", values="value")
    assert table.loc[table["measure"] == "border_reached", "n"].dropna().eq(45).all()
    assert values["border_reached"].gt(0.8).all()
    assert values["border_gap"].le(LARGEST_GAP).all()
    # A border with another class is no nearer than the nearest one of all.
    assert (values["border_distance"] > 0.9 * values["border_attack_distance"]).all()
    assert values["border_undecided"].between(0, 1).all()


def test_every_measure_has_a_value_or_a_reason(table):
    jobs = table.groupby(["target", "variant", "seed"])
    assert len(jobs) == len(inversion_jobs(small())) == 8
    for (_, variant, _), rows in jobs:
        assert set(MEANINGS) <= set(rows["measure"])
        assert ("student_accuracy" in set(rows["measure"])) == (variant == "default")
        assert ("border_reached" in set(rows["measure"])) == (variant == "pixels")
        assert not rows["measure"].duplicated().any()
    assert (table["value"].notna() == (table["status"] == "ok")).all()
    assert (table["reason"].isna() == (table["status"] == "ok")).all()
    assert table.loc[table["target"] == "small", "status"].eq("ok").mean() > 0.8


def test_a_network_that_is_not_there_has_rows_that_say_so(finished, table):
    rows = table[table["target"] == "absent"]
    assert set(rows["status"]) == {"skipped"}
    assert rows["reason"].str.contains("absent.safetensors").all()
    networks = pd.read_csv(finished / "networks.csv").set_index("network")
    assert networks.loc["absent", "status"] == "skipped"


def test_the_worst_class_is_the_lowest(table):
    for _, rows in table[table["target"] == "small"].groupby(["variant", "seed"]):
        values = rows.set_index("measure")["value"]
        classes = [values[f"second_accuracy/{label}"] for label in range(10)]
        assert values["second_accuracy/worst"] == min(classes)
        assert values["second_accuracy"] == pytest.approx(np.mean(classes))


def test_networks_are_kept_with_their_accuracy(finished):
    held_out = load(SMALL["held_out"])
    networks = pd.read_csv(finished / "networks.csv")
    assert sorted(networks["network"]) == ["absent", "second", "small", "small"]
    for row in networks[networks["status"] == "ok"].itertuples():
        network = load_model(finished / str(row.file))
        predicted = collect(network, held_out, keep_maps=False).logits.argmax(1)
        assert row.accuracy == float((predicted == held_out.labels).double().mean())
        assert row.hash == network.hash


def test_galleries_are_drawn_of_jobs_that_found_something(finished):
    names = {path.stem for path in (finished / "figures").glob("*.png")}
    assert names == {f"seed-{seed}-small-{variant}" for seed in (3, 4) for variant in ("default", "pixels")}


def test_the_summary_is_mean_and_sd_of_the_table(finished, table):
    rows = read_rows(finished / "summary.csv", ExplainSummaryRow)
    assert rows == summary_rows(read_rows(finished / "table.csv", ExplainRow))
    for row in rows:
        is_same = (table["target"] == row.target) & (table["variant"] == row.variant)
        values = table.loc[is_same & (table["measure"] == row.measure), "value"].dropna()
        assert row.seeds == len(values)
        if len(values) > 1:
            assert row.mean == pytest.approx(values.mean())
            assert row.sd == pytest.approx(values.std(ddof=1), abs=1e-12)


def test_a_killed_run_goes_on_to_the_same_tables(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "records" / "seed-4-small-default.json").unlink()
    (folder / "table.csv").unlink()
    run(small(), folder, resume=True, executor=ExecutorChoice("serial"))
    for name in ("table.csv", "summary.csv", "variants.csv", "figures/seed-4-small-default.png"):
        assert (folder / name).read_bytes() == (finished / name).read_bytes(), name


def test_a_run_goes_on_with_other_variants_and_not_with_other_settings(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    run(
        small(only=["default", "later"], released={"absent": SMALL["released"]["absent"]}),
        folder,
        resume=True,
        executor=ExecutorChoice("serial"),
    )
    rows = read_rows(folder / "table.csv", ExplainRow)
    assert {row.variant for row in rows} == {"default", "later"}
    before = [row for row in read_rows(finished / "table.csv", ExplainRow) if row.variant == "default"]
    assert [row for row in rows if row.variant == "default"] == before
    with pytest.raises(RunFolderError, match="other settings"):
        run(small(images=7), folder, resume=True, executor=ExecutorChoice("serial"))


def test_the_command_prints_the_summary(finished, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(finished, tmp_path / "run")
    words = ["benchmark", "explain", "--config", folder / "config.yaml", "--out", folder, "--resume", "--json"]
    monkeypatch.setattr(sys, "argv", ["invaudit", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    printed = json.loads(capsys.readouterr().out)
    assert printed["folder"] == str(folder)
    assert [ExplainSummaryRow.model_validate(row) for row in printed["rows"]] == read_rows(
        finished / "summary.csv", ExplainSummaryRow
    )


def test_a_run_and_what_is_kept_of_it_agree_with_themselves(finished, tmp_path):
    record = tmp_path / "explain-small"
    record_run.main([str(finished), str(record)])
    tables = {path.name for path in finished.glob("*.csv")}
    beside = {"config.yaml", "environment.json", "run.json", "table.csv.gz"}
    assert {path.name for path in record.iterdir()} == tables - {"table.csv"} | beside
    for folder, kind in ((finished, "benchmark of"), (record, "what is kept of a benchmark of")):
        found = verify(folder)
        assert found.kind == f"{kind} explanations"
        assert [difference.sentence for difference in found.differences] == []
        assert sum("values agree" in words for words in found.checked) >= 3
        assert any("are not kept here" in words for words in found.unchecked)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("table.csv", r"(small,.*,second_accuracy/worst),[\d.]+", r"\1,0.987"),
        ("table.csv", r"(small,.*,second_accuracy_real,[\d.]+),[\d.]+", r"\1,0.001"),
        ("summary.csv", r"(small,.*,coverage,2),[\d.]+", r"\1,0.987"),
        ("networks.csv", r"(second,3,trained,invaudit:small-cnn),[\d.]+", r"\1,0.987"),
    ],
)
def test_a_changed_figure_is_found(finished, tmp_path, name, before, after):
    folder = shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("networks"))
    text = (folder / name).read_text()
    changed = re.sub(before, after, text, count=1)
    assert changed != text
    (folder / name).write_text(changed)
    assert any(difference.file == name for difference in verify(folder).differences)


def test_the_page_holds_the_figures_of_the_record(finished, table, tmp_path):
    record_run.main([str(finished), str(tmp_path / "explain-small")])
    texts = results_pages.pages(tmp_path)
    assert "[explain-small](explain-small.md)" in texts["README.md"]
    page = texts["explain-small.md"]
    small = table[table["target"] == "small"]
    for variant in ("default", "pixels"):
        values = small.loc[(small["variant"] == variant) & (small["measure"] == "pixel_cosine"), "value"]
        assert f"{100 * values.mean():.1f} ± {100 * values.std(ddof=1):.1f}" in page
    assert "steps: 5, " in page
    assert "absent.safetensors does not exist" in page.split("## absent")[1]
