"""Metrics that need no published weights: LPIPS with random trunks, its linear weights as shipped."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import alexnet, squeezenet1_1

from invaudit.data import seeded_rng
from invaudit.similarity import Metric, make_metric
from invaudit.similarity.perceptual import NETS
from tests.threads import one_thread

__all__ = ["one_thread"]

TRUNKS = {"alex": alexnet, "squeeze": squeezenet1_1}


def random_trunk(build: Callable) -> dict[str, Tensor]:
    """Return random weights, scaled so that features neither vanish nor explode."""
    with torch.device("meta"):
        shapes = build().features.state_dict()
    rng = seeded_rng(0, "tests/trunk")
    return {
        f"features.{name}": torch.randn(value.shape, generator=rng) * (2 / max(1, value[0].numel())) ** 0.5
        for name, value in shapes.items()
    }


@pytest.fixture(scope="session")
def trunks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with random trunks."""
    folder = tmp_path_factory.mktemp("trunks")
    for net in NETS:
        assert net in TRUNKS, f"add what builds the trunk of {net} to TRUNKS in {__file__}"
        save_file(random_trunk(TRUNKS[net]), folder / f"lpips_{net}_trunk.safetensors")
    return folder


@pytest.fixture(scope="session")
def published() -> Path:
    """Return the folder with the published trunks."""
    if not os.environ.get("INVAUDIT_WEIGHTS"):
        pytest.skip("INVAUDIT_WEIGHTS is not set")
    return Path(os.environ["INVAUDIT_WEIGHTS"])


@pytest.fixture(scope="session")
def make(trunks: Path) -> Callable[..., Metric]:
    """Return a function that makes any metric for RGB images of 12 x 12 pixels."""

    reference = torch.rand(20, 3, 12, 12, generator=seeded_rng(0, "tests/reference"))
    smallest_sides = {f"lpips-{net}": side for net, (_, side) in NETS.items()}

    def made(name: str, **options: object) -> Metric:
        needed = {"reference": reference, "weights": trunks, "resize": smallest_sides.get(name)}
        return make_metric(name, **needed | options)

    return made
