from pathlib import Path

import pytest

from invaudit.benchmarks.ood import OODBenchmark, run

SMALL = {
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


@pytest.fixture(scope="session")
def settings() -> OODBenchmark:
    return OODBenchmark.model_validate(SMALL)


@pytest.fixture(scope="session")
def finished(settings, tmp_path_factory) -> Path:
    return run(settings, tmp_path_factory.mktemp("runs") / "whole", workers=1)
