import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from invaudit.audit import AttackControlSettings, make_attack_control, target
from invaudit.benchmarks.leakage import LeakageBenchmark, run, runner
from invaudit.benchmarks.leakage.jobs import Job, target_jobs
from invaudit.benchmarks.leakage.pools import draw_pool, load_data
from invaudit.benchmarks.leakage.tables import StoredRun, make_tables, summary_rows
from invaudit.data import load, seeded_rng
from invaudit.leakage import METHODS, TargetRecipe, papers_count, train_target
from invaudit.records import (
    AuditRecord,
    BlindResult,
    ControlRow,
    LeakageSummaryRow,
    MembershipResult,
    MembershipRow,
    MethodOutcome,
    MetricRow,
    PapersCountRow,
    PoolRecord,
    TargetDescription,
    TestResult,
    TestRow,
    read_rows,
)
from invaudit.runtime import ConfigError, InputError, RunFolderError, child_seed, load_config
from invaudit.runtime.executor import ExecutorChoice
from invaudit.stats import Pairs, holm, verdict_test

pytestmark = [pytest.mark.xdist_group("leakage-benchmark"), pytest.mark.slow]
KKT = {"kind": "kkt", "settings": {"images": 20, "restarts": 2, "steps": 60}}
SMALL = {
    "name": "small",
    "targets": {
        "mlp": {"recipe": {"arch": "mlp-40", "steps": 400}, "members": 20},
        "negative": {"recipe": {"arch": "mlp-40", "steps": 400}, "members": 20, "negative": True},
    },
    "attack_control": {"recipe": {"arch": "mlp-40", "steps": 400}, "members": 20},
    "methods": {"kkt": KKT},
    "metrics": {"cosine": {}, "ssim": {}},
    "draws": 999,
    "seeds": [3],
    "device": "cpu",
}


