"""The options that say what a model takes, and what becomes of values that no model takes."""

import pytest
import torch

from invaudit.cli.options import Model
from invaudit.data.preparation import Preparation
from invaudit.models import InputSpec, build
from invaudit.runtime.errors import InputError


def test_options_give_a_spec_by_themselves():
    given = Model(input="3x64x48", mean=(0.5,), std=(0.2,), resize=73, interpolation="bicubic")
    spec = given.spec()
    assert spec == InputSpec(3, 64, 48, (0.5,), (0.2,))
    assert spec.preparation == Preparation(resize=73, interpolation="bicubic")
    assert Model().spec() is None
    assert Model(squash=True).fields() == {"preparation": Preparation(squash=True)}


@pytest.mark.parametrize(
    "options",
    [
        {"input": "1x²x8"},
        {"input": f"1x{'9' * 5000}x8"},
        {"input": "1x1000000000x8"},
        {"input": "1x40000x40000"},
        {"input": "0x8x8"},
        {"input": "8x8"},
        {"input": "1x8x8", "std": (float("inf"),)},
        {"input": "1x8x8", "std": (1e38,)},
        {"input": "1x8x8", "mean": (float("nan"),)},
        {"input": "1x8x8", "resize": 0},
        {"input": "1x8x8", "squash": True, "crop": 8},
        {"input": "1x8x8", "interpolation": "bicubic"},
        {"mean": (0.5,)},
        {"resize": 9},
    ],
)
def test_what_no_model_takes_is_refused_in_few_words(options):
    with pytest.raises(InputError) as refusal:
        Model(**options).spec()
    assert len(str(refusal.value)) < 250


def test_other_names_are_taken_by_order_only_if_the_command_says_so(called, tmp_path):
    network = build("mlp-8", InputSpec(1, 8, 8), 3)
    torch.save({f"layer{i}": value for i, value in enumerate(network.state_dict().values())}, tmp_path / "m.pth")
    command = ("invert", "m.pth", "--arch", "mlp-8", "--input", "1x8x8", "--set", "steps=1", "--out", "run")
    refused = called(*command)
    assert refused.returncode == 2
    assert "--match order" in refused.stderr
    assert not (tmp_path / "run").exists()
    taken = called(*command, "--images", "1", "--match", "order")
    assert taken.returncode == 0, taken.stderr
    assert "matched by order: layer0 as blocks.0.1.weight" in taken.stderr


def test_code_that_fails_is_told_as_the_users(called, tmp_path):
    (tmp_path / "theirs_cli.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n"
    )
    torch.save({"1.weight": torch.ones(3, 64), "1.bias": torch.ones(3)}, tmp_path / "m.pth")
    ended = called("invert", "m.pth", "--arch", "theirs_cli:make", "--input", "1x9x9")
    assert ended.returncode == 2
    assert "Sequential.forward of inputs (2, 1, 9, 9) failed in its own code: RuntimeError: mat1" in ended.stderr
