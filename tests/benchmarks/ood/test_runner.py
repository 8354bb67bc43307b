import json
import shutil
import stat
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from invaudit.benchmarks.ood import run
from invaudit.benchmarks.ood.controls import check_controls
from invaudit.benchmarks.ood.differences import PairedDifferences
from invaudit.benchmarks.ood.job import false_alarms
from invaudit.benchmarks.ood.side_tables import ROWS_OF, make_side_tables
from invaudit.benchmarks.ood.stored import StoredJob, detectors_of, read_jobs
from invaudit.benchmarks.ood.tables import METRICS, make_summary, make_table
from invaudit.data import ImageSet, seeded_rng
from invaudit.ood import PARTS
from invaudit.records import (
    AGGREGATES,
    DetectorInfo,
    DetectorOutcome,
    ImageSetRecord,
    OodJobRecord,
    OodRow,
    OodSummaryRow,
    SetsRecord,
    read_rows,
)
from invaudit.records.ood import SIDE_TABLES
from invaudit.runtime import ControlError, ModelError, RunFolderError, load_config
from invaudit.runtime.executor import ExecutorChoice
from invaudit.stats import auroc_interval

pytestmark = [pytest.mark.xdist_group("benchmark"), pytest.mark.slow]
SETS = ["held-out-digits", "letters", "photos", "gaussian", "uniform", "control-same", "control-split"]


@pytest.fixture(scope="module")
def table(finished):
    return pd.read_csv(finished / "table.csv", keep_default_na=False, na_values=[""])


@pytest.fixture(scope="module")
def summary(finished):
    return pd.read_csv(finished / "summary.csv", keep_default_na=False, na_values=[""])


def pair(finished, row):
    with np.load(finished / "scores" / f"seed-{row.seed}" / f"{row.network}.npz") as arrays:
        own = arrays[f"{row.detector}::id-test"]
        if row.ood_set == "control-split":
            # Slow detectors score evenly spaced images.
            half = arrays["half"][np.linspace(0, len(arrays["half"]) - 1, len(own)).round().astype(int)]
            return own[~half], own[half]
        return own, arrays[f"{row.detector}::{row.ood_set}"]


def fpr(kept, others):
    """Share of others on the kept side of the first threshold that keeps 95 % of kept: by trying them all."""
    thresholds = np.sort(kept)
    threshold = next(t for t in thresholds if np.mean(kept <= t) >= 0.95)
    return np.mean(others <= threshold)


def test_folder_is_complete(finished):
    names = {path.name for path in finished.iterdir()}
    wanted = {
        "config.yaml",
        "environment.json",
        "table.csv",
        "summary.csv",
        "cost.csv",
        "calibration.csv",
        "resistance.csv",
    }
    assert wanted | {"records", "scores", "figures", "report.html", "log.txt"} <= names
    assert stat.S_IMODE(finished.stat().st_mode) == 0o700
    environment = json.loads((finished / "environment.json").read_text(encoding="utf-8"))
    assert environment["auto_precision"] in ("float32", "bfloat16")
    assert load_config(type(settings_of(finished)), str(finished / "config.yaml")) == settings_of(finished)


def settings_of(finished):
    from invaudit.benchmarks.ood import OODBenchmark

    return load_config(OODBenchmark, str(finished / "config.yaml"))


def test_columns_are_those_of_the_design(table, summary):
    assert list(table.columns) == list(OodRow.model_fields)
    assert list(summary.columns) == list(OodSummaryRow.model_fields)


def test_every_number_of_the_table_comes_from_the_scores(finished, table):
    good = table[table["status"] == "ok"]
    assert len(good) > 300
    for row in good.itertuples():
        own, other = pair(finished, row)
        labels, scores = np.r_[np.zeros(len(own)), np.ones(len(other))], np.r_[own, other]
        assert row.auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        assert row.aupr_out == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
        assert row.aupr_in == pytest.approx(average_precision_score(1 - labels, -scores), abs=1e-12)
        assert row.fpr95 == pytest.approx(fpr(own, other), abs=1e-12)
        assert row.fpr95_id == pytest.approx(fpr(-other, -own), abs=1e-12)
        assert (row.n_id, row.n_ood) == (len(own), len(other))
        assert row.auroc_low <= row.auroc <= row.auroc_high
        interval = auroc_interval(own, other)
        assert (row.auroc_low, row.auroc_high) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_id_accuracy_counts_garbage_as_an_error(finished, table):
    for (seed, network), rows in table[table["network"] != "none"].groupby(["seed", "network"]):
        with np.load(finished / "scores" / f"seed-{seed}" / f"{network}.npz") as arrays:
            expected = np.mean(arrays["predictions"] == arrays["labels"])
            if network == "full":
                called = arrays["predictions"] == 7
                np.testing.assert_array_equal(called, arrays["garbage-logit::id-test"] > 0)
        np.testing.assert_allclose(rows.loc[rows["status"] == "ok", "id_accuracy"], expected)