def small(**changes):
    return LeakageBenchmark.model_validate(SMALL | changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(small(), tmp_path_factory.mktemp("leakage") / "run", executor=ExecutorChoice("serial"))


@pytest.fixture(scope="module")
def table(finished):
    return pd.read_csv(finished / "table.csv")


def arrays(folder, row, name):
    with np.load(folder / "scores" / f"seed-{row.seed}" / row.target / f"{name}.npz") as found:
        return dict(found)


def test_every_file_and_column_is_there(finished, table):
    names = {path.name for path in finished.iterdir()}
    assert names >= {"config.yaml", "environment.json", "table.csv", "membership.csv", "targets.csv", "controls.csv"}
    assert names >= {"records", "scores", "report.html", "log.txt"}
    assert list(table.columns) == list(TestRow.columns())
    assert list(pd.read_csv(finished / "membership.csv").columns) == list(MembershipRow.columns())
    assert list(pd.read_csv(finished / "controls.csv").columns) == list(ControlRow.columns())
    assert load_config(LeakageBenchmark, str(finished / "config.yaml")) == small()


def test_every_figure_of_the_table_comes_from_the_scores(finished, table):
    assert len(table) == 4
    for row in table.itertuples():
        pool = arrays(finished, row, "pool")
        kept = arrays(finished, row, row.method)
        index, value = kept[f"{row.metric}-index"], kept[f"{row.metric}-value"]
        member = pool["member"][index]
        nearest_member = value[np.arange(len(value)), member.argmax(1)]
        nearest_control = value[np.arange(len(value)), (~member).argmax(1)]
        assert row.similarity_member == pytest.approx(nearest_member.mean(), abs=1e-12)
        assert row.similarity_control == pytest.approx(nearest_control.mean(), abs=1e-12)
        assert row.distinct_hits == len(set(pool["pair"][index[:, 0]]))
        assert row.n_reconstructions == len(index) == 40
        stage = f"seed-{row.seed}-{row.target}/verdict/{row.method}:{row.metric}"
        rng = np.random.default_rng(child_seed(row.seed, stage))
        test = verdict_test(index, value, Pairs(pool["member"], pool["pair"]), rng, draws=999)
        assert row.p_value == test.p_value
    for _, part in table.groupby("target", sort=False):
        assert part["p_adjusted"].to_numpy() == pytest.approx(holm(part["p_value"].to_numpy()))


def test_every_membership_figure_comes_from_the_scores(finished):
    rows = pd.read_csv(finished / "membership.csv")
    assert set(rows["score"]) == {"attribution", "loss", "margin", "gradient-norm", "kkt:cosine", "kkt:ssim"}
    for row in rows.itertuples():
        member = arrays(finished, row, "pool")["member"]
        assert row.auroc == pytest.approx(roc_auc_score(member, arrays(finished, row, "membership")[row.score]))


def test_a_reconstruction_method_scores_by_its_nearest_image_of_the_class(finished, table):
    row = next(table[table["metric"] == "ssim"].itertuples())
    pool, kept = arrays(finished, row, "pool"), arrays(finished, row, "kkt")
    full = np.full((len(kept["labels"]), len(pool["labels"])), np.nan)
    np.put_along_axis(full, kept["ssim-index"], kept["ssim-value"], axis=1)
    own = kept["labels"][:, None] == pool["labels"][None]
    best = [np.where(own & (kept["restart"][:, None] == turn), full, -1).max(0) for turn in (0, 1)]
    assert arrays(finished, row, "membership")["kkt:ssim"] == pytest.approx(np.mean(best, 0), abs=1e-9)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """Run an audit of a model file, of one whose file is missing, and of one that does not know its members."""
    folder = tmp_path_factory.mktemp("released")
    digits = load("digits")
    members, controls, reference = (digits.subset(slice(a, b)) for a, b in ((0, 60), (600, 700), (1200, 1500)))
    target = train_target(
        TargetRecipe(arch="mlp-40", steps=400), members.floats(), members.labels, 10, seeded_rng(0, "t")
    )
    weights = target.module.state_dict()
    torch.save(weights, folder / "model.pth")
    torch.save({name: torch.zeros_like(value) for name, value in weights.items()}, folder / "blank.pth")
    for name, images in (("members", members), ("controls", controls), ("reference", reference)):
        np.savez(folder / f"{name}.npz", images=images.images.numpy()[:, 0], labels=images.labels.numpy())
    data = {name: str(folder / f"{name}.npz") for name in ("members", "controls", "reference")}
    given = {"model": str(folder / "model.pth"), "arch": "invaudit:mlp-40", "mean": target.spec.mean, **data}
    targets = {
        "fits": given,
        "missing": given | {"model": "nowhere.pth"},
        "wrong": given | {"model": str(folder / "blank.pth")},
    }
    changes = {"targets": {}, "released": targets, "metrics": {"ssim": {}}}
    return run(small(**changes), folder / "run", executor=ExecutorChoice("serial"))


def test_a_released_target_is_audited_under_the_observational_design(released):
    rows = pd.read_csv(released / "table.csv").set_index("target")
    assert rows["status"].to_dict() == {"fits": "ok", "missing": "skipped", "wrong": "not-applicable"}
    assert rows.loc["fits", "design"] == "observational"
    assert (rows.loc["fits", "n_members"], rows.loc["fits", "n_control"]) == (60, 100)
    assert 0.3 < rows.loc["fits", "blind_auroc"] < 1
    assert rows.loc["missing", ["n_members", "n_control"]].isna().all()
    assert "nowhere.pth" in rows.loc["missing", "reason"]
    assert "chance" in rows.loc["wrong", "reason"]
    assert rows["verdict"].notna().to_dict() == {"fits": True, "missing": False, "wrong": False}
    with np.load(released / "scores/seed-3/fits/pool.npz") as pool:
        assert {"labels", "member", "stratum", "source", "unit"} == set(pool)


def test_the_summary_gathers_seeds_and_keeps_what_did_not_run():
    def score(seed, auroc, name="kkt:ssim", status="ok"):
        known = auroc if status == "ok" else None
        return MembershipRow(
            target="mlp", score=name, design="pairs", seed=seed, auroc=known, status=status, reason=status
        )

    def test(seed, p, verdict, hits):
        return TestRow(
            target="mlp", method="kkt", metric="ssim", seed=seed, p_value=p, verdict=verdict, similarity_member=0.5,
            similarity_control=0.25, distinct_hits=hits, status="ok",
        )  # fmt: skip

    scores = [score(0, 0.6), score(1, 0.7), score(2, 0.8), score(0, 0, "lpips-alex", "skipped")]
    scores += [score(0, 0.9, "margin"), score(1, 0, "margin", "failed")]
    tests = [test(0, 0.01, "leak", 10), test(1, 0.02, "no-evidence", 20), test(2, 0.5, "inconclusive", 30)]
    kkt, skipped, margin = summary_rows(tests, scores, 0.01)
    assert (kkt.seeds, kkt.auroc, kkt.auroc_sd) == (3, pytest.approx(0.7), pytest.approx(0.1))
    assert (kkt.low_p, kkt.leak, kkt.no_evidence, kkt.inconclusive) == (1, 1, 1, 1)
    assert (kkt.distinct_hits, kkt.similarity_member) == (20, 0.5)
    assert (skipped.seeds, skipped.status, skipped.reason) == (0, "skipped", "skipped")
    assert (margin.seeds, margin.auroc, margin.reason) == (1, 0.9, "1 seed(s) failed")


def test_the_summary_has_a_row_for_every_score(finished, table):
    rows = pd.read_csv(finished / "summary.csv").set_index(["target", "score"])
    assert list(pd.read_csv(finished / "summary.csv").columns) == list(LeakageSummaryRow.columns())
    found = pd.read_csv(finished / "membership.csv").groupby(["target", "score"])["auroc"].mean()
    assert rows["auroc"].to_dict() == pytest.approx(found.to_dict())
    tests = table.assign(score=table["method"] + ":" + table["metric"]).groupby(["target", "score"])
    for key, part in tests:
        assert rows.loc[key, "leak"] == (part["verdict"] == "leak").sum()
        assert rows.loc[key, "low_p"] == (part["p_value"] <= 0.01).sum()


def test_the_papers_count_is_of_members_and_controls(finished):
    rows = pd.read_csv(finished / "papers_count.csv")
    assert list(rows.columns) == list(PapersCountRow.columns())
    for row in rows.itertuples():
        pool = arrays(finished, row, "pool")["member"]
        images, made = (arrays(finished, row, name)["images"] / 255 for name in ("images", row.method))
        counted = papers_count(*(torch.from_numpy(one).float() for one in (made, images))).numpy()
        assert abs(counted[pool].sum() - row.members) <= 1  # the images are stored in 8 bits
        assert abs(counted[~pool].sum() - row.controls) <= 1


def test_the_pool_of_a_negative_control_was_not_trained_on():
    settings = small()
    data = load_data(settings)
    pool, members = draw_pool(settings, data, 3, "negative")
    seen = {image.numpy().tobytes() for image in members.floats()}
    assert len(members) == 20
    assert not seen & {image.numpy().tobytes() for image in [*pool.floats, *pool.reference]}
    assert np.array_equal(np.bincount(members.labels), np.bincount(pool.labels[pool.member]))


def test_targets_of_one_seed_share_their_pool_and_the_attack_control_has_its_own(finished):
    pools = {name: finished / "scores/seed-3" / name / "pool.npz" for name in ("mlp", "negative", "attack-control")}
    found = {name: path.read_bytes() for name, path in pools.items()}
    assert found["mlp"] == found["negative"]
    assert found["mlp"] != found["attack-control"]


def test_interrupted_and_resumed_gives_the_same_bytes(finished, tmp_path, monkeypatch):
    original, done = runner.run_job, []

    def interrupted(settings, job, *arguments):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(job)
        return original(settings, job, *arguments)

    monkeypatch.setattr(runner, "run_job", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(small(), tmp_path / "run", executor=ExecutorChoice("serial"))
    monkeypatch.setattr(runner, "run_job", original)
    with pytest.raises(RunFolderError, match="--resume"):
        run(small(), tmp_path / "run", executor=ExecutorChoice("serial"))
    run(small(), tmp_path / "run", executor=ExecutorChoice("serial"), resume=True)
    assert [job.target for job in done] == ["attack-control", "mlp"]
    for name in ("membership.csv", "controls.csv", "targets.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes()
    first, second = (
        pd.read_csv(folder / "table.csv").drop(columns="seconds") for folder in (finished, tmp_path / "run")
    )
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    for path in sorted((finished / "scores").rglob("*.npz")):
        assert (tmp_path / "run" / path.relative_to(finished)).read_bytes() == path.read_bytes()


def test_without_images_no_pixel_of_the_pool_is_in_any_file(finished, tmp_path):
    folder = run(small(images="none"), tmp_path / "run", executor=ExecutorChoice("serial"))
    assert not list(folder.rglob("images.npz"))
    settings = small()
    pool, _ = draw_pool(settings, load_data(settings), 3, "mlp")
    forms = [image.tobytes() for image in pool.images.images.numpy()]
    forms += [image.tobytes() for image in pool.floats.numpy()]
    for path in folder.rglob("*"):
        if path.suffix == ".npz":
            with np.load(path) as found:
                kept = dict(found)
            assert not {array.shape[1:] for array in kept.values()} & {(1, 8, 8), (8, 8), (64,)}
            content = b"".join(array.tobytes() for array in kept.values())
        elif path.is_file():
            content = path.read_bytes()
        else:
            continue
        assert not any(form in content for form in forms), path
    first, second = (pd.read_csv(one / "table.csv")["p_value"] for one in (finished, folder))
    assert first.equals(second)


def test_a_failed_method_is_a_row_with_its_reason(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no luck today")

    monkeypatch.setattr(target, "reconstruct", broken)
    folder = run(small(), tmp_path / "run", executor=ExecutorChoice("serial"))
    rows = pd.read_csv(folder / "table.csv")
    assert set(rows["status"]) == {"failed"}
    assert rows["reason"].str.contains("no luck today").all()
    assert rows["verdict"].isna().all()
    scores = pd.read_csv(folder / "membership.csv").set_index("score")["status"]
    assert set(scores.loc[["kkt:ssim", "kkt:cosine"]]) == {"failed"}
    assert set(scores.loc[["attribution", "margin"]]) == {"ok"}


def test_each_variant_of_the_terms_is_the_default_without_one():
    settings = load_config(LeakageBenchmark, "leakage/tldr-terms")
    weights = METHODS["tldr"].settings().weights
    assert set(settings.methods) == {"all-terms", *(f"without-{term}" for term in weights)}
    for name, method in settings.methods.items():
        term = name.removeprefix("without-")
        expected = weights if name == "all-terms" else weights | {term: 0.0}
        assert METHODS[method.kind].settings(**method.settings).weights == expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"methods": {"kkt": {"kind": "ktk"}}}, "ktk"),
        ({"methods": {"kkt": {"kind": "kkt", "settings": {"stepps": 3}}}}, "did you mean 'steps'"),
        ({"metrics": {"psnr": {}}}, "psnr"),
        ({"seeds": [0, 0]}, "seeds"),
        ({"draws": 99}, "draws"),
        ({"targets": {"attack-control": {}}}, "attack-control"),
        ({"targets": {}}, "nothing to audit"),
        ({"targets": {"pool-20": {}}}, "pool-20"),
        ({"methods": {"membership": KKT}}, "method name 'membership'"),
        ({"methods": {"kkt": {"kind": "kkt", "settings": {"sharpness": [0, 50]}}}}, "greater than 0"),
    ],
)
def test_bad_settings_are_refused(changes, words):
    fields = SMALL | changes
    with pytest.raises(ConfigError, match=words):
        load_config(LeakageBenchmark, None, (), **fields)


