"""Audits that the library has made, compared: of models by their images, and of models by their answers."""

import shutil

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from invaudit.audit import ModelAuditSettings, audit_model
from invaudit.audit.probabilities import ProbabilityAuditSettings, audit_probabilities
from invaudit.benchmarks.comparing import compare
from invaudit.data import load, seeded_rng
from invaudit.leakage import TargetRecipe, train_target
from invaudit.runtime.errors import RunFolderError
from tests.audit.image_files import save_digits
from tests.benchmarks.comparing.folders import check_rows, only

pytestmark = pytest.mark.xdist_group("compared")
LEAKY = TargetRecipe(arch="mlp-40", steps=400, learning_rate=0.3)
METHODS = {"kkt": {"kind": "kkt", "settings": {"images": 20, "restarts": 1, "steps": 20}}}


@pytest.fixture(scope="module")
def audits(tmp_path_factory):
    """An audit of a network that was trained on the members, and one of a network that was trained on others.

    The second has reference models that are trained beside, and its scores by gradients are of fewer images.
    """
    folder = tmp_path_factory.mktemp("compared")
    parts = {"members": slice(20), "controls": slice(20, 240), "reference": slice(240, 300), "more": slice(300, 400)}
    save_digits(folder, "comparing", parts)
    given = {name: f"{folder}/{name}.npz" for name in ("members", "controls", "reference")}
    given |= {"metrics": {"ssim": None}, "methods": METHODS, "known_leak": LEAKY, "draws": 199, "device": "cpu"}
    others = {
        "train_references": 2,
        "train_references_on": f"{folder}/more.npz",
        "reference_training": {"epochs": 20, "batch_size": 10},
    }
    found = []
    for number, (name, changes) in enumerate((("members", {}), ("more", others | {"most": 50}))):
        trained_on = load(f"{folder}/{name}.npz")
        network = train_target(LEAKY, trained_on.floats(), trained_on.labels, 10, seeded_rng(0, "compared")).eval()
        settings = ModelAuditSettings.model_validate(given | {"known_members": 20} | changes)
        found.append(audit_model(network, settings, folder / f"audit-{number}").folder)
    return found


@pytest.mark.slow
def test_every_membership_score_of_two_audits_is_paired(audits, tmp_path):
    found = compare(*audits)
    check_rows(found, tmp_path)
    membership = {row.name: row for row in found.rows if row.part == "membership"}
    assert {name for name, row in membership.items() if row.compared == "paired"} >= {
        "loss", "margin", "gradient-norm", "attribution", "kkt:ssim"
    }  # fmt: skip
    # What only one of the two has: scores by reference models, which do not make its images others.
    assert membership["rmia"].reason == "only in the second run"
    loss = membership["loss"]
    for folder, value in zip(audits, (loss.before, loss.after), strict=True):
        scores = np.load(folder / "scores/seed-0/target/signals.npz")["loss"]
        member = np.load(folder / "scores/seed-0/target/scored.npz")["member"]
        assert value == pytest.approx(roc_auc_score(member, scores))
    assert loss.difference_high < 0
    assert "240 images" in loss.reason


@pytest.mark.slow
def test_scores_of_a_part_of_the_pool_are_paired_on_what_both_have(audits):
    row = only(compare(*audits).rows, part="membership", name="gradient-norm")
    places = [folder / "scores/seed-0/target" for folder in audits]
    pools = [np.load(place / "scored.npz") for place in places]
    scores = [np.load(place / "signals.npz")["gradient-norm"] for place in places]
    by_image = []
    for pool, values in zip(pools, scores, strict=True):
        names = zip(pool["member"].tolist(), pool["source"].tolist(), strict=True)
        by_image.append({name: value for name, value in zip(names, values, strict=True) if np.isfinite(value)})
    both = sorted(by_image[0].keys() & by_image[1].keys())
    assert len(both) < len(by_image[0])
    member = [is_member for is_member, _ in both]
    values = [roc_auc_score(member, [of[name] for name in both]) for of in by_image]
    assert (row.before, row.after) == pytest.approx(tuple(values))
    assert f"{len(both)} images" in row.reason