def test_summary_comes_from_the_table(table, summary):
    table = table[table["status"] == "ok"]
    for row in summary[summary["status"] == "ok"].itertuples():
        own = table[(table["network"] == row.network) & (table["detector"] == row.detector)]
        if row.ood_set in AGGREGATES:
            how, groups = AGGREGATES[row.ood_set]
            own = own[own["group"].isin(groups)]
        else:
            how, own = "mean", own[own["ood_set"] == row.ood_set]
        for metric in METRICS:
            worst = "max" if metric.startswith("fpr") else "min"
            by_seed = own.groupby("seed")[metric].agg("mean" if how == "mean" else worst)
            assert getattr(row, metric) == pytest.approx(by_seed.mean(), abs=1e-12)
        by_seed = own.groupby("seed")["auroc"].agg("mean" if how == "mean" else "min")
        assert row.auroc_sd == pytest.approx(np.std(by_seed, ddof=1), abs=1e-12)
        assert row.seeds == 2


def test_differences_are_row_minus_ours(summary):
    ours = summary[(summary["network"] == "full") & (summary["detector"] == "joint")].set_index("ood_set")["auroc"]
    rows = summary[summary["difference"].notna()]
    assert set(rows["ood_set"]) == {*AGGREGATES, *SETS[:5]}
    np.testing.assert_allclose(rows["difference"], rows["auroc"] - rows["ood_set"].map(ours), atol=1e-12)
    assert (rows["difference_low"] <= rows["difference_high"]).all()
    inside = (rows["difference_low"] - 1e-9 <= rows["difference"]) & (
        rows["difference"] <= rows["difference_high"] + 1e-9
    )
    assert inside.mean() > 0.95
    is_library = (rows["detector"] != rows["detector"].str.lower()) | rows["detector"].str.startswith("fusion-")
    theirs = is_library & (rows["network"] != "random")
    assert {"fDBD", "fusion-fisher-all"} <= set(rows.loc[theirs, "detector"])
    assert rows.loc[theirs, "p_adjusted"].between(0, 1).all()
    assert rows.loc[~theirs, "p_adjusted"].isna().all()


def outcome(name, role="library", **ended):
    return DetectorOutcome(name=name, role=role, consumes="logits", **ended)


@pytest.mark.parametrize("name", ["Copy", "my-detector"])
def test_a_copy_of_ours_differs_by_nothing_and_is_corrected_under_any_name(finished, settings, name):
    jobs = read_jobs(finished, settings)
    for job in jobs:
        if job.network == "plain":
            source = next(other for other in jobs if (other.seed, other.network) == (job.seed, "full"))
            job.record.detectors[name] = outcome(name, role="user")
            joint = {key: scores for key, scores in source.arrays.items() if key.startswith("joint::")}
            job.arrays.update({key.replace("joint", name): scores for key, scores in joint.items()})
    assert DetectorInfo(name=name, role="user", consumes="logits") in detectors_of(jobs)
    summary = make_summary(jobs, make_table(jobs, "digits"), settings)
    copies = [row for row in summary if row.detector == name and row.group != "control"]
    assert len(copies) == len(AGGREGATES) + 5
    for row in copies:
        assert (row.difference, row.difference_low, row.difference_high, row.p_adjusted) == (0, 0, 0, 1)
    before = read_rows(finished / "summary.csv", OodSummaryRow)
    others = {(row.network, row.detector, row.ood_set): row.p_adjusted for row in summary}
    adjusted = [(row.p_adjusted, others[row.network, row.detector, row.ood_set]) for row in before if row.p_adjusted]
    # One more in the family: no p-value falls, and some rise.
    assert all(old <= new for old, new in adjusted)
    assert any(old < new for old, new in adjusted)


