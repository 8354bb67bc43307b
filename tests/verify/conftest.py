"""One small run of each kind, made once for each test process; tests change copies of them."""

import shutil

import numpy as np
import pytest
import torch
from scipy.special import softmax

from invaudit.audit import (
    AttackControlSettings,
    ModelAuditSettings,
    ScoreSettings,
    audit_model,
    make_attack_control,
    score,
)
from invaudit.audit.probabilities import ProbabilityAuditSettings, audit_probabilities
from invaudit.benchmarks import leakage, ood
from invaudit.data import load, seeded_rng
from invaudit.leakage import TargetRecipe, degraded_copies, train_target
from invaudit.models import save_target
from invaudit.runtime.executor import ExecutorChoice
from tests.audit.image_files import save, save_digits

RECIPE = {"arch": "mlp-40", "steps": 400}
KKT = {"kkt": {"kind": "kkt", "settings": {"images": 20, "restarts": 1, "steps": 60}}}
LEAKAGE = {
    "name": "small",
    "targets": {
        "mlp": {"recipe": RECIPE, "members": 20},
        "negative": {"recipe": RECIPE, "members": 20, "negative": True},
    },
    "attack_control": {"recipe": RECIPE, "members": 20},
    "methods": KKT,
    "metrics": {"cosine": {}, "ssim": {}},
    "images": "none",
    "draws": 499,
    "seeds": [3],
    "device": "cpu",
}
OOD = {
    "name": "digits",
    "arch": "small-cnn",
    "training": {"epochs": 1, "batch_size": 64, "precision": "float32"},
    "networks": {"plain": {"baselines": ["MaxSoftmax", "KNN"]}},
    "compare_with": {"network": "plain", "detector": "KNN"},
    "seeds": [0],
    "draws": 100,
    "device": "cpu",
}


def trained(images, labels, stage):
    """A network that knows these images by heart."""
    recipe, device = TargetRecipe.model_validate(RECIPE), torch.device("cpu")
    return train_target(recipe, images, labels, 10, seeded_rng(0, stage), device=device).eval()


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """Members, controls and reference images of an audit, and copies of members."""
    folder = tmp_path_factory.mktemp("digits")
    parts = {"members": slice(20), "controls": slice(20, 420), "reference": slice(420, 720)}
    data = save_digits(folder, "verify", parts)
    copies = degraded_copies(data.floats(slice(20)), seeded_rng(0, "copies"), blur=0.3, noise=0.02)
    save(folder / "copies.npz", copies, data.labels[:20])
    return folder


@pytest.fixture(scope="session")
def leakage_run(tmp_path_factory):
    settings = leakage.LeakageBenchmark.model_validate(LEAKAGE)
    return leakage.run(settings, tmp_path_factory.mktemp("verify") / "leakage", executor=ExecutorChoice("serial"))


@pytest.fixture(scope="session")
def ood_run(tmp_path_factory):
    settings = ood.OODBenchmark.model_validate(OOD)
    return ood.run(settings, tmp_path_factory.mktemp("verify") / "ood", executor=ExecutorChoice("serial")).folder


@pytest.fixture(scope="session")
def control_run(tmp_path_factory):
    settings = AttackControlSettings.model_validate({"recipe": RECIPE, "members": 20, "device": "cpu"})
    return make_attack_control(settings, tmp_path_factory.mktemp("verify") / "control").folder


@pytest.fixture(scope="session")
def score_run(digits, control_run, tmp_path_factory):
    control = tmp_path_factory.mktemp("attacked") / "control"
    shutil.copytree(control_run, control)
    shutil.copyfile(digits / "copies.npz", control / "reconstructions.npz")
    data = {name: f"{digits}/{name}.npz" for name in ("members", "controls", "reference")}
    # Not all controls are tested, since there are fewer members: the table of neighbours holds others, too.
    given = {"reconstructions": f"{digits}/copies.npz", "attack_control": control, "metrics": {"ssim": None}}
    settings = ScoreSettings.model_validate(data | given | {"draws": 499, "device": "cpu"})
    return score(settings, tmp_path_factory.mktemp("verify") / "score").folder


@pytest.fixture(scope="session")
def audit_run(digits, tmp_path_factory):
    members, others = load(f"{digits}/members.npz"), load(f"{digits}/reference.npz")
    references = []
    for number in range(2):
        some = slice(40 * number, 40 * number + 40)
        reference = trained(others.floats(some), others.labels[some], f"reference {number}")
        references.append(tmp_path_factory.mktemp("references") / f"{number}.safetensors")
        save_target(reference, references[-1])
    data = {name: f"{digits}/{name}.npz" for name in ("members", "controls", "reference")}
    fixed = {"metrics": {"ssim": None}, "methods": KKT, "known_leak": RECIPE, "known_members": 20}
    more = {"reference_models": list(map(str, references)), "draws": 499, "device": "cpu"}
    settings = ModelAuditSettings.model_validate(data | fixed | more)
    target = trained(members.floats(), members.labels, "target")
    return audit_model(target, settings, tmp_path_factory.mktemp("verify") / "audit").folder


@pytest.fixture(scope="session")
def answers_run(tmp_path_factory):
    """The audit of a model that is surer of its members than of controls, from what it answers."""
    folder, rng = tmp_path_factory.mktemp("answers"), np.random.default_rng(0)
    for name, n, extra in (("members", 60, 4), ("controls", 300, 1)):
        labels = rng.integers(4, size=n)
        probabilities = softmax(rng.normal(size=(n, 4)) + extra * np.eye(4)[labels], axis=1)
        lines = [",".join(map(str, (label, *row))) for label, row in zip(labels, probabilities, strict=True)]
        (folder / f"{name}.csv").write_text("\n".join(["label,p0,p1,p2,p3", *lines]))
    given = {name: folder / f"{name}.csv" for name in ("members", "controls")}
    settings = ProbabilityAuditSettings.model_validate(given | {"draws": 499})
    return audit_probabilities(settings, tmp_path_factory.mktemp("verify") / "probabilities").folder


@pytest.fixture
def copied(tmp_path):
    """Return what copies a run, to change it."""

    def copy(folder):
        return shutil.copytree(folder, tmp_path / "run")

    return copy
