"""One thread for each process: test processes side by side would wait for each other's threads."""

import os
import tempfile

import pytest
import torch

os.environ.setdefault("OMP_NUM_THREADS", "1")
_cache = tempfile.TemporaryDirectory(prefix="invaudit-cache-")
os.environ["INVAUDIT_CACHE"] = _cache.name  # not that of whoever runs the tests


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


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """What a test draws from torch's own generator does not depend on the tests before it."""
    torch.manual_seed(271828)


@pytest.fixture(scope="session")
def settings():
    from invaudit.benchmarks.ood import OODBenchmark

    return OODBenchmark.model_validate(SMALL)


@pytest.fixture(scope="session")
def finished(settings, tmp_path_factory):
    """The folder of a small OOD benchmark, run once for each test process."""
    from invaudit.benchmarks.ood import run
    from invaudit.runtime.executor import ExecutorChoice

    return run(settings, tmp_path_factory.mktemp("runs") / "whole", executor=ExecutorChoice("serial")).folder


@pytest.fixture
def killed_after(monkeypatch):
    """Interrupt a module after its n-th file, once; gives the list of all files that it writes."""

    def kill(module, n):
        write, written = module.write_bytes, []

        def killing(path, data):
            write(path, data)
            written.append(path)
            if len(written) == n:
                raise KeyboardInterrupt

        monkeypatch.setattr(module, "write_bytes", killing)
        return written

    return kill
