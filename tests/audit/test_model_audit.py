"""The audit of a model whole: a planted leak is found, a model of other images leaks nothing, bad input is refused."""

import json
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from jsonschema import validate
from sklearn.metrics import roc_auc_score

from invaudit.audit import ModelAuditSettings, audit_model, model_audit, model_inputs, planning
from invaudit.audit.metrics import make_metrics
from invaudit.audit.model_inputs import load_images, make_pools
from invaudit.audit.preflight import preflight
from invaudit.audit.readiness import DETECTORS, readiness
from invaudit.data import NOISES, load, seeded_rng, split
from invaudit.leakage import TargetRecipe, train_target
from invaudit.models import collect, save_target
from invaudit.ood.fitting import split_sizes
from invaudit.records import audit_schema
from invaudit.runtime import InputError
from invaudit.runtime.errors import MissingDataError
from invaudit.similarity import make_metric
from tests.audit.image_files import save_digits

KNOWN = TargetRecipe(arch="mlp-100", learning_rate=0.3, steps=1500, weight_decay=1e-3)
METHODS = {"kkt": {"kind": "kkt", "settings": {"images": 40, "restarts": 1, "steps": 600}}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Digits that a network was trained on, and others."""
    folder = tmp_path_factory.mktemp("made")
    save_digits(
        folder, "model audit", {"members": slice(40), "controls": slice(40, 700), "reference": slice(900, 1300)}
    )
    return folder


def trained_on(made, name):
    images = load(f"{made}/{name}.npz")
    return train_target(KNOWN, images.floats(slice(40)), images.labels[:40], 10, seeded_rng(0, "trained")).eval()


def settings(made, **changes):
    known = {name: f"{made}/{name}.npz" for name in ("members", "controls", "reference")}
    fixed = {"metrics": {"ssim": None}, "methods": METHODS, "known_leak": KNOWN, "draws": 499, "device": "cpu"}
    return ModelAuditSettings.model_validate(known | fixed | changes)


@pytest.fixture(scope="module")
def leaking(made, tmp_path_factory):
    return audit_model(trained_on(made, "members"), settings(made), tmp_path_factory.mktemp("audit") / "run")


@pytest.mark.slow
def test_a_planted_leak_is_found_and_all_of_it_is_written(leaking):
    assert (leaking.membership.verdict, leaking.reconstruction.verdict) == ("leak", "leak")
    audit = json.loads((leaking.folder / "audit.json").read_text())
    validate(audit, audit_schema())
    assert {one["ood_set"] for one in audit["ood"]["sets"]} == set(NOISES)
    controls = pd.read_csv(leaking.folder / "controls.csv")
    assert set(controls["verdict"]) == {"leak"}
    membership = pd.read_csv(leaking.folder / "membership.csv").set_index("score")
    assert membership.loc["loss", "auroc"] > 0.7
    page = (leaking.folder / "report.html").read_text()
    assert "What the model does not know" in page
    # No picture of a member without being asked.
    assert not list(leaking.folder.rglob("images.npz"))


@pytest.mark.slow
def test_a_model_of_other_images_is_not_called_a_leak(made, tmp_path):
    given = {"members": f"{made}/controls.npz@0:300", "controls": f"{made}/controls.npz@300:660"}
    result = audit_model(trained_on(made, "members"), settings(made, **given), tmp_path / "run")
    assert {result.membership.verdict, result.reconstruction.verdict}.isdisjoint({"leak"})


@pytest.mark.slow
def test_members_that_differ_by_themselves_are_no_leak(made, tmp_path):
    """Brighter members: their model knows them by heart as above, and what tells them apart needs no model."""
    members = load(f"{made}/members.npz")
    np.savez(tmp_path / "members.npz", images=members.images.clamp(min=60).numpy(), labels=members.labels.numpy())
    given = {"members": f"{tmp_path}/members.npz"}
    result = audit_model(trained_on(tmp_path, "members"), settings(made, **given), tmp_path / "run")
    pool = json.loads((tmp_path / "run" / "records" / "seed-0-pool.json").read_text())
    assert pool["blind"]["finding"] == "shift"
    for verdict in (result.membership, result.reconstruction):
        assert (verdict.verdict, verdict.reasons[0]) == ("inconclusive", "shift")
    assert "The reason: members and control differ by themselves" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.slow
def test_a_stage_that_is_done_is_not_done_again_and_gives_the_same_bytes(made, leaking, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(leaking.folder, folder)
    names = ("table.csv", "membership.csv", "readiness.csv", "controls.csv")
    before = {name: (folder / name).read_bytes() for name in names}
    for name in (*names, "records/stage-attacks.json"):
        (folder / name).unlink()
    known = (folder / "records" / "seed-0-attack-control.json").stat().st_mtime_ns
    audit_model(trained_on(made, "members"), settings(made), folder, resume=True)
    assert (folder / "records" / "seed-0-attack-control.json").stat().st_mtime_ns == known
    for name in ("readiness.csv", "controls.csv", "membership.csv"):
        assert (folder / name).read_bytes() == before[name]


@pytest.mark.slow
def test_sets_may_be_added_to_an_audit_and_nothing_else_changed(made, leaking, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(leaking.folder, folder)
    attacked = (folder / "records" / "stage-attacks.json").read_bytes()
    more = audit_model(trained_on(made, "members"), settings(made, ood=["digits@0:150"]), folder, resume=True)
    assert {row.ood_set for row in more.readiness} == {"id-test", *NOISES, "digits@0:150"}
    assert (folder / "records" / "stage-attacks.json").read_bytes() == attacked
    with pytest.raises(InputError, match="other settings"):
        audit_model(trained_on(made, "members"), settings(made, draws=999), folder, resume=True)


@pytest.mark.slow
def test_every_image_has_a_row_and_claims_are_of_members(leaking):
    rows = pd.read_csv(leaking.folder / "images.csv")
    pool = np.load(leaking.folder / "scores/seed-0/target/scored.npz")
    assert len(rows) == len(pool["member"]) == 40 + 660
    assert (rows["side"] == "member").sum() == pool["member"].sum()
    assert not rows.loc[rows["side"] == "control", ["membership_claimed", "reconstruction_claimed"]].any().any()
    assert rows.loc[rows["side"] == "member", "membership_claimed"].sum() >= 10
    loss = np.load(leaking.folder / "scores/seed-0/target/signals.npz")["loss"]
    controls = loss[~pool["member"]]
    member = np.flatnonzero(pool["member"] & (pool["source"] == 3))[0]
    p = (1 + (controls >= loss[member]).sum()) / (1 + len(controls))
    assert rows.query("side == 'member' and index == 3")["membership_p"].item() <= p


@pytest.mark.slow
def test_the_null_holds_and_draws_agree_where_a_leak_was_planted(leaking):
    repeats = pd.read_csv(leaking.folder / "repeats.csv")
    halves = repeats.query("kind == 'null-halves'")
    assert len(halves) == 40
    assert halves["leak"].sum() <= 2
    draws = repeats.query("kind == 'draw'").groupby("question")["leak"]
    assert (draws.sum() >= 19).all()


@pytest.mark.slow
def test_the_example_in_python_runs(made, tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "use.md").read_text(encoding="utf-8")
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "audit_model" in block)
    for file, name in (("train.npz", "members"), ("test.npz", "controls")):
        shutil.copy(made / f"{name}.npz", tmp_path / file)
    save_target(trained_on(made, "members"), tmp_path / "mine.safetensors")
    fixed = {"metrics", "methods", "known_leak", "draws", "device"}
    few_steps = METHODS["kkt"] | {"settings": METHODS["kkt"]["settings"] | {"steps": 20}}
    quick = settings(made, methods={"kkt": few_steps}).model_dump(include=fixed)
    monkeypatch.setattr("invaudit.audit.model_settings.ModelAuditSettings", partial(ModelAuditSettings, **quick))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "use.md", "exec"), {})  # noqa: S102
    membership, _, folder = capsys.readouterr().out.split()
    assert (membership, folder) == ("leak", f"{tmp_path}/audit")


def test_readiness_is_the_area_under_the_curve_of_the_scores(made):
    target = trained_on(made, "members")
    others = load("digits@0:150").subset(torch.arange(150))
    rows, _ = readiness(target, load(f"{made}/controls.npz"), {"more": others})
    assert {row.detector for row in rows} == set(DETECTORS)
    assert {row.status for row in rows} == {"ok"}
    own = next(row for row in rows if row.detector == "EnergyBased" and row.ood_set == "more")
    logits = collect(target, others, keep_maps=False).logits
    controls = load(f"{made}/controls.npz")
    test = split(controls, split_sizes(len(controls)), seeded_rng(0, "readiness/split")).test
    own_logits = collect(target, test, keep_maps=False).logits
    scores = np.r_[-own_logits.logsumexp(1), -logits.logsumexp(1)]
    labels = np.r_[np.zeros(len(own_logits)), np.ones(len(logits))]
    assert own.auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"members": "nowhere.npz"}, "nowhere.npz"),
        ({"ood": ["nowhere.npz"]}, "nowhere.npz"),
        ({"controls": "{made}/members.npz"}, "both member and control"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(made, tmp_path, changes, words):
    given = {}
    for key, value in changes.items():
        given[key] = value.format(made=made) if isinstance(value, str) else value
    with pytest.raises(InputError, match=words):
        audit_model(trained_on(made, "members"), settings(made, **given), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_few_members_among_many_controls_are_planned_for(made, monkeypatch):
    monkeypatch.setattr(planning, "FEW_IMAGES", 2)  # so few that they are all of one side
    target, chosen = trained_on(made, "members"), settings(made, budget=60)
    images = load_images(target, chosen)
    plan = planning.make_plan(target, images, make_pools(chosen, images), KNOWN, chosen)
    assert plan.steps["kkt"] >= 1
    assert {stage.name for stage in plan.stages} >= {"attacks", "membership", "readiness"}


def test_every_fifth_control_of_each_class_is_set_aside_without_copies(made):
    digits = load("digits")
    in_turn = [digits.subset(torch.nonzero(digits.labels == label)[:60, 0]) for label in range(10)]
    pixels = torch.stack([images.images for images in in_turn], 1).flatten(0, 1)
    labels = torch.arange(10).repeat(60)
    np.savez(made / "in-turn.npz", images=pixels.numpy(), labels=labels.numpy())
    chosen = settings(made, controls=f"{made}/in-turn.npz", reference=None, drop_duplicates=True)
    images = load_images(trained_on(made, "members"), chosen)
    assert torch.bincount(images.reference.labels, minlength=10).min() >= 10
    members = set(images.members.image_hashes())
    assert members.isdisjoint(images.reference.image_hashes())
    both = np.concatenate([images.control_places, np.arange(600)])
    assert len(np.unique(both)) == 600
    assert len(images.controls) + len(images.reference) == 600


def test_a_model_that_knows_nothing_but_its_members_is_audited(made, tmp_path):
    """Labels that were drawn at random can be learned by heart and by nothing else."""
    others = load(f"{made}/controls.npz")
    labels = torch.randint(10, (len(others),), generator=seeded_rng(0, "no sense"))
    for name, part in (("members", slice(40)), ("controls", slice(40, 400))):
        np.savez(tmp_path / f"{name}.npz", images=others.images[part].numpy(), labels=labels[part].numpy())
    target = trained_on(tmp_path, "members")
    given = {name: f"{tmp_path}/{name}.npz" for name in ("members", "controls")}
    images = load_images(target, settings(made, **given))
    assert len(images.controls) == 360
    with pytest.raises(InputError, match=r"of the members .* right, no better than chance"):
        load_images(target, settings(made, members=given["controls"], controls=given["members"]))


def test_weights_of_reference_models_are_fetched_with_download_alone(made, tmp_path, monkeypatch):
    def load(_, *, download):
        raise InputError(f"download is {download}")

    monkeypatch.setattr("invaudit.models.alike.load_model", load)
    for allowed in (True, False):
        chosen = settings(made, reference_models=["torchvision:resnet18@A", "torchvision:resnet18@B"], download=allowed)
        with pytest.raises(InputError, match=f"download is {allowed}"):
            audit_model(trained_on(made, "members"), chosen, tmp_path / "run")


def test_metrics_that_come_or_go_after_the_plan_change_nothing(made, tmp_path, monkeypatch):
    there, seen = {"ssim"}, []

    def make(name, **options):
        if name not in there:
            raise MissingDataError(f"no weights of {name}")
        return make_metric("ssim", **options)

    def stopped(audit):
        seen.append(audit._metrics(audit.pools.known))
        raise InputError("stopped here")

    monkeypatch.setattr("invaudit.audit.metrics.make_metric", make)
    monkeypatch.setattr(model_audit._Audit, "_known_leak", stopped)
    target, chosen = trained_on(made, "members"), settings(made, metrics={"ssim": None, "lpips-alex": 32})
    for weights in (set(), {"lpips-alex"}):
        there |= weights
        with pytest.raises(InputError, match="stopped here"):
            audit_model(target, chosen, tmp_path / "run", resume=True)
        assert (set(seen[-1].ready), seen[-1].names) == ({"ssim"}, ("ssim", "lpips-alex"))
        assert seen[-1].unavailable["lpips-alex"].reason == "no weights of lpips-alex"
    there.clear()
    with pytest.raises(MissingDataError, match=r"ssim could be computed when the audit was planned, .* no weights of"):
        audit_model(target, chosen, tmp_path / "run", resume=True)


def test_an_attack_control_goes_without_classes_that_are_rare_among_controls(made, tmp_path):
    others = load(f"{made}/controls.npz")
    few = torch.nonzero((others.labels != 3) & (others.labels != 7))[:, 0]
    one = torch.nonzero(others.labels == 7)[:1, 0]
    some = others.subset(torch.cat([few, one]))
    np.savez(tmp_path / "controls.npz", images=some.images.numpy(), labels=some.labels.numpy())
    target, chosen = trained_on(made, "members"), settings(made, controls=f"{tmp_path}/controls.npz")
    images = load_images(target, chosen)
    pools = make_pools(chosen, images)
    assert pools.left_out == ("3", "7")
    assert pools.known.classes == 8
    assert pools.known.labels.unique().tolist() == list(range(8))
    metrics = make_metrics({}, None, torch.device("cpu"), download=False)
    notes = preflight(target, images, pools, pools.scored, metrics).notes
    assert any("without 2 classes of which there are too few controls: 3, 7." in note for note in notes)


def test_an_attack_control_takes_no_more_reference_images_than_there_is_room_for(made, monkeypatch):
    target, chosen = trained_on(made, "members"), settings(made)
    images = load_images(target, chosen)
    whole = make_pools(chosen, images).known
    monkeypatch.setattr(model_inputs, "MOST_BYTES", 50 * 8 * 64)
    pools = make_pools(chosen, images)
    assert (len(whole.reference), len(pools.known.reference)) == (660 // 4, 50)
    assert torch.equal(pools.known.images.images, whole.images.images)
    assert (pools.scored.n_members, pools.scored.n_control) == (40, 50)