@pytest.mark.parametrize(
    "changes",
    [
        {"data": "nowhere"},
        {"targets": {"mlp": {"members": 2000}}},
        {"targets": {"mlp": {"recipe": {"arch": "mpl-40"}}}},
    ],
)
def test_nothing_is_written_for_data_that_does_not_do(changes, tmp_path):
    with pytest.raises(InputError):
        run(small(**changes), tmp_path / "run", executor=ExecutorChoice("serial"))
    assert not (tmp_path / "run").exists()


def test_what_the_metrics_are_is_told(finished):
    rows = read_rows(finished / "metrics.csv", MetricRow)
    assert [(row.metric, row.better) for row in rows] == [("cosine", "higher"), ("ssim", "higher")]
    assert all(row.label for row in rows)


def test_records_hold_no_more_than_json(finished):
    for path in (finished / "records").glob("*.json"):
        record = json.loads(path.read_text(), parse_constant=pytest.fail)
        assert "schema_version" in record or path.stem == "run"
    assert {path.stem for path in (finished / "records").glob("seed-*")} == {
        Job(3, "mlp", "pool-20").name,
        Job(3, "negative", "pool-20").name,
        Job(3, "attack-control", "").name,
        Job(3, "", "pool-20").name,
    }


def hand_made(attack, mlp, negative, attainable_p=1e-4):
    """The records of a run with one method and one metric, by the p-values of its three targets."""
    settings = small(metrics={"ssim": {}}, seeds=[0])

    def record(p, attainable_p=1e-4):
        test = TestResult(
            p_value=p, attainable_p=attainable_p, distinct_hits=20, similarity_member=0.5, similarity_control=0.5
        )
        return AuditRecord(
            target=TargetDescription(design="pairs", n_members=20, n_control=20),
            methods={"kkt": MethodOutcome(n=20)},
            tests={"kkt": {"ssim": test}},
            membership={"kkt:ssim": MembershipResult(status="failed", reason="not measured")},
        )

    by_name = {"attack-control": record(attack, attainable_p), "mlp": record(mlp), "negative": record(negative)}
    targets = {job: by_name[job.target] for job in target_jobs(settings)}
    pool = PoolRecord(blind=BlindResult(finding="no-shift", auroc=0.5, p_value=0.5))
    return StoredRun(settings, targets, {job.pool_name: pool for job in targets if job.pool})