def test_seeds_share_the_resamples_of_images_that_they_share(settings):
    def stored(seed, test):
        sets = SetsRecord(
            splits={"test": ImageSetRecord(count=9, hash=test)},
            ood={"letters": ImageSetRecord(count=12, hash="same")},
            groups={},
            missing={},
        )
        return StoredJob(seed, "full", OodJobRecord(sets=sets, detectors={}), {})

    counts = PairedDifferences([stored(0, "some"), stored(1, "others")], settings).counts
    np.testing.assert_array_equal(counts[0, "letters"], counts[1, "letters"])
    assert (counts[0, "id-test"] != counts[1, "id-test"]).any()
    assert counts[0, "id-test"].shape == (9, settings.draws)


def test_a_missing_set_is_a_row_with_its_reason_and_in_no_mean(finished, settings):
    jobs = read_jobs(finished, settings)
    for job in jobs:
        sets = job.record.sets
        del sets.ood["letters"]
        sets.missing["letters"] = "letters: no such file"
        for name in [name for name in job.arrays if name.endswith("::letters")]:
            del job.arrays[name]
    table = make_table(jobs, "digits")
    rows = [row for row in table if row.ood_set == "letters"]
    assert rows
    assert {(row.status, row.reason) for row in rows} == {("skipped", "letters: no such file")}
    summary = make_summary(jobs, table, settings)
    ours = {row.ood_set: row for row in summary if (row.network, row.detector) == ("full", "joint")}
    assert (ours["letters"].status, ours["mean-near"].n_sets) == ("skipped", 1)
    assert ours["mean-near"].auroc == ours["held-out-digits"].auroc


def test_tables_are_those_that_lie_in_the_folder(finished, settings):
    jobs = read_jobs(finished, settings)
    assert make_table(jobs, "digits") == read_rows(finished / "table.csv", OodRow)
    assert detectors_of(jobs) == read_rows(finished / "detectors.csv", DetectorInfo)
    for name, rows in make_side_tables(jobs, "digits").items():
        assert rows == read_rows(finished / f"{name}.csv", SIDE_TABLES[name])


def test_every_side_table_has_what_makes_its_rows():
    assert list(ROWS_OF) == list(SIDE_TABLES)


def test_only_the_baselines_that_are_named_run_and_are_tuned(table):
    rows = set(table.loc[table["network"] == "random", "detector"])
    assert {name for name in rows if name != name.lower()} == {"MaxSoftmax", "MaxSoftmax@tuned", "KNN", "KNN@tuned"}
    assert (table.loc[(table["network"] == "random") & (table["detector"] == "KNN@tuned"), "status"] == "ok").all()


def test_the_halves_of_a_seed_are_the_same_for_networks_and_pixels(finished):
    halves = [np.load(path)["half"] for path in sorted((finished / "scores" / "seed-0").glob("*.npz"))
              if "-" not in path.stem]  # fmt: skip
    assert len(halves) == 4
    assert all((half == halves[0]).all() for half in halves)
    # Not every other image: classes may take turns.
    assert 0.3 < (halves[0] == np.arange(len(halves[0])) % 2).mean() < 0.7


def test_every_network_detector_and_set_has_a_row(table, settings):
    assert set(table["network"]) == {"none", *settings.networks}
    assert set(table["ood_set"]) == set(SETS)
    assert (table.groupby(["seed", "network", "detector"])["ood_set"].nunique() == len(SETS)).all()
    bad = table[table["status"] != "ok"]
    assert bad["reason"].str.len().min() > 10
    assert bad[list(METRICS)].isna().all(axis=None)


def test_every_pytorch_ood_detector_has_a_row_on_plain(table):
    import pytorch_ood.detector

    module = pytorch_ood.detector
    classes = {name for name in module.__all__ if isinstance(getattr(module, name), type)}
    rows = table[(table["network"] == "plain") & (table["ood_set"] == "letters")]
    named = rows.assign(base=rows["detector"].str.partition("@")[0])
    assert classes <= set(named["base"])
    assert named[named["status"] == "ok"]["base"].isin(classes).sum() >= 28


def test_controls_have_the_values_that_they_must(table):
    good = table[table["status"] == "ok"]
    np.testing.assert_array_equal(good.loc[good["ood_set"] == "control-same", "auroc"], 0.5)
    assert set(good.loc[good["ood_set"].str.startswith("control"), "group"]) == {"control"}


