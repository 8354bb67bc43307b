"""A guard as one ONNX file, read back by onnxruntime alone."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from invaudit.data import ImageSet, Splits, seeded_rng
from invaudit.models import InputSpec, Target, build
from invaudit.ood import Joint, export, guard
from invaudit.ood.export import GuardNetwork
from invaudit.runtime import MissingExtraError, ModelError, SettingError
from invaudit.runtime.files import read_json
from tests.ood.toys import SPEC, patterns, toy_guard

README = Path(__file__).parents[2] / "README.md"
COLOURS = InputSpec(3, 32, 32, (0.5, 0.4, 0.3), (0.25, 0.2, 0.25))


def resnet():
    from torchvision.models import resnet18

    return resnet18(num_classes=3)


def vit():
    from torchvision.models import VisionTransformer

    network = VisionTransformer(32, 8, num_layers=1, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=3)
    # It begins with a head of zeros.
    nn.init.normal_(network.heads.head.weight, std=0.1)
    return network


def colours(n, stage):
    """Coloured noise of three coarsenesses."""
    rng, images = seeded_rng(0, stage), []
    for index in range(n):
        coarse = torch.rand(1, 3, *[(4, 8, 16)[index % 3]] * 2, generator=rng)
        images.append(nn.functional.interpolate(coarse, (32, 32), mode="bilinear"))
    return ImageSet(stage, (torch.cat(images) * 255).round().byte(), torch.arange(n) % 3)


def with_parts(guarded, parts, calibration):
    """The guard with some parts of its detector alone, which takes a fraction of the time to export."""
    if parts is None:
        return guarded
    joint = Joint()
    joint.state = {name: guarded.joint.state[name] for name in parts}
    joint.branch_weights = guarded.joint.branch_weights
    guarded = replace(guarded, joint=joint)
    return replace(guarded, calibration=guarded.score(calibration).sort().values)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "parts"),
    [
        (lambda: build("plain-cnn", COLOURS, 4), None),
        (resnet, ("gradient-norm", "nearest-early-whitened")),
        (vit, ("relative-mahalanobis", "generalised-entropy", "residual-head")),
    ],
    ids=["cnn", "resnet", "vit"],
)
def test_onnxruntime_judges_as_torch_does(network, parts, tmp_path, monkeypatch, capsys):
    import onnxruntime

    torch.manual_seed(0)
    target = Target(network(), COLOURS, 3).eval()
    sets = [colours(n, stage) for stage, n in (("train", 60), ("fit", 45), ("calibrate", 60), ("test", 12))]
    guarded = with_parts(guard(target, Splits(*sets)), parts, sets[2])
    new = colours(30, "new")
    capsys.readouterr()
    comparison = guarded.export(tmp_path / "guard.onnx", alpha=0.1, images=new)
    assert capsys.readouterr().out == ""
    assert comparison.difference <= 1e-4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["guard.onnx", "guard.onnx.json"]
    session = onnxruntime.InferenceSession(tmp_path / "guard.onnx")
    for images in (new.floats(), new.floats(slice(1)), torch.cat([new.floats()] * 20)):
        found = [torch.from_numpy(value) for value in session.run(None, {"images": images.numpy()})]
        expected = guarded.judge(images, 0.1)
        assert torch.allclose(found[0], guarded.activations(images).logits, atol=1e-4)
        assert (found[1] - expected.scores).abs().max() <= 1e-4 * guarded.calibration.std()
        assert torch.equal(found[3], found[1] <= guarded.threshold(0.1))
        assert torch.equal(found[2], guarded.p_values(found[1]))
        assert torch.equal(found[4], expected.predicted)
    about = read_json(tmp_path / "guard.onnx.json")
    assert about["threshold"] == guarded.threshold(0.1)
    assert about["input"]["shape"] == ["N", 3, 32, 32]
    assert about["normalised_inside"]["mean"] == [0.5, 0.4, 0.3]
    assert list(about["outputs"]) == sorted(value.name for value in session.get_outputs())
    six_lines_serve_it(new, monkeypatch, tmp_path, capsys)


def six_lines_serve_it(new, monkeypatch, folder, capsys):
    """Run what the docs show, in a folder with a guard and a photo."""
    (code,) = re.findall(r"```python\n(import numpy, onnxruntime.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in code.splitlines() if line]) == 6
    Image.fromarray(np.asarray(new.images[0].permute(1, 2, 0))).save(folder / "photo.png")
    monkeypatch.chdir(folder)
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102
    assert re.fullmatch(r"(\d|rejected) [\d.e-]+ [\d.e-]+\n", capsys.readouterr().out)


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    return toy_guard(Target(build("small-cnn", SPEC, 4), SPEC, 3).eval())


def test_as_one_network_a_guard_gives_its_own_scores(untrained):
    images = patterns(40, "new").floats()
    with torch.no_grad():
        network = GuardNetwork(untrained.target, untrained.joint, untrained.calibration, untrained.threshold(0.05))
        logits, score, p_value, accepted, predicted = network(images)
    expected = untrained.judge(images)
    assert torch.equal(logits, untrained.activations(images).logits)
    for found, same in ((score, expected.scores), (p_value, expected.p_values)):
        assert torch.allclose(found, same, rtol=1e-12, atol=0)
    assert torch.equal(accepted, expected.accepted)
    assert torch.equal(predicted, expected.predicted)


class Session:
    """What onnxruntime would give, spoilt."""

    def __init__(self, guarded, spoil):
        self.guarded, self.spoil = guarded, spoil

    def run(self, _names, inputs):
        judged = self.guarded.judge(torch.from_numpy(inputs["images"]))
        columns = {"logits": judged.scores, "score": judged.scores, "p_value": judged.p_values}
        columns |= {"accepted": judged.accepted, "predicted": judged.predicted}
        return [value.numpy() for value in self.spoil(columns).values()]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c | {"score": c["score"] + 2e-4 * c["score"].std()}, "other scores"),
        (lambda c: c | {"score": c["score"] * torch.nan}, "other scores"),
        (lambda c: c | {"accepted": ~c["accepted"]}, "decides otherwise"),
        (lambda c: c | {"predicted": (c["predicted"] + 1) % 3}, "decides otherwise"),
    ],
)
def test_a_file_that_differs_is_refused_and_not_written(untrained, monkeypatch, tmp_path, spoil, message):
    images = patterns(64, "guard/calibrate")
    monkeypatch.setattr(export, "_onnx", lambda _: b"")
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda _: Session(untrained, spoil))
    with pytest.raises(ModelError, match=message):
        untrained.export(tmp_path / "guard.onnx", images=images)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda _: Session(untrained, lambda columns: columns))
    assert untrained.export(tmp_path / "guard.onnx", images=images).difference < 1e-9
    untrained.export(tmp_path / "drawn.onnx")
    assert read_json(tmp_path / "drawn.onnx.json")["compared"]["images"] == "drawn"


def test_without_the_extra_the_message_has_the_line_that_installs_it(untrained, monkeypatch, tmp_path):
    monkeypatch.setitem(export.importlib.sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r'pip install "invaudit\[onnx\]"'):
        untrained.export(tmp_path / "guard.onnx")


def test_what_the_exporter_cannot_take_is_one_clear_message(untrained, monkeypatch, tmp_path):
    class Odd(nn.Module):
        def forward(self, images):
            return torch.from_numpy(images.numpy().copy())

    network = nn.Sequential(Odd(), nn.Flatten(), nn.Linear(64, 3))
    odd = toy_guard(Target(network, SPEC, 3).eval())
    with pytest.raises(ModelError, match="cannot be exported to ONNX"):
        odd.export(tmp_path / "guard.onnx")
    monkeypatch.setattr(export, "LARGEST_BYTES", 1000)
    with pytest.raises(ModelError, match="one ONNX file"):
        untrained.export(tmp_path / "guard.onnx")
    with pytest.raises(SettingError, match="alpha"):
        untrained.export(tmp_path / "guard.onnx", alpha=1e-6)
    assert not list(tmp_path.iterdir())