@pytest.mark.slow
def test_accuracies_and_readiness_have_intervals(audits):
    rows = compare(*audits).rows
    for name in ("members", "controls", "gap"):
        row = only(rows, part="accuracy", name=name)
        assert row.compared == "paired"
        assert row.difference_low <= row.difference <= row.difference_high
    assert only(rows, part="accuracy", name="members").before == 1.0
    assert only(rows, part="accuracy", name="controls").difference_low > 0  # of a network that was taught by more
    readiness = [row for row in rows if row.part == "readiness"]
    assert {row.figure for row in readiness} == {"auroc", "rejected"}
    assert {row.compared for row in readiness} == {"paired"}
    place = "scores/seed-0/target/readiness.npz"
    stored = [np.load(folder / place) for folder in audits]
    one = only(rows, part="readiness", name="KNN", ood_set="uniform", figure="auroc")
    for scores, value in zip(stored, (one.before, one.after), strict=True):
        own, other = scores["KNN::id-test"], scores["KNN::uniform"]
        is_ood = np.r_[np.zeros(len(own)), np.ones(len(other))]
        assert value == pytest.approx(roc_auc_score(is_ood, np.r_[own, other]))


@pytest.mark.slow
def test_stored_scores_that_do_not_fit_are_one_message(audits, tmp_path):
    damaged = shutil.copytree(audits[1], tmp_path / "damaged")
    change_array(damaged / "scores/seed-0/target/scored.npz", "labels", lambda _: None)
    with pytest.raises(RunFolderError, match="labels"):
        compare(audits[0], damaged)


def change_array(path, name, change):
    """Change one array of a file, or leave it out where the change gives None."""
    with np.load(path) as stored:
        arrays = dict(stored)
    changed = change(arrays.pop(name))
    np.savez(path, **arrays, **({} if changed is None else {name: changed}))


def answer(folder, name, labels, sharpness, rng):
    """Write what a model answers to some images, the surer the sharper."""
    hits = rng.normal(size=(len(labels), 3)) + sharpness * np.eye(3)[labels]
    shares = np.exp(hits) / np.exp(hits).sum(1, keepdims=True)
    lines = [",".join(map(str, (label, *row))) for label, row in zip(labels, shares, strict=True)]
    (folder / f"{name}.csv").write_text("\n".join(["label,p0,p1,p2", *lines]))
    return folder / f"{name}.csv"


@pytest.fixture(scope="module")
def of_answers(tmp_path_factory):
    """Audits of the answers of a model that is surer of its members, and of one that is not."""
    folder, rng = tmp_path_factory.mktemp("answers"), np.random.default_rng(0)
    sides = {"members": rng.integers(3, size=60), "controls": rng.integers(3, size=200)}
    audits = {}
    for name, surer in (("before", 4.0), ("after", 1.0)):
        files = {}
        for side, labels in sides.items():
            files[side] = answer(folder, f"{name}-{side}", labels, surer if side == "members" else 1.0, rng)
        settings = ProbabilityAuditSettings.model_validate(files | {"draws": 99, "seeds": [3]})
        audits[name] = audit_probabilities(settings, folder / name).folder
    return audits


@pytest.mark.slow
def test_answers_to_the_same_rows_are_paired(of_answers, tmp_path):
    found = compare(of_answers["before"], of_answers["after"])
    check_rows(found, tmp_path)
    loss = only(found.rows, part="membership", name="loss")
    assert loss.seed == 3
    assert loss.difference_high < 0
    assert "rows with the same labels" in loss.reason
    assert only(found.rows, part="accuracy", name="gap").compared == "paired"


@pytest.mark.slow
def test_answers_to_other_rows_are_refused(of_answers, tmp_path):
    others = shutil.copytree(of_answers["after"], tmp_path / "others")
    change_array(others / "scores/seed-3/target/scored.npz", "labels", lambda labels: labels[::-1])
    with pytest.raises(RunFolderError, match="numbers of rows or their labels differ"):
        compare(of_answers["before"], others)