@pytest.mark.parametrize(
    ("ps", "verdict"),
    [
        ((1e-4, 0.5, 0.5), ("no-evidence", None)),
        ((1e-4, 1e-4, 0.5), ("leak", None)),
        ((0.5, 0.5, 0.5), ("inconclusive", "attack-failed")),
        ((0.5, 1e-4, 0.5), ("leak", None)),
        ((1e-4, 1e-4, 1e-4), ("inconclusive", "control-invalid")),
    ],
)
def test_controls_have_their_say_in_the_verdict(ps, verdict):
    rows = {row.target: row for row in make_tables(hand_made(*ps)).table}
    assert (rows["mlp"].verdict, rows["mlp"].verdict_reason) == verdict
    # A negative control is not judged by itself.
    assert rows["negative"].verdict_reason != "control-invalid"


def test_an_attack_control_that_few_hits_carry_is_no_leak_found():
    tables = make_tables(hand_made(1e-4, 0.5, 0.5, attainable_p=2**-6))
    (control,) = [row for row in tables.controls if row.kind == "attack"]
    assert (control.verdict, control.verdict_reason) == ("inconclusive", "underpowered")
    (row,) = [row for row in tables.table if row.target == "mlp"]
    assert (row.verdict, row.verdict_reason) == ("inconclusive", "attack-failed")