def test_a_detector_that_sees_the_set_fails_control_same(finished, settings):
    jobs = read_jobs(finished, settings)
    jobs[-1].arrays["joint::control-same"] = jobs[-1].arrays["joint::control-same"] + 1e-9
    with pytest.raises(ControlError, match=r"control-same.*joint"):
        check_controls(jobs, make_table(jobs, "digits"))


def test_a_detector_that_knows_the_half_fails_control_split(finished, settings):
    jobs = read_jobs(finished, settings)
    half = jobs[-1].arrays["half"].astype(float)
    jobs[-1].arrays["joint::id-test"] = jobs[-1].arrays["joint::control-same"] = half
    with pytest.raises(ControlError, match=r"control-split.*joint"):
        check_controls(jobs, make_table(jobs, "digits"))


def test_side_tables_come_from_the_scores(finished):
    resistance = pd.read_csv(finished / "resistance.csv")
    assert set(resistance["network"]) == {"plain", "full"}
    attacks = pd.read_csv(finished / "attacks.csv")
    assert set(resistance["attack"]) == set(attacks["attack"]) == {"sure", "same"}
    for row in resistance.itertuples():
        with np.load(finished / "scores" / f"seed-{row.seed}" / f"{row.network}.npz") as arrays:
            fooled = arrays[f"fooled::attack-{row.attack}"]
            assert (row.resistance, row.n) == (pytest.approx(1 - fooled.mean()), len(fooled))
            threshold = np.quantile(arrays["joint::calibrate"], 0.95, method="higher")
            accepted = arrays[f"joint::attack-{row.attack}"] <= threshold
            assert row.accepted == pytest.approx(accepted.mean(), abs=1.1 / len(fooled))
            assert row.passed == pytest.approx((fooled & accepted).mean(), abs=1.1 / len(fooled))
    decisions = pd.read_csv(finished / "decisions.csv")
    assert set(decisions["network"]) == {"full"}
    for row in decisions.itertuples():
        with np.load(finished / "scores" / f"seed-{row.seed}" / f"{row.network}.npz") as arrays:
            assert row.garbage == pytest.approx(np.mean(arrays[f"garbage-logit::{row.ood_set}"] > 0))
    weights = pd.read_csv(finished / "weights.csv")
    for (seed, network), own in weights.groupby(["seed", "network"]):
        with np.load(finished / "scores" / f"seed-{seed}" / f"{network}.npz") as arrays:
            assert {f"joint/{part}::id-test" for part in own["part"]} <= set(arrays.files)
        assert set(own["part"]) == {name for name in PARTS if network == "full" or name != "garbage"}
        assert own["weight"].between(0.01, np.log(5_000) ** 2).all()
    cost = pd.read_csv(finished / "cost.csv").groupby("network")["steps"].first()
    assert cost["full"] > cost["plain"]


def test_an_image_of_each_class_is_kept_of_every_attack_and_whether_ours_accepts_it(finished):
    for seed, network in product((0, 1), ("plain", "full")):
        folder = finished / "scores" / f"seed-{seed}"
        with np.load(folder / f"{network}.npz") as arrays, np.load(folder / f"{network}-attacks.npz") as kept:
            limit = np.quantile(arrays["joint::calibrate"], 0.95, method="higher")
            for attack in ("attack-sure", "attack-same"):
                assert kept[f"{attack}::images"].shape == (7, 1, 8, 8)
                accepted = arrays[f"joint::{attack}"][:7] <= limit
                assert kept[f"{attack}::accepted"].tolist() == accepted.tolist()


def test_a_detector_that_failed_on_an_attack_has_a_row_that_says_so(finished, settings):
    stored = read_jobs(finished, settings)
    network = next(job for job in stored if job.network == "plain")
    network.record.detectors["MaxSoftmax"] = outcome("MaxSoftmax", status="failed", reason="too few")
    del network.arrays["MaxSoftmax::attack-sure"]
    attacks = make_side_tables(stored, "digits")["attacks"]
    ended = {}
    for row in attacks:
        if (row.network, row.detector, row.seed) == ("plain", "MaxSoftmax", 0):
            ended[row.attack] = (row.status, row.reason, row.auroc is None)
    assert ended == {"sure": ("failed", "too few", True), "same": ("ok", None, False)}


