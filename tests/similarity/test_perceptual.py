"""LPIPS against the package of its authors, its published values, and where its weights come from."""

import warnings
from pathlib import Path

import lpips
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from invaudit.data import seeded_rng
from invaudit.runtime.errors import InputError, MissingWeightsError, ModelError, ShapeError
from invaudit.similarity import make_metric, nearest, pairwise, perceptual, weights

NETS = {"alex": (31, 32, 64, 128), "squeeze": (17, 28, 64, 128)}


def package(net: str, folder: Path) -> lpips.LPIPS:
    """Return the package's own module, in float64, with the trunk of the folder."""
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    trunk = load_file(folder / f"lpips_{net}_trunk.safetensors")
    names = {name: f"features.{name.split('.', 1)[1]}" for name in module.net.state_dict()}
    module.net.load_state_dict({name: trunk[other] for name, other in names.items()})
    return module.double()


def pairs(channels: int, side: int) -> tuple[Tensor, Tensor]:
    """Return unlike, near-identical and equal images, and a black one against white."""
    rng = seeded_rng(side, "tests/pairs", channels)
    x, y = (torch.rand(5, channels, side, side, generator=rng) for _ in range(2))
    y[2] = (x[2] + 1e-3 * torch.randn(x[2].shape, generator=rng)).clamp(0, 1)
    y[3] = x[3]
    x[4], y[4] = 0, 1
    return x, y


def agrees(net: str, folder: Path, channels: int, side: int) -> None:
    x, y = pairs(channels, side)
    found = pairwise(x, y, make_metric(f"lpips-{net}", weights=folder))
    with torch.no_grad():
        three = (images.expand(-1, 3, -1, -1).double() for images in (x, y))
        expected = package(net, folder)(*three, normalize=True).flatten()
    torch.testing.assert_close(found.diagonal(), expected, atol=1e-5, rtol=1e-5)
    assert found[3, 3] == 0
    assert (found >= 0).all()
    assert (found.flatten().count_nonzero()) == 24


@pytest.mark.parametrize(("net", "side"), [(net, side) for net, sides in NETS.items() for side in sides[:3]])
def test_the_package_agrees_with_random_trunks(net, side, trunks):
    agrees(net, trunks, 3, side)


@pytest.mark.parametrize("net", NETS)
def test_grey_images_are_repeated(net, trunks):
    agrees(net, trunks, 1, 32)


@pytest.mark.data
@pytest.mark.parametrize(("net", "side"), [(net, side) for net, sides in NETS.items() for side in sides])
def test_the_package_agrees_with_published_trunks(net, side, published):
    agrees(net, published, 3, side)


@pytest.mark.data
@pytest.mark.parametrize(("net", "expected"), [("alex", (0.721881, 0.137566)), ("squeeze", (0.711048, 0.147902))])
def test_the_published_example_comes_out(net, expected, published):
    folder = published.parent / "reference" / "lpips"
    if not folder.is_dir():
        pytest.skip("INVAUDIT_WEIGHTS is not set to a folder beside reference/lpips")
    images = [pil_to_tensor(Image.open(folder / f"ex_{name}.png")).float()[None] / 255 for name in ("ref", "p0", "p1")]
    found = pairwise(images[0], torch.cat(images[1:]), make_metric(f"lpips-{net}", weights=published))
    assert found.flatten().tolist() == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(("net", "sides"), NETS.items())
def test_too_small_sides_are_refused_with_the_remedy(net, sides, trunks):
    metric = make_metric(f"lpips-{net}", weights=trunks)
    small = torch.rand(2, 3, sides[0] - 1, 40, generator=seeded_rng(0, "tests/small"))
    with pytest.raises(ShapeError, match=f"at least {sides[0]}.*resize={sides[0]}"):
        metric.embed(small)
    resized = make_metric(f"lpips-{net}", weights=trunks, resize=sides[1])
    assert resized.label.endswith(f"resized to {sides[1]}")
    assert resized.key != metric.key
    larger = torch.nn.functional.interpolate(small, (sides[1],) * 2, mode="bilinear", antialias=True).clamp(0, 1)
    assert torch.equal(pairwise(small, small, resized), pairwise(larger, larger, metric))


