"""Inputs that are right; a row of the table spoils one of them."""

import shutil

import numpy as np
import pytest
import torch

from invaudit.inversion import InversionSettings, run_inversion
from invaudit.models import InputSpec, Target, save_target
from invaudit.models.architectures import build
from invaudit.runtime.settings import load_config
from tests.cli.conftest import called  # noqa: F401 - the fixture that runs a command in this process
from tests.faults.rows import SHORT


@pytest.fixture(scope="session")
def right(tmp_path_factory):
    """A folder of small inputs that commands take: a network, images, pairs, groups, a finished run."""
    folder = tmp_path_factory.mktemp("right")
    torch.manual_seed(0)
    spec = InputSpec(1, 8, 8)
    target = Target(build("mlp-8", spec, 3), spec, 3, arch="invaudit:mlp-8").eval()
    save_target(target, folder / "mlp.safetensors")
    torch.save(target.module.state_dict(), folder / "mlp.pth")
    rng = np.random.default_rng(0)
    for name, count in (("many", 60), ("recs", 6), ("members", 12), ("controls", 12)):
        images = rng.integers(0, 256, (count, 8, 8), dtype=np.uint8)
        np.savez(folder / f"{name}.npz", images=images, labels=np.arange(count) % 3)
    (folder / "pairs.csv").write_text("member,control\n0,0\n3,3\n")
    lines = [f"{side},{index},{side}{index}\n" for side in ("member", "control") for index in range(12)]
    (folder / "groups.csv").write_text("side,index,group\n" + "".join(lines))
    settings = load_config(InversionSettings, "invert/grey", **SHORT)
    run_inversion(target, settings, folder / "run", images=1)
    return folder


@pytest.fixture
def inputs(right, tmp_path):
    """A copy of the right inputs, to be spoilt."""
    shutil.copytree(right, tmp_path, dirs_exist_ok=True)
    return tmp_path
