"""The second network: another classifier of the same classes, which judges what was made for the first one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from invaudit.data import ImageSet, seeded_rng
from invaudit.explain.student import default_training
from invaudit.models import InputSpec, Target, TrainingSettings, build, collect, load_model, save_target, train
from invaudit.models.architectures import full_name
from invaudit.models.devices import resolve_precision, seed_torch
from invaudit.models.suitability import labelled_for
from invaudit.models.training import chance_limit
from invaudit.runtime.console import notice
from invaudit.runtime.errors import DataError, ModelError, ShapeError
from invaudit.runtime.files import content_hash
from invaudit.runtime.paths import is_file
from invaudit.runtime.settings import Settings
from invaudit.stats import Estimate, counted_share

EPOCHS = {1: 8, 3: 24}
"""Channels -> passes over the training images: grey ones are learned soon, colour ones take three times as many."""
HELD_OUT = 0.1
"""Share of the images that the accuracy is measured on, where no others are given."""
MOST_HELD_OUT = 2_000
"""Images that are held out at most: the accuracy is then known to 2 points, and more are left to train on."""
CHANCE_SPREADS = 3
"""Standard deviations over the accuracy of guessing, up to which a network has learned nothing."""
MEAN, STD = 0.5, 0.25
"""Normalisation of a network of our own: it should share nothing with the network that it judges."""


class SecondSettings(Settings):
    """How the second network is trained, where none is given."""

    arch: str = "vgg-small"
    """Architecture of ours; by default a plain one, at 29 million multiplications for 32 x 32."""

    epochs: int | None = Field(default=None, ge=1)
    """Passes over the training images; unset: 8 for grey images, 24 for colour."""

    training: TrainingSettings | None = None
    """How else it is trained; unset: with shifts, and mirrored images and a stronger weight decay where they have
    colours. ``epochs`` goes before the ones here."""

    def resolved(self, spec: InputSpec) -> TrainingSettings:
        """Return how a network for images of a shape is trained."""
        training = self.training or default_training(spec, epochs=EPOCHS.get(spec.channels, EPOCHS[3]))
        return training if self.epochs is None else training.model_copy(update={"epochs": self.epochs})


@dataclass(frozen=True)
class Second:
    """A network that judges, and how good it is.

    Attributes:
        network: The network.
        accuracy: Its accuracy on labelled images that it was not trained on; None where there are none.
        held_out: These images.
        origin: ``given``, or ``trained`` by us (now or before).
        seconds: Time that its training took now; None where none was needed.
        file: Where it is kept, if we trained it.
    """

    network: Target
    accuracy: Estimate | None
    held_out: ImageSet | None
    origin: Literal["given", "trained"]
    seconds: float | None = None
    file: Path | None = None


def given_second(second: Target, target: Target, held_out: ImageSet | None = None) -> Second:
    """Return a network that a user gives, if it fits.

    Args:
        second: The network.
        target: The network that is explained.
        held_out: Labelled images, ones that neither was trained on for an honest accuracy.

    Raises:
        ModelError: It has other classes, the weights of the target, or does no better than guessing.
        ShapeError: It takes images of another shape.
        DataError: The images have other classes.
    """
    refuse_unlike(second, target)
    if held_out is None:
        return Second(second, None, None, "given")
    held_out = labelled_for(target, held_out)
    accuracy = _accuracy(second, held_out)
    if _guesses(second, accuracy):
        remedy = "give one that was trained on these classes, in this order"
        raise _no_better_than_guessing("the second model", second, accuracy, remedy)
    return Second(second, accuracy, held_out, "given")


def refuse_unlike(second: Target, target: Target) -> None:
    """Refuse a second network of other classes or another shape, or one that is the target itself.

    Raises:
        ModelError: It has other classes, or the same weights.
        ShapeError: It takes images of another shape.
    """
    if second.spec.shape != target.spec.shape:
        raise ShapeError(
            f"the second model takes images of {second.spec.shape}, the model of {target.spec.shape}; give one for the "
            "same channels, height and width"
        )
    if second.classes != target.classes:
        raise ModelError(
            f"the second model knows {second.classes} classes, the model {target.classes}; give one of the same classes"
        )
    names = list(zip(target.class_names, second.class_names, strict=False))
    if set(second.class_names) & set(target.class_names):
        for label, (name, other) in enumerate(names):
            if name != other:
                raise ModelError(
                    f"class {label} of the second model is {other!r}, of the model {name!r}; give one whose classes "
                    "have the same order"
                )
    elif names:
        notice("the second model has other names for its classes than the model: they are compared by their number")
    if second.hash == target.hash:
        raise ModelError("the second model is the model itself, and would agree with it always; give another network")


def trained_second(
    target: Target,
    data: ImageSet,
    folder: Path,
    settings: SecondSettings | None = None,
    *,
    held_out: ImageSet | None = None,
    seed: int = 0,
) -> Second:
    """Return a network that we train on labelled images, or that we have trained so before.

    Args:
        target: The network that is explained: gives shape, classes and device, and nothing else.
        data: Labelled images of its classes; those that are also held out are not trained on.
        folder: Where networks are kept; the name of a file holds all that the network depends on.
        settings: How it is trained.
        held_out: Labelled images to measure its accuracy on; by default a tenth of the data, the same for each class.
        seed: Seed of the split and of the training.

    Raises:
        ShapeError: Images of another shape.
        DataError: Images without labels, with classes that the target does not know, or too few.
        ModelError: An unknown architecture, or a network that has learned nothing.
        RunFolderError: The folder cannot be written.
    """
    settings = settings or SecondSettings()
    data = labelled_for(target, data)
    if held_out is None:
        training_images, held_out = _split(data, seeded_rng(seed, "second/split"))
    else:
        held_out = labelled_for(target, held_out)
        training_images = _without(data, held_out)
    spec = InputSpec(*target.spec.shape, mean=(MEAN,), std=(STD,), preparation=target.spec.preparation)
    training = settings.resolved(spec)
    precision = resolve_precision(training.precision, target.device)
    identity = content_hash(
        full_name(settings.arch),
        str(target.classes),
        training.model_dump_json(),
        str(precision),
        training_images.hash,
        str(seed),
    )
    file = folder / f"second-{identity[:16]}.safetensors"
    seconds = None
    if not is_file(file, DataError):
        with seed_torch(seeded_rng(seed, "second/weights")):
            module = build(settings.arch, spec, target.classes)
        network = Target(module, spec, arch=full_name(settings.arch)).to(target.device)
        notice(f"training a second network, on {len(training_images)} images for {training.epochs} epochs")
        rng, checkpoint = seeded_rng(seed, "second/training"), file.with_suffix(".pt")
        seconds = train(network, training_images, training, rng, precision=precision, checkpoint=checkpoint).seconds
        if _guesses(network, accuracy := _accuracy(network, held_out)):
            checkpoint.unlink()
            remedy = f"change learning_rate (now {training.learning_rate:g}), or give more epochs or more data"
            raise _no_better_than_guessing("the second network", network, accuracy, remedy)
        save_target(network, file)
        checkpoint.unlink()
    network = load_model(file).to(target.device)
    network.class_names = target.class_names
    accuracy = _accuracy(network, held_out)
    notice(
        f"the second network gets {accuracy.value:.1%} of {accuracy.n} held-out images right "
        f"(95 % interval {accuracy.low:.1%} to {accuracy.high:.1%})"
    )
    return Second(network, accuracy, held_out, "trained", seconds, file)


def _split(data: ImageSet, rng: torch.Generator) -> tuple[ImageSet, ImageSet]:
    """Return the images to train on and those to hold out: the same share of each class, and no image in both."""
    share = min(HELD_OUT, MOST_HELD_OUT / len(data))
    is_held_out = torch.zeros(len(data), dtype=torch.bool)
    for label in data.labels.unique():
        members = (data.labels == label).nonzero()[:, 0]
        chosen = torch.randperm(len(members), generator=rng)[: round(share * len(members))]
        is_held_out[members[chosen]] = True
    if not is_held_out.any():
        raise DataError(f"{data.name} has {len(data)} images, too few to hold some of each class out; give more")
    held_out = data.subset(is_held_out)
    return _without(data, held_out), held_out


def _without(data: ImageSet, held_out: ImageSet) -> ImageSet:
    """Return the images that are not held out, compared byte for byte: copies would make an accuracy too good."""
    hashes = set(held_out.image_hashes())
    is_kept = torch.tensor([one not in hashes for one in data.image_hashes()])
    if int(is_kept.sum()) < 2:
        raise DataError(
            f"all images of {data.name} are also among those that the second network is tested on; give others"
        )
    return data if is_kept.all() else data.subset(is_kept)


def _accuracy(network: Target, images: ImageSet) -> Estimate:
    predicted: Tensor = collect(network, images, keep_maps=False).logits.argmax(1)
    return counted_share(int((predicted == images.labels).sum()), len(images))


def _guesses(network: Target, accuracy: Estimate) -> bool:
    return accuracy.value < chance_limit(network.classes, accuracy.n, spreads=CHANCE_SPREADS)


def _no_better_than_guessing(name: str, network: Target, accuracy: Estimate, remedy: str) -> ModelError:
    return ModelError(
        f"{name} gets {accuracy.value:.1%} of {accuracy.n} held-out images right, no better than guessing among "
        f"{network.classes} classes; {remedy}"
    )
