"""Networks by name with the presets of their libraries: what they take, and where weights come from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invaudit.data.preparation import Preparation
from invaudit.data.vision import import_torchvision
from invaudit.models import InputSpec, load_model
from invaudit.models.presets import find_preset
from invaudit.runtime.errors import MissingDataError, ModelError

models = import_torchvision().models


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Give torch and Hugging Face an empty cache."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture(scope="module")
def squeezed(tmp_path_factory):
    """Return a file with random weights of a small network of torchvision."""
    path = tmp_path_factory.mktemp("weights") / "m.pth"
    with torch.random.fork_rng():
        torch.save(models.mobilenet_v3_small(weights=None).state_dict(), path)
    return path


def picture(width, height):
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def normalised(spec, shown):
    """Return a picture as a network of this spec sees it."""
    assert spec.preparation is not None
    ours = torch.from_numpy(spec.preparation.apply(shown, spec.height, spec.width).copy()).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
    return (ours - mean) / std


@pytest.mark.parametrize("name", ["resnet18@IMAGENET1K_V1", "resnet50@IMAGENET1K_V2", "efficientnet_b1@DEFAULT"])
def test_torchvision_presets_prepare_pictures_as_torchvision_does(name):
    preset = find_preset(f"torchvision:{name}")
    assert preset is not None
    shown = picture(500, 375)
    model, weights = name.split("@")
    theirs = getattr(models.get_model_weights(model), weights).transforms()(shown)
    torch.testing.assert_close(normalised(preset.spec, shown), theirs)


def test_a_network_that_changes_its_normalisation_inside_gets_what_it_would_change_it_to():
    preset = find_preset("torchvision:googlenet@IMAGENET1K_V1")
    assert preset is not None
    shown = picture(300, 300)
    theirs = models.GoogLeNet_Weights.IMAGENET1K_V1.transforms()(shown)[None]
    network = models.googlenet(weights=None, transform_input=True, init_weights=False, aux_logits=False)
    torch.testing.assert_close(normalised(preset.spec, shown)[None], network._transform_input(theirs))


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "mobilenetv3_small_100.lamb_in1k"])
def test_timm_presets_prepare_pictures_as_timm_does(name):
    import timm

    preset = find_preset(f"timm:{name}")
    assert preset is not None
    shown = picture(300, 400)
    config = timm.data.resolve_data_config(timm.models.get_pretrained_cfg(name).to_dict())
    theirs = timm.data.create_transform(**config)(shown)
    torch.testing.assert_close(normalised(preset.spec, shown), theirs)


def test_options_come_before_a_preset_and_a_preset_before_nothing(squeezed):
    arch = "torchvision:mobilenet_v3_small@IMAGENET1K_V1"
    plain = load_model(squeezed, arch=arch)
    assert plain.spec.shape == (3, 224, 224)
    assert plain.spec.preparation == Preparation(resize=256)
    assert (len(plain.class_names), plain.class_names[0]) == (1000, "tench")
    assert "mobilenet_v3_small@IMAGENET1K_V1 takes 3x224x224" in plain.notes[0]
    given = {"channels": 3, "height": 64, "width": 64, "mean": (0.5,)}
    changed = load_model(squeezed, arch=arch, spec=given)
    assert (changed.spec.shape, changed.spec.mean) == ((3, 64, 64), (0.5,))
    assert changed.spec.std == plain.spec.std
    assert changed.spec.preparation is None  # its steps lead to 224 x 224
    whole = load_model(squeezed, arch=arch, spec=InputSpec(3, 64, 64))
    assert whole.spec == InputSpec(3, 64, 64)
    with pytest.raises(ModelError, match="does not say what it takes; give --input"):
        load_model(squeezed, arch="torchvision:mobilenet_v3_small")


def test_published_weights_are_taken_from_the_cache_and_fetched_only_if_asked(hub, squeezed, monkeypatch):
    name = "torchvision:mobilenet_v3_small@IMAGENET1K_V1"
    with pytest.raises(MissingDataError, match=r"are not there: looked for .*mobilenet_v3_small.*--download"):
        load_model(name)
    preset = find_preset(name)
    assert preset is not None
    file = hub / preset.url.rpartition("/")[2]
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda _, to, **__: Path(to).write_bytes(squeezed.read_bytes())
    )
    fetched = load_model(name, download=True)
    assert file.is_file()
    assert load_model(name).hash == fetched.hash
    with pytest.raises(ModelError, match="names its architecture itself"):
        load_model(name, arch="cnn")


@pytest.mark.usefixtures("hub")
def test_a_download_that_fails_says_so(monkeypatch):
    def failing(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", failing)
    with pytest.raises(MissingDataError, match="could not be fetched: no route to host"):
        load_model("torchvision:resnet18@IMAGENET1K_V1", download=True)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", failing)
    with pytest.raises(MissingDataError, match="could not be fetched from Hugging Face: no route"):
        load_model("timm:resnet18.a1_in1k", download=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:resnet18@NOTHING", "has no weights 'NOTHING'; it has IMAGENET1K_V1, DEFAULT"),
        ("torchvision:resnet18", "expected torchvision:NAME@WEIGHTS"),
        ("torchvision:fasterrcnn_resnet50_fpn@DEFAULT", "no model 'fasterrcnn_resnet50_fpn' that classifies"),
        ("timm:resnet18.nothing", "has no weights 'resnet18.nothing'"),
        ("timm:nothing", "has no model"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_weights_that_nobody_publishes_are_refused(name, message):
    with pytest.raises(ModelError, match=message):
        load_model(name)