def test_channels_without_weight_are_dropped(trunks):
    metric = make_metric("lpips-alex", weights=trunks)
    kept = [int((head > 0).sum()) for head in metric.heads]
    images = torch.rand(1, 3, 32, 32, generator=seeded_rng(0, "tests/drop"))
    assert metric.embed(images).shape == (1, kept[0] * 49 + kept[1] * 9 + sum(kept[2:]))
    assert sum(kept) < 1152


def test_a_place_that_matters_leads_to_batches_of_one(trunks, monkeypatch):
    images = torch.rand(9, 3, 32, 32, generator=seeded_rng(0, "tests/places"))
    normalise = lpips.normalize_tensor

    def placed(features: Tensor) -> Tensor:
        factors = 1 + 1e-6 * torch.arange(len(features)).view(-1, 1, 1, 1)
        return normalise(features) * factors

    expected = pairwise(images, images, make_metric("lpips-alex", weights=trunks))
    monkeypatch.setattr(lpips, "normalize_tensor", placed)
    metric = make_metric("lpips-alex", weights=trunks)
    found = nearest(images, images.flip(0), metric, 9)
    assert (found.value[:, 0] == 0).all()
    torch.testing.assert_close(found.value, expected.sort(dim=1).values, atol=1e-6, rtol=1e-5)


def test_a_negative_linear_weight_is_refused(trunks, monkeypatch):
    shipped = torch.load

    def negative(*arguments: object, **options: object) -> dict[str, Tensor]:
        heads = shipped(*arguments, **options)
        next(iter(heads.values()))[0, 0] = -1e-3
        return heads

    monkeypatch.setattr(torch, "load", negative)
    with pytest.raises(ModelError, match="negative linear weights"):
        make_metric("lpips-alex", weights=trunks)


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("INVAUDIT_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("net", "name"), [("alex", "alexnet"), ("squeeze", "squeezenet1_1")])
def test_missing_weights_are_refused_with_the_command(net, name, nowhere):
    with pytest.raises(MissingWeightsError, match=f"{name}.*--download") as caught:
        make_metric(f"lpips-{net}")
    assert isinstance(caught.value, InputError)
    with pytest.raises(MissingWeightsError):
        make_metric(f"lpips-{net}", weights=nowhere)


def test_weights_are_found_in_the_folder_the_cache_or_by_download(nowhere, trunks, monkeypatch):
    key = make_metric("lpips-alex", weights=trunks).key
    trunk = load_file(trunks / "lpips_alex_trunk.safetensors")
    everything = {**trunk, "classifier.1.weight": torch.zeros(2)}

    class Server:
        url = "https://example.org/alexnet-cached.pth"

        def get_state_dict(self, *, progress: bool, check_hash: bool) -> dict[str, Tensor]:
            assert check_hash
            assert not progress
            return everything

    monkeypatch.setattr(weights, "published_weights", {"alexnet": Server()}.get)
    assert make_metric("lpips-alex", download=True).key == key
    cache = nowhere / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(everything, cache / "alexnet-cached.pth")
    assert make_metric("lpips-alex").key == key
    (cache / "alexnet-cached.pth").unlink()
    monkeypatch.setenv("INVAUDIT_WEIGHTS", str(trunks))
    assert make_metric("lpips-alex").key == key


@pytest.mark.parametrize("content", [b"no tensors", None])
def test_damaged_weights_are_refused(content, tmp_path, trunks):
    path = tmp_path / "lpips_alex_trunk.safetensors"
    if content is None:
        trunk = load_file(trunks / path.name)
        save_file({name: value for name, value in trunk.items() if "10" not in name}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(ModelError, match="trunk weights"):
        make_metric("lpips-alex", weights=tmp_path)


def test_making_a_metric_draws_no_random_numbers(trunks):
    before = torch.random.get_rng_state()
    metric = make_metric("lpips-squeeze", weights=trunks)
    metric.embed(torch.full((1, 3, 32, 32), 0.5))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert metric.smallest == perceptual.NETS["squeeze"][1]
