"""One small run of each half."""

from pathlib import Path

import pytest

from invaudit.benchmarks.leakage import LeakageBenchmark
from invaudit.benchmarks.leakage import run as run_leakage
from invaudit.benchmarks.ood import OODBenchmark
from invaudit.benchmarks.ood import run as run_ood

OOD = {
    "name": "digits",
    "arch": "small-cnn",
    "training": {"epochs": 2, "batch_size": 64, "precision": "float32"},
    "inversion": {"steps": 3, "batch_size": 16},
    "attacks": {"sure": {"steps": 3, "batch_size": 16, "hot": True}, "same": {"steps": 3, "batch_size": 16}},
    "attack_images": 35,
    "slow_images": 20,
    "synthetic_images": 4,
    "networks": {
        "random": {"trained": False, "baselines": ["MaxSoftmax", "KNN"], "tuned": True},
        "plain": {"baselines": True},
        "full": {"garbage": {"noise": 0.25, "derived": 0.5, "inversions": 0.25, "per_cycle": 35}},
    },
    "seeds": [0, 1],
    "draws": 200,
}
PERCEPTRON = {"recipe": {"arch": "mlp-40", "steps": 400}, "members": 20}
LEAKAGE = {
    "name": "small",
    "targets": {"mlp": PERCEPTRON, "negative": {**PERCEPTRON, "negative": True}},
    "attack_control": PERCEPTRON,
    "methods": {"kkt": {"kind": "kkt", "settings": {"images": 20, "restarts": 2, "steps": 60}}},
    "metrics": {"cosine": {}, "ssim": {}},
    "draws": 999,
    "seeds": [3, 4],
    "device": "cpu",
}


@pytest.fixture(scope="session")
def settings() -> OODBenchmark:
    return OODBenchmark.model_validate(OOD)


@pytest.fixture(scope="session")
def finished(settings: OODBenchmark, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished OOD run, not to be changed."""
    return run_ood(settings, tmp_path_factory.mktemp("runs") / "ood", workers=1)


@pytest.fixture(scope="session")
def finished_leakage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished leakage run, not to be changed."""
    return run_leakage(LeakageBenchmark.model_validate(LEAKAGE), tmp_path_factory.mktemp("runs") / "leakage", workers=1)
