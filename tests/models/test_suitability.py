"""Whether a network fits its images: what is measured, and what is named in place of a wrong preprocessing."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from invaudit.data import ImageSet
from invaudit.models import InputSpec, Target
from invaudit.models.suitability import NORMALISATIONS, first_norm_divergence, refuse_misfit, suitability
from invaudit.runtime import console
from invaudit.runtime.errors import ModelError

SPEC = InputSpec(3, 8, 8)


def noise_images(n: int, classes: int) -> ImageSet:
    """Return images of noise, as bright as photos, with classes that mean nothing."""
    rng = torch.Generator().manual_seed(0)
    images = (torch.randn(n, 3, 8, 8, generator=rng) * 60 + 120).clamp(0, 255).to(torch.uint8)
    return ImageSet("noise", images, torch.arange(n) % classes)


def normalised(name: str) -> InputSpec:
    mean, std = NORMALISATIONS[3][name]
    return replace(SPEC, mean=mean, std=std)


def network_with_norm(images: Tensor, spec: InputSpec) -> nn.Module:
    """Return a network whose batch norm layer saw these images under that spec."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6, momentum=None), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 4)]
    network = nn.Sequential(*layers)
    network((images - torch.tensor(spec.mean).view(3, 1, 1)) / torch.tensor(spec.std).view(3, 1, 1))
    return network.eval()


class Brightness(nn.Module):
    """Class 1 where an image is brighter than the middle of the range that it was made for."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)
        self.head.weight.data = torch.tensor([[-1.0], [1.0]])
        self.head.bias.data.zero_()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images.mean((1, 2, 3))[:, None])


def bright_and_dark() -> ImageSet:
    images = torch.full((80, 3, 8, 8), 60, dtype=torch.uint8)
    images[40:] += 120
    return ImageSet("shades", images, torch.arange(80) // 40)


@pytest.mark.parametrize("right", NORMALISATIONS[3])
@pytest.mark.parametrize("stated", ["images as they are", "ImageNet's", "values from 0 to 255"])
def test_the_first_batch_norm_layer_tells_a_wrong_normalisation(stated: str, right: str) -> None:
    images = noise_images(64, 4)
    target = Target(network_with_norm(images.floats(), normalised(right)), normalised(stated), 4)
    advice = suitability(target, images).advice
    alike = ("EfficientNet-Lite's", "values from -1 to 1"), ("CIFAR-10's", "CIFAR-100's", "ImageNet's")
    if stated == right or any({stated, right} <= set(names) for names in alike):
        assert advice is None
        return
    assert advice is not None
    assert any(name in advice for names in (*alike, (right,)) if right in names for name in names)
    assert "--mean" in advice


def test_the_divergence_is_that_of_normal_distributions() -> None:
    images = noise_images(32, 4).floats()
    target = Target(network_with_norm(images, normalised("ImageNet's")), SPEC, 4)
    norm = target.module[1]
    inputs = target.module[0](target.normalise(images)).transpose(0, 1).flatten(1).double()
    seen = Normal(inputs.mean(1), (inputs.var(1, correction=0) + norm.eps).sqrt())
    trained = Normal(norm.running_mean.double(), (norm.running_var.double() + norm.eps).sqrt())
    expected = float(kl_divergence(seen, trained).mean().detach())
    assert first_norm_divergence(target, images) == pytest.approx(expected, rel=1e-6)
    assert first_norm_divergence(Target(Brightness(), SPEC, 2), images) is None


def test_a_network_at_chance_is_refused_with_what_would_fit() -> None:
    images = bright_and_dark()
    right = Target(Brightness(), normalised("values from -1 to 1"), 2)
    assert suitability(right, images).accuracy.value == 1
    assert suitability(right, images).advice is None
    wrong = Target(Brightness(), SPEC, 2)
    with pytest.raises(
        ModelError, match=r"gets 50\.0% of shades right, no better than chance .*: .* would fit better \(80 of 80 right"
    ):
        refuse_misfit(wrong, images, "shades")


def test_another_order_of_classes_is_named() -> None:
    images = bright_and_dark()
    swapped = replace(images, labels=1 - images.labels, class_names=("bright", "dark"))
    target = Target(Brightness(), normalised("values from -1 to 1"), 2)
    advice = suitability(target, swapped).advice
    assert advice is not None
    assert "another order than the network's: bright is its class 1, dark is its class 0; so 100.0%" in advice


def test_guessing_on_unseen_images_is_a_misfit_only_where_their_classes_are_in_another_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = bright_and_dark()
    guessing = replace(images, labels=torch.arange(len(images)) // 2 % 2)
    target = Target(Brightness(), normalised("values from -1 to 1"), 2)
    with pytest.raises(ModelError, match="no better than chance"):
        refuse_misfit(target, guessing, "members")
    console.configure(quiet=False)
    refuse_misfit(target, guessing, "controls", unseen=True)
    console.configure(quiet=True)
    assert "of controls right, no better than chance (95 % interval" in capsys.readouterr().err
    with pytest.raises(ModelError, match="the classes are in another order"):
        refuse_misfit(target, replace(images, labels=1 - images.labels), "controls", unseen=True)


def test_accuracy_is_said_with_its_interval(capsys: pytest.CaptureFixture[str]) -> None:
    console.configure(quiet=False)
    refuse_misfit(Target(Brightness(), normalised("values from -1 to 1"), 2), bright_and_dark(), "shades")
    console.configure(quiet=True)
    said = capsys.readouterr().err
    assert said == "the model gets 100.0% of shades right (95 % interval 95.5% to 100.0%, 80 images)\n"