def test_a_target_that_does_not_fit_its_members_is_rows_with_the_reason(tmp_path):
    recipe = {"arch": "mlp-40", "steps": 400}
    targets = {"mlp": {"recipe": recipe, "members": 20}, "lazy": {"recipe": recipe | {"steps": 1}, "members": 20}}
    table = pd.read_csv(
        run(small(targets=targets, metrics={"ssim": {}}), tmp_path / "run", executor=ExecutorChoice("serial"))
        / "table.csv"
    )
    status = table.set_index("target")["status"]
    assert (status["mlp"], status["lazy"]) == ("ok", "not-applicable")
    assert "of its 20 members" in table.set_index("target").loc["lazy", "reason"]


def test_the_attack_control_of_a_benchmark_can_be_made_by_itself(finished, tmp_path):
    known = {"recipe": SMALL["attack_control"]["recipe"], "members": 20, "seeds": [3], "device": "cpu"}
    attack = {"method": "kkt", "settings": KKT["settings"], "reference": True}
    settings = AttackControlSettings.model_validate({**known, **attack})
    folder = make_attack_control(settings, tmp_path / "control").folder
    scores = finished / "scores" / "seed-3" / "attack-control"
    with np.load(folder / "reconstructions.npz") as alone, np.load(scores / "kkt.npz") as benchmark:
        assert np.array_equal(alone["images"], benchmark["images"])
        assert np.array_equal(alone["labels"], benchmark["labels"])
    with np.load(scores / "pool.npz") as pool, np.load(scores / "images.npz") as images:
        for name, side in (("members", pool["member"]), ("controls", ~pool["member"])):
            assert np.array_equal(load(f"{folder}/{name}.npz").images.numpy(), images["images"][side])
