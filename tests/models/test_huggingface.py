"""A local folder of Hugging Face: config.json, safetensors and preprocessor_config.json; nothing is fetched."""

import json

import pytest
import torch

from invaudit.data.preparation import Preparation
from invaudit.models import InputSpec, load_model, save_target
from invaudit.runtime.errors import MissingDataError, ModelError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from transformers import ViTConfig, ViTForImageClassification

    folder = tmp_path_factory.mktemp("vit")
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=16,
        patch_size=8, id2label={0: "cat", 1: "dog", 2: "owl"}, label2id={"cat": 0, "dog": 1, "owl": 2},
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ViTForImageClassification(config)
        torch.nn.init.normal_(network.classifier.weight)
    network.save_pretrained(folder)
    steps = {
        "do_resize": True, "size": {"height": 16, "width": 16}, "resample": 3, "do_rescale": True,
        "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.25] * 3,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(steps))
    return folder


def test_it_loads_with_names_and_preparation_and_is_saved(folder, tmp_path):
    from transformers import ViTForImageClassification

    target = load_model(folder)
    assert target.class_names == ("cat", "dog", "owl")
    assert target.spec == InputSpec(3, 16, 16, (0.5,) * 3, (0.25,) * 3)
    assert target.spec.preparation == Preparation(interpolation="bicubic", squash=True)
    images = torch.rand((2, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    theirs = ViTForImageClassification.from_pretrained(folder).eval()((images - 0.5) / 0.25).logits
    torch.testing.assert_close(target(images), theirs)
    save_target(target, tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert (again.hash, again.class_names) == (target.hash, target.class_names)
    assert torch.equal(again(images), target(images))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"do_flip_channel_order": True}, "do_flip_channel_order, which is not known"),
        ({"rescale_factor": 1}, "scales pixels by 1"),
        ({"resample": 17}, "does not say how pictures are prepared"),
        ({"image_std": None}, "does not say how pictures are prepared"),
    ],
)
def test_steps_that_are_not_known_here_are_refused(folder, change, message, tmp_path):
    from shutil import copytree

    copy = copytree(folder, tmp_path / "copy")
    steps = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps(steps | change))
    with pytest.raises(ModelError, match=message):
        load_model(copy)


def test_a_folder_without_its_files_is_refused(tmp_path):
    with pytest.raises(MissingDataError, match=r"without config.json; give a model file"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(MissingDataError, match="no weights in one file"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(ModelError, match=r"config\.json is no JSON"):
        load_model(tmp_path)