def test_networks_of_a_seed_share_splits_and_sets(finished, settings):
    for seed in settings.seeds:
        records = [json.loads(path.read_text()) for path in (finished / "records").glob(f"seed-{seed}-*.json")]
        assert len(records) == 1 + len(settings.networks)
        assert all(record["sets"] == records[0]["sets"] for record in records)


class Distance:
    """A detector as a user may write one."""

    def fit(self, activations, labels):
        self.means = torch.stack([activations.features[labels == label].mean(0) for label in labels.unique()])
        return self

    def score(self, activations):
        return torch.cdist(activations.features, self.means).min(1).values


def test_a_network_may_say_how_its_inversions_are_made(finished, settings, tmp_path):
    full = settings.networks["full"]
    own = {
        name: full.model_copy(update={"inversion": settings.inversion.model_copy(update=change)})
        for name, change in {"same": {}, "sure": {"hot": True}}.items()
    }
    own["same"] = own["same"].model_copy(update={"baselines": ("MaxSoftmax",)})
    more = {"networks": {"full": full, **own}, "seeds": (0,), "detectors": (f"{__name__}:Distance",)}
    folder = (
        run(settings.model_copy(update=more), tmp_path / "own", executor=ExecutorChoice("serial")).folder
        / "scores"
        / "seed-0"
    )
    stored = finished / "scores" / "seed-0" / "full.npz"
    full, same, sure = (np.load(path)["joint::letters"] for path in (stored, folder / "same.npz", folder / "sure.npz"))
    assert (same == full).all()
    assert (sure != full).any()
    # A detector of the user's own runs beside the named baselines.
    table = pd.read_csv(tmp_path / "own" / "table.csv")
    mine = table[(table["detector"] == f"{__name__}:Distance") & (table["ood_set"] == "letters")]
    assert mine["network"].tolist() == ["same"]
    assert (mine["status"] == "ok").all()


def test_halves_of_the_calibration_images_are_drawn_at_random():
    # In the order of the file the first half might be easier: here its scores are all lower.
    scores, low, inside = np.arange(400.0), [], 0
    for seed in range(200):
        found = false_alarms(scores, scores, seeded_rng(seed, "halves"))
        inside += found["band_low"] <= found["false_alarms_held_out"] <= found["band_high"]
        low.append(found["false_alarms_held_out"])
    assert inside >= 198
    assert abs(np.mean(low) - 10 / 201) < 0.01
    assert set(false_alarms(scores[:30], scores, seeded_rng(0, "halves"))) == {"false_alarms"}


def test_a_job_that_fails_is_named(settings, tmp_path, monkeypatch):
    def diverges(*_args, **_kinds):
        raise ModelError("logits that are not finite")

    monkeypatch.setattr("invaudit.benchmarks.ood.networks.train_network", diverges)
    with pytest.raises(ModelError, match=r"seed-\d-\w+: logits that are not finite"):
        run(settings, tmp_path / "run", executor=ExecutorChoice("serial"))


def test_a_run_is_not_resumed_with_other_images(finished, settings, tmp_path, monkeypatch):
    shutil.copytree(finished, tmp_path / "run")
    monkeypatch.setattr(ImageSet, "hash", "changed")
    with pytest.raises(RunFolderError, match="other settings or inputs"):
        run(settings, tmp_path / "run", executor=ExecutorChoice("serial"), resume=True)


def test_interrupted_and_resumed_gives_the_same_bytes(finished, settings, tmp_path, monkeypatch):
    import invaudit.benchmarks.ood.runner as module

    original, done = module.run_job, []

    def interrupted(*args, device):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(args)
        return original(*args, device=device)

    monkeypatch.setattr(module, "run_job", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(settings, tmp_path / "again", executor=ExecutorChoice("serial"))
    with pytest.raises(RunFolderError, match="--resume"):
        run(settings, tmp_path / "again", executor=ExecutorChoice("serial"))
    monkeypatch.setattr(module, "run_job", original)
    again = run(settings, tmp_path / "again", executor=ExecutorChoice(workers=2), resume=True).folder
    for name in ("table.csv", "summary.csv"):
        before, after = (
            pd.read_csv(folder / name).drop(columns="seconds", errors="ignore") for folder in (finished, again)
        )
        assert before.to_csv() == after.to_csv()
    for path in sorted((finished / "scores").rglob("*.npz")):
        assert (again / path.relative_to(finished)).read_bytes() == path.read_bytes()
