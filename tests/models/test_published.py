"""Published checkpoints load and reach the accuracy that was measured for them."""

import os
from pathlib import Path

import pytest

from invaudit.data import load
from invaudit.models import InputSpec, accuracy, collect, load_model

pytestmark = pytest.mark.data

CASES = {
    "resnet20-12fca82f.th": (
        "invaudit:resnet20", "cifar10:test@0:500",
        InputSpec(3, 32, 32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), 0.917,
    ),
    "fashion_cnn_chyun.pth": (
        "invaudit:plain-cnn", "fashion-mnist:test", InputSpec(1, 28, 28, (0.2860,), (0.3530,)), 0.9084,
    ),
    "mnist_fc_chyun.pth": ("invaudit:mlp-32-16", "mnist:test", InputSpec(1, 28, 28), 0.9565),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_published_checkpoint(name):
    if not os.environ.get("INVAUDIT_WEIGHTS") or not os.environ.get("INVAUDIT_DATA"):
        pytest.skip("INVAUDIT_WEIGHTS and INVAUDIT_DATA are not set")
    arch, data, spec, expected = CASES[name]
    images = load(data)
    target = load_model(Path(os.environ["INVAUDIT_WEIGHTS"]) / name, arch=arch, spec=spec)
    assert target.classes == 10
    found = accuracy(collect(target, images, keep_maps=False).logits.argmax(1), images.labels)
    # The measured values are of 10,000 test images; 500 of CIFAR-10 may lie three standard deviations off.
    abs_error = 1e-4 if len(images) == 10_000 else 3 * (expected * (1 - expected) / len(images)) ** 0.5
    assert found == pytest.approx(expected, abs=abs_error)
