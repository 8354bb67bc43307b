"""A small leakage run; that of the OOD half is shared by all tests."""

from pathlib import Path

import pytest

from invaudit.benchmarks.leakage import LeakageBenchmark, run
from invaudit.runtime.executor import ExecutorChoice

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
def finished_leakage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small leakage benchmark, run once for each test process; not to be changed."""
    return run(
        LeakageBenchmark.model_validate(LEAKAGE),
        tmp_path_factory.mktemp("runs") / "leakage",
        executor=ExecutorChoice("serial"),
    )
